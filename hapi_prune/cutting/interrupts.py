"""Ctrl-C and other signals wait while a cut is being written, so that it is made or undone completely."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, "FrameType | None"], Any]


class Gate:
    """Stands in for the Python handlers of all signals: while it is closed, signals wait until it opens.

    Python may run a handler between any two bytecodes, and most handlers raise: that of ctrl-C, that of a job which is
    told to end, and that by which Paddle hears of a dead worker of a DataLoader.
    """

    def __init__(self) -> None:
        self.open = self._over = False
        self._own: dict[int, Handler] = {}
        self._waiting: list[int] = []

    def install(self) -> None:
        """Take the place of the handlers; signals wait from now on."""
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if callable(handler):
                self._own[number] = handler
                signal.signal(number, self._arrived)

    def uninstall(self) -> None:
        """Reinstall the handlers, and deliver the signals that waited."""
        self._over = True  # a signal that arrives right now raises, and later ones still come here
        for number, handler in self._own.items():
            if signal.getsignal(number) == self._arrived:
                signal.signal(number, handler)
        self._call(None)

    def deliver(self) -> None:
        """Open the gate, and deliver the signals that waited."""
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
        gate.install()
        _gates.append(gate)
        yield
    finally:
        gate.open = False
        _gates.clear()
        gate.uninstall()


@contextmanager
def let_through() -> Iterator[None]:
    """Within `held`: a block that takes long, and that may be broken off at any point."""
    gate = _gates[-1] if _gates and threading.current_thread() is threading.main_thread() else None
    if gate is None or gate.open:
        yield
        return
    try:
        gate.deliver()
        yield
    finally:
        gate.open = False
