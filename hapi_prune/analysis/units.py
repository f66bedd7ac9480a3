"""How many units each group has at some sizes, as the axes tell that it touches: where the parts of an axis begin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..plan import Axis, ChannelGroup, Index
from .numbering import Numbering

Slices = list[tuple[int, int]]
"""Of the groups on an axis, by their place, how many slices a unit of each has there."""


@dataclass(frozen=True)
class Units:
    """The groups of a network when it was traced, and which of them each slice belongs to.

    Attributes:
        number: the atoms of that time as consecutive numbers.
        groups: the groups, by key.
        sizes: the size of every axis.
    """

    number: Numbering
    groups: Mapping[str, ChannelGroup]
    sizes: Mapping[Axis, int]

    @cached_property
    def _all(self) -> list[ChannelGroup]:
        return list(self.groups.values())

    @cached_property
    def _owner(self) -> Index:
        return self.number.owners(self.groups)

    @cached_property
    def _on(self) -> dict[Axis, Slices]:
        """The groups on each axis that may shrink."""
        found: dict[Axis, Slices] = {}
        for place, group in enumerate(self._all):
            for axis, index in group.index.items() if not group.frozen else ():
                found.setdefault(axis, []).append((place, index.shape[1]))
        return found

    def stay(self, atoms: Index) -> bool:
        """Whether none of these slices can go."""
        return bool((self._owner[self.number(atoms)] == len(self._all)).all())

    def left(self, atoms: Index, sizes: Mapping[Axis, int]) -> float:
        """How many of these slices there are at other sizes; a whole number, where these fit together."""
        owners, counts = np.unique(self._owner[self.number(atoms)], return_counts=True)
        of = dict(zip(owners.tolist(), counts.tolist()))
        total = float((atoms < 0).sum()) + of.pop(len(self._all), 0)
        shares = self._shares(of, sizes)
        return float(total + sum(count * shares[place] for place, count in of.items()))

    def _shares(self, places: Iterable[int], sizes: Mapping[Axis, int]) -> dict[int, float]:
        """What share of its units each of these groups has left: that with which the axes that it touches add up.

        What they leave open is about the same share of each.
        """
        axes = sorted({axis for place in places for axis in self._all[place].index})
        columns = sorted({place for axis in axes for place, _ in self._on[axis]})
        matrix = np.zeros((len(axes), len(columns)))
        for row, axis in enumerate(axes):
            for place, count in self._on[axis]:
                matrix[row, columns.index(place)] = count * self._all[place].size
        gone = np.array([sizes[axis] - self.sizes[axis] for axis in axes], float)
        even = gone.sum() / max(matrix.sum(), 1)
        shares = 1 + even + np.linalg.pinv(matrix) @ (gone - even * matrix.sum(axis=1))
        return dict(zip(columns, shares.tolist()))
