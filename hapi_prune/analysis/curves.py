"""How the time of an operation depends on its widths: some are measured, the others lie between them.

Widths that fill the processor's lanes may be cheaper than smaller ones that do not. So those that are a multiple of
`LANES` are only compared with each other, and all others with each other, each right above such a multiple, where a
step is dearest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from .labels import Signal, Value, signals_of
from .op import Op
from .times import Times

LANES = 8
MOST_POINTS = 4
"""At how many multiples of `LANES` a dimension is measured; also right above the multiple before each."""

CLIFF, MOST_SPLITS = 1.5, 5
"""Where a unit takes ``CLIFF`` times as long as at the next smaller width, as when a cache is full, widths in between
are measured too, up to ``MOST_SPLITS`` times."""

MOST_DIMENSIONS = 2
"""How many dimensions of an op are measured separately. If it has more, as a concat may, all shrink by one share."""


@dataclass(frozen=True)
class Dimension:
    """A dimension that the time of an op depends on: the sizes that are one and the same number, or multiples of it.

    Attributes:
        number: which of the cost model's sizes it is.
        axes: ``(operand, axis, multiple)`` for each.
        original: what it was when the network was traced.
    """

    number: int
    axes: tuple[tuple[int, int, float], ...]
    original: int


def points(size: int) -> list[int]:
    """The widths at which a dimension of up to ``size`` is measured."""
    if size <= LANES:
        return sorted({*range(1, size + 1, 2), size})
    full = list(range(LANES, size + 1, LANES))
    last = len(full) - 1
    full = sorted({full[round(n * last / (MOST_POINTS - 1))] for n in range(MOST_POINTS)})
    beside = {count - LANES + 1 for count in full} | {full[-1] + 1, size}
    return sorted({*full, *(count for count in beside if count <= size)})


class Grid:
    """The widths at which a dimension was measured, to interpolate between."""

    def __init__(self, widths: Sequence[int], lanes: int = LANES) -> None:
        self.widths, self._lanes = list(widths), lanes
        self._known: dict[float, list[tuple[int, float]]] = {}

    def near(self, width: float) -> list[tuple[int, float]]:
        """``(number of a measured width, its weight)``, one or two of them."""
        if width not in self._known:
            self._known[width] = self._near(width)
        return self._known[width]

    def _near(self, width: float) -> list[tuple[int, float]]:
        alike = [n for n, w in enumerate(self.widths) if (w % self._lanes == 0) == (width % self._lanes == 0)]
        alike = alike or list(range(len(self.widths)))
        below = [n for n in alike if self.widths[n] <= width]
        above = [n for n in alike if self.widths[n] >= width]
        low, high = (below or above)[-1 if below else 0], (above or below)[0 if above else -1]
        if low == high:
            return [(low, 1.0)]
        share = (width - self.widths[low]) / (self.widths[high] - self.widths[low])
        return [(low, 1 - share), (high, share)]


@dataclass(frozen=True)
class Curve:
    """The time of an op at any widths, interpolated.

    Attributes:
        axes: for each dimension the widths at which it was measured.
        values: the time at each combination of them.
    """

    axes: tuple[Grid, ...]
    values: Mapping[tuple[int, ...], int]

    def at(self, widths: Sequence[float]) -> float:
        """The time, in nanoseconds."""
        total = 0.0
        for corner in itertools.product(*(axis.near(width) for axis, width in zip(self.axes, widths))):
            total += math.prod(weight for _, weight in corner) * self.values[tuple(number for number, _ in corner)]
        return total


def time_of(times: Times, op: Op, traced: Sequence[Value], dimensions: Sequence[Dimension]) -> partial[int] | None:
    """The time of an op as a function of the cost model's sizes; None where it cannot be run by itself.

    Args:
        times: the table; what it lacks is measured.
        op: the operation.
        traced: its operands when the network was traced.
        dimensions: what its time depends on.
    """
    if len(dimensions) > MOST_DIMENSIONS:
        axes: tuple[Grid, ...] = (Grid(range(1, LANES + 1), lanes=1),)
        shares = [[count / LANES] * len(dimensions) for count in axes[0].widths]
    else:
        axes = tuple(Grid(widths_of(times, op, traced, dimensions, varied)) for varied in range(len(dimensions)))
        shares = [
            [width / dimension.original for width, dimension in zip(widths, dimensions)]
            for widths in itertools.product(*(axis.widths for axis in axes))
        ]
    corners = itertools.product(*(range(len(axis.widths)) for axis in axes))
    values: dict[tuple[int, ...], int] = {}
    for corner, share in zip(corners, shares):
        found = times.of(op, sized(traced, dimensions, share))
        if found is None:
            return None
        values[corner] = found
    return partial(_at, Curve(axes, values), tuple(dimensions), times.scale)


def widths_of(times: Times, op: Op, traced: Sequence[Value], dimensions: Sequence[Dimension], varied: int) -> list[int]:
    """The widths of one dimension, ``varied``, at which an op is measured: more of them around a jump of its time."""
    size = dimensions[varied].original
    widths = points(size)

    def of_a_unit(width: int) -> float:
        found = times.of(
            op, sized(traced, dimensions, [width / size if n == varied else 1.0 for n in range(len(dimensions))])
        )
        return math.nan if found is None else found / width

    for _ in range(MOST_SPLITS):
        full = [width for width in widths if width % LANES == 0]
        gaps = [(low, high) for low, high in zip(full, full[1:]) if high - low > LANES]
        cliffs = [(low, high) for low, high in gaps if of_a_unit(high) > CLIFF * of_a_unit(low)]
        if not cliffs:
            break
        middle = sum(cliffs[-1]) // 2 // LANES * LANES
        widths = sorted({*widths, middle, middle - LANES + 1})
    return widths


def _at(curve: Curve, dimensions: Sequence[Dimension], scale: float, sizes: Sequence[int]) -> int:
    widths: list[float] = [sizes[dimension.number] for dimension in dimensions]
    if len(dimensions) > MOST_DIMENSIONS:
        widths = [LANES * sum(widths) / sum(dimension.original for dimension in dimensions)]
    return round(scale * curve.at(widths))


def sized(args: Sequence[Value], dimensions: Sequence[Dimension], shares: Sequence[float]) -> list[Value]:
    """Operands whose widths are these shares of the original ones."""
    shapes = [list(signal.shape) for signal in signals_of(args)]
    for dimension, share in zip(dimensions, shares):
        width = max(round(dimension.original * share), 1)
        for operand, axis, multiple in dimension.axes:
            shapes[operand][axis] = max(round(width * multiple), 1)
    left = iter(shapes)

    def resized(value: Value) -> Value:
        if isinstance(value, tuple):
            return tuple(replace(part, shape=tuple(next(left))) for part in value)
        return replace(value, shape=tuple(next(left))) if isinstance(value, Signal) else value

    return [resized(value) for value in args]
