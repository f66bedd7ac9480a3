"""Which of many cases the daily loop runs; the others are marked slow."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def some(names: Iterable[str], one_of: int = 8, first: int = 0) -> list[Any]:
    """Names as parameters: one of so many stays quick. Tests that begin elsewhere run others of the same names."""
    return [name if at % one_of == first else slow(name) for at, name in enumerate(names)]


def only(names: Iterable[str], quick: Collection[str], other: Collection[str] | None = None) -> list[Any]:
    """Names as parameters: those of a list stay quick; those of neither list, if there are two, are the slowest."""
    beyond = set() if other is None else set(names) - set(other)
    return [name if name in quick else slow(name, slowest=name in beyond) for name in names]


def slow(*values: Any, slowest: bool = False) -> Any:
    """A case that the daily loop leaves out."""
    return pytest.param(*values, marks=pytest.mark.slowest if slowest else pytest.mark.slow)
