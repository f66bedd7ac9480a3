"""A constraint that a rule notes down: the numbers of some slices depend on each other."""

from __future__ import annotations

from dataclasses import dataclass

from ..plan import Index


@dataclass(frozen=True)
class Balance:
    """Slices whose numbers depend on each other, as on the two sides of a split.

    Attributes:
        atoms: their atoms; -1 for a slice that came from none.
        blocks: sizes that are a multiple of this are preferred.
        sections: for each of ``atoms`` the number of the section that it lies in; every section keeps its share of the
            whole. None if it is only known that the numbers depend on each other.
        rounded: whether the borders between the sections may be rounded down, as those that an attribute holds.
        pieces: for each of ``atoms`` the number of the piece that the same operation takes; if all of a piece stays,
            the sections keep their shares of the other pieces. None if sections are all that is known.
    """

    atoms: Index
    blocks: int = 1
    sections: Index | None = None
    rounded: bool = False
    pieces: Index | None = None
