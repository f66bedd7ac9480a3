"""Where an axis is cut into sections that keep their shares: how many slices of which group each section holds.

Examples are a split into halves, a group convolution and a reshape into rows. Which sizes are possible follows from
these numbers by arithmetic, see `selection.family_sizes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..plan import Axis, ChannelGroup, Index
from .balance import Balance
from .constraints import Constraints
from .numbering import Numbering

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

    def sections_of(atoms: Index, section: Index) -> tuple[Section, ...]:
        """The sections of one partition: all of them counted at once, as a convolution may have hundreds of groups."""
        sizes = np.bincount(section)
        numbers = number(atoms)
        section = section[atoms >= 0]
        goes = owner[numbers] < len(keys)
        codes = (section * len(keys) + owner[numbers]) * len(number.axes) + number.axis_of[numbers]
        slices: list[list[tuple[str, Axis, int]]] = [[] for _ in sizes]
        for code, count in zip(*(array.tolist() for array in np.unique(codes[goes], return_counts=True))):
            pair, axis = divmod(code, len(number.axes))
            which, group = divmod(pair, len(keys))
            slices[which].append((keys[group], number.axes[axis], count))
        fixed = sizes - np.bincount(section[goes], minlength=len(sizes))
        return tuple(Section(count, tuple(found)) for count, found in zip(fixed.tolist(), slices))

    found: dict[Partition, None] = {}
    for balance in constraints.balanced:
        if balance.sections is not None:
            inside = free(balance)
            sections = sections_of(balance.atoms[inside], balance.sections[inside])
            found[Partition(tuple(section for section in sections if section.size), balance.rounded)] = None
    return tuple(found)
