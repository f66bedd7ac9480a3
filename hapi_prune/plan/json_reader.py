"""JSON into plain data and dataclasses: a reader for each kind, which raises a ValueError at whatever is not of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any

Reader = Callable[[Any], Any]


def checked(test: Callable[[Any], bool], what: str, make: Reader = lambda data: data) -> Reader:
    """A reader that makes something of data that passes ``test``."""

    def read(data: Any) -> Any:
        if not test(data):
            raise ValueError(f"{data!r:.60} where {what} belongs")
        return make(data)

    return read


def each(*reads: Reader) -> Reader:
    """Reads a list, item by item; with one reader, a list of any length."""
    return checked(
        lambda data: isinstance(data, list) and len(reads) in (1, len(data)),
        "a list",
        lambda data: tuple(read(item) for read, item in zip(reads * len(data), data)),
    )


def named(read: Reader) -> Reader:
    """Reads an object with any names, value by value."""
    return checked(lambda data: isinstance(data, dict), "an object", lambda data: {k: read(v) for k, v in data.items()})


def entries(**reads: Reader) -> Reader:
    """Reads these entries of an object, and leaves out all others."""
    return checked(
        lambda data: isinstance(data, dict) and data.keys() >= reads.keys(),
        f"an object with {', '.join(reads)}",
        lambda data: {name: read(data[name]) for name, read in reads.items()},
    )


def made(kind: type[Any], reads: Mapping[str, Reader]) -> Reader:
    """Reads an object into a dataclass, each field as it is annotated."""
    kinds = {part.name: str(part.type) for part in fields(kind)}
    return checked(
        lambda data: isinstance(data, dict) and data.keys() == kinds.keys(),
        f"a {kind.__name__} with {', '.join(kinds)}",
        lambda data: kind(**{name: reads[annotation](data[name]) for name, annotation in kinds.items()}),
    )


def member(kind: type[Enum]) -> Reader:
    """Reads the value of one of an enumeration's members."""
    values = [one.value for one in kind]
    return checked(lambda data: isinstance(data, str) and data in values, f"one of {values}", kind)


def optional(read: Reader) -> Reader:
    """Reads what ``read`` reads, or null, which is None."""
    return lambda data: None if data is None else read(data)


def below(limit: int) -> Reader:
    """Reads a count below ``limit``."""
    return checked(lambda data: type(data) is int and 0 <= data < limit, f"a count below {limit}", int)


_FLOAT = sys.float_info.max  # an int compares with it exactly; math.isfinite would overflow

whole = checked(lambda data: type(data) is int and 0 <= data <= _FLOAT, "a count", int)
number = checked(
    lambda data: type(data) is float or data in ("nan", "inf", "-inf") or (type(data) is int and abs(data) <= _FLOAT),
    "a number",
    float,
)
real = checked(lambda data: type(data) is float, "a number with a decimal point")
text = checked(lambda data: isinstance(data, str), "text", str)
truth = checked(lambda data: type(data) is bool, "true or false")
anything = checked(lambda data: isinstance(data, dict), "an object")
