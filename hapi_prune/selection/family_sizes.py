"""The sizes that a family of groups can have: the solutions of linear equations in the units that each group keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..analysis.channel_map import ChannelMap
from ..analysis.partitions import Partition, Section
from ..plan import Axis, ChannelGroup
from .limits import Flags, Limits

Floats = npt.NDArray[np.float64]

NEAR = 1e-6
"""Numbers of slices that differ by less than this are equal; the difference is due to rounding."""


@dataclass(frozen=True)
class Solution:
    """The solution of the equations at each step, from 1 on.

    Attributes:
        fits: whether there is a solution, shape ``[steps]``.
        units: for each group how many units it keeps, shape ``[groups, steps]``; nan if the equations leave that open.
    """

    fits: Flags
    units: Floats


@dataclass(frozen=True)
class FamilySizes:
    """The sizes that a family can have: each axis keeps about the same share of its traced size.

    Attributes:
        was, has: for each axis that the family touches, its slices at trace time, and now.
        widest: the number of filters of the family's widest layer; a *step* is how many of these stay, and stands for
            a size of the whole family.
        filters: the axes that hold filters.
        groups: the groups of the family that may shrink, at trace time.
        partitions: the partitions that couple their sizes.
    """

    was: dict[Axis, int]
    has: dict[Axis, int]
    widest: int
    filters: frozenset[Axis]
    groups: Mapping[str, ChannelGroup]
    partitions: tuple[Partition, ...]

    def at(self, step: int, exact: bool = True) -> dict[Axis, int]:
        """The slices on each axis if the widest layer keeps ``step`` filters; `steps` says which steps fit.

        If not ``exact``, numbers that attributes hold may be rounded.
        """
        return dict(zip(self.was, self._sizes[exact][:, step - 1].tolist()))

    @cached_property
    def _sizes(self) -> Mapping[bool, npt.NDArray[np.int64]]:
        """The slices on each axis at each step: from the units of the groups if these are known, else a share."""
        shares = np.stack([*self._shares.values()]) if self.was else np.zeros((0, max(self.widest - 1, 0)))
        slices = np.zeros((len(self.was), len(self.groups)))
        for row, axis in enumerate(self.was):
            for column, group in enumerate(self.groups.values()):
                slices[row, column] = group.index[axis].shape[1] if axis in group.index else 0
        found = {}
        for exact, solution in self.solved.items():
            open_ = (slices > 0) @ np.isnan(solution.units) > 0
            sizes = np.where(open_, shares, slices @ np.nan_to_num(solution.units))
            found[exact] = np.rint(sizes).astype(np.int64)
        return found

    @cached_property
    def _shares(self) -> dict[Axis, Floats]:
        """The slices on each axis at each step, if each keeps the same share."""
        steps = np.arange(1, self.widest)
        return {axis: np.maximum(1, np.rint(size * steps / self.widest)) for axis, size in self.was.items()}

    def option(self, channel_map: ChannelMap, step: int, exact: bool = True) -> dict[Axis, int]:
        """The sizes of these axes at a step, with their slices of other groups."""
        sizes = self.at(step, exact)
        return {axis: channel_map.sizes[axis] - self.has[axis] + size for axis, size in sizes.items()}

    def is_whole(self, step: int) -> bool:
        """Whether each group keeps exactly the same share of its units."""
        return all(group.size * step % self.widest == 0 for group in self.groups.values())

    def steps(self, limits: Limits, exact: bool = True, blocks: int = 1) -> list[int]:
        """The steps with a solution within the limits, largest first; only multiples of ``blocks`` if there are any."""
        fits = self.solved[exact].fits.copy()
        for (axis, was), sizes in zip(self.was.items(), self._sizes[exact]):
            fits &= sizes <= self.has[axis]
            if axis in self.filters:
                fits &= limits.allow(was, sizes)
        found: list[int] = (np.flatnonzero(fits) + 1)[::-1].tolist()
        return [step for step in found if step % blocks == 0] or found

    @cached_property
    def solved(self) -> Mapping[bool, Solution]:
        """The solutions without rounding, and with numbers that attributes hold rounded down."""
        return {exact: self._solution(exact) for exact in (True, False)}

    def _solution(self, exact: bool) -> Solution:
        steps = np.arange(1, self.widest)
        rows, sides = [], []
        for row, side in self._equations(exact):
            rows.append(row)
            sides.append(np.broadcast_to(side, steps.shape))
        if not rows or not steps.size:
            return Solution(np.ones(len(steps), bool), np.full((len(self.groups), len(steps)), np.nan))
        matrix, wanted = np.stack(rows), np.stack(sides)
        inverse = np.linalg.pinv(matrix)
        units, space = inverse @ wanted, inverse @ matrix
        fits = (np.abs(matrix @ units - wanted) < NEAR).all(axis=0)
        whole = np.concatenate([np.eye(len(self.groups)), self._sections()])  # what has to be a whole number
        told = np.abs(whole @ space - whole).max(axis=1, initial=0.0) < NEAR
        numbers = (whole @ units)[told]
        fits &= (np.abs(numbers - np.rint(numbers)) < NEAR).all(axis=0) & (numbers > 1 - NEAR).all(axis=0)
        return Solution(fits, np.where(told[: len(self.groups), None] & fits, np.rint(units), np.nan))

    def _equations(self, exact: bool) -> Iterator[tuple[Floats, Floats | float]]:
        """The equations in the units of the groups: for each its coefficients and its right side."""
        for axis in sorted(self.filters) or sorted(self.was):
            yield (
                self._row([(key, axis, g.index[axis].size) for key, g in self.groups.items() if axis in g.index]),
                self._shares[axis],
            )
        for partition in self.partitions:
            row = sum(map(self._of, partition.sections), np.zeros(len(self.groups)))
            fixed, whole = (
                sum(section.fixed for section in partition.sections),
                sum(section.size for section in partition.sections),
            )
            if not partition.rounded or exact:
                for section in partition.sections:
                    share = section.size / whole
                    yield self._of(section) - share * row, share * fixed - section.fixed
                continue
            total, before, border = fixed + self._slices(partition), 0, np.zeros(self.widest - 1)
            for section in partition.sections:
                before, begin = before + section.size, border
                border = np.floor(before * total / whole + NEAR)
                yield self._of(section), border - begin - section.fixed

    def _slices(self, partition: Partition) -> Floats:
        """How many slices of a partition are kept of those that may go, if each axis keeps the same share."""
        sections = [one for section in partition.sections for one in section.slices]
        found = [self._shares[axis] * (count / self.was[axis]) for _, axis, count in sections]
        return np.rint(sum(found, np.zeros(self.widest - 1)))

    def _sections(self) -> Floats:
        """The slices of each section of each partition, as coefficients of the units."""
        rows = [self._of(section) for partition in self.partitions for section in partition.sections if section.slices]
        return np.stack(rows) if rows else np.zeros((0, len(self.groups)))

    def _of(self, section: Section) -> Floats:
        return self._row(section.slices)

    def _row(self, slices: Iterable[tuple[str, Axis, int]]) -> Floats:
        row, number = np.zeros(len(self.groups)), {key: at for at, key in enumerate(self.groups)}
        for key, _, count in slices:
            row[number[key]] += count / self.groups[key].size
        return row


def family_sizes(channel_map: ChannelMap, members: frozenset[str]) -> FamilySizes:
    """The `FamilySizes` of a family of the channel map as it is now."""
    return channel_map.state.once(("family sizes", members), lambda: _family_sizes(channel_map, members))


def _family_sizes(channel_map: ChannelMap, members: frozenset[str]) -> FamilySizes:
    now, origin = channel_map.groups, channel_map.origin.groups
    free = {key: origin[key] for key in sorted(members) if key in now and not now[key].frozen}
    was: dict[Axis, int] = {}
    has: dict[Axis, int] = {}
    for key in free:
        for groups, sizes in ((origin, was), (now, has)):
            for axis, index in groups[key].index.items():
                sizes[axis] = sizes.get(axis, 0) + index.size
    filters = frozenset(was.keys() & channel_map.traced.constraints.filters)
    widest = max((was[axis] for axis in filters), default=max(was.values(), default=0))
    partitions = tuple(
        partition for partition in channel_map.partitions if partition.keys and partition.keys <= free.keys()
    )
    return FamilySizes(was, has, widest, filters, free, partitions)
