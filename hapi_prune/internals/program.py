"""Paddle's own op program (PIR) of a function, and whose line of code each op came from."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import paddle
from paddle.static import InputSpec

_HOME = os.path.dirname(paddle.__file__)
_HERE = os.path.dirname(os.path.dirname(__file__))
_MODELS = os.path.join(_HOME, "vision")
_OWNER = "<layer>"
"""How the frame begins in which a traced op carries the number of its layer; no file of a user's is called so."""


@dataclass(frozen=True)
class RawOp:
    """One operation of Paddle's program (PIR), its values numbered.

    Attributes:
        name: without the dialect.
        tensor: Paddle's name of the network's own tensor, where the op only stands for one.
        owner: the layer in whose code the op was made; None where it was made in none.
    """

    name: str
    attrs: dict[str, Any]
    operands: tuple[int | None, ...]
    results: tuple[int, ...]
    shapes: tuple[tuple[int, ...] | None, ...]
    where: str
    scope: str
    tensor: str = ""
    owner: str | None = None


class Traced:
    """A function, traced to Paddle's own op program (PIR) at fixed shapes.

    A plain function is traced and not the Layer itself, since that would replace the Layer's forward.

    Args:
        function: what to trace.
        leaves: its tensors.
        names: id of each layer -> its name.
    """

    def __init__(self, function: Callable[..., Any], leaves: Sequence[paddle.Tensor], names: Mapping[int, str]) -> None:
        specs = [InputSpec(list(leaf.shape), leaf.dtype, name=f"input_{n}") for n, leaf in enumerate(leaves)]
        static = paddle.jit.to_static(function, input_spec=[specs], full_graph=True)
        with short_stacks({layer: number for number, layer in enumerate(names)}):
            self._program = static.concrete_program
        self._layers = list(names.values())
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
                owner=_owner(stack, self._layers),
            )

    def _number(self, value: Any) -> int:
        return self._numbers.setdefault(value.id, len(self._numbers))

    def _operand(self, value: Any) -> int | None:
        return self._number(value) if value.initialized() else None


@contextmanager
def short_stacks(numbers: Mapping[int, int]) -> Iterator[None]:
    """While Paddle traces, let it keep the user's line of each op and its layer, and not the whole stack.

    The number of the layer goes as a frame of its own in front of the line, as the stack is all that Paddle keeps of
    where an op was made.

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
        line, owner = whole(frame, limit=1), _layer_at_work(frame, numbers)
        mark = [] if owner is None else [traceback.FrameSummary(f"{_OWNER}{owner}", 1, "layer", line="")]
        return traceback.StackSummary.from_list([*mark, *line])

    traceback.extract_stack = user_line
    try:
        yield
    finally:
        traceback.extract_stack = whole


def _layer_at_work(frame: FrameType | None, numbers: Mapping[int, int]) -> int | None:
    """The layer whose code runs in a frame or called it: what goes by ``self`` there, in what it encloses too.

    Only frames of the trace are looked into: a frame holds on to what was seen of it for as long as it runs.
    """
    while frame is not None and frame.f_code.co_filename != __file__:
        code = frame.f_code
        if "self" in (*code.co_varnames, *code.co_freevars) and is_user_code(code.co_filename):
            number = numbers.get(id(frame.f_locals.get("self")))
            if number is not None:
                return number
        frame = frame.f_back
    return None


def _owner(stack: Sequence[str], layers: Sequence[str]) -> str | None:
    """The layer that `short_stacks` has put in front of a line."""
    head = f'  File "{_OWNER}'
    numbers = (line[len(head) :].partition('"')[0] for line in stack if line.startswith(head))
    return next((layers[int(number)] for number in numbers), None)


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
