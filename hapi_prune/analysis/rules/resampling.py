"""Ops on images, channel by channel: pooling, interpolation, pixel shuffle."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...plan import Index
from ..labels import Label, Mismatch, Signal, Value
from ..op import Op
from .broadcasting import broadcast
from .convolution import fix_blocks
from .registry import Call, elements, free, rule
from .shape_inference import margins, spread
from .sliding import Window, slid, windows


def pool_flops(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """Maxima are free; an average is one per result, an adaptive one its window and a division per result."""
    if op.attrs.get("pooling_type") != "avg":
        return 0, 0
    x, out = args[0], outs[0]
    assert isinstance(x, Signal) and isinstance(out, Signal)
    if not op.attrs.get("adaptive"):
        return elements(out), 0
    window = math.prod(x.shape[axis] // max(out.shape[axis], 1) for axis in op.image_axes(len(x.shape)))
    return elements(out) * (window + 1), 0


@rule("pool2d", "pool3d", "lp_pool2d", "max_pool2d_with_index", "max_pool3d_with_index", flops=pool_flops)
@rule("bilinear_interp", "nearest_interp", "bicubic_interp", "linear_interp", "trilinear_interp", "grid_sample",
      "fractional_max_pool2d", flops=free)  # fmt: skip
def spatial(call: Call) -> Sequence[Value]:
    """Places in each channel of an image are combined; channels stay apart, also where they are places themselves."""
    x, axis, whole, moving = call.arg(0), call.channel_axis(), whole_windows(call), moved_along(call)
    call.stop_others(0)
    free = {0, axis, *whole}
    beside = [(la, slid(call, la, moving) if set(la.axes) <= free | moving.keys() else None) for la in x.labels
              if set(la.axes) - free]  # fmt: skip
    call.constraints.stop([label for label, found in beside if found is None], "is a place in an image")
    labels = [la for la in x.labels if set(la.axes) <= free]
    for place, times in whole.items():
        labels = [tied_along(call, la, place, times) if times > 1 and place in la.axes else la for la in labels]
    signals = []
    for shape in [call.shape(), *call.op.shapes[1:]]:
        sizes = list(shape or ())
        sizes[axis], sizes[0] = x.shape[axis], x.shape[0]
        for place, times in whole.items():
            sizes[place] = x.shape[place] // times if x.shape[place] != -1 else sizes[place]
        for place, window in moving.items():
            sizes[place] = window.places(x.shape[place]) if x.shape[place] != -1 else sizes[place]
        passed = [found for _, found in beside if found is not None]
        signals.append(Signal(tuple(sizes), (*labels, *passed), nonzero=bool(passed)))
    return signals


def moved_along(call: Call) -> dict[int, Window]:
    """The axes of the image along which a window is moved one place at a time; what also tells places stops them."""
    kernel = call.numbers(1, "kernel_size") if call.op.name in ("pool2d", "pool3d", "lp_pool2d") else None
    rank = len(call.traced_arg(0).shape)
    return windows(call, spread(kernel, rank - 2)) if kernel else {}


def whole_windows(call: Call) -> dict[int, int]:
    """The axes of the image on which windows lie side by side and cover all places, and the length of a window.

    Where it is 1 each place is seen by itself. What also tells where a maximum was tells places by their number.
    """
    attrs, shape = call.op.attrs, call.traced_arg(0).shape
    if call.op.name not in ("pool2d", "pool3d", "lp_pool2d") or attrs.get("adaptive") or attrs.get("global_pooling"):
        return {}
    axes, kernels, found = call.op.image_axes(len(shape)), call.numbers(1, "kernel_size"), {}
    steps = zip(axes, spread(kernels, len(axes)), spread(attrs.get("strides"), len(axes))) if kernels else ()
    for n, (axis, kernel, stride) in enumerate(steps):
        padded = margins(call, n, len(axes), shape[axis], kernel, stride)
        if kernel == stride and not padded and shape[axis] % kernel == 0 < shape[axis]:
            found[axis] = kernel
    return found


@rule("unpool", "unpool3d", flops=free)
def unpool(call: Call) -> Sequence[Value]:
    """Each channel's maxima go back to where that channel's indices say."""
    x = broadcast(call, [call.arg(0), call.arg(1)], [call.traced_arg(0), call.traced_arg(1)])
    call.constraints.stop([la for la in x.labels if max(la.axes) > 1], "is a place in an image")
    return [Signal((*x.shape[:2], *call.shape()[2:]), tuple(la for la in x.labels if max(la.axes) < 2))]


@rule("pixel_shuffle", flops=free)
def pixel_shuffle(call: Call) -> Sequence[Value]:
    """``[N, C r r, H, W]`` becomes ``[N, C, H r, W r]``: r * r channels make one."""
    x, r = call.arg(0), int(call.op.attrs["upscale_factor"])
    axis = call.channel_axis()
    high = 2 if axis == 1 else 1
    if x.shape[axis] % (r * r):
        raise Mismatch(f"{call.op}: {x.shape[axis]} channels by {r} x {r}")
    shape = list(call.shape())
    shape[axis] = x.shape[axis] // (r * r)
    labels = []
    for label in x.labels:
        if label.axes != (axis,):
            call.constraints.stop([label], "is a place in an image")
            continue
        phase = np.arange(len(label.atoms)) % (r * r)
        call.constraints.balance(label.atoms, r * r, phase)
        call.constraints.pin(label.atoms, phase)
        tiles = (1, shape[high] // r, shape[high + 1] // r)
        labels.append(Label((1, 2, 3), np.tile(label.atoms.reshape(-1, r, r), tiles)).renamed((axis, high, high + 1)))
    return [Signal(tuple(shape), tuple(labels))]


@rule("pixel_unshuffle", "space_to_depth", flops=free)
def pixel_unshuffle(call: Call) -> Sequence[Value]:
    """``[N, C, H r, W r]`` becomes ``[N, C r r, H, W]``: each channel makes r * r."""
    return [repeated(call, call.channel_axis(), int(call.op.attrs["downscale_factor"]) ** 2)]


@rule("unfold", flops=free)
def unfold(call: Call) -> Sequence[Value]:
    """``[N, C, H, W]`` becomes ``[N, C kh kw, places]``: each channel makes kh * kw."""
    return [repeated(call, 1, math.prod(call.op.attrs["kernel_sizes"]))]


@rule("fold", flops=free)
def fold(call: Call) -> Sequence[Value]:
    """``[N, C kh kw, places]`` becomes ``[N, C, H, W]``: kh * kw channels in a row make one."""
    x, times = call.arg(0), math.prod(call.op.attrs["kernel_sizes"])
    labels = [Label((1,), tied_runs(call, la.atoms, times)) for la in x.labels if la.axes == (1,)]
    call.constraints.stop([la for la in x.labels if la.axes != (1,)], "is a place in an image")
    return [Signal(call.plain().sized(1, x.shape[1] // times).shape, tuple(labels))]


def tied_runs(call: Call, atoms: Index, times: int) -> Index:
    """The atoms along axis 0 in runs of ``times``, each run tied; the first of each."""
    if len(atoms) % times:
        raise Mismatch(f"{call.op}: {len(atoms)} channels by {times}")
    runs = atoms.reshape(-1, times, *atoms.shape[1:])
    if (runs != runs[:, :1]).any():  # where a slice was repeated as often, any number of them will do
        phase = (np.arange(len(atoms)) % times).reshape(-1, *(1 for _ in atoms.shape[1:]))
        call.constraints.balance(atoms, times, phase)
    call.constraints.tie(runs, np.broadcast_to(runs[:, :1], runs.shape))
    first: Index = runs[:, 0]
    return first


@rule("maxout", flops=free)
def maxout(call: Call) -> Sequence[Value]:
    """Of each ``groups`` channels in a row the largest is kept: they live or die together, and become one."""
    x, groups = call.arg(0), int(call.op.attrs["groups"])
    axis = call.op.attrs["axis"] % len(x.shape)
    labels = [tied_along(call, label, axis, groups) if axis in label.axes else label for label in x.labels]
    return [Signal(x.sized(axis, x.shape[axis] // groups).shape, tuple(labels))]


def tied_along(call: Call, label: Label, axis: int, times: int) -> Label:
    """A label whose slices along ``axis`` are tied in runs of ``times``, as it is when each run has become one."""
    at = label.axes.index(axis)
    return Label(label.axes, np.moveaxis(tied_runs(call, np.moveaxis(label.atoms, at, 0), times), 0, at))


def repeated(call: Call, axis: int, times: int) -> Signal:
    """Each channel of operand 0 becomes ``times`` channels in a row."""
    x = call.arg(0)
    labels = [Label((axis,), np.repeat(la.atoms, times)) for la in x.labels if la.axes == (axis,)]
    call.constraints.stop([la for la in x.labels if la.axes != (axis,)], "is a place in an image")
    return Signal(call.plain().sized(axis, x.shape[axis] * times).shape, tuple(labels))


@rule("channel_shuffle", "shuffle_channel", flops=free)
def channel_shuffle(call: Call) -> Sequence[Value]:
    """The channels, seen as ``[groups, channels / groups]``, are transposed and flattened again."""
    x, axis = call.arg(0), call.channel_axis()
    groups = int(call.op.attrs.get("groups", call.op.attrs.get("group", 1)))
    if x.shape[axis] % groups:
        raise Mismatch(f"{call.op}: {x.shape[axis]} channels in {groups} groups")
    labels = []
    for label in x.labels:
        if axis in label.axes:
            atoms = label.along([axis])
            fix_blocks(call, atoms, groups)
            places = np.arange(x.shape[axis]).reshape(groups, -1).T.ravel()
            label = Label(label.axes, np.take(label.atoms, places, axis=label.axes.index(axis)))
        labels.append(label)
    return [Signal(x.shape, tuple(labels))]


@rule("temporal_shift", flops=free)
def temporal_shift(call: Call) -> Sequence[Value]:
    """A share of the channels comes from the image before, as many from the one behind; the others stay."""
    x, axis, ratio = call.arg(0), call.channel_axis(), float(call.op.attrs["shift_ratio"])
    size, old = x.shape[axis], call.traced_arg(0).shape[axis]
    borders = [int(size * ratio * times) for times in (1, 2)]
    if any(border * old != int(old * ratio * times) * size for times, border in enumerate(borders, 1)):
        raise Mismatch(f"{call.op}: {size} channels, of which {ratio} are shifted")
    call.constraints.stop([la for la in x.labels if axis not in la.axes], "is one of several images in time")
    for label in x.on(axis):
        atoms = label.along([axis])
        sections = np.searchsorted(borders, np.arange(size), side="right")[:, None]
        call.constraints.pin(atoms, np.broadcast_to(sections, atoms.shape))
        call.constraints.balance(atoms, 1, sections)
    return [Signal(x.shape, x.on(axis))]
