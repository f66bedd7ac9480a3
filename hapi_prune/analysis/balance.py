"""A constraint that a rule notes down: the numbers of some slices depend on each other."""

from __future__ import annotations

from dataclasses import dataclass

from ..plan import Index


@dataclass(frozen=True)
class Balance:
    """Slices whose numbers depend on each other, as on the two sides of a split.

    Attributes:
        atoms: their atoms; -1 for a slice that came from none.
<<<<<<< HEAD
        blocks: their number is best a multiple of this.
        parts: for each of ``atoms`` the number of the part that it lies in, of which each keeps its share of the whole;
            None where no more is known than that they depend on each other.
        rounded: whether the borders between the parts may be rounded down, as where an attribute holds them.
        sections: for each of ``atoms`` the number of the section that the code cuts out there; where one stays as a
            whole, the others keep their shares of what is left. None where the parts are all there is.
=======
        blocks: sizes that are a multiple of this are preferred.
        sections: for each of ``atoms`` the number of the section that it lies in; every section keeps its share of the
            whole. None if it is only known that the numbers depend on each other.
        rounded: whether the borders between the sections may be rounded down, as those that an attribute holds.
>>>>>>> main
    """

    atoms: Index
    blocks: int = 1
    sections: Index | None = None
    rounded: bool = False
    sections: Index | None = None
