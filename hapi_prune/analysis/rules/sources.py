"""Values that come from outside the network, such as constants and random numbers, and sizes used as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..labels import Signal, Value
from .registry import Call, free, is_whole, rule


@rule("full", "full_int_array", "assign_value_", "assign_value", "data", "feed", "arange", "randperm", "eye",
      "linspace", "empty", "one_hot", "tril_indices", "meshgrid", "affine_grid", flops=free)  # fmt: skip
def source(call: Call) -> Sequence[Value]:
    """Numbers that come from outside the network: no labels."""
    call.stop_others()
    written = call.op.attrs.get("values", call.op.attrs.get("value"))
    if call.op.name not in ("full", "full_int_array", "assign_value_", "assign_value") or written is None:
        return [call.plain(n) for n in range(len(call.op.shapes))]
    numbers = written if isinstance(written, list) else [written] * min(math.prod(call.shape()), 16)
    whole = len(numbers) <= 4096 and all(is_whole(n) for n in numbers)
    if call.op.name == "full" and numbers == [written] and isinstance(written, float) and math.isfinite(written):
        return [Signal(call.shape(), value=(int(written) if whole else written,))]  # sizes may be divided by it
    uniform = frozenset(a for a, size in enumerate(call.shape()) if size > 1) if call.op.name == "full" else frozenset()
    return [Signal(call.shape(), value=tuple(int(n) for n in numbers) if whole else None, uniform=uniform)]


SHAPED = {"full_with_tensor": 1, "gaussian": 0, "uniform": 0, "randint": 0, "truncated_gaussian_random": 0}
"""Ops that make a value of any shape, and which operand says which."""


@rule(*SHAPED, flops=free)
def made(call: Call) -> Sequence[Value]:
    """A value of one number, or of numbers drawn at random: as many as the code asks for."""
    call.stop_others()
    shape, drawn = call.numbers(SHAPED[call.op.name]) or call.shape(), call.op.name != "full_with_tensor"
    uniform = frozenset(axis for axis, size in enumerate(call.shape()) if size > 1)
    return [Signal(shape if len(shape) == len(call.shape()) else call.shape(), uniform=uniform, drawn=drawn)]


@rule("bernoulli", flops=free)
def drawn_for_each(call: Call) -> Sequence[Value]:
    """Zeros and ones, drawn with a chance for each."""
    call.stop_others(0)
    x = call.arg(0)
    call.constraints.mix_with_drawn(x.labels, set(range(len(x.shape))))
    return [replace(x, tensor="", value=None, drawn=True)]


@rule("shape", "shape64", "numel", flops=free)
def shape_of(call: Call) -> Sequence[Value]:
    """Sizes as data: computed anew by the network, whatever they are."""
    shape = call.arg(0).shape
    if -1 in shape:
        return [call.plain()]
    return [Signal(call.shape(), value=(math.prod(shape),) if call.op.name == "numel" else shape)]


@rule("if", "while", "create_array", "array_write_", "array_read", "array_to_tensor")
def controlled(call: Call) -> Sequence[Value]:
    """Branches, loops and lists that grow: what is done depends on values, so nothing in it can be followed."""
    call.stop_others(reason="is used where the values of tensors decide what is done")
    return [call.plain(n) for n in range(len(call.op.shapes))]


@rule("pylayer", "py_func", "run_program")
def foreign(call: Call) -> Sequence[Value]:
    """A user's own operation in Python: what it does is known to the user alone."""
    call.stop_others(reason="is used by an operation of the user's own, which cannot be followed")
    return [call.plain(n) for n in range(len(call.op.shapes))]
