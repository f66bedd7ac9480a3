"""After a refusal: which groups are to blame, found by halving."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ..analysis.channel_map import ChannelMap
from ..analysis.labels import INDEX_BITS, signals_of
from ..plan import PruningPlan, Reason
from . import ranks
from .verify_outputs import Refused

Rehearsed = Callable[[ChannelMap, PruningPlan, bool], "Refused | None"]
"""Why a plan cannot be cut, with its values compared or not; None if it can."""


def blamed_groups(
    channel_map: ChannelMap, plan: PruningPlan, refused: Refused, rehearsed: Rehearsed
) -> dict[str, Reason]:
    """The groups that ``plan`` cannot cut, and why.

    Where the network stopped at a line of the user's code, the groups that reach that line are tried first.
    """

    def retry(parts: Sequence[list[str]], refused: Refused) -> Refused | None:
        only = PruningPlan({key: plan.kept[key] for keys in parts for key in keys})
        return rehearsed(channel_map, only, not refused.stopped_at)

    by_family: dict[frozenset[str], list[str]] = {}
    for key in plan.kept:
        by_family.setdefault(channel_map.findings.family_of(key) or frozenset([key]), []).append(key)
    parts = list(by_family.values())
    reach = reaching_groups(channel_map, refused.stopped_at)
    suspects = [part for part in parts if reach.intersection(part)]
    others = [part for part in parts if part not in suspects]
    if suspects and others and retry(others, refused) is None:
        parts = suspects
    return halved(parts, refused, retry)


def halved(
    parts: Sequence[list[str]], refused: Refused, retry: Callable[[Sequence[list[str]], Refused], Refused | None]
) -> dict[str, Reason]:
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
    findings = channel_map.findings
    for reach in meeting_groups(channel_map, where):
        parts = {findings.family_of(key) or frozenset([key]) for key in reach & blamed.keys()}
        only = PruningPlan({key: kept for key, kept in plan.kept.items() if any(key in part for part in parts)})
        if len(parts) > 1 and all(ranks.gathered(rehearsed(channel_map, only, False) is None)):
            return set(only.kept)
    return set()


def meeting_groups(channel_map: ChannelMap, where: str) -> Iterator[set[str]]:
    """The groups that meet at a line of the user's code; then, as they may be summed over there, in the same layers."""
    if where:
        yield reaching_groups(channel_map, where)
        yield reaching_groups(channel_map, where, around=True)


def reaching_groups(channel_map: ChannelMap, where: str, around: bool = False) -> set[str]:
    """The groups whose channels reach an op at a line of the user's code, or one in the same layers as these."""
    steps = [step for one in channel_map.state.propagation.passes for step in one.steps()]
    scopes = {op.scope for op, _, _ in steps if op.where == where} if around else set()
    numbers: set[int] = set()
    for op, args, _ in steps:
        if op.where == where or op.scope in scopes:
            for signal in signals_of(args):
                for label in signal.labels:
                    numbers.update(np.unique(label.atoms[label.atoms >= 0] >> INDEX_BITS).tolist())
    reached = {axis for axis, number in channel_map.graph.numbers.items() if number in numbers}
    return {key for key, group in channel_map.groups.items() if group.index.keys() & reached}
