"""What a metric is while a share of one group, or of one family of groups, is set to zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..analysis.channel_map import ChannelMap
from ..cutting import interrupts, surgery
from ..cutting.undo_log import UndoLog
from ..errors import PruneError
from ..internals.progress import progress
from ..plan import Axis, Cut
from ..selection.goals import Goal
from ..selection.select import GroupScores


class Point(NamedTuple):
    """What is set to zero: this share of the units of each of these groups."""

    keys: Sequence[str]
    ratio: float


def blocks(channel_map: ChannelMap, wanted: Goal) -> list[tuple[str, ...]]:
    """The groups that may shrink, in the order of the network; those of one family together."""
    found: list[tuple[str, ...]] = []
    taken: set[str] = set()
    for key in wanted.ratios:
        members = channel_map.findings.family_of(key) or frozenset({key})
        if key not in taken:
            taken |= members
            found.append(tuple(other for other in wanted.ratios if other in members))
    return found


def metrics(
    channel_map: ChannelMap, scores: GroupScores, points: Sequence[Point], evaluate: Callable[[], float]
) -> Iterator[float]:
    """What ``evaluate`` returns at each point, behind a progress bar; in between everything is as it was, bitwise."""
    with progress("evaluation", len(points)) as at:
        for done, point in enumerate(points):
            at(done)
            with masked(channel_map, scores, point):
                value = evaluate()
            yield value


@contextmanager
def masked(channel_map: ChannelMap, scores: GroupScores, point: Point) -> Iterator[None]:
    """With the units of the lowest scores set to zero, and all that depends on them."""
    gone: dict[Axis, list[Any]] = {}
    for key in point.keys:
        group = channel_map.groups[key]
        lowest = np.argsort(scores[key], kind="stable")[: min(round(group.size * point.ratio), group.size - 1)]
        for axis, index in group.index.items():
            gone.setdefault(axis, []).append(index[lowest].ravel())
    kept: dict[str, dict[int, Any]] = {}
    for (name, slot), parts in gone.items():
        kept.setdefault(name, {})[slot] = np.setdiff1d(np.arange(channel_map.sizes[name, slot]), np.concatenate(parts))
    numbers = {name: np.zeros(0, np.int64) for name in kept if name in channel_map.graph.picks}
    undo_log = UndoLog()
    try:
        with interrupts.held():
            surgery.mask(channel_map.tensors, Cut({}, kept, numbers), undo_log)
        yield
    finally:
        with interrupts.held():
            undo_log.undo()


def number(value: Any, where: str) -> float:
    """What a function of the user's returned, as a number.

    Raises:
        PruneError: it is none, or not finite.
    """
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        got = f"it returned {value!r:.80}"
        raise PruneError(where, got, "a number that is higher where the network is better") from error
    if not math.isfinite(found):
        raise PruneError(where, f"it returned {found}", "a finite number")
    return found
