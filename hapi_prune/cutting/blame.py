"""After a refusal: which groups are to blame, found by halving."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ..analysis.channel_map import ChannelMap
from ..analysis.labels import INDEX_BITS, signals_of
from ..analysis.op import Op
from ..internals.progress import progress
from ..plan import Axis, PruningPlan, Reason
from . import ranks
from .verify_outputs import Refused

Rehearsed = Callable[[ChannelMap, PruningPlan, bool], "Refused | None"]
"""Why a plan cannot be cut, with its values compared or not; None if it can."""


Retry = Callable[[Sequence[list[str]], Refused], "Refused | None"]
"""The same for parts of a plan, after a refusal."""

Place = tuple[int, int, tuple[int, ...]]
"""Of an op at a line of the user's code, its number among those of one layer, the operand, and axes of that."""

Spot = tuple[tuple[str, ...], str, int]
"""Where an axis is in the network, in words that are the same for all layers of one class: see `spot_of`."""


def blamed_groups(
    channel_map: ChannelMap, plan: PruningPlan, refused: Refused, rehearsed: Rehearsed
) -> dict[str, Reason]:
    """The groups that ``plan`` cannot cut, and why.

    Where the network stopped at a line of the user's code, the groups that reach that line are suspected. Of those that
    reach it at one place, or are at the same spot in layers of one class, one stands for all.
    """
    sure: set[str] = set()

    def retry(parts: Sequence[list[str]], refused: Refused) -> Refused | None:
        only = PruningPlan({key: plan.kept[key] for keys in parts for key in keys})
        found = rehearsed(channel_map, only, not refused.stopped_at)
        if found is None or len(parts) == 1:
            sure.update(only.kept)
            at(len(sure))
        return found

    by_family: dict[frozenset[str], list[str]] = {}
    for key in plan.kept:
        by_family.setdefault(channel_map.findings.family_of(key) or frozenset([key]), []).append(key)
    found: dict[str, Reason] = {}
    with progress("group", len(plan.kept)) as at:
        for suspects, doubt in suspected(channel_map, list(by_family.values()), refused, retry):
            found.update(likewise(alike(channel_map, suspects, doubt.stopped_at), doubt, retry))
    return found


def suspected(
    channel_map: ChannelMap, parts: Sequence[list[str]], refused: Refused, retry: Retry
) -> list[tuple[Sequence[list[str]], Refused]]:
    """The parts that may be to blame, and for which refusal.

    Those that reach the line at which the network stopped are left out, and the others tried: where these stop at
    another line, those that reach that one are suspected too, and so on.
    """
    found: list[tuple[Sequence[list[str]], Refused]] = []
    left, doubt, lines = list(parts), refused, set[str]()
    while True:
        reach = reaching_groups(channel_map, doubt.stopped_at)
        suspects, others = ([part for part in left if bool(reach & {*part}) == wanted] for wanted in (True, False))
        if doubt.stopped_at in lines:  # not those that reach it are to blame, or not they alone
            return [(parts, refused)]
        if not suspects or not others:
            return [*found, (left, doubt)]
        found.append((suspects, doubt))
        lines.add(doubt.stopped_at)
        again = retry(others, doubt)
        if again is None:
            return found
        left, doubt = others, again


def alike(channel_map: ChannelMap, parts: Sequence[list[str]], where: str = "") -> list[list[list[str]]]:
    """The ``parts`` of a plan sorted by where they reach a line of the user's code last, or else by their spots."""
    found: dict[frozenset[object], list[list[str]]] = {}
    reached = places_reached(channel_map, lambda op: op.where == where) if where else {}
    for part in parts:
        axes = {axis for key in part for axis in channel_map.groups[key].index}
        places = frozenset[object](max(reached[key]) for key in part if key in reached)
        spots = frozenset[object](spot_of(axis, channel_map.graph.kinds) for axis in axes)
        found.setdefault(places or spots, []).append(part)
    return list(found.values())


def spot_of(axis: Axis, kinds: Mapping[str, str]) -> Spot:
    """The classes of the layers that a tensor lies in, outermost first, its name in the last two, and the axis."""
    path = axis[0].split(".")
    classes = tuple(kinds.get(".".join(path[:depth]), "") for depth in range(len(path)))
    return classes, ".".join(name for name in path[-2:] if not name.isdigit()), axis[1]


