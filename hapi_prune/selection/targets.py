"""A goal in FLOPs, parameters, latency or filters: solved by arithmetic on shapes, nothing is cut to see.

What each block (a group, or a family of groups whose sizes depend on each other) can lose goes into one queue, sorted
by the importances that the scope gives. Of all beginnings of the queue, the one nearest to the goal is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..analysis.channel_map import ChannelMap
from ..analysis.cost import cost_at
from ..analysis.cost_model import CostModel
from ..analysis.curves import LANES
from ..analysis.layer_names import layer_name
from ..criteria.filters import Scores
from ..errors import PruneError
from .counts import balanced, stuck_member
from .family_sizes import family_sizes
from .goals import Goal
from .options import Aim
from .removal_queue import Step, nearest_beginning
from .scopes import importances_of

ImportanceOf = Callable[[str], npt.NDArray[np.float64]]
"""For a group the importance of each unit in the order in which it loses them."""

WIDE = 64
"""In wider layers only multiples of `LANES` are considered for a goal in latency."""

MOST_ROUNDS = 4
"""The most rounds of fitting families, whose sizes are known only after fitting."""

NEAR = 0.001
"""A goal counts as met, and the search ends, within this share of the original cost."""

TOLERANCE = 0.005
"""A goal that is missed by more than this share of the original cost is reported as missed."""


class Solver:
    """Finds how much each group loses for a goal.

    Args:
        channel_map: the network.
        wanted: the groups that may shrink; `solve` sets their ratios.
        aim: what a ratio is a share of, and how it is shared out.
        scores: the scores of the units of each group.
    """

    def __init__(self, channel_map: ChannelMap, wanted: Goal, aim: Aim, scores: Mapping[str, Scores]) -> None:
        self._map, self._wanted, self._aim, self._scores = channel_map, wanted, aim, scores
        filters = frozenset(axis for scored in wanted.scored.values() for axis in scored)
        self._model = channel_map.state.once(
            ("cost model", aim.target, filters, id(aim.times)),  # `Pruner` keeps the times
            lambda: CostModel(channel_map, aim.target, filters, aim.times),
        )
        self.original = original(aim, channel_map, wanted)

    def lowest(self) -> int:
        """The cost if all groups are as small as the limits allow."""
        smallest: dict[str, int] = {}
        for key, family in self._blocks().items():
            if family:
                steps = self._family_steps(family, 0, lambda key: np.zeros(self._map.groups[key].size))
                smallest.update(steps[-1].counts if steps else {})
            elif counts := self._counts(key):
                smallest[key] = counts[-1]
        return self._model.at(smallest)

    def solve(self, ratio: float) -> dict[str, int]:
        """How many units stay of each group that shrinks, for a ratio of the original cost to be removed.

        The sizes of families are known only after they were fitted. Then the other groups make up for the difference;
        if there are none, the families are fitted again, for a goal that is shifted by the difference.
        """
        goal = aim = self.original * (1 - ratio)
        best: tuple[float, dict[str, int]] | None = None
        fixed: dict[str, int] = {}
        for _ in range(MOST_ROUNDS):
            single = self._share_out(aim, fixed)
            families = fixed or self._fitted()
            counts = {**single, **families}
            cost = self._model.at(counts)
            if best is None or abs(cost - goal) < abs(best[0] - goal):
                best = (cost, counts)
            if fixed or not families or abs(cost - goal) <= NEAR * self.original:
                break
            if any(not self._map.findings.family_of(key) for key in self._wanted.ratios):
                fixed = families
            else:
                aim += goal - cost
        assert best is not None
        return {key: count for key, count in best[1].items() if count < self._map.groups[key].size}

    def _fitted(self) -> dict[str, int]:
        """Counts for the families, fitted as near as possible to the ratios asked of them."""
        origin, wanted = self._map.origin.groups, self._wanted
        counts = {key: self._aim.limits.kept(origin[key].size, share) for key, share in wanted.ratios.items()}
        asked = {key: n for key, n in counts.items() if self._map.findings.family_of(key)}
        asked = {key: n for key, n in asked.items() if n < self._map.groups[key].size}
        return balanced(self._map, wanted, asked, self._aim.limits)

    def _share_out(self, goal: float, fixed: Mapping[str, int]) -> dict[str, int]:
        """Set the ratios that meet ``goal``, and return the counts of groups without a family; not of ``fixed``."""
        importances = self._importances()
        steps: list[Step] = []
        for block, (key, family) in enumerate(self._blocks(fixed).items()):
            if family:
                steps += self._family_steps(family, block, importances.__getitem__)
            else:
                steps += self._steps(key, block, importances[key])
        queue = sorted((step for step in steps if math.isfinite(step.importance)), key=lambda step: step.importance)
        taken = nearest_beginning(
            queue,
            goal,
            cost=lambda counts: self._model.at({**fixed, **counts}),
            near=NEAR * self.original,
            rounds=1 if self._aim.times is None else MOST_ROUNDS,  # a step may change the time much, or not at all
        )
        wanted, groups, origin = self._wanted, self._map.groups, self._map.origin.groups
        for key in wanted.ratios.keys() - fixed.keys():
            wanted.ratios[key] = 1 - groups[key].size / origin[key].size  # what was removed before
        counts: dict[str, int] = {}
        for step in taken.values():
            for key, count in step.counts.items():
                if key in wanted.ratios:
                    wanted.ratios[key] = step.share
                if not self._map.findings.family_of(key):
                    counts[key] = count
        return counts

    def _importances(self) -> dict[str, npt.NDArray[np.float64]]:
        groups, origin = self._map.groups, self._map.origin.groups
        asked = {key: groups[key] for key in self._wanted.ratios}
        now = max(self._model.at({}), 1)
        costs = {key: self._model.of_one_unit(key) / now for key in asked}
        found = self._aim.scope(asked, self._scores, costs)
        return {key: importances_of(found.get(key, 0.0), key, origin[key].size, groups[key].size) for key in asked}

    def _blocks(self, fixed: Collection[str] = ()) -> dict[str, frozenset[str]]:
        """The families by one of their groups, and the groups that are none's, without those that are ``fixed``."""
        families = {key: self._map.findings.family_of(key) for key in self._wanted.ratios if key not in fixed}
        first = {family: key for key, family in reversed(families.items())}
        return {key: family for key, family in families.items() if not family or first[family] == key}

    def _counts(self, key: str) -> Sequence[int]:
        """The counts, largest first, that a group without a family may shrink to."""
        size, now = self._map.origin.groups[key].size, self._map.groups[key].size
        counts = self._aim.limits.below(size, now)
        return counts if self._aim.times is None else self._cheaper(key, counts)

    def _steps(self, key: str, block: int, importance: npt.NDArray[np.float64]) -> list[Step]:
        size, now, each = self._map.origin.groups[key].size, self._map.groups[key].size, importance.tolist()
        return [Step(each[now - n - 1], block, {key: n}, 1 - n / size) for n in self._counts(key)]

    def _cheaper(self, key: str, counts: Sequence[int]) -> list[int]:
        """Those of the descending ``counts`` that take less time than all larger ones."""
        size = self._map.origin.groups[key].size
        if size > WIDE and self._aim.limits.round_to == 1:
            counts = [count for count in counts if count % LANES == 0] or counts
        least, found = self._model.part(key, self._map.groups[key].size), []
        for count in counts:
            if (time := self._model.part(key, count)) < least:
                least = time
                found.append(count)
        return found

    def _family_steps(self, members: frozenset[str], block: int, importances: ImportanceOf) -> list[Step]:
        """The steps of a family; a step has the mean importance of its groups, and approximate counts."""
        if stuck_member(self._map, self._wanted, members):
            return []
        blocks = next(blocks for family, blocks in self._map.findings.families if family == members)
        groups, origin = self._map.groups, self._map.origin.groups
        free = [key for key in sorted(members) if key in groups and not groups[key].frozen]
        asked = [key for key in free if key in self._wanted.ratios]
        family, steps = family_sizes(self._map, members), []
        limits = self._aim.limits
        for step in family.steps(limits, True, blocks) or family.steps(limits, False, blocks):
            share = 1 - step / family.widest
            counts = {key: min(groups[key].size, max(1, round(origin[key].size * (1 - share)))) for key in free}
            gone = [(importances(key), groups[key].size - counts[key]) for key in asked]
            importance = float(np.mean([of[max(count - 1, 0)] for of, count in gone]))
            steps.append(Step(importance, block, counts, share))
        return steps


