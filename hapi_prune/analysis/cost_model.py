"""What the network would cost with fewer units: computed from the shapes of now, without another propagation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..internals.progress import progress
from ..plan import Axis, Index
from .channel_map import ChannelMap
from .curves import Dimension, time_of
from .labels import Label, Signal, Value, signals_of
from .numbering import Numbering
from .op import Op
from .rules import TABLE, flops_of
from .rules.reduction import told_apart
from .rules.registry import FlopsRule
from .times import Times

Sizes = Sequence[int]


@dataclass(frozen=True)
class Term:
    """A term of the cost: its value at given sizes, and the numbers of the sizes that it depends on."""

    value: Callable[[Sizes], int]
    sizes: frozenset[int]


class CostModel:
    """The FLOPs, parameters, filters or nanoseconds of a network, as a function of how many units its groups keep.

    The size of each axis of each value is a sum: some slices for each unit of each group, and a fixed rest. The rules
    give the cost at those sizes. That is exact where a label varies along one axis. Where it varies along several, as
    behind a reshape, the product of these axes is exact, and one of them takes all of the change: the last along which
    slices are not told apart.

    Args:
        channel_map: the network, as it is now.
        what: ``"flops"``, ``"params"``, ``"filters"`` or ``"latency"``.
        filters: the axes that hold filters; only for ``"filters"``.
        times: how long its ops take; only for ``"latency"``.
    """

    def __init__(
        self, channel_map: ChannelMap, what: str, filters: Iterable[Axis] = (), times: Times | None = None
    ) -> None:
        self._groups = channel_map.groups
        self._column = {key: number for number, key in enumerate(self._groups)}
        self._now = np.array([group.size for group in self._groups.values()], dtype=np.float64)
        self._lines: dict[tuple[float, ...], int] = {}
        self._shares = _Shares(channel_map)
        self._fixed = 0
        self._terms: list[Term] = []
        if what == "flops":
            self._count_flops(channel_map)
        elif times is not None:
            self._count_times(channel_map, times)
        else:
            self._count_tensors(channel_map, set(filters) if what == "filters" else None)
        self._matrix = np.array(list(self._lines), dtype=np.float64).reshape(len(self._lines), len(self._now) + 1)
        self._touching: dict[int, list[Term]] = {}
        for term in self._terms:
            for number in {int(n) for size in term.sizes for n in np.flatnonzero(self._matrix[size, 1:])}:
                self._touching.setdefault(number, []).append(term)

    def at(self, counts: Mapping[str, int]) -> int:
        """The cost if each group keeps so many units; groups that are not named keep all."""
        sizes = self._sizes(counts)
        return self._fixed + sum(term.value(sizes) for term in self._terms)

    def of_one_unit(self, key: str) -> float:
        """How much the cost falls for each removed unit of a group, on average over half of them."""
        now = int(self._now[self._column[key]])
        less = max(now // 2, 1)
        return (self.part(key, now) - self.part(key, now - less)) / less

    def part(self, key: str, count: int) -> int:
        """The terms of the cost that depend on a group, if it keeps so many units and the others keep all."""
        sizes = self._sizes({key: count})
        return sum(term.value(sizes) for term in self._touching.get(self._column[key], []))

    def _sizes(self, counts: Mapping[str, int]) -> list[int]:
        units = self._now.copy()
        for key, count in counts.items():
            units[self._column[key]] = count
        found: list[int] = np.rint(self._matrix[:, 0] + self._matrix[:, 1:] @ units).astype(np.int64).tolist()
        return found

    def _line(self, size: int, share: npt.NDArray[np.float64]) -> int:
        """The number of a size: ``size`` now, of which each unit of each group holds ``share`` slices."""
        fixed = size - float(share @ self._now)
        return self._lines.setdefault((fixed, *share.tolist()), len(self._lines))

    def _count_flops(self, channel_map: ChannelMap) -> None:
        for op, args, outs in channel_map.state.propagation.evaluation.steps():
            count, now = TABLE.flops.get(op.name), (flops_of(op, args, outs) or (0, 0))[0]
            if count is None or not now:
                continue
            variable = {id(s): found for s in signals_of([*args, *outs]) if (found := self._variable_axes(s))}
            if variable:
                numbers = frozenset(n for axes in variable.values() for n in axes.values())
                self._terms.append(Term(_remembered(_flops_of(count, op, args, outs, variable), numbers), numbers))
            else:
                self._fixed += now

    def _count_times(self, channel_map: ChannelMap, times: Times) -> None:
        """A term for each op that can be timed by itself."""
        now, traced = channel_map.state.propagation.evaluation, channel_map.traced.evaluation
        with progress("op", len(now.operands)) as at:
            for number, ((op, args, _), (_, first, _)) in enumerate(zip(now.steps(), traced.steps())):
                at(number)
                dimensions = self._dimensions(signals_of(args), signals_of(first))
                if not dimensions:
                    self._fixed += round(times.scale * (times.of(op, first) or 0))
                elif (value := time_of(times, op, first, dimensions)) is not None:
                    self._terms.append(Term(value, frozenset(dimension.number for dimension in dimensions)))

    def _dimensions(self, now: Sequence[Signal], traced: Sequence[Signal]) -> list[Dimension]:
        """The dimensions of an op: sizes of its operands; those that are multiples of each other are one dimension."""
        found: list[tuple[int, int, int, int]] = []
        for operand, signal in enumerate(now):
            for axis, number in self._variable_axes(signal).items():
                found.append((traced[operand].shape[axis], number, operand, axis))
        lines, dimensions = list(self._lines), []
        while found:
            size, number, *_ = min(found)
            line = np.array(lines[number])
            alike = [one for one in found if np.allclose(line * one[0] / size, lines[one[1]])]
            dimensions.append(
                Dimension(number, tuple((operand, axis, of / size) for of, _, operand, axis in alike), size)
            )
            found = [one for one in found if one not in alike]
        return dimensions

    def _variable_axes(self, signal: Signal) -> dict[int, int]:
        """For each axis whose size depends on the groups, the number of its size."""
        found: dict[int, int] = {}
        for label in signal.labels:
            share = self._shares.of(label)
            if share is not None and not found.keys() & set(label.axes):
                axis = label.axes[self._shares.shrinking(label)]
                found[axis] = self._line(signal.shape[axis], share)
        return found

    def _count_tensors(self, channel_map: ChannelMap, filters: set[Axis] | None) -> None:
        """The elements of the parameters; or, of the axes that hold ``filters``, the sizes."""
        lines: dict[Axis, int] = {}
        for axis, size in channel_map.sizes.items():
            share = np.zeros(len(self._now))
            for key, group in self._groups.items():
                if axis in group.index and not group.frozen:
                    share[self._column[key]] = group.index[axis].shape[1]
            if share.any():
                lines[axis] = self._line(size, share)
        graph = channel_map.graph
        names = {axis[0] for axis in filters} if filters is not None else graph.parameters
        for name in (name for name in graph.shapes if name in names):
            shape = graph.shape(name, channel_map.sizes)
            axes = [axis for axis in range(len(shape)) if filters is None or (name, axis) in filters]
            own = {axis: lines[name, axis] for axis in axes if (name, axis) in lines}
            fixed = math.prod(shape[axis] for axis in axes if axis not in own)
            if own:
                self._terms.append(Term(_product(fixed, list(own.values())), frozenset(own.values())))
            else:
                self._fixed += fixed


class _Shares:
    """How many slices of a label each unit of each group holds; computed once for each label."""

    def __init__(self, channel_map: ChannelMap) -> None:
        groups = channel_map.groups
        self._constraints = channel_map.state.propagation.constraints
        self._number = Numbering(self._constraints)
        self._sizes = np.array([group.size for group in groups.values()], dtype=np.float64)
        self._group_of = self._number.owners(groups)
        self._known: dict[int, tuple[Index, npt.NDArray[np.float64] | None]] = {}
        self._shrinking: dict[int, int] = {}

    def shrinking(self, label: Label) -> int:
        """Which of the label's axes shrinks; of several that may, the last."""
        if len(label.axes) == 1:
            return 0
        key = id(label.atoms)
        if key not in self._shrinking:
            free = [n for n, axis in enumerate(label.axes) if not told_apart(self._constraints, label, axis)]
            self._shrinking[key] = free[-1] if free else len(label.axes) - 1
        return self._shrinking[key]

    def of(self, label: Label) -> npt.NDArray[np.float64] | None:
        """Slices along the shrinking axis for each unit, shape ``[groups]``; None if none can be removed."""
        key = id(label.atoms)
        if key not in self._known:  # keeping the array keeps its id from being reused
            self._known[key] = (label.atoms, self._count(label))
        return self._known[key][1]

    def _count(self, label: Label) -> npt.NDArray[np.float64] | None:
        atoms = label.atoms
        groups = self._group_of[self._number(atoms.ravel())]
        slices = np.bincount(groups, minlength=len(self._sizes) + 1)[:-1]
        if not slices.any():
            return None
        share: npt.NDArray[np.float64] = slices / self._sizes * atoms.shape[self.shrinking(label)] / atoms.size
        return share


