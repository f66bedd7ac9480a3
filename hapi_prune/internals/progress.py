"""Hapi's progress bar for work that takes more than a second; only in a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import paddle
from paddle.hapi.progressbar import ProgressBar

MOMENT = 1.0
"""No bar is shown for work that is done within so many seconds."""

PAUSE = 0.1
"""Seconds between two updates of a bar."""

_MAY_SHOW = ContextVar("may_show", default=True)


@contextmanager
def bars(shown: bool) -> Iterator[None]:
    """Allow bars within a block, unless an outer block forbids them; or forbid them."""
    token = _MAY_SHOW.set(shown and _MAY_SHOW.get())
    try:
        yield
    finally:
        _MAY_SHOW.reset(token)


@contextmanager
def progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar for some work; yields a function to call with the number of parts that are done. Bars do not nest.

    Args:
        name: what a part is called.
        total: how many there are.
    """
    stdout = sys.stdout
    shows = _MAY_SHOW.get() and total > 1 and stdout.isatty() and paddle.distributed.get_rank() == 0
    bar = ProgressBar(total, file=stdout, name=name) if shows else None
    begun = drawn = time.monotonic()
    last = 0

    def at(done: int) -> None:
        nonlocal drawn, last
        now = time.monotonic()
        if bar is not None and now - begun >= MOMENT and now - drawn >= PAUSE and 0 < done < total:
            bar.update(done, [])
            drawn, last = now, done

    try:
        with bars(False):
            yield at
    except BaseException:
        if bar is not None and last:
            stdout.write("\n")
        raise
    if bar is not None and last:
        bar.update(total, [])  # ends the line
