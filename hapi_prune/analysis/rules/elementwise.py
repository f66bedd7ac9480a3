"""Ops on each element by itself: activations and the like."""

from __future__ import annotations

from collections.abc import Sequence

from ..labels import Signal, Value
from ..op import Op
from .registry import Call, elements, free, rule


def one_each(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """One FLOP for each element."""
    return elements(args[0]), 0


def two_each(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """Two FLOPs for each element: a scale and a shift."""
    return 2 * elements(args[0]), 0


DROPPING = {"dropout", "rrelu"}
"""Ops that draw a number for each element, where they are not told that this is a test."""


@rule("leaky_relu", flops=one_each)
@rule(
    "relu", "relu6", "sigmoid", "hardsigmoid", "hardswish", "swish", "silu", "gelu", "tanh", "elu", "celu",
    "selu", "mish", "softplus", "softsign", "softshrink", "hardshrink", "hardtanh", "tanh_shrink",
    "thresholded_relu", "logsigmoid", "stanh", "rrelu", "exp", "expm1", "log", "log2", "log10", "log1p", "sqrt",
    "rsqrt", "square", "abs", "sign", "floor", "ceil", "round", "reciprocal", "pow", "scale", "cast", "clip",
    "assign", "share_data", "share_data_", "dropout", "isnan", "isinf", "isfinite", "logical_not", "erf", "sin",
    "cos", "tan", "atan", "full_like", "zeros_like", "ones_like", "increment", "bitwise_not", "trunc", "memcpy",
    "print", "nan_to_num", "acos", "asin", "sinh", "cosh", "asinh", "acosh", "atanh", "digamma", "lgamma", "i0",
    "logit", "isneginf", "isposinf", flops=free,
)  # fmt: skip
def unary(call: Call) -> Sequence[Value]:
    """Each element is computed by itself, so the labels pass as they are."""
    x = call.arg(0)
    call.stop_others(0)
    if call.op.name in DROPPING and not call.op.attrs.get("is_test"):
        call.constraints.mix_with_drawn(x.labels, set(range(len(x.shape))))
    value = scaled(call, x) if x.value is not None else None
    result = Signal(x.shape, x.labels, value=value, uniform=x.uniform, drawn=x.drawn)
    extra = [result if shape == call.shape(0) else Signal(shape or ()) for shape in call.op.shapes[1:]]
    return [result, *extra]


def scaled(call: Call, x: Signal) -> tuple[int, ...] | None:
    """The numbers of the result, if those of the operand are known: programs compute sizes from sizes."""
    if call.op.name in ("cast", "assign"):
        return x.value
    factor, shift = call.numbers(1, "scale"), call.op.attrs.get("bias", 0)
    if call.op.name != "scale" or not factor or shift != int(shift):
        return None
    if not call.op.attrs.get("bias_after_scale", True):
        return tuple(int((n + int(shift)) * factor[0]) for n in x.value or ())
    return tuple(int(n * factor[0]) + int(shift) for n in x.value or ())
