"""The state of the random generators: Python's, NumPy's and Paddle's."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle

from ..errors import PruneError


@dataclass(frozen=True)
class RandomState:
    """The states of the three generators.

    Attributes:
        python, numpy, paddle: the state of each, as it gives and takes it.
    """

    python: Any
    numpy: Any
    paddle: Any

    @classmethod
    def now(cls) -> RandomState:
        """The states now."""
        return cls(random.getstate(), np.random.get_state(), paddle.get_rng_state())

    def put_back(self) -> None:
        """Restore the generators to these states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        paddle.set_rng_state(self.paddle)

    def to_plain(self) -> dict[str, Any]:
        """The states as plain data for JSON."""
        version, numbers, gauss = self.python
        kind, keys, position, has_gauss, cached = self.numpy
        return {
            "python": [version, list(numbers), gauss],
            "numpy": [str(kind), [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
            "paddle": [list(state.__getstate__()) for state in self.paddle],
        }


def restore(saved: Any) -> None:
    """Restore the states that `RandomState.to_plain` gave.

    Raises:
        PruneError: ``saved`` is something else; the generators are as they were.
    """
    before = RandomState.now()
    try:
        version, numbers, gauss = saved["python"]
        kind, keys, *rest = saved["numpy"]
        if not 0 <= rest[0] <= len(keys):  # NumPy would read out of bounds
            raise ValueError("NumPy's generator")
        engines = [engine(old, new) for old, new in zip(before.paddle, saved["paddle"])]
        numpy_state = (kind, np.array(keys, dtype=np.uint32), *rest)
        RandomState((version, tuple(numbers), gauss), numpy_state, engines).put_back()
    except (TypeError, ValueError, KeyError, OverflowError, IndexError) as error:
        before.put_back()
        raise PruneError("random generators", f"their state cannot be read ({error})", "what a run wrote") from error


def engine(old: Any, new: Any) -> Any:
    """A state of Paddle's generator with other numbers, checked first, since they are passed to C++ code."""
    device, seed, offset, text = new
    written = bytes(text).decode("ascii")
    count = len(bytes(old.__getstate__()[3]).split())
    if not re.fullmatch(r"[0-9 ]+", written) or len(written.split()) != count:
        raise ValueError("Paddle's generator")
    if any(type(number) is not int or abs(number) >= 2**63 for number in (device, seed, offset)):
        raise ValueError("Paddle's generator")
    if any(int(part) >= 2**64 for part in written.split()):
        raise ValueError("Paddle's generator")
    kind: Any = type(old)
    state = kind.__new__(kind)
    state.__setstate__((device, seed, offset, text))
    return state
