"""Ops on each element by itself: activations and the like."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..labels import Signal, Value
from ..op import Op
from .registry import Call, elements, free, in_float32, rule


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


ROUNDED: dict[str, Callable[[float], int]] = {"ceil": math.ceil, "floor": math.floor, "trunc": math.trunc}


def scaled(call: Call, x: Signal) -> tuple[float, ...] | None:
    """The numbers of the result, if those of the operand are known: programs compute sizes from sizes."""
    name, numbers, attrs = call.op.name, x.value or (), call.op.attrs
    if name in ROUNDED or (name == "cast" and "int" in str(attrs.get("dtype")).lower()):
        return tuple(ROUNDED.get(name, math.trunc)(n) for n in numbers)
    if name in ("cast", "assign"):
        return numbers
    factor = call.arg(1).value if call.has(1) else (attrs.get("scale", 1),)
    if name != "scale" or not factor:
        return None
    before, behind = (0, attrs.get("bias", 0))[:: 1 if attrs.get("bias_after_scale", True) else -1]
    return tuple(in_float32(in_float32((n + before) * in_float32(factor[0])) + behind) for n in numbers)
