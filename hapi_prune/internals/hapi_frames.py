"""The ``fit`` that is calling us right now, found on the Python stack: hapi tells its callbacks nothing of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

# What nobody has promised: the callbacks of a run are called by an object of this class, from a method of this name
# that keeps what it trains on in a variable of this name.
CALLER, FIT, DATA = "CallbackList", "fit", "train_loader"


def frames(top: FrameType | None) -> Iterator[FrameType]:
    """A frame of the Python stack, and all that it was called from, the innermost first."""
    while top is not None:
        yield top
        top = top.f_back


def calling() -> Any:
    """The list of callbacks through which hapi is calling us right now; None where it is not."""
    found = (frame.f_locals.get("self") for frame in frames(sys._getframe(1)))
    return next((caller for caller in found if type(caller).__name__ == CALLER), None)


def running_callbacks() -> list[object]:
    """The callbacks of the hapi run that is calling us right now; none where none is."""
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
