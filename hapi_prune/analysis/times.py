"""Times of single operations on this machine: measured once, and cached in a file for each machine and version."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import PruneWarning, gist
from ..plan.json_reader import entries, named, text, whole
from . import replay
from .channel_map import ChannelMap
from .labels import Signal, Value
from .op import Op

FOLDER = "HAPI_PRUNE_CACHE"
"""The environment variable with the folder of the cached tables."""

VERSION = 1
UNSAID = {"stop_gradient", "place", "dtype", "name", "seed", "fix_seed", "conv_bias", "held", "momentum", "epsilon"}
"""Attributes of an op that its time does not depend on."""

READER = entries(version=whole, conditions=named(text), nanoseconds=named(whole))


class Times:
    """How long each op takes at each shape that was asked for, in nanoseconds.

    Args:
        known: the table that a resumed run began with; None: the table in the file of this machine.

    Attributes:
        known: what is known by now.
        scale: nanoseconds that an op takes in the network for each that it takes by itself.
        original: nanoseconds of a forward pass before the first cut, by the table.
    """

    def __init__(self, known: Mapping[str, int] | None = None) -> None:
        self._conditions = replay.conditions()
        self._path = folder() / f"latency-{digest(json.dumps(self._conditions, sort_keys=True))}.json"
        self._cannot: set[str] = set()
        self._asked: set[str] = set()
        self.known = self._read() if known is None else dict(known)
        self._kept = dict(self.known) if known is None else {}
        self.scale, self.original = 1.0, 0

    @property
    def asked(self) -> dict[str, int]:
        """The part of the table that this network needed."""
        return {key: self.known[key] for key in sorted(self._asked)}

    def of(self, op: Op, args: Sequence[Value]) -> int | None:
        """Nanoseconds of an op on such operands; None if it cannot be run by itself."""
        key = key_of(op, args)
        if key not in self.known and key not in self._cannot:
            seconds = replay.seconds_of_op(op, args)
            if seconds is None:
                self._cannot.add(key)
            else:
                self.known[key] = round(seconds * 1e9)
        return self._found(key)

    def of_network(self, channel_map: ChannelMap) -> int:
        """Nanoseconds of a forward pass of the network as it was traced."""
        steps = channel_map.traced.evaluation.steps()
        key = f"network {digest(' '.join(key_of(op, args) for op, args, _ in steps))}"
        if key not in self.known:
            self.known[key] = round(replay.seconds_of_network(channel_map) * 1e9)
        return self._found(key) or 0

    def save(self) -> None:
        """Write what was measured to the file of this machine. If that fails, a warning says so."""
        if self.known.items() <= self._kept.items():
            return
        with suppress(ValueError, OSError):  # another process may have written since
            self.known = {**self._parsed(), **self.known}
        data = {"version": VERSION, "conditions": self._conditions, "nanoseconds": self.known}
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(data, indent=0), encoding="utf-8")
            os.replace(draft, self._path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            self._warn(f"cannot be written ({gist(error)}): what was measured is lost with this process")
        self._kept = dict(self.known)

    def _found(self, key: str) -> int | None:
        if key in self.known:
            self._asked.add(key)
        return self.known.get(key)

    def _read(self) -> dict[str, int]:
        try:
            return self._parsed()
        except FileNotFoundError:
            return {}
        except (ValueError, OSError, RecursionError) as error:
            self._warn(f"cannot be read ({gist(error)}): it is measured anew")
            return {}

    def _parsed(self) -> dict[str, int]:
        data = READER(json.loads(self._path.read_text(encoding="utf-8")))
        if data["version"] != VERSION or data["conditions"] != self._conditions:
            raise ValueError("it is of another version or machine")
        found: dict[str, int] = data["nanoseconds"]
        return found

    def _warn(self, what: str) -> None:
        warnings.warn(f"target='latency': the table {str(self._path)!r} {what}.", PruneWarning, stacklevel=2)


def folder() -> Path:
    """Where tables are kept: what the environment says, or the user's cache."""
    given = os.environ.get(FOLDER)
    cache = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else (Path(cache) if cache else Path.home() / ".cache") / "hapi_prune"


def key_of(op: Op, args: Sequence[Value]) -> str:
    """What the time of an op depends on, as a key: its name, its operands' shapes, and a digest of its attributes."""
    unsaid = UNSAID | ({"groups"} if "depthwise" in op.name else set())
    attrs = {name: value for name, value in op.attrs.items() if name not in unsaid}
    return f"{op.name} {' '.join(map(shape_of, args))} #{digest(json.dumps(attrs, sort_keys=True, default=str))}"


def shape_of(value: Value) -> str:
    """An operand's shape as text, with its numbers if they are written into the program."""
    if isinstance(value, tuple):
        return f"({' '.join(map(shape_of, value))})"
    if not isinstance(value, Signal):
        return "-"
    numbers = f"={','.join(map(str, value.value))}" if value.value else ""
    return "x".join(map(str, value.shape)) + numbers


def digest(words: str) -> str:
    """A short name for a long text."""
    return hashlib.sha256(words.encode()).hexdigest()[:16]
