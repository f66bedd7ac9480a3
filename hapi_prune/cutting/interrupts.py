"""Ctrl-C and its like wait while a cut is being written, so that it is made completely or taken back completely."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, "FrameType | None"], Any]


class Gate:
    """The Python handlers of all signals, called at once while it is open, and else when it next opens or goes.

    A handler is code that Python runs between any two others, and most raise: ctrl-C is one, a job that is told to
    end another, and Paddle hears in this way of a worker of a DataLoader that has died.
    """

    def __init__(self) -> None:
        self.open = self._over = False
        self._own: dict[int, Handler] = {}
        self._waiting: list[int] = []

    def shut(self) -> None:
        """Stand before the handlers; from here on they wait."""
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if callable(handler):
                self._own[number] = handler
                signal.signal(number, self._arrived)

    def gone(self) -> None:
        """Give the signals their handlers back, and call those that waited."""
        self._over = True  # a signal that hits right here raises, and those after it still have us before them
        for number, handler in self._own.items():
            if signal.getsignal(number) == self._arrived:
                signal.signal(number, handler)
        self._call(None)

    def opened(self) -> None:
        """Let signals through, first of all those that waited."""
        self.open = True
        if self._waiting:
            self._arrived(self._waiting.pop(0), None)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self._waiting.append(number)
        if self._over:
            self._call(frame)
        elif self.open:
            self.open = False  # before anything is raised: what is then taken back is not to be interrupted
            self._call(frame)
            self.open = True

    def _call(self, frame: FrameType | None) -> None:
        while self._waiting:
            number = self._waiting.pop(0)
            self._own[number](number, frame)


_gates: list[Gate] = []


@contextmanager
def held() -> Iterator[None]:
    """Keep signals waiting until the end of the block, except inside of `let_through`.

    Only the main thread of Python is ever interrupted by a signal, so in others this does nothing.
    """
    if _gates or threading.current_thread() is not threading.main_thread():
        yield
        return
    gate = Gate()
    try:
        gate.shut()
        _gates.append(gate)
        yield
    finally:
        gate.open = False
        _gates.clear()
        gate.gone()


@contextmanager
def let_through() -> Iterator[None]:
    """Within `held`: a block that takes long, and that may be broken off at any point."""
    gate = _gates[-1] if _gates and threading.current_thread() is threading.main_thread() else None
    if gate is None or gate.open:
        yield
        return
    try:
        gate.opened()
        yield
    finally:
        gate.open = False
