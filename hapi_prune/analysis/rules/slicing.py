"""Ops that take a part of a value: split, slice, and their like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...plan import Index
from ..labels import INDEX_BITS, Label, Mismatch, Signal, Value, positions
from ..op import SECTIONS
from .broadcasting import head_of_each, separate
from .registry import Call, free, rule
from .stacking import squeezed

NEAR = 1e-6


def runs(label: Label | None, axis: int) -> Index:
    """Where, along ``axis``, the labels begin to come from another axis of a tensor."""
    if label is None:
        return np.zeros(1, np.int64)
    origin = label.along([axis])[:, 0] >> INDEX_BITS
    return np.flatnonzero(np.concatenate([[True], origin[1:] != origin[:-1]]))


def scaled_position(call: Call, axis: int, position: int, borders: Sequence[int]) -> int:
    """Where ``position`` along ``axis`` of operand 0, one of several ``borders``, lies at the sizes under test.

    A position between two sources stays between them. Inside a source it stays at the same share of it, and the numbers
    kept on its two sides depend on each other. That share may have to be rounded where the position is in an attribute,
    which can be set to any number. It is another one where what lies between two borders stays as a whole. And where an
    attribute holds the length of each section, all of them are free.
    """
    x, traced = call.arg(0), call.traced_arg(0)
    size, old = x.shape[axis], traced.shape[axis]
    if position in (0, old):
        return position if size == old else position * size // old
    labels, before = x.on(axis), traced.on(axis)
    was, now = runs(before[0] if before else None, axis), runs(labels[0] if labels else None, axis)
    if position in was and len(was) == len(now):
        return int(now[list(was).index(position)])
    held = call.op.attrs.get("held")
    border = by_sections(call, axis, position, borders) if held == SECTIONS or one_stays(call, axis, borders) else None
    if border is None:
        border, rest = divmod(position * size, old)
        if rest and (call.constraints.exact or not held):
            raise Mismatch(f"{call.op}: {size} channels cannot be split at {position} of {old}")
    for label in labels if held != SECTIONS else ():
        places = positions(label, axis)
        pieces = np.searchsorted(borders, places, side="right")  # at trace time; only what is noted then is read
        call.constraints.balance(label.atoms, 1, (places >= border).astype(int), bool(held), pieces)
    return border


def one_stays(call: Call, axis: int, borders: Sequence[int]) -> bool:
    """Whether what lies between two of the borders stays as a whole, and other slices do not."""
    units, line = call.constraints.units, first_line(call, axis)
    if units is None or line is None:
        return False
    ends = [0, *borders, len(line)]
    return any(a < b and units.stay(line[a:b]) for a, b in zip(ends, ends[1:]))


def by_sections(call: Call, axis: int, position: int, borders: Sequence[int]) -> int | None:
    """Where a border lies by what is left of each group in front of it; None while there are none."""
    units, line = call.constraints.units, first_line(call, axis)
    if units is None or line is None:
        return None
    left = units.left(line[:position], call.constraints.sizes)
    if abs(left - round(left)) > NEAR:
        raise Mismatch(f"{call.op}: {call.arg(0).shape[axis]} channels cannot be split at {position} of {len(line)}")
    return round(left)


def first_line(call: Call, axis: int) -> Index | None:
    """The atoms along an axis at trace time, or one of several for each slice; None without a label."""
    labels = call.traced_arg(0).on(axis)
    return labels[0].along([axis])[:, 0] if labels else None


def part(call: Call, x: Signal, axis: int, positions: Index, length: int) -> Signal:
    """``x`` at ``positions`` along ``axis``; at trace time there are ``length``: a single one is there to stay.

    What is taken goes its own way from here, so its units are not interchangeable with those that are left.
    """
    labels = []
    for whole in x.labels:
        label = whole
        if axis in label.axes:
            label = Label(label.axes, np.take(label.atoms, positions, axis=label.axes.index(axis)))
            if length < call.traced_arg(0).shape[axis]:
                call.constraints.pin(label.atoms, np.zeros((), np.int64))
            if length == 1 and label.axes == (axis,):
                call.constraints.stop([label], "is taken as a single slice")
                continue
            if length == 1:
                label = one_of_each(call, whole, label, axis)
        labels.append(label)
    return Signal(x.sized(axis, len(positions)).shape, tuple(labels))


def one_of_each(call: Call, whole: Label, label: Label, axis: int) -> Label:
    """A label along ``axis`` of which one slice was taken, as it is without that axis.

    Of blocks that go as a whole, such as heads, a slice of padding goes with its block.
    """
    rest = tuple(other for other in label.axes if other != axis)
    atoms = label.along(rest)[..., 0]
    padding, constraints = (atoms < 0).any(), call.constraints
    if padding and separate(constraints, whole, axis) and not all(separate(constraints, whole, a) for a in rest):
        atoms = head_of_each(constraints, whole.along(rest))
    return Label(rest, atoms)


@rule("split", "split_with_num", flops=free)
def split(call: Call) -> Sequence[Value]:
    """A value is split along one axis into several, each with its share of the labels."""
    traced = call.traced_arg(0)
    axis_at = 2 if call.op.name == "split" else 1
    axis = (call.numbers(axis_at, "axis") or (0,))[0] % len(traced.shape)
    ends = np.cumsum([0, *sections(call, traced.shape[axis])]).tolist()
    borders = [scaled_position(call, axis, end, ends[1:-1]) for end in ends]
    spans = zip(borders, borders[1:], np.diff(ends))
    return [tuple(part(call, call.arg(0), axis, np.arange(a, b), int(size)) for a, b, size in spans)]


def sections(call: Call, size: int) -> list[int]:
    """How long each part of a split is at trace time."""
    if call.op.name == "split_with_num":
        number = call.op.attrs["num"]
        return [size // number] * number
    written = list(call.numbers(1, "sections") or ())
    if not written or (written.count(-1) == 0 and sum(written) != size):
        raise Mismatch(f"{call.op}: sections {written} of {size}")
    return [size - sum(written) - 1 if n == -1 else n for n in written]


@rule("unbind", "unstack", flops=free)
def unbind(call: Call) -> Sequence[Value]:
    """Every slice along an axis as a value of its own: how many there are is written into the program."""
    x = call.arg(0)
    axis = call.op.attrs["axis"] % len(x.shape)
    for label in x.on(axis):
        if len(label.axes) == 1:
            call.constraints.stop([label], "is taken apart slice by slice")
        else:
            call.constraints.pin_along(label, [axis])
    return [tuple(squeezed(part(call, x, axis, np.array([n]), 1), axis) for n in range(x.shape[axis]))]


@rule("slice", "strided_slice", flops=free)
def cut_out(call: Call) -> Sequence[Value]:
    """A range of slices along some axes is kept, with their labels."""
    x, traced = call.arg(0), call.traced_arg(0)
    axes = [axis % len(traced.shape) for axis in call.op.attrs["axes"]]
    starts, ends = call.numbers(1), call.numbers(2)
    strides = (call.numbers(3) if call.op.name == "strided_slice" else None) or tuple(1 for _ in axes)
    gone = sorted((axis % len(traced.shape) for axis in call.op.attrs.get("decrease_axis") or ()), reverse=True)
    if starts is None or ends is None:
        return [at_computed_places(call, axes, gone, "is sliced at computed places")]
    if x.value is not None:
        numbers = x.value[starts[0] : ends[0] : strides[0]]
        return [Signal(() if call.op.attrs.get("decrease_axis") else (len(numbers),), value=numbers)]
    if any(traced.shape[axis] == -1 for axis in axes):
        return [at_computed_places(call, axes, gone, "is sliced where its size is computed")]
    for axis, start, end, stride in zip(axes, starts, ends, strides):
        span = range(*slice(start, end, stride).indices(traced.shape[axis]))
        x = part(call, x, axis, ranged(call, axis, span, start), len(span))
    for axis in gone:
        x = squeezed(x, axis)
    return [x]


def at_computed_places(call: Call, axes: Sequence[int], gone: Sequence[int], reason: str) -> Signal:
    """A range that is not known along some axes, of which those that are ``gone`` are left out: the others pass."""
    x, left = call.arg(0), iter(call.shape())
    call.constraints.stop([label for label in x.labels if set(axes) & set(label.axes)], reason)
    sizes = [1 if axis in gone else next(left) for axis in range(len(x.shape))]
    shape = tuple(sizes[axis] if axis in axes else size for axis, size in enumerate(x.shape))
    x = Signal(shape, tuple(label for label in x.labels if not set(axes) & set(label.axes)))
    for axis in gone:
        x = squeezed(x, axis)
    return x


def ranged(call: Call, axis: int, span: range, start: int = 0) -> Index:
    """The positions, at the sizes under test, of what was ``span`` along ``axis`` at trace time.

    ``start``: where the code lets it begin, negative if it counts from the end.
    """
    size, old = call.arg(0).shape[axis], call.traced_arg(0).shape[axis]
    first, end, stride = span.start, span.stop, span.step
    if len(span) == old:
        return np.arange(size)[::stride]
    if len(span) == 1 or stride < 0:
        # One slice, or a range against the grain: the place is a number in the user's code.
        if len(span) > 1:
            call.constraints.stop(call.arg(0).on(axis), "is sliced at a fixed place")
        return np.array([size + start]) if start < 0 and len(span) == 1 else np.array(span)
    if stride == 1:
        ends = [end for end in (first, end) if 0 < end < old]
        return np.arange(scaled_position(call, axis, first, ends), scaled_position(call, axis, end, ends))
    # Every stride-th slice: of each run of that many one is taken, at the same place in the run.
    for label in call.arg(0).on(axis):
        call.constraints.balance(label.atoms, stride, None if old % stride else positions(label, axis) % stride)
    if old % stride == 0 and size % stride:
        raise Mismatch(f"{call.op}: {size} channels, of which every {stride}th is taken")
    begin = scaled_position(call, axis, first - first % stride, ())
    return np.arange(begin + first % stride, scaled_position(call, axis, end, ()), stride)
