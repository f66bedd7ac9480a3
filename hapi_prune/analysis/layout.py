"""Which slices belong to which unit, for all groups in one array, so that a cut moves them all at once.

A dense block of 1,000 layers has half a million pairs of a group and an axis that it touches. Nearly none of them is
ever looked at by itself: the index of a group is read off when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..plan import Axis, Index
from .numbering import Numbering


@dataclass(frozen=True)
class Layout:
    """The slices of all units, by axis, on each axis by group, then by unit. A *run* is those of one axis and group.

    Attributes:
        number: the atoms as consecutive numbers; axes that are alike share theirs, and are one axis here.
        slices: the number of each slice.
        units: for each slice its unit: a number, ascending with the groups.
        sizes: how many units each group has.
        starts: where each run begins; and behind the last one, how many slices there are.
        axes, groups: for each run the place of its axis in ``number.axes``, and that of its group.
    """

    number: Numbering
    slices: Index
    units: Index
    sizes: Index
    starts: Index
    axes: Index
    groups: Index

    @cached_property
    def firsts(self) -> Index:
        """For each group its first unit; and behind the last one, how many units there are."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    @cached_property
    def _runs(self) -> list[Index]:
        """For each group its runs."""
        order = np.argsort(self.groups, kind="stable")
        return np.split(order, np.searchsorted(self.groups[order], np.arange(1, len(self.sizes))))

    @cached_property
    def heights(self) -> Index:
        """For each run how many units have slices in it."""
        begins = np.diff(self.units, prepend=-1) != 0
        begins[self.starts[:-1]] = True
        return np.add.reduceat(begins, self.starts[:-1], dtype=np.int64) if len(self.axes) else self.starts[:0]

    @cached_property
    def _known(self) -> dict[int, Index]:
        return {}

    def runs(self, group: int) -> dict[int, int]:
        """The runs of a group, by the place of the axis."""
        found = self._runs[group]
        return dict(zip(self.axes[found].tolist(), found.tolist()))

    def index(self, run: int) -> Index:
        """The positions of the units on the axis of a run, shape ``[units, slices of each]``; one object each time."""
        if run not in self._known:
            begin, end = self.starts[run : run + 2]
            positions = self.slices[begin:end] - self.number.starts[self.axes[run]]
            self._known[run] = positions.reshape(self.heights[run], -1)
        return self._known[run]

    def after(self, alive: npt.NDArray[np.bool_], places: Index, number: Numbering) -> Layout:
        """What is left once only some units are.

        Args:
            alive: for each unit whether it stays; of each group one must.
            places: for each number of a slice that stays its position on the axis then.
            number: the numbers of the atoms then.
        """
        stays = alive[self.units]
        counts = np.add.reduceat(stays, self.starts[:-1], dtype=np.int64) if len(self.axes) else self.starts[:0]
        slices = np.repeat(number.starts[self.axes], counts) + places[self.slices[stays]]
        units = (np.cumsum(alive) - 1)[self.units[stays]]
        sizes = np.diff(np.concatenate([[0], np.cumsum(alive)])[self.firsts])
        starts = np.concatenate([[0], np.cumsum(counts)])
        return Layout(number, slices, units, sizes, starts, self.axes, self.groups)


def layout_of(number: Numbering, root: Index, order: Index, rank: Index) -> Layout:
    """The layout of units, from which each atom is one of.

    Args:
        number: the atoms.
        root: for each atom the smallest one of its unit.
        order: the atoms by axis, on each axis by group, then by unit.
        rank: for each atom the place of its group.
    """
    of_units = np.flatnonzero(root == np.arange(number.count))
    of_units = of_units[np.argsort(rank[of_units], kind="stable")]
    unit_of = np.zeros(number.count, np.int64)
    unit_of[of_units] = np.arange(len(of_units))
    axes, groups = number.axis_of[order], rank[order]
    begins = np.flatnonzero(np.diff(groups, prepend=-1) | np.diff(axes, prepend=-1))
    starts = np.append(begins, number.count)
    sizes = np.bincount(rank[of_units])
    return Layout(number, order, unit_of[root[order]], sizes, starts, axes[begins], groups[begins])


class Places(Mapping[Axis, Index]):
    """The positions of a group's units on each axis that it touches, looked up in a layout.

    Args:
        layout: of all groups.
        group: the place of this one.
    """

    def __init__(self, layout: Layout, group: int) -> None:
        self._layout, self._group = layout, group

    @cached_property
    def _runs(self) -> dict[int, int]:
        return self._layout.runs(self._group)

    @cached_property
    def _axes(self) -> list[Axis]:
        number = self._layout.number
        return [number.axes[place] for place in sorted(n for first in self._runs for n in number.sharing[first])]

    def _run(self, axis: Any) -> int | None:
        return self._runs.get(self._layout.number.first_of.get(axis, -1))

    def __getitem__(self, axis: Axis) -> Index:
        run = self._run(axis)
        if run is None:
            raise KeyError(axis)
        return self._layout.index(run)

    def __contains__(self, axis: object) -> bool:
        return self._run(axis) is not None

    def __iter__(self) -> Iterator[Axis]:
        return iter(self._axes)

    def __len__(self) -> int:
        return len(self._axes)

    def __repr__(self) -> str:
        return repr(dict(self))
