"""Ops in which values meet: what meets position by position is tied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..labels import Label, Mismatch, Record, Signal
from ..plan import Index
from .registry import Call, Op, Value, rule

FIXED = "meets a value of fixed size"
LAYOUT = "meets channels that are laid out in another way"


def meet(
    record: Record, ours: Iterable[Label], our_axes: set[int], theirs: Iterable[Label], their_axes: set[int]
) -> None:
    """Two values meet position by position, on common axes.

    Args:
        record: where the ties go.
        ours, theirs: the labels of each value, on the axes of the result.
        our_axes, their_axes: the axes along which each value is spread out (its size there is more than 1).
    """
    ours, theirs = list(ours), list(theirs)
    met: set[int] = set()
    for label in ours:
        for other in theirs:
            wide, narrow, spread = (label, other, their_axes) if len(label.axes) >= len(other.axes) else (
                other, label, our_axes
            )  # fmt: skip
            rest = set(wide.axes) - set(narrow.axes)
            if set(narrow.axes) <= set(wide.axes) and not rest & spread:
                atoms = wide.along(narrow.axes)
                record.tie(atoms, np.broadcast_to(narrow.atoms[..., None], check(record, atoms, narrow)))
                met |= {id(label), id(other)}
    for labels, others, axes in ((ours, theirs, their_axes), (theirs, ours, our_axes)):
        for label in labels:
            shared = [axis for axis in label.axes if axis in axes]
            if id(label) in met or not shared:
                continue
            if len(shared) == len(label.axes) or any(set(other.axes) & set(shared) for other in others):
                record.stop([label], LAYOUT if others else FIXED)
            else:
                record.pin_along(label, shared)


def check(record: Record, atoms: Index, narrow: Label) -> tuple[int, ...]:
    """The shape to which ``narrow`` is spread to meet ``atoms``."""
    if atoms.shape[:-1] != narrow.atoms.shape:
        raise Mismatch(f"{record.here}: {atoms.shape[:-1]} channels meet {narrow.atoms.shape}")
    return atoms.shape


def aligned(signal: Signal, rank: int) -> list[Label]:
    """The labels on the axes of a result of ``rank`` axes, to which the value is broadcast."""
    lead = rank - len(signal.shape)
    return [label.renamed([axis + lead for axis in label.axes]) for label in signal.labels]


def broadcast(call: Call, args: Sequence[Signal], traced: Sequence[Signal]) -> Signal:
    """The result of an element-wise op over ``args``: sizes agree, labels meet."""
    rank = max((len(signal.shape) for signal in args), default=0)
    args = agreed(call.record, args, traced, rank)
    spread = [{axis + rank - len(t.shape) for axis, size in enumerate(t.shape) if size > 1} for t in traced]
    labels: dict[tuple[int, ...], Label] = {}
    for number, signal in enumerate(args):
        for before in range(number):
            meet(call.record, aligned(args[before], rank), spread[before], aligned(signal, rank), spread[number])
        for label in aligned(signal, rank):
            labels.setdefault(label.axes, label)
    labels = {axes: la for axes, la in labels.items() if not any(set(axes) < set(more) for more in labels)}
    shape = [1] * rank
    for signal, axes in zip(args, spread):
        for axis in axes:
            shape[axis] = signal.shape[axis - rank]
    for axis in range(rank):
        if not any(axis in axes for axes in spread):
            shape[axis] = max(signal.shape[axis - rank] for signal in args if len(signal.shape) >= rank - axis)
    return Signal(tuple(shape), tuple(labels.values()))


def agreed(record: Record, args: Sequence[Signal], traced: Sequence[Signal], rank: int) -> list[Signal]:
    """The arguments with equal sizes where they are spread out; the network's own tensors follow the others."""
    result = list(args)
    for axis in range(-rank, 0):
        sizes = [
            (not args[n].tensor, args[n].shape[axis])
            for n, t in enumerate(traced)
            if len(t.shape) >= -axis and t.shape[axis] > 1
        ]
        if len({size for _, size in sizes}) < 2:
            continue
        lead = max(sizes, key=lambda pair: pair[0])[1]
        for n, t in enumerate(traced):
            if len(t.shape) >= -axis and t.shape[axis] > 1:
                result[n] = record.follow(result[n], len(t.shape) + axis, lead)
    return result


def flat(values: Iterable[Value]) -> list[Signal]:
    """All signals among the operands."""
    found: list[Signal] = []
    for value in values:
        found += [value] if isinstance(value, Signal) else list(value or ())
    return found


