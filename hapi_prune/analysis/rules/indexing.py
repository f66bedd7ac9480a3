"""Ops that pick or write slices by their number."""

from __future__ import annotations

from collections.abc import Sequence

from ..labels import Label, Mismatch, Signal, Value
from .broadcasting import FIXED, aligned, meet, settled
from .registry import Call, free, rule
from .slicing import part, ranged
from .stacking import squeezed

PICKED = "is picked by its number"
WRITTEN = "is picked by its number, which the code names"


@rule("embedding", flops=free)
def embedding(call: Call) -> Sequence[Value]:
    """Rows of a table are picked by their numbers: the rows stay, and the columns are channels."""
    index, table = call.arg(0), call.arg(1)
    call.constraints.stop(table.on(0), "is a row of a table")
    call.constraints.stop(index.labels, "is used as an index")
    last = len(call.shape()) - 1
    labels = tuple(label.renamed([last]) for label in table.on(1) if label.axes == (1,))
    return [Signal(call.shape()[:-1] + (table.shape[1],), labels)]


@rule("gather", "index_select", flops=free)
def gather(call: Call) -> Sequence[Value]:
    """Slices along one axis are picked by their numbers: they stay, and labels on the other axes pass."""
    x, index = call.arg(0), call.arg(1)
    axis = (call.numbers(2, "axis") or (0,))[0] % len(x.shape)
    if x.value is not None and index.value is not None:
        return [Signal(call.shape(), value=tuple(x.value[int(n)] for n in index.value))]
    picked, rank = picked_by(call, x, axis, index), len(index.shape)
    labels = [la for la in x.labels if axis not in la.axes]
    moved = tuple(la.renamed([a + (rank - 1) * (a > axis) for a in la.axes]) for la in labels)
    return [Signal((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), (*picked, *moved))]


def picked_by(call: Call, x: Signal, axis: int, index: Signal) -> list[Label]:
    """The labels along ``axis`` of what is picked there; none where a number cannot go with its channel.

    A buffer that does nothing but pick among all slices shrinks with them: each entry is tied to what it picks.
    """
    channels, size = x.on(axis), call.traced_arg(0).shape[axis]
    single = len(index.labels) == 1 and index.labels[0].axes == (0,)
    picks = call.constraints.picks_in(index.labels[0].atoms) if single else None
    if picks is None or picks.reach != size or not channels or any(label.axes != (axis,) for label in channels):
        call.constraints.stop([*channels, *index.labels], PICKED if index.value is None else WRITTEN)
        return []
    if len(call.traced_arg(1).shape) == 1 and call.traced_arg(1).shape[0] == size:
        index = call.constraints.follow(index, 0, x.shape[axis])
    numbers, entries = picks.at(index.shape[0]), index.labels[0].atoms
    if len(numbers) != len(entries) or int(numbers.max()) + 1 != x.shape[axis]:
        raise Mismatch(f"{call.op}: {len(entries)} numbers up to {numbers.max()} pick among {x.shape[axis]} channels")
    for label in channels:
        call.constraints.tie(entries, label.atoms[numbers])
    return [Label((axis,), label.atoms[numbers]) for label in channels]


@rule("gather_nd", flops=free)
def gather_nd(call: Call) -> Sequence[Value]:
    """Slices along the first axes are picked by their numbers: they stay, and labels on the other axes pass."""
    x, index = call.arg(0), call.arg(1)
    count, single = index.shape[-1], len(index.shape) == 2 and index.shape[-1] == 1
    picked = picked_by(call, x, 0, index) if single else []
    if not single:
        reason = PICKED if index.value is None else WRITTEN
        call.constraints.stop([*index.labels, *(la for la in x.labels if min(la.axes) < count)], reason)
    shift = len(index.shape) - 1 - count
    labels = [la.renamed([a + shift for a in la.axes]) for la in x.labels if min(la.axes) >= count]
    return [Signal((*index.shape[:-1], *x.shape[count:]), (*picked, *labels))]


@rule("take_along_axis", "index_sample", flops=free)
def take_along_axis(call: Call) -> Sequence[Value]:
    """Picked by numbers along one axis; along the others index and value meet."""
    x, index = call.arg(0), call.arg(1)
    axis = call.op.attrs.get("axis", 1) % len(x.shape)
    call.constraints.stop([*x.on(axis), *index.on(axis)], PICKED)
    sides = [[la for la in signal.labels if axis not in la.axes] for signal in (x, index)]
    spread = [{a for a, size in enumerate(call.traced_arg(n).shape) if size > 1 and a != axis} for n in (0, 1)]
    meet(call.constraints, sides[0], spread[0], sides[1], spread[1])
    return [Signal(x.sized(axis, index.shape[axis]).shape, tuple(settled(sides)))]


@rule("set_value_", "set_value", "set_value_with_tensor_", "set_value_with_tensor", flops=free)
def set_value(call: Call) -> Sequence[Value]:
    """A range is overwritten: with one number, or with a value whose slices meet those that were there."""
    x, traced = call.arg(0), call.traced_arg(0)
    first = 2 if "tensor" in call.op.name else 1
    starts, ends, steps = (call.numbers(first + n) for n in range(3))
    axes = [axis % len(traced.shape) for axis in call.op.attrs["axes"]]
    if starts is None or ends is None or steps is None or call.op.attrs.get("none_axes"):
        call.stop_others(reason="is overwritten at computed places")
        return [call.plain()]
    region, was = x, list(traced.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps):
        span = range(*slice(start, end, step).indices(traced.shape[axis]))
        region, was[axis] = part(call, region, axis, ranged(call, axis, span), len(span)), len(span)
    for axis in sorted((a % len(was) for a in call.op.attrs["decrease_axes"]), reverse=True):
        region = squeezed(region, axis)
        del was[axis]
    if first == 2:
        overwritten(call, region, was)
    elif len(call.op.attrs.get("values", ())) > 1:
        call.constraints.stop(region.labels, FIXED)
    return [Signal(x.shape, x.labels)]


def overwritten(call: Call, region: Signal, was: Sequence[int]) -> None:
    """The range meets the value that takes its place; ``was``: its shape at trace time."""
    value, rank = call.arg(1), len(was)
    if len(value.shape) > rank:
        call.constraints.stop([*region.labels, *value.labels], FIXED)
        return
    spread = {axis + rank - len(value.shape) for axis, size in enumerate(call.traced_arg(1).shape) if size > 1}
    ours = {axis for axis, size in enumerate(was) if size > 1}
    meet(call.constraints, region.labels, ours, aligned(value, rank), spread)
