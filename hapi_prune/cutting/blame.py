"""After a refusal: which groups are to blame, found by halving."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set

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

AROUND = ((False, False), (True, False), (True, True))
"""``around`` and ``below`` of `reaching_groups`, from narrow to wide: what meets at a line, is summed in the same
layer, or is in one that it calls: what a layer is given may be looked at, as by ``x.shape``, and go on to a Linear
without meeting anything before."""

Spot = tuple[tuple[str, ...], str, int]
"""Where an axis is in the network, in words that are the same for all layers of one class: see `spot_of`."""


def blamed_groups(
    channel_map: ChannelMap, plan: PruningPlan, refused: Refused, rehearsed: Rehearsed
) -> dict[str, Reason]:
    """The groups that ``plan`` cannot cut, and why.

    Where the network stopped at a line of the user's code, those that reach it are to blame if it does not stop there
    without them; where it stops next, others are. Of those that reach a line at one place, or are at the same spot in
    layers of one class, one stands for all.
    """
    sure: set[str] = set()
    known: dict[tuple[frozenset[str], bool], Refused | None] = {}

    def retry(parts: Sequence[list[str]], refused: Refused) -> Refused | None:
        only = PruningPlan({key: plan.kept[key] for keys in parts for key in keys})
        asked = frozenset(only.kept), not refused.stopped_at
        if asked not in known:
            known[asked] = rehearsed(channel_map, only, asked[1])
            if known[asked] is None or len(parts) == 1:
                sure.update(only.kept)
                at(len(sure))
        return known[asked]

    by_family: dict[frozenset[str], list[str]] = {}
    for key in plan.kept:
        by_family.setdefault(channel_map.findings.family_of(key) or frozenset([key]), []).append(key)
    parts, found = list(by_family.values()), dict[str, Reason]()
    doubt: Refused | None = refused
    with progress("group", len(plan.kept)) as at:
        while doubt is not None:
            guilty, doubt = stopping(channel_map, parts, doubt, retry)
            found.update(guilty)
            parts = [part for part in parts if not guilty.keys() & {*part}]
    return found


def stopping(
    channel_map: ChannelMap, parts: Sequence[list[str]], refused: Refused, retry: Retry
) -> tuple[dict[str, Reason], Refused | None]:
    """The keys to blame for where the network stopped, and why what remains without them is refused, if it is.

    Those are suspected that reach the op there, then those that reach its layer, see `AROUND`, with those that reach
    the line at the same place in other layers. They are to blame if the network does not stop there without them, or
    if it stops with them alone. If there are no such, all are suspected.
    """
    tried: list[list[str]] = []
    for around, below in AROUND if refused.stopped_at else ():
        here = reaching_groups(channel_map, refused.stopped_at, around, below, refused.owner)
        suspects = [part for part in parts if here.keys() & {*part}]
        if suspects == tried:
            continue
        tried, reached = suspects, reaching_groups(channel_map, refused.stopped_at, around, below)
        suspects = [*suspects, *of_one_kind(suspects, parts, reached)]
        rest = [part for part in parts if part not in suspects]
        again = retry(rest, refused) if rest else None
        doubt = refused if again is None or again.place != refused.place else retry(tried, refused)
        if doubt is not None:
            found = likewise(alike(channel_map, suspects, doubt.stopped_at), doubt, retry)
            left = [part for part in parts if not found.keys() & {*part}]
            return found, again if again is None or left == rest else retry(left, refused)
    return likewise(alike(channel_map, parts, refused.stopped_at), refused, retry), None


def of_one_kind(
    some: Sequence[list[str]], parts: Sequence[list[str]], reached: Mapping[str, set[Place]]
) -> list[list[str]]:
    """The other ``parts`` that reach a line last where those of ``some`` do."""
    kinds = [places_of(part, reached) for part in some]
    return [part for part in parts if part not in some and places_of(part, reached) in kinds]


def places_of(part: Sequence[str], reached: Mapping[str, set[Place]]) -> frozenset[Place]:
    """Where the groups of a part reach a line last."""
    return frozenset(max(reached[key]) for key in part if key in reached)


def alike(channel_map: ChannelMap, parts: Sequence[list[str]], where: str = "") -> list[list[list[str]]]:
    """The ``parts`` of a plan sorted by where they reach a line of the user's code last, or else by their spots."""
    found: dict[frozenset[object], list[list[str]]] = {}
    reached = reaching_groups(channel_map, where)
    for part in parts:
        axes = {axis for key in part for axis in channel_map.groups[key].index}
        spots = frozenset[object](spot_of(axis, channel_map.graph.kinds) for axis in axes)
        found.setdefault(places_of(part, reached) or spots, []).append(part)
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


def meeting_groups(channel_map: ChannelMap, where: str) -> Iterator[Set[str]]:
    """The groups that meet at a line of the user's code; then wider and wider, see `AROUND`."""
    for around, below in AROUND if where else ():
        yield reaching_groups(channel_map, where, around, below).keys()


def reaching_groups(
    channel_map: ChannelMap, where: str, around: bool = False, below: bool = False, owner: str | None = None
) -> dict[str, set[Place]]:
    """The groups whose channels reach an op at a line of the user's code, or one in the same layers as these.

    Args:
        channel_map: the network.
        where: the line, ``file:line``.
        around: whether what is in the same layers counts.
        below: whether what is in the layers that these call does, too.
        owner: the layer in whose code the line is; None for all.

    Returns:
        For each group the places at which it does.
    """
    ops = [op for one in channel_map.state.propagation.passes for op in one.program.ops]
    at_line = [op for op in ops if where and op.where == where and owner in (None, op.owner)]
    scopes, there = {op.scope for op in at_line}, {id(op) for op in at_line}
    inside = tuple(f"{scope}/" for scope in scopes if scope) if below else ()

    def chosen(op: Op) -> bool:
        return bool(scopes) and (id(op) in there or (around and op.scope in scopes) or op.scope.startswith(inside))

    return places_reached(channel_map, chosen)


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
