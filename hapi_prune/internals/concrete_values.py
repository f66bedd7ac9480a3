"""What a forward asks of its values: asked of tensors first, and answered the same where they are symbolic."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import paddle
from paddle.pir import Value

from .stacks import is_user_code

_QUESTIONS = ("__int__", "__float__", "__bool__", "__index__", "__array__", "item", "numpy", "tolist")
_SIZES = frozenset(("shape", "shape64", "numel", "full", "full_int_array", "arange", "assign_value", "assign_value_"))
"""Ops that know sizes, or what the code says, and no data."""

_ARITHMETIC = frozenset(
    ("add", "subtract", "multiply", "divide", "floor_divide", "remainder", "scale", "elementwise_pow", "pow", "sqrt")
    + ("floor", "ceil", "round", "abs", "minimum", "maximum", "max", "min", "sum", "prod", "mean", "cast", "assign")
    + ("equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal", "logical_not", "logical_and")
    + ("logical_or", "all", "any", "concat", "stack", "split", "split_with_num", "slice", "strided_slice", "gather")
    + ("reshape", "squeeze", "unsqueeze", "flatten", "full_like", "builtin.combine", "builtin.split")
)
"""Ops that lead from numbers to other numbers. Not all that Paddle has: what draws at random must not be here."""


class ConcreteValues:
    """The questions of one run of a forward in order, each with what a tensor said."""

    def __init__(self) -> None:
        self._told: list[tuple[str, str, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._told)

    @contextmanager
    def written_down(self) -> Iterator[None]:
        """Write down what user code asks of tensors until the block ends."""

        def asking(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
            def ask(tensor: paddle.Tensor, *args: Any, **options: Any) -> Any:
                answer = method(tensor, *args, **options)
                where = _asked_at(sys._getframe(1))
                if where:
                    self._told.append((name, where, answer))
                return answer

            return ask

        methods = {name: getattr(paddle.Tensor, name) for name in _QUESTIONS}
        with _replaced(paddle.Tensor, {name: asking(name, method) for name, method in methods.items()}):
            yield

    @contextmanager
    def given(self) -> Iterator[None]:
        """Let symbolic values give these answers until the block ends.

        Raises:
            ValueError: a question whose answer depends on data, or one that was not asked of tensors.
        """
        left = iter(self._told)

        def answering(name: str) -> Callable[..., Any]:
            def answer(value: Any, *args: Any, **options: Any) -> Any:
                where = _asked_at(sys._getframe(1))
                if not _by_sizes(value):
                    raise ValueError(
                        f"{name} of a tensor at {where or 'a line of Paddle'}: its value depends on the data"
                    )
                told = next(left, ("", "", None))
                if told[:2] != (name, where):
                    raise ValueError(f"{name} of a tensor at {where}: not asked when the forward ran on tensors")
                return np.array(told[2]) if isinstance(told[2], np.ndarray) else told[2]

            return answer

        with _replaced(Value, {name: answering(name) for name in _QUESTIONS}):
            yield


@contextmanager
def finite_values() -> Iterator[None]:
    """Let symbolic values be iterated over as tensors are, until the block ends: with Paddle's own it never ends."""

    def slices(value: Any) -> Iterator[Any]:
        return iter([value[index] for index in range(len(value))])

    with _replaced(Value, {"__len__": lambda value: value.shape[0], "__iter__": slices}):
        yield


def _asked_at(frame: FrameType | None) -> str:
    """``file:line`` of who asks, if that is user code."""
    code = None if frame is None else frame.f_code
    return f"{code.co_filename}:{frame.f_lineno}" if code and frame and is_user_code(code.co_filename) else ""


def _by_sizes(value: Any) -> bool:
    """Whether sizes, and the numbers in the code, are all that a symbolic value depends on."""
    waiting: list[Any] = [value]
    seen: set[int] = set()
    while waiting:
        op = waiting.pop().get_defining_op()
        name = op.name().replace("pd_op.", "", 1)
        if name not in _SIZES | _ARITHMETIC:
            return False
        before = [one for one in op.operands_source() if name in _ARITHMETIC and one.id not in seen]
        waiting += before
        seen.update(one.id for one in before)
    return True


@contextmanager
def _replaced(kind: type, methods: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """A class of Paddle's with other methods, until the block ends."""
    before = {name: vars(kind)[name] for name in methods if name in vars(kind)}
    try:
        for name, method in methods.items():
            setattr(kind, name, method)
        yield
    finally:
        for name in methods:
            if name in before:
                setattr(kind, name, before[name])
            elif name in vars(kind):
                delattr(kind, name)
