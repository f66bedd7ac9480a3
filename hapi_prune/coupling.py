"""Groups that only the user's code holds together: it computes the size of one from the size of another.

Attention is written so: ``reshape([-1, n, 3, heads, c // heads])`` fits the results of a Linear only while that has
three times as many as there are channels. In the traced program the size is a number like any other, so the channels
are removed without the Linear's results, and the code fails. Then whatever meets at that line is tried together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from . import distributed, trial
from .names import resolve
from .plan import PruningPlan
from .selection import stays
from .survey import Survey
from .transaction import Network

Family = tuple[frozenset[str], int]
"""Groups whose sizes depend on each other, and the number of blocks they come in."""


def settle(network: Network, plan: PruningPlan, refused: trial.Refused, skip: Sequence[str]) -> None:
    """After `plan` was refused: couple groups that may have to shrink together, or leave alone those to blame.

    Either way the next plan is another one, and there are only so many groups to couple.
    """
    found = network.blame(plan, refused)
    place = next(filter(None, distributed.gathered(refused.place)), "")
    fresh = set()
    if found and place:  # what it meets there, or, where that was summed over before, what is in the same layers
        fresh = partners(network, plan, network.reaching(place), skip)
        fresh = fresh or partners(network, plan, network.reaching(place, around=True), skip)
    families = network.survey.origin.families
    if fresh:
        drawn = frozenset().union(*(members for members, _ in families if members & network.coupled.keys()))
        network.coupled.update({key: why for key, why in found.items() if key not in drawn})
        set_families(network.survey, joined(families, found.keys() | fresh))
        return
    # What was to blame in the first place stays, and why; what it was coupled with is as it was.
    first = {key: why for key, why in network.coupled.items() if key in found}
    network.survey.graph.refused.update(first or found)
    network.coupled = {key: why for key, why in network.coupled.items() if key not in found}
    kept = [family for family in families if not family[0] & first.keys()]
    again = [family for family in network.families if not any(family[0] <= members for members, _ in kept)]
    set_families(network.survey, [*kept, *again])


def partners(network: Network, plan: PruningPlan, reach: set[str], skip: Sequence[str]) -> set[str]:
    """Those of the groups that may shrink and are not asked to, with their families."""
    survey = network.survey
    protected = {axis for name in skip for axis in resolve(survey, name, "skip")}
    groups, families = survey.grouping.groups, survey.origin.families
    reach = {key for key in reach - plan.kept.keys() if not stays(survey, groups[key], protected)}
    found = reach.union(*(members for members, _ in families if members & reach))
    return found if not any(key in survey.graph.refused for key in found) else set()


def joined(families: Iterable[Family], keys: Iterable[str]) -> list[Family]:
    """The ``families``, those that ``keys`` belong to made one with all of them."""
    members, blocks, others = frozenset(keys), 1, []
    for family in families:
        if family[0] & members:
            members, blocks = members | family[0], max(blocks, family[1])
        else:
            others.append(family)
    return [*others, (members, blocks)]


def set_families(survey: Survey, families: Iterable[Family]) -> None:
    """The groups as they were traced, held together as ``families`` says."""
    survey.origin = replace(survey.origin, families=tuple(families))
