"""Groups that only the user's code holds together: it computes the size of one from the size of another.

Attention is written so: ``reshape([-1, n, 3, heads, c // heads])`` fits the results of a Linear only while that has
three times as many as there are channels. In the traced program the size is a number like any other, so the channels
are removed without the Linear's results, and the code fails. Then whatever meets at that line is tried together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace

from ..analysis.channel_map import ChannelMap
from ..analysis.cut_state import Findings
from ..analysis.groups import Family
from ..plan import PruningPlan, Reason
from .goals import protected_axes, stays


def after_refusal(
    channel_map: ChannelMap,
    plan: PruningPlan,
    blamed: Mapping[str, Reason],
    together: Set[str],
    meeting: Iterable[Set[str]],
    skip: Sequence[str],
) -> Findings:
    """What is known after `plan` was refused: groups that may have to shrink together, or groups to leave alone.

    Args:
        channel_map: the network.
        plan: what was tried.
        blamed: the groups to blame, and why.
        together: those of them that can be cut together, though none of them by itself; empty where there are none.
        meeting: groups that reach the line at which the network stopped; then wider circles around it.
        skip: names of layers that stay as they are.

    Returns:
        Other findings than before: each time something more is coupled or refused, and there are only so many groups.
    """
    findings = channel_map.findings
    if together:
        found = coupled_with(findings, {key: blamed[key] for key in blamed if key in together}, together)
        if found != findings:
            return found
    for reach in meeting:
        fresh = partners(channel_map, plan, reach, skip)
        found = coupled_with(findings, blamed, fresh) if fresh else findings
        if found != findings:
            return found
    # What was to blame in the first place stays, and why; what it was coupled with is as it was.
    first = {key: why for key, why in findings.coupled.items() if key in blamed}
    coupled = {key: why for key, why in findings.coupled.items() if key not in blamed}
    kept = [family for family in findings.families if not family[0] & first.keys()]
    again = [f for f in channel_map.origin.families if not any(f[0] <= members for members, _ in kept)]
    return Findings((*kept, *again), coupled, {**findings.refused, **(first or blamed)})


def coupled_with(findings: Findings, blamed: Mapping[str, Reason], fresh: Set[str]) -> Findings:
    """The groups to blame and the ``fresh`` ones as one family; the same findings where they are one already."""
    keys = blamed.keys() | fresh
    if any(keys <= members for members, _ in findings.families):
        return findings
    drawn = frozenset().union(*(members for members, _ in findings.families if members & findings.coupled.keys()))
    coupled = {**findings.coupled, **{key: why for key, why in blamed.items() if key not in drawn}}
    return replace(findings, families=united(findings.families, keys), coupled=coupled)


def partners(channel_map: ChannelMap, plan: PruningPlan, reach: Set[str], skip: Sequence[str]) -> frozenset[str]:
    """Those of the groups that may shrink and are not asked to, with their families."""
    protected, findings = protected_axes(channel_map, skip), channel_map.findings
    reach = {key for key in reach - plan.kept.keys() if not stays(channel_map, channel_map.groups[key], protected)}
    found = frozenset(reach).union(*(members for members, _ in findings.families if members & reach))
    return found if not found & findings.refused.keys() else frozenset()


def united(families: Iterable[Family], keys: Iterable[str]) -> tuple[Family, ...]:
    """The ``families``, those that ``keys`` belong to made one with all of them."""
    members, blocks, others = frozenset(keys), 1, []
    for family in families:
        if family[0] & members:
            members, blocks = members | family[0], max(blocks, family[1])
        else:
            others.append(family)
    return (*others, (members, blocks))
