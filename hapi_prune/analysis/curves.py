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
"""At how many multiples of `LANES` a width is measured; there are as many beside them."""

CLIFF, MOST_SPLITS = 1.5, 5
"""Where a unit takes so many times as long as at the next smaller width, as behind the end of a cache, it is measured
in between, so many times."""

MOST_DIALS = 2
"""How many widths of an op are told apart; where it has more, as a concat, they are taken to shrink alike."""


@dataclass(frozen=True)
class Dial:
    """A width of an op: the sizes that are one and the same number, or multiples of it.

    Attributes:
        number: which of the cost model's sizes it is.
        places: ``(operand, axis, multiple)`` for each.
        original: what it was when the network was traced.
    """

    number: int
    places: tuple[tuple[int, int, float], ...]
    original: int


def points(size: int) -> list[int]:
    """The widths that are measured of one that is ``size`` at most."""
    if size <= LANES:
        return sorted({*range(1, size + 1, 2), size})
    full = list(range(LANES, size + 1, LANES))
    last = len(full) - 1
    full = sorted({full[round(n * last / (MOST_POINTS - 1))] for n in range(MOST_POINTS)})
    beside = {count - LANES + 1 for count in full} | {full[-1] + 1, size}
    return sorted({*full, *(count for count in beside if count <= size)})


class Axis:
    """The measured widths of a dial, and for each width those that it lies between."""

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
    """The time of an op at any widths.

    Attributes:
        axes: the measured widths of each dial.
        values: the time at each combination of them.
    """

    axes: tuple[Axis, ...]
    values: Mapping[tuple[int, ...], int]

    def at(self, widths: Sequence[float]) -> float:
        """The time, in nanoseconds."""
        total = 0.0
        for corner in itertools.product(*(axis.near(width) for axis, width in zip(self.axes, widths))):
            total += math.prod(weight for _, weight in corner) * self.values[tuple(number for number, _ in corner)]
        return total


def time_of(times: Times, op: Op, traced: Sequence[Value], dials: Sequence[Dial]) -> partial[int] | None:
    """The time of an op as a function of the cost model's sizes; None where it cannot be run by itself.

    Args:
        times: the table; what it lacks is measured.
        op: the operation.
        traced: its operands when the network was traced.
        dials: its widths.
    """
    if len(dials) > MOST_DIALS:
        axes: tuple[Axis, ...] = (Axis(range(1, LANES + 1), lanes=1),)
        shares = [[count / LANES] * len(dials) for count in axes[0].widths]
    else:
        axes = tuple(Axis(widths_of(times, op, traced, dials, turned)) for turned in range(len(dials)))
        shares = [
            [width / dial.original for width, dial in zip(widths, dials)]
            for widths in itertools.product(*(axis.widths for axis in axes))
        ]
    corners = itertools.product(*(range(len(axis.widths)) for axis in axes))
    values: dict[tuple[int, ...], int] = {}
    for corner, share in zip(corners, shares):
        found = times.of(op, sized(traced, dials, share))
        if found is None:
            return None
        values[corner] = found
    return partial(_at, Curve(axes, values), tuple(dials), times.scale)


def widths_of(times: Times, op: Op, traced: Sequence[Value], dials: Sequence[Dial], turned: int) -> list[int]:
    """The widths at which an op is measured when one of its dials is turned: more of them where there is a cliff."""
    size = dials[turned].original
    widths = points(size)

    def of_a_unit(width: int) -> float:
        found = times.of(op, sized(traced, dials, [width / size if n == turned else 1.0 for n in range(len(dials))]))
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


def _at(curve: Curve, dials: Sequence[Dial], scale: float, sizes: Sequence[int]) -> int:
    widths: list[float] = [sizes[dial.number] for dial in dials]
    if len(dials) > MOST_DIALS:
        widths = [LANES * sum(widths) / sum(dial.original for dial in dials)]
    return round(scale * curve.at(widths))


def sized(args: Sequence[Value], dials: Sequence[Dial], shares: Sequence[float]) -> list[Value]:
    """Operands whose widths are these shares of the original ones."""
    shapes = [list(signal.shape) for signal in signals_of(args)]
    for dial, share in zip(dials, shares):
        width = max(round(dial.original * share), 1)
        for place, axis, multiple in dial.places:
            shapes[place][axis] = max(round(width * multiple), 1)
    left = iter(shapes)

    def resized(value: Value) -> Value:
        if isinstance(value, tuple):
            return tuple(replace(part, shape=tuple(next(left))) for part in value)
        return replace(value, shape=tuple(next(left))) if isinstance(value, Signal) else value

    return [resized(value) for value in args]
