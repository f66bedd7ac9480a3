"""How many units of each group stay; groups whose sizes depend on each other get counts that fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..analysis.channel_map import ChannelMap
from ..analysis.labels import Mismatch
from ..plan import Axis, Reason, ReasonKind
from .goals import Goal
from .limits import Limits

MOST_TRIES = 64
"""Sizes of a family that are tried at most."""


def counts_for(channel_map: ChannelMap, wanted: Goal, limits: Limits) -> dict[str, int]:
    """How many units stay of each group that shrinks; groups that cannot are moved to ``wanted.stays``."""
    origin, now = channel_map.origin.groups, channel_map.groups
    counts = {key: limits.kept(origin[key].size, share) for key, share in wanted.ratios.items()}
    counts = {key: count for key, count in counts.items() if count < now[key].size}
    found = balanced(channel_map, wanted, counts, limits)
    return {key: count for key, count in found.items() if count < now[key].size}


def balanced(channel_map: ChannelMap, wanted: Goal, counts: dict[str, int], limits: Limits) -> dict[str, int]:
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
            options[members] = [] if stuck else candidates(channel_map, members, blocks, share, limits)
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
    tried = channel_map.state.fits
    for option in options:
        asked = frozenset(option.items()), exact
        if asked not in tried:
            tried[asked] = units_at(channel_map, members, option, exact)
        if tried[asked] is not None:
            return tried[asked]
    return None


def units_at(
    channel_map: ChannelMap, members: frozenset[str], option: dict[Axis, int], exact: bool
) -> dict[str, int] | None:
    """How many units each of ``members`` has at these sizes, all else being as now; None if they do not fit."""
    now = channel_map.groups
    try:
        _, after = channel_map.at({**channel_map.sizes, **option}, strict=False, exact=exact)
    except Mismatch:
        return None
    found = {key: after.groups[key].size if key in after.groups else 0 for key in members if key in now}
    others = [key for key in now if key not in members]
    same = all(key in after.groups and after.groups[key].size == now[key].size for key in others)
    fits = same and all(found.values())
    return {key: count for key, count in found.items() if not now[key].frozen} if fits else None


@dataclass(frozen=True)
class FamilySizes:
    """The sizes that a family can have: each axis keeps the same share of what it was traced with.

    Attributes:
        was, has: for each axis that the family touches, its slices when the network was traced, and now.
        widest: the most filters that a layer has of the family; sizes go in steps of one of these.
        filters: the axes that hold filters.
    """

    was: dict[Axis, int]
    has: dict[Axis, int]
    widest: int
    filters: frozenset[Axis]

    def at(self, step: int) -> dict[Axis, int]:
        """The slices on each axis where the widest layer keeps ``step`` filters."""
        return {axis: max(1, round(size * step / self.widest)) for axis, size in self.was.items()}

    def option(self, channel_map: ChannelMap, step: int) -> dict[Axis, int]:
        """The whole sizes of these axes, with what they hold of other groups."""
        return {axis: channel_map.sizes[axis] - self.has[axis] + size for axis, size in self.at(step).items()}

    def steps(self, blocks: int, limits: Limits) -> list[int]:
        """Where the widest layer can go, widest first; whole blocks, if there are any."""
        found = []
        for step in range(self.widest - 1, 0, -1):
            sizes = self.at(step)
            fits = all(sizes[axis] <= self.has[axis] for axis in sizes)
            if fits and all(limits.allow(self.was[axis], sizes[axis]) for axis in self.filters):
                found.append(step)
        return [step for step in found if step % blocks == 0] or found


def family_sizes(channel_map: ChannelMap, members: frozenset[str]) -> FamilySizes:
    """The sizes that a family had and has."""
    now, origin = channel_map.groups, channel_map.origin.groups
    was: dict[Axis, int] = {}
    has: dict[Axis, int] = {}
    for key in [key for key in members if key in now and not now[key].frozen]:
        for groups, sizes in ((origin, was), (now, has)):
            for axis, index in groups[key].index.items():
                sizes[axis] = sizes.get(axis, 0) + index.size
    filters = frozenset(was.keys() & channel_map.traced.constraints.filters)
    widest = max((was[axis] for axis in filters), default=max(was.values(), default=0))
    return FamilySizes(was, has, widest, filters)


def candidates(
    channel_map: ChannelMap, members: frozenset[str], blocks: int, share: float, limits: Limits
) -> list[dict[Axis, int]]:
    """Sizes of the axes of a family, the nearest to removing ``share`` first."""
    family = family_sizes(channel_map, members)
    wish = family.widest * (1 - share)
    steps = sorted(family.steps(1, limits), key=lambda step: (step % blocks != 0, abs(step - wish), -step))
    return [family.option(channel_map, step) for step in steps[:MOST_TRIES]]
