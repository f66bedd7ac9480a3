"""What a rule says where the numbers of slices depend on each other: which slices, and which parts they lie in."""

from __future__ import annotations

from dataclasses import dataclass

from ..plan import Index


@dataclass(frozen=True)
class Balance:
    """Slices whose numbers depend on each other, as on the two sides of a split.

    Attributes:
        atoms: their atoms; -1 for a slice that came from none.
        blocks: their number is best a multiple of this.
        parts: for each of ``atoms`` the number of the part that it lies in, of which each keeps its share of the whole;
            None where no more is known than that they depend on each other.
        rounded: whether the borders between the parts may be rounded down, as where an attribute holds them.
        sections: for each of ``atoms`` the number of the section that the code cuts out there; where one stays as a
            whole, the others keep their shares of what is left. None where the parts are all there is.
    """

    atoms: Index
    blocks: int = 1
    parts: Index | None = None
    rounded: bool = False
    sections: Index | None = None
