"""Where slices are parted and every part keeps its share: how many slices of which group each of them holds.

A split in halves, a group convolution, a reshape into rows: which sizes can be had is arithmetic on these numbers.
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
class Part:
    """What one part of a place holds.

    Attributes:
        fixed: how many of its slices stay.
        slices: all others.
    """

    fixed: int
    slices: Slices

    @property
    def size(self) -> int:
        """All of its slices."""
        return self.fixed + sum(count for _, _, count in self.slices)


@dataclass(frozen=True)
class Place:
    """A place in the network at which every part keeps its share of the whole.

    Attributes:
        parts: what each of them holds, in order.
        rounded: whether the borders between them may be rounded down.
    """

    parts: tuple[Part, ...]
    rounded: bool

    @property
    def keys(self) -> set[str]:
        """The groups that meet here, and may shrink."""
        return {key for part in self.parts for key, _, _ in part.slices}


def places_of(constraints: Constraints, groups: Mapping[str, ChannelGroup]) -> tuple[Place, ...]:
    """All places of a network, those that are alike once.

    Args:
        constraints: what the rules noted.
        groups: the groups at the same sizes, by key.
    """
    number, keys = Numbering(constraints), list(groups)
    owner = number.owners(groups)

    def has_a_say(balance: Balance) -> npt.NDArray[np.bool_]:
        """Which of the atoms are not in a section that stays as a whole."""
        found = np.ones(len(balance.atoms), bool)
        for section in np.unique(balance.sections) if balance.sections is not None else ():
            inside = balance.sections == section
            found[inside] = (owner[number(balance.atoms[inside])] < len(keys)).any()
        return found

    def part_of(balance: Balance, part: int) -> Part:
        inside = balance.atoms[has_a_say(balance) & (balance.parts == part)]
        atoms = number(inside)
        atoms = atoms[owner[atoms] < len(keys)]
        pairs, counts = np.unique(np.stack([owner[atoms], number.axis_of[atoms]]), axis=1, return_counts=True)
        found = zip(*pairs.tolist(), counts.tolist()) if counts.size else ()
        slices = tuple((keys[group], number.axes[axis], count) for group, axis, count in found)
        return Part(len(inside) - len(atoms), slices)

    found: dict[Place, None] = {}
    for balance in constraints.balanced:
        if balance.parts is not None:
            parts = [part_of(balance, part) for part in range(int(balance.parts.max()) + 1)]
            found[Place(tuple(part for part in parts if part.size), balance.rounded)] = None
    return tuple(found)
