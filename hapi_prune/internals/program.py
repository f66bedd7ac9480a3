"""Paddle's own op program (PIR) of a function, and whose line of code each op came from."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import paddle
from paddle.static import InputSpec

_HOME = os.path.dirname(paddle.__file__)
_HERE = os.path.dirname(os.path.dirname(__file__))
_MODELS = os.path.join(_HOME, "vision")


@dataclass(frozen=True)
class RawOp:
    """One operation of Paddle's program (PIR), its values numbered.

    Attributes:
        name: without the dialect.
        tensor: Paddle's name of the network's own tensor, where the op only stands for one.
    """

    name: str
    attrs: dict[str, Any]
    operands: tuple[int | None, ...]
    results: tuple[int, ...]
    shapes: tuple[tuple[int, ...] | None, ...]
    where: str
    scope: str
    tensor: str = ""


class Traced:
    """A function, traced to Paddle's own op program (PIR) at fixed shapes.

    A plain function is traced and not the Layer itself, since that would replace the Layer's forward.
    """

    def __init__(self, function: Callable[..., Any], leaves: Sequence[paddle.Tensor]) -> None:
        specs = [InputSpec(list(leaf.shape), leaf.dtype, name=f"input_{n}") for n, leaf in enumerate(leaves)]
        static = paddle.jit.to_static(function, input_spec=[specs], full_graph=True)
        with short_stacks():
            self._program = static.concrete_program
        self._numbers: dict[str, int] = {}

    def outputs(self) -> tuple[int, ...]:
        """The numbers of the values that the function returned."""
        return tuple(
            self._number(value) for value in paddle.utils.flatten(self._program.outputs) if hasattr(value, "id")
        )

    def ops(self) -> Iterator[RawOp]:
        """The operations, in order."""
        for op in self._program.main_program.global_block().ops:
            attrs = op.attrs()
            stack = attrs.pop("op_callstack", None) or ()
            operands = tuple(self._operand(value) for value in op.operands_source())
            inner = tuple(self._number(value) for block in op.blocks() for value in _captured(block))
            yield RawOp(
                name=op.name().replace("pd_op.", "", 1),
                attrs=attrs,
                operands=operands + inner,
                results=tuple(self._number(value) for value in op.results()),
                shapes=tuple(_shape(value) for value in op.results()),
                where=_user_line(stack),
                scope=attrs.pop("struct_name", ""),
                tensor=attrs.get("parameter_name", "") if op.name() == "builtin.parameter" else "",
            )

    def _number(self, value: Any) -> int:
        return self._numbers.setdefault(value.id, len(self._numbers))

    def _operand(self, value: Any) -> int | None:
        return self._number(value) if value.initialized() else None


@contextmanager
def short_stacks() -> Iterator[None]:
    """While Paddle traces, let it keep the user's line of each op and not the whole stack.

    It asks Python for the stack at each op, and keeps what it gets for ever: two thirds of the time of a trace, and
    most of the memory that it never gives back.
    """
    whole, thread = traceback.extract_stack, threading.get_ident()

    def user_line(*args: Any, **options: Any) -> traceback.StackSummary:
        if args or options or threading.get_ident() != thread:
            return whole(*args, **options)
        frame = sys._getframe(1)
        while frame.f_back is not None and not is_user_code(frame.f_code.co_filename):
            frame = frame.f_back
        return whole(frame, limit=1)

    traceback.extract_stack = user_line
    try:
        yield
    finally:
        traceback.extract_stack = whole


def _captured(block: Any) -> Iterator[Any]:
    """Values that a nested block (a branch, a loop body) uses."""
    for op in block.ops:
        yield from (value for value in op.operands_source() if value.initialized())
        for inner in op.blocks():
            yield from _captured(inner)


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a value; None for a list of values."""
    try:
        return tuple(value.shape)
    except ValueError:
        return None


def is_user_code(path: str) -> bool:
    """Whether a file is neither Paddle's nor ours. The models that Paddle ships count as a user's."""
    return path.startswith(_MODELS) or not path.startswith((_HOME, _HERE, "<"))


def _user_line(stack: Sequence[str]) -> str:
    """``file:line`` of the innermost frame that is neither Paddle's nor ours."""
    for frame in reversed(stack):
        if not frame.startswith('  File "'):
            continue
        path, _, rest = frame[8:].partition('"')
        if is_user_code(path):
            return f"{path}:{rest.split('line ')[1].split(',')[0]}"
    return ""
