"""What PaddleSlim would have left out without a word, said as a warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

from ..errors import PruneWarning


def say(notes: Iterable[str]) -> None:
    """Warn of each note, at the line of the user's that called."""
    depth, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(__package__ or ""):
        depth, frame = depth + 1, frame.f_back
    for note in notes:
        warnings.warn(f"paddleslim: {note}", PruneWarning, stacklevel=depth)


def some(names: Iterable[str], most: int = 3) -> str:
    """The first of several names, quoted, and how many there are beside them."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + rest
