"""Whose line of code, and which layer, an op of a traced program came from."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any

import paddle
from paddle.nn.layer import layers as paddle_layers

_HOME = os.path.join(os.path.dirname(paddle.__file__), "")
_HERE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_MODELS = os.path.join(_HOME, "vision", "")
_MARK = "<made in>"
"""The file name of the frame in which a traced op carries where it was made; no file of a user's is called so."""


class Stacks:
    """While Paddle traces, lets it keep the user's line of each op and who made it, and not its whole stack.

    Paddle asks Python for the stack at each op, and keeps what it gets for ever: two thirds of the time of a trace, and
    most of the memory that it never gives back. It also writes on each op which calls of layers it was made in, as each
    layer returns, and goes through the whole program for it: time that grows with the square of the network's depth.
    Here the call and the layer go by a number, in a frame of its own in front of the line.

    Args:
        names: id of each layer -> its name.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names
        self._made: list[tuple[str, str | None]] = []
        self._calls = [""]
        self._begun = 0

    def made_in(self, stack: Sequence[str]) -> tuple[str, str | None]:
        """The call of layers that an op with this stack was made in, and the layer in whose code."""
        head = f'  File "{_MARK}", line '
        numbers = (int(line[len(head) :].partition(",")[0]) for line in stack if line.startswith(head))
        return next((self._made[number] for number in numbers), ("", None))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Do so until the block ends."""
        whole, named = traceback.extract_stack, getattr(paddle_layers, "name_struct", None)
        thread = threading.get_ident()

        def two_lines(*args: Any, **options: Any) -> traceback.StackSummary:
            if args or options or threading.get_ident() != thread:
                return whole(*args, **options)
            frame = sys._getframe(1)
            while frame.f_back is not None and _goes_on(frame.f_code.co_filename):
                frame = frame.f_back
            mark, code = _line(_MARK, len(self._made), "layer"), frame.f_code
            self._made.append((self._calls[-1], layer_at_work(frame, self._names)))
            return traceback.StackSummary([mark, _line(code.co_filename, frame.f_lineno, code.co_name)])

        traceback.extract_stack = two_lines
        if named is not None:
            paddle_layers.name_struct = self._call
        try:
            yield
        finally:
            traceback.extract_stack = whole
            if named is not None:
                paddle_layers.name_struct = named

    @contextmanager
    def _call(self, name: str | None = None) -> Iterator[None]:
        """What a layer runs its forward in."""
        self._begun += 1
        self._calls.append(f"{self._calls[-1]}/{name}_{self._begun}")
        try:
            yield
        finally:
            self._calls.pop()


@cache
def _line(path: str, number: int, function: str) -> traceback.FrameSummary:
    """A line of a stack without its text, for which Python would look at the file each time."""
    return traceback.FrameSummary(path, number, function, lookup_line=False, line="")


def layer_at_work(frame: FrameType | None, names: Mapping[int, str]) -> str | None:
    """The layer whose code runs in a frame or called it: the first argument there, or ``self`` in what it encloses.

    Only frames of the user's are looked into: a frame holds on to what was seen of it for as long as it runs.

    Args:
        frame: the innermost frame.
        names: id of each layer -> its name.
    """
    while frame is not None and not (code := frame.f_code).co_filename.startswith(_HERE):
        if is_user_code(code.co_filename):
            given = code.co_varnames[: min(code.co_argcount, 1)]
            if given != ("self",) and ("self" in code.co_varnames or "self" in code.co_freevars):
                given = ("self", *given)
            held = frame.f_locals if given else {}
            for name in given:
                layer = names.get(id(held.get(name)))
                if layer is not None:
                    return layer
        frame = frame.f_back
    return None


def user_line(stack: Sequence[str]) -> str:
    """``file:line`` of the innermost frame of a stack that is neither Paddle's nor ours."""
    for frame in reversed(stack):
        if not frame.startswith('  File "'):
            continue
        path, _, rest = frame[8:].partition('"')
        if is_user_code(path):
            return f"{path}:{rest.split('line ')[1].split(',')[0]}"
    return ""


@cache
def _goes_on(path: str) -> bool:
    """Whether the way from an op to the user's line leads through a file: one that is neither a user's nor ours."""
    return not is_user_code(path) and not path.startswith(_HERE)


@cache
def is_paddle_code(path: str) -> bool:
    """Whether a file is Paddle's own. What has no file, as code typed into a terminal, is not."""
    return path.startswith(_HOME) and not path.startswith(_MODELS)


@cache
def is_user_code(path: str) -> bool:
    """Whether a file is neither Paddle's nor ours. The models that Paddle ships count as a user's."""
    return path.startswith(_MODELS) or not path.startswith((_HOME, _HERE, "<"))
