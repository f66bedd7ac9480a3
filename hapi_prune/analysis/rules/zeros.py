"""Is what a cut removes zero where it is only masked? Behind a ReLU it is; behind a sigmoid it is one half.

A sum over channels is the same without those that are zero, and another without those that are not. So each value says
of itself whether what goes may be other than zero (`Signal.nonzero`), and the rules of sums ask for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..labels import Label, Signal, Value, signals_of
from ..op import Op

KEEPING = {
    # each element by itself: zero at zero
    "relu", "relu6", "hardswish", "swish", "silu", "gelu", "tanh", "elu", "celu", "selu", "mish", "softsign",
    "softshrink", "hardshrink", "hardtanh", "tanh_shrink", "leaky_relu", "prelu", "stanh", "rrelu", "expm1", "log1p",
    "sqrt", "square", "abs", "sign", "floor", "ceil", "round", "trunc", "cast", "assign", "share_data", "share_data_",
    "dropout", "erf", "sin", "tan", "atan", "asin", "sinh", "asinh", "atanh", "memcpy", "nan_to_num", "zeros_like",
    # data that is moved
    "reshape", "flatten", "squeeze", "unsqueeze", "view_shape", "transpose", "flip", "roll", "reverse", "concat",
    "stack", "split", "split_with_num", "unbind", "unstack", "slice",
    "strided_slice", "tile", "expand", "expand_as", "broadcast_to", "repeat_interleave", "gather", "index_select",
    "gather_nd", "take_along_axis", "embedding", "set_value_with_tensor_", "set_value_with_tensor",
    # places of an image, and axes, taken together
    "pool2d", "pool3d", "lp_pool2d", "bilinear_interp", "nearest_interp", "bicubic_interp", "linear_interp",
    "trilinear_interp", "grid_sample", "pixel_shuffle", "pixel_unshuffle", "space_to_depth", "unfold", "fold",
    "maxout", "channel_shuffle", "shuffle_channel", "temporal_shift", "unpool", "unpool3d", "roi_align",
    "max_pool2d_with_index", "max_pool3d_with_index", "sum", "mean", "max", "min", "amax", "amin", "prod", "p_norm",
    "frobenius_norm", "squared_l2_norm", "mean_all", "cumsum",
}  # fmt: skip
"""Ops whose results are zero where all of their operands are."""

FILTERS = dict.fromkeys(("conv2d", "depthwise_conv2d", "conv3d", "conv1d"), 1) | {
    **dict.fromkeys(("conv2d_transpose", "depthwise_conv2d_transpose", "conv3d_transpose"), 1),
    "deformable_conv": 2,
}
"""Ops whose results are zero where a filter is, whatever arrives; and which operand holds the filters."""

SCALES = dict.fromkeys(("batch_norm_", "batch_norm", "sync_batch_norm_"), 3) | dict.fromkeys(
    ("instance_norm", "group_norm", "layer_norm", "rms_norm"), 1
)
"""Ops with a scale for each channel, and which operand that is; the shift goes with it."""

SAID = {"matmul", "bmm", "mv", "einsum", "builtin.combine", "builtin.split"}
"""Ops whose rules say it of their results, as they know which axes meet, or pass values on as they are."""


def marked(op: Op, args: Sequence[Value], results: Sequence[Value]) -> list[Value]:
    """The results of an op, which say of themselves whether what goes may be other than zero. In doubt it may."""
    if op.name in SAID or not any(signal.labels for signal in signals_of(results)) or not may_be_nonzero(op, args):
        return list(results)

    def mark(signal: Signal) -> Signal:
        return replace(signal, nonzero=True) if signal.labels else signal

    return [mark(value) if isinstance(value, Signal) else value and tuple(map(mark, value)) for value in results]


def may_be_nonzero(op: Op, args: Sequence[Value]) -> bool:
    """Whether what goes may be other than zero in the results of an op."""
    signals = signals_of(args)
    if op.name in FILTERS:
        filters = signals[FILTERS[op.name]]
        return filters.nonzero or (signals[0].nonzero and any(0 in label.axes for label in signals[0].labels))
    if op.name in SCALES and SCALES[op.name] < len(args) and args[SCALES[op.name]] is not None:
        return False
    if op.name in ADDING or op.name == "multiply":
        sides = on_common_axes(signals[op.name == "where" :])
        return any(not is_zero(label, sides, every=op.name != "multiply") for _, labels in sides for label in labels)
    return any(signal.nonzero for signal in signals) or not keeps_zero(op, signals)


ADDING = {"add", "subtract", "add_n", "maximum", "minimum", "fmax", "fmin", "where"}
"""Ops of several values whose results are zero where all that they add up or choose from is."""

Sides = Sequence[tuple[Signal, Sequence[Label]]]
"""Values that meet, and their labels on common axes."""


def on_common_axes(signals: Sequence[Signal]) -> Sides:
    """Values that are broadcast against each other."""
    rank = max((len(signal.shape) for signal in signals), default=0)
    shifts = [rank - len(signal.shape) for signal in signals]
    return [(s, [la.renamed([a + n for a in la.axes]) for la in s.labels]) for s, n in zip(signals, shifts)]


def is_zero(label: Label, sides: Sides, every: bool = False) -> bool:
    """Whether what goes of a label is zero in one of the values that meet; or in ``every`` one, so that it is there."""
    axes = set(label.axes)
    zero = [
        not signal.nonzero and any(axes <= set(other.axes) or axes >= set(other.axes) for other in labels)
        for signal, labels in sides
    ]
    return all(zero) if every else any(zero)


def keeps_zero(op: Op, signals: Sequence[Signal]) -> bool:
    """Whether the results of an op are zero where all of its operands are."""
    attrs, numbers = op.attrs, [signal.value for signal in signals[1:]]
    if op.name == "scale":
        return not attrs.get("bias")
    if op.name == "pow":
        return bool(attrs.get("y", 0) > 0)
    if op.name in ("pad", "pad3d"):
        return not attrs.get("pad_value") and attrs.get("mode", "constant") == "constant"
    if op.name == "clip":
        return len(numbers) == 2 and all(numbers) and min(numbers[0] or ()) <= 0 <= max(numbers[1] or ())
    if op.name == "elementwise_pow":
        return len(numbers) == 1 and bool(numbers[0]) and min(numbers[0] or ()) > 0
    if op.name == "divide":
        return not any(signal.labels for signal in signals[1:])
    return op.name in KEEPING or op.name in SCALES.keys() - {"group_norm", "layer_norm", "rms_norm"}
