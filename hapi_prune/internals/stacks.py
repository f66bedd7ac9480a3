"""Whose line of code, and which layer, an op of a traced program came from."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import FrameType
from typing import Any

import paddle
from paddle.nn.layer import layers as paddle_layers

_HOME = os.path.join(os.path.dirname(paddle.__file__), "")
_HERE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_MODELS = os.path.join(_HOME, "vision", "")
_MARK = "<made in>"
"""The file name of the one frame that is left of a traced op's stack, its line the number of what is known of it."""

_HEAD = f'  File "{_MARK}", line '


@dataclass(frozen=True)
class Origin:
    """Where an op of a traced program was made.

    Attributes:
        where: ``file:line`` of the user's code; empty where none is known.
        scope: the call of layers, outermost first.
        owner: the layer in whose code; None where it was made in none.
    """

    where: str = ""
    scope: str = ""
    owner: str | None = None


class Stacks:
    """While Paddle traces, lets it keep the user's line of each op and who made it, and not its whole stack.

    Paddle asks Python for the stack at each op, and keeps what it gets for ever: two thirds of the time of a trace, and
    most of the memory that it never gives back. It also writes on each op which calls of layers it was made in, as each
    layer returns, and goes through the whole program for it: time that grows with the square of the network's depth.
    Here it is given one frame with a number, by which `origin` knows the rest.

    Args:
        names: id of each layer -> its name.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names
        self._made: list[Origin] = []
        self._calls = [""]
        self._begun = 0

    def origin(self, stack: Sequence[str]) -> Origin:
        """Where an op with this stack was made."""
        found = next((line for line in stack if line.startswith(_HEAD)), None)
        return Origin() if found is None else self._made[int(found[len(_HEAD) :].partition(",")[0])]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Do so until the block ends."""
        whole, named = traceback.extract_stack, getattr(paddle_layers, "name_struct", None)
        thread = threading.get_ident()

        def one_frame(*args: Any, **options: Any) -> traceback.StackSummary:
            if args or options or threading.get_ident() != thread:
                return whole(*args, **options)
            frame = sys._getframe(1)
            while frame.f_back is not None and _goes_on(frame.f_code.co_filename):
                frame = frame.f_back
            path = frame.f_code.co_filename
            where = f"{path}:{frame.f_lineno}" if is_user_code(path) else ""
            self._made.append(Origin(where, self._calls[-1], layer_at_work(frame, self._names)))
            # With a text of its own, as Python would look for the line in a file each time.
            return traceback.StackSummary([traceback.FrameSummary(_MARK, len(self._made) - 1, "layer", line="")])

        traceback.extract_stack = one_frame
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


def layer_at_work(frame: FrameType | None, names: Mapping[int, str]) -> str | None:
    """The layer whose code runs in a frame or called it: the first argument there, or ``self`` in what it encloses.

    Only frames of the user's are looked into: a frame holds on to what was seen of it for as long as it runs.

    Args:
        frame: the innermost frame.
        names: id of each layer -> its name.
    """
    while frame is not None and not (code := frame.f_code).co_filename.startswith(_HERE):
        given = {"self", *code.co_varnames[: min(code.co_argcount, 1)]} & {*code.co_varnames, *code.co_freevars}
        if given and is_user_code(code.co_filename):
            found = (names.get(id(frame.f_locals.get(name))) for name in given)
            layer = next((name for name in found if name is not None), None)
            if layer is not None:
                return layer
        frame = frame.f_back
    return None


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