def likewise(kinds: Sequence[Sequence[list[str]]], refused: Refused, retry: Retry) -> dict[str, Reason]:
    """As `halved`, for parts of which those of one kind are likely to be refused for the same reason.

    The first of each kind is tried. The others of a kind that is to blame are refused with it, if together they are.
    """
    parts, first = [part for kind in kinds for part in kind], [kind[0] for kind in kinds]
    again = retry(first, refused) if len(first) < len(parts) else refused
    if again is None:
        return halved(parts, refused, retry)
    found = halved(first, again, retry)
    guilty = [kind for kind in kinds if found.keys() & set(kind[0])]
    rest = [part for kind in guilty for part in kind[1:]]
    if rest and (doubt := retry(rest, refused)):
        found.update({key: doubt.reason for part in rest for key in part})
    unsure = [part for kind in kinds if kind not in guilty for part in kind[1:]]
    if unsure and (doubt := retry(unsure, refused)):
        found.update(halved(unsure, doubt, retry))
    return found


def halved(parts: Sequence[list[str]], refused: Refused, retry: Retry) -> dict[str, Reason]:
    """The keys in those of ``parts`` that are refused by themselves; all of them where only together they are."""
    everyone = {key: refused.reason for keys in parts for key in keys}
    if len(parts) == 1:
        return everyone
    found: dict[str, Reason] = {}
    for half in (parts[: len(parts) // 2], parts[len(parts) // 2 :]):
        again = retry(half, refused)
        if again is not None:
            found.update(halved(half, again, retry))
    return found or everyone


def holding_together(
    channel_map: ChannelMap, plan: PruningPlan, blamed: Mapping[str, Reason], where: str, rehearsed: Rehearsed
) -> set[str]:
    """Those of the groups to blame that meet at a line and can be cut together, though none of them by itself.

    The exact ones among them were tried without the approximate ones, whose size they depend on, and so refused.
    """
    findings, tried = channel_map.findings, list[PruningPlan]()
    for reach in meeting_groups(channel_map, where):
        parts = {findings.family_of(key) or frozenset([key]) for key in reach & blamed.keys()}
        only = PruningPlan({key: kept for key, kept in plan.kept.items() if any(key in part for part in parts)})
        mixed = any(channel_map.groups[key].approximate for key in only.kept)
        if mixed and len(parts) > 1 and only not in tried:
            tried.append(only)
            if all(ranks.gathered(rehearsed(channel_map, only, False) is None)):
                return set(only.kept)
    return set()


def meeting_groups(channel_map: ChannelMap, where: str) -> Iterator[set[str]]:
    """The groups that meet at a line of the user's code; then, as they may be summed over there, in the same layers.

    At last in those that these call too: what a layer is given may be looked at, as by ``x.shape``, and go on to a
    Linear without meeting anything before.
    """
    if where:
        yield reaching_groups(channel_map, where)
        yield reaching_groups(channel_map, where, around=True)
        yield reaching_groups(channel_map, where, around=True, below=True)


def reaching_groups(channel_map: ChannelMap, where: str, around: bool = False, below: bool = False) -> set[str]:
    """The groups whose channels reach an op at a line of the user's code, or one in the same layers as these.

    Args:
        channel_map: the network.
        where: the line, ``file:line``.
        around: whether what is in the same layers counts.
        below: whether what is in the layers that these call does, too.
    """
    ops = [op for one in channel_map.state.propagation.passes for op in one.program.ops]
    scopes = {op.scope for op in ops if where and op.where == where}
    inside = tuple(f"{scope}/" for scope in scopes if scope) if below else ()

    def chosen(op: Op) -> bool:
        return bool(scopes) and (op.where == where or (around and op.scope in scopes) or op.scope.startswith(inside))

    return {*places_reached(channel_map, chosen)}


def places_reached(channel_map: ChannelMap, chosen: Callable[[Op], bool]) -> dict[str, set[Place]]:
    """The groups that reach one of the chosen ops, and where they do."""
    places: dict[int, set[Place]] = {}
    for one in channel_map.state.propagation.passes:
        seen: Counter[str] = Counter()
        for op, args, _ in one.steps():
            if chosen(op):
                seen[op.scope] += 1
                for operand, signal in enumerate(signals_of(args)):
                    for label in signal.labels:
                        for number in np.unique(label.atoms[label.atoms >= 0] >> INDEX_BITS).tolist():
                            places.setdefault(number, set()).add((seen[op.scope], operand, label.axes))
    numbers = channel_map.graph.numbers
    return {
        key: found
        for key, group in channel_map.groups.items()
        if (found := set().union(*(places.get(numbers[axis], set()) for axis in group.index)))
    }
