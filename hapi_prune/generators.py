"""The state of the random generators as plain numbers: Python's, NumPy's and Paddle's."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy as np
import paddle

from .errors import PruneError


def states() -> dict[str, Any]:
    """The states, as JSON can hold them."""
    version, numbers, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [str(kind), [int(key) for key in keys], int(place), int(has_gauss), float(cached)],
        "paddle": [list(state.__getstate__()) for state in paddle.get_rng_state()],
    }


def restore(saved: Any) -> None:
    """Put back what `states` gave.

    Raises:
        PruneError: ``saved`` is something else; the generators are as they were.
    """
    before = random.getstate(), np.random.get_state(), paddle.get_rng_state()
    try:
        version, numbers, gauss = saved["python"]
        random.setstate((version, tuple(numbers), gauss))
        kind, keys, *rest = saved["numpy"]
        if not 0 <= rest[0] <= len(keys):  # NumPy would read there
            raise ValueError("NumPy's generator")
        np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
        paddle.set_rng_state([engine(old, new) for old, new in zip(before[2], saved["paddle"])])
    except (TypeError, ValueError, KeyError, OverflowError, IndexError) as error:
        random.setstate(before[0])
        np.random.set_state(before[1])
        paddle.set_rng_state(before[2])
        raise PruneError("random generators", f"their state cannot be read ({error})", "what a run wrote") from error


def engine(old: Any, new: Any) -> Any:
    """A state of Paddle's generator with other numbers; they reach C++ code, so they are looked at first."""
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