def original(aim: Aim, channel_map: ChannelMap, wanted: Goal) -> int:
    """The cost of the network as it was traced; for ``"filters"``, the filters that may shrink."""
    if aim.target == "filters":
        axes = {axis for scored in wanted.scored.values() for axis in scored}
        return sum(channel_map.traced.constraints.sizes[axis] for axis in axes)
    if aim.times is not None:
        return aim.times.original
    return int(getattr(cost_at(channel_map.graph, channel_map.traced), aim.target))


def require_reachable(channel_map: ChannelMap, wanted: Goal, aim: Aim) -> None:
    """Raise a PruneError if the limits do not let the network lose as much. Refused cuts may allow even less."""
    solver = Solver(channel_map, wanted, aim, {})
    most, limits = 1 - solver.lowest() / max(solver.original, 1), aim.limits
    if wanted.overall <= most + TOLERANCE:
        return
    layers = dict.fromkeys(layer_name(next(iter(channel_map.origin.groups[key].index))[0]) for key in wanted.stays)
    named = ", ".join(map(repr, list(layers)[:3])) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
    stay = f"; {named} {'stays' if len(layers) == 1 else 'stay'}" if layers else ""
    held = f"max_ratio={limits.max_ratio:g}, min_filters={limits.min_filters}, round_to={limits.round_to}{stay}"
    todo = f"ask for {most:.1%} or less{', or raise max_ratio' if limits.max_ratio < 1 else ''}"
    what = "FLOPs" if aim.target == "flops" else aim.target
    raise PruneError("ratio", f"{wanted.overall:.1%} of the {what}", f"up to {most:.1%}, with {held}", todo)
