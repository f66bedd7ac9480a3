"""Concrete values for symbolic ones: recorded while a forward runs on tensors, replayed while it is traced."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any

import numpy as np
import paddle
from paddle.pir import Value

from .preserve import replaced
from .stacks import is_user_code

_CONVERSIONS = ("__int__", "__float__", "__bool__", "__index__", "__array__", "item", "numpy", "tolist")
_SIZES = frozenset(("shape", "shape64", "numel", "full", "full_int_array", "arange", "assign_value", "assign_value_"))
"""Ops whose results depend on sizes or on constants in the code, and not on data."""

_ARITHMETIC = frozenset(
    ("add", "subtract", "multiply", "divide", "floor_divide", "remainder", "scale", "elementwise_pow", "pow", "sqrt")
    + ("floor", "ceil", "round", "abs", "minimum", "maximum", "max", "min", "sum", "prod", "mean", "cast", "assign")
    + ("equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal", "logical_not", "logical_and")
    + ("logical_or", "all", "any", "concat", "stack", "split", "split_with_num", "slice", "strided_slice", "gather")
    + ("reshape", "squeeze", "unsqueeze", "flatten", "full_like", "builtin.combine", "builtin.split")
)
"""Arithmetic ops, whose results depend on nothing but their operands; no op that draws random numbers."""


_SIZED_BY_DATA = frozenset(("nonzero", "masked_select", "unique", "unique_consecutive", "bincount", "multiclass_nms3"))
"""Ops with results of as many elements as the data says."""


class ConcreteValues:
    """What one run of a forward on tensors knows and a symbolic one does not: values of tensors, and open sizes.

    Conversions of tensors to Python values are kept in order, with their results; shapes for each line that reads some.
    """

    def __init__(self) -> None:
        self._record: list[tuple[str, str, Any]] = []
        self._shapes: dict[str, list[list[int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._record or self._shapes)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Within the block, record the conversions that user code makes, and the shapes that it reads."""
        shape = vars(paddle.Tensor)["shape"]

        def shape_read(tensor: paddle.Tensor) -> Any:
            result = shape.__get__(tensor)
            where = _called_at(sys._getframe(1))
            if where:
                self._shapes.setdefault(where, []).append(list(result))
            return result

        def recording(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
            def convert(tensor: paddle.Tensor, *args: Any, **options: Any) -> Any:
                result = method(tensor, *args, **options)
                where = _called_at(sys._getframe(1))
                if where:
                    self._record.append((name, where, result))
                return result

            return convert

        methods = {name: recording(name, getattr(paddle.Tensor, name)) for name in _CONVERSIONS}
        with replaced(paddle.Tensor, {**methods, "shape": property(shape_read, shape.__set__)}):
            yield

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Within the block, let conversions of symbolic values return the recorded results, and open sizes too.

        Raises:
            ValueError: one whose result depends on data, or that was not recorded.
        """
        left, shapes, shape = (
            iter(self._record),
            {where: iter(each) for where, each in self._shapes.items()},
            Value.shape,
        )

        def shape_read(value: Any) -> Any:
            found, where = shape.fget(value), _called_at(sys._getframe(1))
            recorded = next(shapes.get(where, iter(())), None)
            if not where or -1 not in found:
                return found
            if _sized_by_data(value, shape.fget):
                raise ValueError(f"the shape of a tensor at {where}: it depends on the data")
            if recorded is None or len(recorded) != len(found):
                raise ValueError(f"the shape of a tensor at {where}: not asked when the forward ran on tensors")
            return [known if size == -1 else size for size, known in zip(found, recorded)]

        def replaying(name: str) -> Callable[..., Any]:
            def result(value: Any, *args: Any, **options: Any) -> Any:
                where = _called_at(sys._getframe(1))
                if not _by_sizes(value):
                    raise ValueError(
                        f"{name} of a tensor at {where or 'a line of Paddle'}: its value depends on the data"
                    )
                recorded = next(left, ("", "", None))
                if recorded[:2] != (name, where):
                    raise ValueError(f"{name} of a tensor at {where}: not asked when the forward ran on tensors")
                return np.array(recorded[2]) if isinstance(recorded[2], np.ndarray) else recorded[2]

            return result

        methods = {name: replaying(name) for name in _CONVERSIONS}
        with replaced(Value, {**methods, "shape": property(shape_read, shape.fset)}):
            yield


@contextmanager
def as_on_tensors() -> Iterator[None]:
    """Within the block, let symbolic values do what tensors do, where Paddle's own do not.

    Iteration ends after the last slice, and a value without axes floor-divided by a number has the shape that a tensor
    gets: [1] in all versions so far.
    """

    def slices(value: Any) -> Iterator[Any]:
        return iter([value[index] for index in range(len(value))])

    def dividing(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def divided(value: Any, other: Any) -> Any:
            found = method(value, other)
            return found if found.shape or isinstance(other, Value) else found.reshape(_floor_divided_shape())

        return divided

    divisions = {name: dividing(getattr(Value, name)) for name in ("__floordiv__", "__rfloordiv__")}
    _floor_divided_shape()  # while there is no program that it would be added to
    with replaced(Value, {"__len__": lambda value: value.shape[0], "__iter__": slices, **divisions}):
        yield


@cache
def _floor_divided_shape() -> list[int]:
    """The shape of a tensor without axes that was floor-divided by a number."""
    return list((paddle.ones([], "int64") // 2).shape)


def _called_at(frame: FrameType | None) -> str:
    """``file:line`` of the caller, if that is user code."""
    code = None if frame is None else frame.f_code
    return f"{code.co_filename}:{frame.f_lineno}" if code and frame and is_user_code(code.co_filename) else ""


def _sized_by_data(value: Any, shape: Callable[[Any], Any]) -> bool:
    """Whether the open sizes of a symbolic value come from data; they are followed to the ops that left them open."""
    waiting, seen = [value], {value.id}
    while waiting:
        op = waiting.pop().get_defining_op()
        if op is None:
            continue
        operands = [each for one in op.operands_source() if one.initialized() for each in _listed(one)]
        passing = [one for one in operands if one.is_combine() or -1 in shape(one)]
        whole = [one for one in operands if not one.is_combine() and one.is_integer() and len(shape(one)) <= 1]
        if not passing and (op.name().replace("pd_op.", "", 1) in _SIZED_BY_DATA or not all(map(_by_sizes, whole))):
            return True
        waiting += [one for one in passing if one.id not in seen]
        seen.update(one.id for one in passing)
    return False


def _listed(value: Any) -> list[Any]:
    """The values in a list of symbolic values; one that is no list by itself."""
    op = value.get_defining_op()
    return op.operands_source() if op is not None and op.name() == "builtin.combine" else [value]


def _by_sizes(value: Any) -> bool:
    """Whether a symbolic value depends on sizes and constants in the code only."""
    waiting: list[Any] = [value]
    seen: set[int] = set()
    while waiting:
        op = waiting.pop().get_defining_op()
        if op is None:  # a tensor of the network
            return False
        name = op.name().replace("pd_op.", "", 1)
        if name not in _SIZES | _ARITHMETIC:
            return False
        before = [one for one in op.operands_source() if name in _ARITHMETIC and one.id not in seen]
        waiting += before
        seen.update(one.id for one in before)
    return True
