"""The ``fit`` that is running, found on the Python stack: hapi does not pass it to its callbacks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

# Private to hapi: the class of the object that calls the callbacks of a run, the method that it is called from, and the
# variable there that holds the training data.
CALLER, FIT, DATA = "CallbackList", "fit", "train_loader"


def frames(top: FrameType | None) -> Iterator[FrameType]:
    """A frame of the Python stack, and all outer ones, the innermost first."""
    while top is not None:
        yield top
        top = top.f_back


def calling() -> Any:
    """Hapi's list of callbacks, if it is calling one of them right now; else None."""
    found = (frame.f_locals.get("self") for frame in frames(sys._getframe(1)))
    return next((caller for caller in found if type(caller).__name__ == CALLER), None)


def running_callbacks() -> list[object]:
    """The callbacks of the hapi run that is calling one of them right now; else an empty list."""
    return list(calling() or ())


def is_running(model: object) -> bool:
    """Whether a ``fit`` of ``model`` is under way, in whatever thread."""
    everywhere = (frame for top in sys._current_frames().values() for frame in frames(top))
    return any(frame.f_code.co_name == FIT and frame.f_locals.get("self") is model for frame in everywhere)


def variables_of_fit(model: object = None) -> dict[str, Any]:
    """The variables of the ``fit`` (of ``model``, if one is given) that is calling us; empty where none is."""
    for frame in frames(sys._getframe(1)):
        variables = frame.f_locals
        if DATA in variables and (variables.get("self") is model if model else frame.f_code.co_name == FIT):
            return variables
    return {}
