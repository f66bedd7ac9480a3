"""Where an axis is cut into sections that keep their shares: how many slices of which group each section holds.

Examples are a split into halves, a group convolution and a reshape into rows. Which sizes are possible follows from
these numbers by arithmetic, see `selection.family_sizes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..plan import Axis, ChannelGroup
from .balance import Balance
from .constraints import Constraints
from .groups import Numbering

Slices = tuple[tuple[str, Axis, int], ...]
"""Of each group that may shrink, along each axis that they come from, the number of slices."""


@dataclass(frozen=True)
class Section:
    """What one section of a partition holds.

    Attributes:
        fixed: how many of its slices always stay.
        slices: the slices that may be removed.
    """

    fixed: int
    slices: Slices

    @property
    def size(self) -> int:
        """How many slices it has in all."""
        return self.fixed + sum(count for _, _, count in self.slices)


@dataclass(frozen=True)
class Partition:
    """An axis of a value that is cut into sections, each of which keeps its share of the whole.

    Attributes:
        sections: what each section holds, in order.
        rounded: whether the borders between the sections may be rounded down.
    """

    sections: tuple[Section, ...]
    rounded: bool

    @property
    def keys(self) -> set[str]:
        """The groups that meet here, and may shrink."""
        return {key for section in self.sections for key, _, _ in section.slices}


def partitions_of(constraints: Constraints, groups: Mapping[str, ChannelGroup]) -> tuple[Partition, ...]:
    """All partitions of a network; equal ones appear once.

    Args:
        constraints: what the rules noted down.
        groups: the groups at the same sizes, by key.
    """
    number, keys = Numbering(constraints), list(groups)
    owner = number.owners(groups)

    def free(balance: Balance) -> npt.NDArray[np.bool_]:
        """Which of the atoms are not in a piece all of which stays."""
        found = np.ones(len(balance.atoms), bool)
        for piece in np.unique(balance.pieces) if balance.pieces is not None else ():
            inside = balance.pieces == piece
            found[inside] = (owner[number(balance.atoms[inside])] < len(keys)).any()
        return found

    def section_of(balance: Balance, section: int) -> Section:
        inside = balance.atoms[free(balance) & (balance.sections == section)]
        atoms = number(inside)
        atoms = atoms[owner[atoms] < len(keys)]
        pairs, counts = np.unique(np.stack([owner[atoms], number.axis_of[atoms]]), axis=1, return_counts=True)
        found = zip(*pairs.tolist(), counts.tolist()) if counts.size else ()
        slices = tuple((keys[group], number.axes[axis], count) for group, axis, count in found)
        return Section(len(inside) - len(atoms), slices)

    found: dict[Partition, None] = {}
    for balance in constraints.balanced:
        if balance.sections is not None:
            sections = [section_of(balance, section) for section in range(int(balance.sections.max()) + 1)]
            found[Partition(tuple(section for section in sections if section.size), balance.rounded)] = None
    return tuple(found)
