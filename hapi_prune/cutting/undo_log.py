"""The undo log: every write of a cut is noted with what undoes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import paddle

from ..internals import tensors


class UndoLog:
    """The writes of one cut, in order. `undo` takes them back bitwise; dropping the log keeps them."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._held: dict[int, tuple[paddle.Tensor, Any]] = {}

    def remember(self, undo: Callable[[], None]) -> None:
        """Note how to undo a change that is about to be made."""
        self._undo.append(undo)

    def resize(self, tensor: paddle.Tensor, array: npt.NDArray[Any]) -> None:
        """Give ``tensor`` the shape and values of ``array``, in place; its gradient stays as it is."""
        self.become(tensor, tensors.memory(array, tensor.place))

    def become(self, tensor: paddle.Tensor, storage: Any) -> None:
        """Give ``tensor`` another shape and storage, see `tensors.become`; its gradient stays as it is."""
        if id(tensor) not in self._held:
            # The old storage itself is kept, not a copy, and only at the first write: later ones are not restored to.
            self._held[id(tensor)] = tensor, tensors.storage(tensor)
            self.remember(lambda: tensors.become(*self._held.pop(id(tensor))))
        tensors.become(tensor, storage)

    def assign(self, owner: object, name: str, value: object) -> None:
        """Set attribute ``name`` of ``owner``."""
        old = getattr(owner, name)
        self.remember(lambda: assign(owner, name, old))
        assign(owner, name, value)

    def undo(self) -> None:
        """Take every change back, the last one first."""
        while self._undo:
            self._undo.pop()()


def assign(owner: object, name: str, value: object) -> None:
    """Set an attribute; a plain one of a layer directly, as Paddle looks for tensors first, which takes longer."""
    if isinstance(owner, paddle.nn.Layer) and name in vars(owner) and not isinstance(value, paddle.Tensor):
        vars(owner)[name] = value
    else:
        setattr(owner, name, value)
