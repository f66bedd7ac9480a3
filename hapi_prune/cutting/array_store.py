"""A store for copies of arrays: in memory, or on disk if they are large."""

from __future__ import annotations

import tempfile
import weakref
from typing import IO, Any

import numpy as np

from ..plan import Array

LARGE = 256 * 2**20
"""From so many bytes on, they go to disk."""


class ArrayStore:
    """Arrays by number. On disk they lie in an unnamed temporary file, which is deleted with the store or the process.

    Args:
        size: about how many bytes will be stored.
        folder: where the file goes; None for the default of `tempfile`.
    """

    def __init__(self, size: int, folder: str | None = None) -> None:
        self._arrays: list[Array] = []
        self._places: list[int] = []
        self._file: IO[bytes] | None = None
        if size > LARGE:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # it is closed with the store
            weakref.finalize(self, self._file.close)

    @property
    def on_disk(self) -> bool:
        """Whether the arrays lie on disk."""
        return self._file is not None

    def put(self, array: Any) -> int:
        """Store a copy of ``array``; returns its number for `get`."""
        if self._file is None:
            self._arrays.append(np.array(array))
            return len(self._arrays) - 1
        self._places.append(self._file.seek(0, 2))
        np.save(self._file, np.asarray(array), allow_pickle=False)
        return len(self._places) - 1

    def get(self, number: int) -> Array:
        """A stored array; not to be written to."""
        if self._file is None:
            return self._arrays[number]
        self._file.seek(self._places[number])
        found: Array = np.load(self._file, allow_pickle=False)
        return found
