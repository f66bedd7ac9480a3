"""How many units of each group stay; groups whose sizes depend on each other get counts that fit together."""

from __future__ import annotations

from collections.abc import Sequence

from ..analysis.channel_map import ChannelMap
from ..analysis.labels import Mismatch
from ..plan import Axis, Reason, ReasonKind
from .goals import Goal

MOST_TRIES = 64
"""Sizes of a family that are tried at most."""


def counts_for(channel_map: ChannelMap, wanted: Goal, min_filters: int, round_to: int) -> dict[str, int]:
    """How many units stay of each group that shrinks; groups that cannot are moved to ``wanted.stays``."""
    origin, now = channel_map.origin.groups, channel_map.groups
    counts = {key: rounded(origin[key].size, share, min_filters, round_to) for key, share in wanted.ratios.items()}
    counts = {key: count for key, count in counts.items() if count < now[key].size}
    return {key: count for key, count in balanced(channel_map, wanted, counts).items() if count < now[key].size}


def rounded(size: int, share: float, min_filters: int, round_to: int) -> int:
    """How many of ``size`` units stay when ``share`` of them is removed."""
    count = max(size - round(size * share), min_filters, 1)
    return min(size, -(-count // round_to) * round_to)


def balanced(channel_map: ChannelMap, wanted: Goal, counts: dict[str, int]) -> dict[str, int]:
    """Counts that fit together, for groups whose sizes depend on each other (splits, shuffles, group convolutions).

    The labels are run at smaller sizes, the nearest to what was asked first, until the network is wired as
    before; how many units each group has there is how many it keeps.
    """
    families = channel_map.findings.families
    result = {key: count for key, count in counts.items() if not channel_map.findings.family_of(key)}
    options: dict[frozenset[str], list[dict[Axis, int]]] = {}
    for members, blocks in families:
        asked = members & wanted.ratios.keys()
        share = max((wanted.ratios[key] for key in asked & counts.keys()), default=0.0)
        if asked & counts.keys():
            stuck = stuck_member(channel_map, wanted, members)
            options[members] = [] if stuck else candidates(channel_map, members, blocks, share)
        elif any(wanted.ratios[key] and channel_map.groups[key].size == 1 for key in asked):
            leave_alone(channel_map, wanted, members)  # each of its channels is wired in a way of its own
    # The first choice of all families at once is nearly always right, and saves running the labels for each.
    first = {axis: size for sizes in options.values() for axis, size in (sizes[0] if sizes else {}).items()}
    joint = fitted(channel_map, frozenset().union(*options), [first]) if all(options.values()) and options else None
    for members, sizes in options.items() if joint is None else ():
        found = fitted(channel_map, members, sizes) or fitted(channel_map, members, sizes, exact=False)
        if found is None:
            leave_alone(channel_map, wanted, members)
        result.update(found or {})
    result.update(joint or {})
    return result


def leave_alone(channel_map: ChannelMap, wanted: Goal, members: frozenset[str]) -> None:
    """No smaller size of a family fits: its groups stay, and that is said."""
    other = stuck_member(channel_map, wanted, members)
    reason = Reason(ReasonKind.NO_FIT, "no smaller size fits its splits")
    if other:
        reason = Reason(ReasonKind.DEPENDS, f"its size depends on {other!r}, which stays")
    for key in sorted(members & wanted.ratios.keys()):
        wanted.stays[key] = reason
        del wanted.ratios[key]


def stuck_member(channel_map: ChannelMap, wanted: Goal, members: frozenset[str]) -> str:
    """A group of a family that could shrink and must not; empty if there is none."""
    now = channel_map.groups
    return next((key for key in sorted(members) if key in wanted.stays and key in now and not now[key].frozen), "")


def fitted(
    channel_map: ChannelMap, members: frozenset[str], options: Sequence[dict[Axis, int]], exact: bool = True
) -> dict[str, int] | None:
    """How many units each of ``members`` has at the first sizes that fit; None if none do.

    If not ``exact``, numbers that attributes hold may be rounded.
    """
    now = channel_map.groups
    for option in options:
        try:
            _, after = channel_map.at({**channel_map.sizes, **option}, strict=False, exact=exact)
        except Mismatch:
            continue
        found = {key: after.groups[key].size if key in after.groups else 0 for key in members if key in now}
        others = [key for key in now if key not in members]
        same = all(key in after.groups and after.groups[key].size == now[key].size for key in others)
        if same and all(found.values()):
            return {key: count for key, count in found.items() if not now[key].frozen}
    return None


def candidates(channel_map: ChannelMap, members: frozenset[str], blocks: int, share: float) -> list[dict[Axis, int]]:
    """Sizes of the axes of a family, the nearest to removing ``share`` first.

    Each axis keeps the same share of what it was traced with.
    """
    now, origin = channel_map.groups, channel_map.origin.groups
    free = [key for key in members if key in now and not now[key].frozen]
    was: dict[Axis, int] = {}
    has: dict[Axis, int] = {}
    for key in free:
        for axis, index in origin[key].index.items():
            was[axis] = was.get(axis, 0) + index.size
        for axis, index in now[key].index.items():
            has[axis] = has.get(axis, 0) + index.size
    filters = channel_map.traced.constraints.filters
    widest = max((was[axis] for axis in was if axis in filters), default=max(was.values()))
    wish = widest * (1 - share)
    steps = sorted(range(1, widest), key=lambda step: (step % blocks != 0, abs(step - wish), -step))
    sizes_now, found = channel_map.sizes, []
    for step in steps[:MOST_TRIES]:
        sizes = {axis: sizes_now[axis] - has[axis] + max(1, round(was[axis] * step / widest)) for axis in was}
        if all(sizes[axis] <= sizes_now[axis] for axis in sizes):
            found.append(sizes)
    return found
