"""Arrays that are put aside: in memory, or on disk where they are large."""

from __future__ import annotations

import tempfile
import weakref
from typing import IO, Any

import numpy as np

from ..plan import Array

LARGE = 256 * 2**20
"""Bytes above which they go to disk."""


class ArrayStore:
    """Arrays by number. Those on disk lie in a file without a name, which is gone when the store or the process is.

    Args:
        size: bytes that will be put here, about.
        folder: where the file goes; None for where temporary files go.
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
        """Put a copy of ``array`` aside; the number is what `get` takes."""
        if self._file is None:
            self._arrays.append(np.array(array))
            return len(self._arrays) - 1
        self._places.append(self._file.seek(0, 2))
        np.save(self._file, np.asarray(array), allow_pickle=False)
        return len(self._places) - 1

    def get(self, number: int) -> Array:
        """An array that was put aside; it is not to be written to."""
        if self._file is None:
            return self._arrays[number]
        self._file.seek(self._places[number])
        found: Array = np.load(self._file, allow_pickle=False)
        return found