def bias_price(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """One per output for the bias of a convolution, which the trace marks; any other sum is free."""
    out = outs[0]
    if not op.attrs.get("conv_bias") or not isinstance(out, Signal):
        return 0, 0
    return int(np.prod(out.shape, dtype=np.int64)), 0


@rule("add", price=bias_price)
@rule(
    "subtract", "multiply", "divide", "maximum", "minimum", "fmax", "fmin", "remainder", "floor_divide",
    "elementwise_pow", "heaviside", "atan2", "add_n", "where", "lerp", "masked_fill",
    "equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal",
    "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or",
)  # fmt: skip
def elementwise(call: Call) -> Sequence[Value]:
    """Several values, position by position."""
    args, traced = flat(call.args), flat(call.traced)
    if len(args) == 1:
        return [Signal(args[0].shape, args[0].labels)]
    return [broadcast(call, args, traced)]


def product_price(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """Each element of the result is a sum over the axis that is summed over."""
    x, out = args[0], outs[0]
    assert isinstance(x, Signal) and isinstance(out, Signal)
    summed = x.shape[-2 if op.attrs.get("transpose_x") and len(x.shape) > 1 else -1]
    macs = int(np.prod(out.shape, dtype=np.int64)) * summed
    return macs, macs


@rule("matmul", "bmm", "mv", price=product_price)
def matmul(call: Call) -> Sequence[Value]:
    """The last axis of one meets the last but one of the other, and is summed over."""
    x, y = call.arg(0), call.arg(1)
    x_axes, y_axes = places(call, 0), places(call, 1)
    k_x, k_y = x_axes.index("k"), y_axes.index("k")
    if x.tensor and not y.tensor:
        x = call.record.follow(x, k_x, y.shape[k_y])
    y = call.record.follow(y, k_y, x.shape[k_x])
    rank, tail = len(call.shape()), (len(x_axes) > 1) + (len(y_axes) > 1)
    sides = []
    for signal, axes, traced in ((x, x_axes, call.traced_arg(0)), (y, y_axes, call.traced_arg(1))):
        place = [coordinate(axis, rank, tail) for axis in axes]
        labels = [label.renamed([place[axis] for axis in label.axes]) for label in signal.labels]
        spread = {place[axis] for axis, size in enumerate(traced.shape) if size > 1}
        sides.append((signal, place, labels, spread))
    return [contracted(call, sides, rank)]


def places(call: Call, index: int) -> list[str]:
    """What each axis of an operand is: a batch axis ``"b0"`` (counted from the right), ``"m"``, ``"k"`` or ``"n"``."""
    rank = len(call.traced_arg(index).shape)
    if rank == 1:
        return ["k"]
    last = ["m", "k"] if index == 0 else ["k", "n"]
    if call.op.attrs.get("transpose_x" if index == 0 else "transpose_y"):
        last.reverse()
    return [f"b{rank - 3 - axis}" for axis in range(rank - 2)] + last


def coordinate(name: str, rank: int, tail: int) -> int:
    """The axis of a result of ``rank`` axes, ``tail`` of them not batch axes; ``rank`` for the axis summed over."""
    if name in ("k", "m", "n"):
        return {"k": rank, "m": rank - tail, "n": rank - 1}[name]
    return rank - tail - 1 - int(name[1:])


def contracted(call: Call, sides: Sequence[tuple[Signal, list[int], list[Label], set[int]]], rank: int) -> Signal:
    """The product: labels on the summed axis meet and end, the others go on."""
    (_, _, x_labels, x_spread), (y, y_place, y_labels, y_spread) = sides
    meet(call.record, x_labels, x_spread, y_labels, y_spread)
    shape = list(call.shape())
    kept: dict[tuple[int, ...], Label] = {}
    if y.tensor and len(y.shape) == 2:
        call.record.filters.add((y.tensor, y_place.index(rank - 1)))
    for signal, place, labels, spread in sides:
        for axis in spread - {rank}:
            shape[axis] = signal.shape[place.index(axis)]
        for label in labels:
            if rank in label.axes:
                # Summed over: what is left of the label keeps its place on the other axes.
                call.record.pin_along(label, [axis for axis in label.axes if axis != rank])
            else:
                kept.setdefault(label.axes, label)
    return Signal(tuple(shape), tuple(kept.values()))


@rule("embedding")
def embedding(call: Call) -> Sequence[Value]:
    """Rows of a table: the rows stay, the columns are channels."""
    index, table = call.arg(0), call.arg(1)
    call.record.stop(table.on(0), "is a row of a table")
    call.record.stop(index.labels, "is used as an index")
    last = len(call.shape()) - 1
    labels = tuple(label.renamed([last]) for label in table.on(1) if label.axes == (1,))
    return [Signal(call.shape()[:-1] + (table.shape[1],), labels)]


@rule("prelu")
def prelu(call: Call) -> Sequence[Value]:
    """One slope for all, or one per channel."""
    x, slope = call.arg(0), call.arg(1)
    if call.traced_arg(1).shape[0] == 1:
        return [Signal(x.shape, x.labels)]
    axis = 1 if call.op.attrs.get("data_format", "NCHW")[1] == "C" else len(x.shape) - 1
    return [per_channel(call, x, axis, [slope])]


def per_channel(call: Call, x: Signal, axis: int, tensors: Sequence[Signal | None]) -> Signal:
    """One number per slice along ``axis`` of ``x`` for each of ``tensors``, all of shape ``[size of axis]``."""
    labels = x.on(axis)
    for tensor in tensors:
        if tensor is None:
            continue
        tensor = call.record.follow(tensor, 0, x.shape[axis])
        for own in tensor.labels:
            if len(labels) != 1:
                call.record.stop([own, *labels], LAYOUT if labels else FIXED)
                continue
            atoms = labels[0].along([axis])
            call.record.tie(atoms, np.broadcast_to(own.atoms[:, None], atoms.shape))
        if not tensor.labels:
            call.record.stop(labels, FIXED)
    return Signal(x.shape, x.labels)
