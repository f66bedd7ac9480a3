"""Ops within one value: activations, pooling, normalisation, reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..labels import Label, Mismatch, Signal
from .convolution import channel_axis, fix_blocks, size_of
from .joining import FIXED, per_channel
from .registry import Call, Op, Value, rule


def one_each(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """One per element."""
    return size_of(args[0]), 0


def two_each(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """Two per element: a scale and a shift."""
    return 2 * size_of(args[0]), 0


def pool_price(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """Maxima are free; an average is one per result, an adaptive one its window and a division per result."""
    if op.attrs.get("pooling_type") != "avg":
        return 0, 0
    x, out = args[0], outs[0]
    assert isinstance(x, Signal) and isinstance(out, Signal)
    if not op.attrs.get("adaptive"):
        return size_of(out), 0
    first = 2 if op.attrs.get("data_format", "NCHW")[1] == "C" else 1
    spatial = range(first, first + len(x.shape) - 2)
    return size_of(out) * (math.prod(x.shape[a] // max(out.shape[a], 1) for a in spatial) + 1), 0


@rule("leaky_relu", price=one_each)
@rule(
    "relu", "relu6", "sigmoid", "hardsigmoid", "hardswish", "swish", "silu", "gelu", "tanh", "elu", "celu",
    "selu", "mish", "softplus", "softsign", "softshrink", "hardshrink", "hardtanh", "tanh_shrink",
    "thresholded_relu", "logsigmoid", "stanh", "rrelu", "exp", "expm1", "log", "log2", "log10", "log1p", "sqrt",
    "rsqrt", "square", "abs", "sign", "floor", "ceil", "round", "reciprocal", "pow", "scale", "cast", "clip",
    "assign", "assign_out_", "share_data", "dropout", "isnan", "isinf", "isfinite", "logical_not", "erf", "sin",
    "cos", "tan", "atan", "full_like", "zeros_like", "ones_like", "increment", "bitwise_not", "trunc", "memcpy",
    "print", "nan_to_num",
)  # fmt: skip
def unary(call: Call) -> Sequence[Value]:
    """Each element by itself."""
    x = call.arg(0)
    result = Signal(x.shape, x.labels, value=x.value if call.op.name in ("cast", "assign") else None)
    extra = [result if shape == call.shape(0) else Signal(shape or ()) for shape in call.op.shapes[1:]]
    return [result, *extra]


@rule("pool2d", "pool3d", "lp_pool2d", "max_pool2d_with_index", "max_pool3d_with_index", price=pool_price)
@rule("bilinear_interp", "nearest_interp", "bicubic_interp", "linear_interp", "trilinear_interp", "grid_sample")
def spatial(call: Call) -> Sequence[Value]:
    """Places in each channel of an image are combined; channels stay apart."""
    x, axis = call.arg(0), channel_axis(call)
    call.record.stop([la for la in x.labels if set(la.axes) - {0, axis}], "is a place in an image")
    labels = tuple(la for la in x.labels if not set(la.axes) - {0, axis})
    signals = []
    for shape in call.op.shapes:
        sizes = list(shape or ())
        sizes[axis], sizes[0] = x.shape[axis], x.shape[0]
        signals.append(Signal(tuple(sizes), labels))
    return signals


@rule("batch_norm_", "batch_norm", "sync_batch_norm_", price=two_each)
def batch_norm(call: Call) -> Sequence[Value]:
    """Mean, variance, scale and shift of each channel."""
    x, axis = call.arg(0), channel_axis(call) if len(call.arg(0).shape) > 2 else 1
    call.record.mix([la for la in x.labels if axis not in la.axes], "is normalised together with others")
    own = [call.arg(index) if call.has(index) else None for index in range(1, 5)]
    out = per_channel(call, x, axis, own)
    statistics = [Signal((x.shape[axis],), tuple(s.labels) if s else ()) for s in (own[0], own[1])]
    return [out, *statistics]


@rule("instance_norm", price=two_each)
def instance_norm(call: Call) -> Sequence[Value]:
    """Each channel of each image by itself."""
    x = call.arg(0)
    call.record.mix([la for la in x.labels if set(la.axes) - {0, 1}], "is normalised together with others")
    return [per_channel(call, x, 1, [call.arg(i) if call.has(i) else None for i in (1, 2)])]


@rule("group_norm", price=two_each)
def group_norm(call: Call) -> Sequence[Value]:
    """Channels are normalised in equal blocks."""
    x, axis, groups = call.arg(0), channel_axis(call), int(call.op.attrs["groups"])
    if x.shape[axis] % groups:
        raise Mismatch(f"{call.op}: {x.shape[axis]} channels in {groups} groups")
    call.record.mix(x.labels, "is normalised together with other channels")
    for label in x.on(axis):
        fix_blocks(call, label.along([axis]), groups)
    return [per_channel(call, x, axis, [call.arg(i) if call.has(i) else None for i in (1, 2)])]


@rule("layer_norm", "rms_norm", price=two_each)
def layer_norm(call: Call) -> Sequence[Value]:
    """All axes from ``begin_norm_axis`` on are normalised together, and scaled each by its own number."""
    x, begin = call.arg(0), call.op.attrs["begin_norm_axis"]
    inside = tuple(range(begin, len(x.shape)))
    call.record.mix([la for la in x.labels if set(la.axes) & set(inside)], "is normalised together with others")
    own = [call.arg(i) for i in (1, 2) if call.has(i)]
    spread = [axis for axis in inside if call.traced_arg(0).shape[axis] > 1]
    if len(spread) == 1:
        return [per_channel(call, x, spread[0], own)]
    labels = [la for la in x.labels if set(la.axes) & set(inside)]
    call.record.stop([*labels, *(la for tensor in own for la in tensor.labels)], FIXED)
    return [Signal(x.shape, tuple(la for la in x.labels if la not in labels))]


@rule("softmax", "log_softmax", "cumsum", "cumprod", "gumbel_softmax", "logcumsumexp")
def along_axis(call: Call) -> Sequence[Value]:
    """The slices along one axis are mixed."""
    x = call.arg(0)
    axis = (call.numbers(1, "axis") or (-1,))[0] % max(len(x.shape), 1)
    call.record.mix(x.on(axis), "is mixed with others")
    return [Signal(x.shape, x.labels)]


@rule("mean", "sum", "max", "min", "amax", "amin", "prod", "logsumexp", "any", "all", "p_norm", "frobenius_norm",
      "norm", "argmax", "argmin", "squared_l2_norm")  # fmt: skip
def reduction(call: Call) -> Sequence[Value]:
    """Axes are summed up: their labels end here."""
    x = call.arg(0)
    rank = len(x.shape)
    written = call.numbers(1, "axis")
    axes = {axis % rank for axis in written} if written and rank else set(range(rank))
    keep = len(call.shape()) == rank
    labels = []
    for label in x.labels:
        gone = axes & set(label.axes)
        if not gone:
            shift = {a: a if keep else a - sum(g < a for g in axes) for a in label.axes}
            labels.append(label.renamed([shift[axis] for axis in label.axes]))
            continue
        call.record.mix([label], "is summed up with others")
        call.record.pin_along(label, [axis for axis in label.axes if axis not in gone])
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes]
    return [Signal(tuple(shape), tuple(labels))]


@rule("pixel_shuffle")
def pixel_shuffle(call: Call) -> Sequence[Value]:
    """``[N, C r r, H, W]`` becomes ``[N, C, H r, W r]``: r * r channels make one."""
    x, r = call.arg(0), int(call.op.attrs["upscale_factor"])
    axis = channel_axis(call)
    high = 2 if axis == 1 else 1
    if x.shape[axis] % (r * r):
        raise Mismatch(f"{call.op}: {x.shape[axis]} channels by {r} x {r}")
    shape = list(call.shape())
    shape[axis] = x.shape[axis] // (r * r)
    labels = []
    for label in x.labels:
        if label.axes != (axis,):
            call.record.stop([label], "is a place in an image")
            continue
        call.record.balance(label.atoms)
        tiles = (1, shape[high] // r, shape[high + 1] // r)
        labels.append(Label((1, 2, 3), np.tile(label.atoms.reshape(-1, r, r), tiles)).renamed((axis, high, high + 1)))
    return [Signal(tuple(shape), tuple(labels))]


@rule("pixel_unshuffle", "space_to_depth")
def pixel_unshuffle(call: Call) -> Sequence[Value]:
    """``[N, C, H r, W r]`` becomes ``[N, C r r, H, W]``: each channel makes r * r."""
    return [repeated(call, channel_axis(call), int(call.op.attrs["downscale_factor"]) ** 2)]


@rule("unfold")
def unfold(call: Call) -> Sequence[Value]:
    """``[N, C, H, W]`` becomes ``[N, C kh kw, places]``: each channel makes kh * kw."""
    return [repeated(call, 1, math.prod(call.op.attrs["kernel_sizes"]))]


def repeated(call: Call, axis: int, times: int) -> Signal:
    """Each channel of operand 0 becomes ``times`` channels in a row."""
    x = call.arg(0)
    labels = [Label((axis,), np.repeat(la.atoms, times)) for la in x.labels if la.axes == (axis,)]
    call.record.stop([la for la in x.labels if la.axes != (axis,)], "is a place in an image")
    return Signal(call.plain().sized(axis, x.shape[axis] * times).shape, tuple(labels))


@rule("channel_shuffle", "shuffle_channel")
def channel_shuffle(call: Call) -> Sequence[Value]:
    """Channels as ``[groups, rest]``, transposed."""
    x, axis = call.arg(0), channel_axis(call)
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


@rule("full", "full_int_array", "assign_value_", "assign_value", "data", "feed", "arange", "gaussian", "uniform",
      "randint", "randperm", "eye", "linspace", "empty", "one_hot", "full_with_tensor", "tril_indices",
      "truncated_gaussian_random", "bernoulli", "meshgrid")  # fmt: skip
def source(call: Call) -> Sequence[Value]:
    """Numbers that come from outside the network: no labels."""
    written = call.op.attrs.get("values", call.op.attrs.get("value"))
    if call.op.name not in ("full", "full_int_array", "assign_value_", "assign_value") or written is None:
        return [call.plain(n) for n in range(len(call.op.shapes))]
    numbers = written if isinstance(written, list) else [written] * min(math.prod(call.shape()), 16)
    whole = len(numbers) <= 4096 and all(isinstance(n, (int, float)) and n == n and abs(n) < 2**62 for n in numbers)
    return [Signal(call.shape(), value=tuple(int(n) for n in numbers) if whole else None)]


@rule("shape", "shape64", "numel")
def shape_of(call: Call) -> Sequence[Value]:
    """Sizes as data: computed anew by the network, whatever they are."""
    shape = call.arg(0).shape
    return [Signal(call.shape(), value=(math.prod(shape),) if call.op.name == "numel" else shape)]
