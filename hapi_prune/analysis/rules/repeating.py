"""Ops that make a value larger: by repeating its slices, or by padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..labels import NONE, Label, Signal, Value
from .registry import Call, free, rule


@rule("tile", flops=free)
def tile(call: Call) -> Sequence[Value]:
    """The whole value is repeated along some axes, and its labels with it."""
    x, shape = call.arg(0), call.shape()
    lead = len(shape) - len(x.shape)
    times = [out // size for out, size in zip(shape[lead:], call.traced_arg(0).shape)]
    labels = []
    for label in x.labels:
        atoms = np.tile(label.atoms, [times[axis] for axis in label.axes])
        labels.append(Label(tuple(axis + lead for axis in label.axes), atoms))
    sizes = shape[:lead] + tuple(size * n for size, n in zip(x.shape, times))
    return [Signal(sizes, tuple(labels), uniform=alike(call))]


def alike(call: Call) -> frozenset[int]:
    """The axes of the result that are copies of one slice, or of slices that are all alike."""
    shape, traced = call.shape(), call.traced_arg(0)
    lead = len(shape) - len(traced.shape)
    one = {axis for axis, size in enumerate(traced.shape) if size == 1} | traced.uniform
    return frozenset(axis for axis, size in enumerate(shape) if size > 1 and (axis < lead or axis - lead in one))


@rule("expand", "expand_as", "broadcast_to", flops=free)
def expand(call: Call) -> Sequence[Value]:
    """Axes of size 1 become longer; the others stay. What they are made as long as, they go with."""
    x, shape, traced = call.arg(0), call.shape(), call.traced_arg(0)
    lead = len(shape) - len(x.shape)
    sizes = list(shape)
    for axis, size in enumerate(traced.shape):
        if size > 1:
            sizes[axis + lead] = x.shape[axis]
    labels = [label.renamed([axis + lead for axis in label.axes]) for label in x.labels]
    if call.op.name == "expand_as" and call.has(1):
        like = call.arg(1)
        fresh = [
            axis for axis, size in enumerate(shape) if axis < lead or (traced.shape[axis - lead] == 1 and size > 1)
        ]
        labels += [label for label in like.labels if set(label.axes) <= set(fresh)]
        for axis in fresh:
            sizes[axis] = like.shape[axis]
        return [Signal(tuple(sizes), tuple(labels))]
    return [Signal(tuple(sizes), tuple(labels), uniform=alike(call))]


@rule("repeat_interleave", flops=free)
def repeat_interleave(call: Call) -> Sequence[Value]:
    """Every slice along an axis is repeated several times in a row, and its label with it."""
    x, axis, times = call.arg(0), call.op.attrs["axis"] % len(call.arg(0).shape), call.op.attrs["repeats"]
    labels = [
        Label(la.axes, np.repeat(la.atoms, times, axis=la.axes.index(axis))) if axis in la.axes else la
        for la in x.labels
    ]
    return [Signal(x.sized(axis, x.shape[axis] * times).shape, tuple(labels))]


@rule("repeat_interleave_with_tensor_index", flops=free)
def repeat_each(call: Call) -> Sequence[Value]:
    """Every slice is repeated as often as a computed number says: the slices of that axis stay."""
    x, axis = call.arg(0), call.op.attrs["axis"] % len(call.arg(0).shape)
    call.stop_others(0)
    call.constraints.stop(x.on(axis), "is repeated a computed number of times")
    return [Signal(call.shape(), tuple(la for la in x.labels if axis not in la.axes))]


@rule("pad", "pad3d", flops=free)
def pad(call: Call) -> Sequence[Value]:
    """Slices of zeros at both ends: they came from nowhere and cannot be removed."""
    x, shape, traced = call.arg(0), call.shape(), call.traced_arg(0)
    written = tuple(call.op.attrs["paddings"]) if call.op.name == "pad" else call.numbers(1, "paddings")
    grown = [axis for axis, size in enumerate(shape) if size != traced.shape[axis]]
    sizes = tuple(size + new - old for size, new, old in zip(x.shape, shape, traced.shape))
    labels = []
    for label in x.labels:
        inside = [axis for axis in label.axes if axis in grown]
        if inside and (written is None or call.op.attrs.get("mode", "constant") != "constant"):
            call.constraints.stop([label], "is padded")
            continue
        widths = [front_and_back(call, written, axis, shape, traced.shape) for axis in label.axes]
        labels.append(Label(label.axes, np.pad(label.atoms, widths, constant_values=NONE)))
    return [Signal(sizes, tuple(labels))]


def front_and_back(
    call: Call, written: Sequence[int] | None, axis: int, shape: Sequence[int], before: Sequence[int]
) -> tuple[int, int]:
    """How many slices are padded before and behind ``axis``."""
    grown = shape[axis] - before[axis]
    if not grown or written is None:
        return 0, grown
    if call.op.name == "pad":
        return written[2 * axis], written[2 * axis + 1]
    # pad3d counts from the last spatial axis: left, right, top, bottom, front, back.
    last = call.op.image_axes(len(shape))[-1]
    place = 2 * (last - axis)
    return (written[place], written[place + 1]) if 0 <= place < len(written) else (0, grown)
