"""How many units of each group stay; groups whose sizes depend on each other get counts that fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Union

from ..analysis.channel_map import ChannelMap
from ..analysis.labels import Mismatch
from ..plan import Axis, Reason, ReasonKind
from .family_sizes import FamilySizes, family_sizes
from .goals import Goal
from .limits import Limits

Fit = Union[dict[str, int], frozenset[str]]
"""The units of each group at some sizes, or the groups that do not fit there."""

WHOLE = 64
"""An `evenness` above that of any size."""

FEW = 4
"""If the first size of a family does not fit, so many are tried in order before larger steps are made."""


def counts_for(channel_map: ChannelMap, wanted: Goal, limits: Limits) -> dict[str, int]:
    """How many units stay of each group that shrinks; groups that cannot are moved to ``wanted.stays``."""
    origin, now = channel_map.origin.groups, channel_map.groups
    counts = {key: limits.kept(origin[key].size, share) for key, share in wanted.ratios.items()}
    counts = {key: count for key, count in counts.items() if count < now[key].size}
    found = balanced(channel_map, wanted, counts, limits)
    return {key: count for key, count in found.items() if count < now[key].size}


def balanced(channel_map: ChannelMap, wanted: Goal, counts: dict[str, int], limits: Limits) -> dict[str, int]:
    """Counts that fit together, for groups whose sizes depend on each other (splits, shuffles, group convolutions).

    Which sizes fit is computed by `family_sizes`. The nearest to the ratio is verified: one propagation of the labels
    for all families gives the number of units that each group keeps.
    """
    result = {key: count for key, count in counts.items() if not channel_map.findings.family_of(key)}
    searches: dict[frozenset[str], Search] = {}
    for members, blocks in channel_map.findings.families:
        asked = members & wanted.ratios.keys()
        share = max((wanted.ratios[key] for key in asked & counts.keys()), default=0.0)
        if asked & counts.keys():
            stuck = stuck_member(channel_map, wanted, members)
            choices = [] if stuck else choices_of(channel_map, members, blocks, share, limits)
            searches[members] = Search(choices)
        elif any(wanted.ratios[key] and channel_map.groups[key].size == 1 for key in asked):
            leave_alone(channel_map, wanted, members)  # each of its channels is wired in a way of its own
    while True:
        for members in [members for members, search in searches.items() if search.is_over]:
            leave_alone(channel_map, wanted, members)
            del searches[members]
        if not searches:
            return result
        chosen = {members: search.choice for members, search in searches.items()}
        found = fitted(channel_map, frozenset().union(*chosen), list(chosen.values()))
        guilty = [members for members in chosen if isinstance(found, frozenset) and found & members]
        fits = dict.fromkeys(guilty or chosen, found)
        if len(guilty) == len(chosen):  # one of them, or that all are asked for at once
            fits = fitted_by_halves(channel_map, chosen)
        for members, one in fits.items():
            searches[members].report(isinstance(one, dict))
        if all(isinstance(one, dict) and searches[members].choice is chosen[members] for members, one in fits.items()):
            return result | {key: n for one in fits.values() if isinstance(one, dict) for key, n in one.items()}


def leave_alone(channel_map: ChannelMap, wanted: Goal, members: frozenset[str]) -> None:
    """No smaller size of a family fits: its groups stay, with a reason."""
    other = stuck_member(channel_map, wanted, members)
    reason = Reason(ReasonKind.NO_FIT, "no smaller size fits its splits")
    if other:
        reason = Reason(ReasonKind.DEPENDS, f"its size depends on {other!r}, which stays")
    for key in sorted(members & wanted.ratios.keys()):
        wanted.stays[key] = reason
        del wanted.ratios[key]


def stuck_member(channel_map: ChannelMap, wanted: Goal, members: frozenset[str]) -> str:
    """A group of a family that must stay, though its channels could be removed; empty if there is none."""
    now = channel_map.groups
    return next((key for key in sorted(members) if key in wanted.stays and key in now and not now[key].frozen), "")


def fitted(channel_map: ChannelMap, members: frozenset[str], choices: Sequence[Choice]) -> Fit:
    """The units of each of ``members`` when their families have the chosen sizes; or the groups that do not fit."""
    option = {axis: size for choice in choices for axis, size in choice.sizes.items()}
    asked = frozenset(option.items()), all(choice.exact for choice in choices)
    tried = channel_map.state.fits
    if asked not in tried:
        tried[asked] = units_at(channel_map, members, option, asked[1])
    return tried[asked]


def fitted_by_halves(channel_map: ChannelMap, chosen: Mapping[frozenset[str], Choice]) -> dict[frozenset[str], Fit]:
    """As `fitted`, for each family: with others if they fit together, or else by itself."""
    families, fits = list(chosen), dict[frozenset[str], Fit]()
    middle = len(families) // 2
    for half in (families[:middle], families[middle:]) if middle else (families,):
        found = fitted(channel_map, frozenset().union(*half), [chosen[members] for members in half])
        if isinstance(found, dict) or len(half) == 1:
            fits.update(dict.fromkeys(half, found))
        else:
            fits.update(fitted_by_halves(channel_map, {members: chosen[members] for members in half}))
    return fits


def units_at(channel_map: ChannelMap, members: frozenset[str], option: dict[Axis, int], exact: bool) -> Fit:
    """The units of each of ``members`` at these sizes of their axes; or the groups that do not fit."""
    now = channel_map.groups
    try:
        _, after = channel_map.at({**channel_map.sizes, **option}, strict=False, exact=exact)
    except Mismatch as error:
        return frozenset(key for key, group in now.items() if group.index.keys() & error.axes) or members
    sizes = {key: after.groups[key].size if key in after.groups else 0 for key in now}
    if any(sizes[key] != now[key].size for key in now.keys() - members):
        return members
    gone = frozenset(key for key in members if not sizes.get(key, 1))
    return gone or {key: sizes[key] for key in members if key in now and not now[key].frozen}


@dataclass(frozen=True)
class Choice:
    """A candidate for the size of a family.

    Attributes:
        step: how many filters its widest layer keeps.
        sizes: the sizes of the axes that it touches.
        exact: whether numbers that attributes hold scale without rounding.
        even: how often ``step`` can be halved (or divided by the number of blocks of the family); `WHOLE` if each of
            its groups keeps exactly the same share of its units.
    """

    step: int
    sizes: dict[Axis, int]
    exact: bool
    even: int


def choices_of(
    channel_map: ChannelMap, members: frozenset[str], blocks: int, share: float, limits: Limits
) -> list[Choice]:
    """The sizes of a family that fit together, the nearest to removing ``share`` first."""
    family = family_sizes(channel_map, members)
    wish = family.widest * (1 - share)
    exact = family.steps(limits)
    rounded = [step for step in family.steps(limits, exact=False) if step not in set(exact)]
    return [
        Choice(step, family.option(channel_map, step, steps is exact), steps is exact, evenness(family, step, blocks))
        for steps in (exact, rounded)
        for step in sorted(steps, key=lambda step: (step % blocks != 0, abs(step - wish), -step))
    ]


def evenness(family: FamilySizes, step: int, blocks: int) -> int:
    """How often a step can be divided by ``blocks``, or by 2 without blocks; see `Choice`."""
    if family.is_whole(step):
        return WHOLE
    base = max(blocks, 2)
    return next(power for power in range(WHOLE) if step % base ** (power + 1))


class Search:
    """Finds, for one family, the first of its choices that fits.

    The equations do not know shuffles: at some sizes a group is left without a unit, or channels would be wired in
    another way. Then the next few choices are tried, and those that can be halved most often. After that the steps get
    larger and larger, and once a choice fits, bisection finds the first that does.

    Args:
        choices: the nearest to the ratio first.
    """

    def __init__(self, choices: Sequence[Choice]) -> None:
        near = [*choices[:FEW], *sorted(choices[FEW:], key=lambda choice: -choice.even)[: 2 * FEW]]
        larger = [choice for choice in choices[FEW:] if choice.step > choices[0].step and choice not in near]
        self._line, self._near = [*near, *larger], len(near)
        self._at, self._failing, self._fitting = 0, -1, len(self._line)

    @property
    def choice(self) -> Choice:
        """The choice to try next; in the end, the one that was found."""
        return self._line[self._at]

    @property
    def is_over(self) -> bool:
        """Whether no choice fits."""
        return self._failing == len(self._line) - 1

    def report(self, fits: bool) -> None:
        """Go on after a choice was tried."""
        if fits:
            self._fitting = self._at
        else:  # it may have fitted before, together with other families
            self._failing, self._fitting = self._at, self._fitting if self._at < self._fitting else len(self._line)
        if self._fitting < len(self._line):
            self._at = (self._failing + self._fitting + 1) // 2
        else:
            self._at = min(self._at + max(1, self._at - self._near + 2), len(self._line) - 1)