def _product(fixed: int, numbers: Sequence[int]) -> Callable[[Sizes], int]:
    return lambda sizes: fixed * math.prod(sizes[number] for number in numbers)


def _remembered(value: Callable[[Sizes], int], numbers: frozenset[int]) -> Callable[[Sizes], int]:
    """A term that is computed once at each of the sizes that it depends on: a search changes few of them at a time."""
    known: dict[tuple[int, ...], int] = {}
    own = tuple(numbers)

    def remembered(sizes: Sizes) -> int:
        key = tuple([sizes[number] for number in own])
        if key not in known:
            known[key] = value(sizes)
        return known[key]

    return remembered


def _flops_of(
    count: FlopsRule, op: Op, args: Sequence[Value], outs: Sequence[Value], variable: Mapping[int, Mapping[int, int]]
) -> Callable[[Sizes], int]:
    """The FLOPs of an op as a function of the sizes."""

    def sized(value: Value, sizes: Sizes) -> Value:
        if isinstance(value, tuple):
            return tuple(one for one in (sized(part, sizes) for part in value) if isinstance(one, Signal))
        axes = variable.get(id(value))
        if axes is None or not isinstance(value, Signal):
            return value
        shape = tuple(sizes[axes[n]] if n in axes else size for n, size in enumerate(value.shape))
        return Signal(shape, value.labels, value.tensor, value.value, value.uniform)  # as `replace`, which takes longer

    def value(sizes: Sizes) -> int:
        return count(op, [sized(one, sizes) for one in args], [sized(one, sizes) for one in outs])[0]

    return value
