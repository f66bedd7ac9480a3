"""Selection: from groups, scores and a goal to a PruningPlan. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import paddle

from ..analysis.channel_map import ChannelMap
from ..criteria.named import AnyCriterion
from ..plan import PruningPlan
from .counts import counts_for
from .goals import Goal
from .limits import Limits
from .options import Aim
from .scores import Gathered, Scores, best
from .targets import Solver


class GroupScores(Mapping[str, npt.NDArray[np.float64]]):
    """The score of each unit of each group, computed when it is asked for.

    Args:
        channel_map: the network.
        tensors: its tensors, by structured name; the weights are scored as they are now.
        wanted: the goal, which names the filters that each group is scored by.
        criterion: the criterion.
        gathered: what it gathered from gradients.
    """

    def __init__(
        self,
        channel_map: ChannelMap,
        tensors: Mapping[str, paddle.Tensor],
        wanted: Goal,
        criterion: AnyCriterion,
        gathered: Gathered | None = None,
    ) -> None:
        self._map, self._scored = channel_map, dict(wanted.scored)
        constraints = channel_map.traced.constraints
        self._filters = constraints.filters | {(name, 0) for name in constraints.depthwise}
        self._scores = Scores(tensors, criterion, frozenset(self._filters), gathered or {})
        self._known: dict[str, npt.NDArray[np.float64]] = {}

    def __getitem__(self, key: str) -> npt.NDArray[np.float64]:
        if key not in self._known:
            group = self._map.groups[key]
            scored = self._scored.get(key) or [axis for axis in group.index if axis in self._filters]
            self._known[key] = self._scores.of(group, scored)
        return self._known[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._map.groups)

    def __len__(self) -> int:
        return len(self._map.groups)


def select(
    channel_map: ChannelMap, scores: GroupScores, wanted: Goal, limits: Limits, aim: Aim | None = None
) -> PruningPlan:
    """Choose the units that stay: in each group those with the highest scores.

    Args:
        channel_map: the network.
        scores: how much each unit matters.
        wanted: the goal; a group without a smaller size that fits moves to its `stays`.
        limits: how far a group may shrink.
        aim: what the ratio is a share of, and how it is shared out; None: each group loses its own ratio.

    Raises:
        PruneError: weights that are not finite, or a criterion or scope that does not do what it should.
    """
    if aim is None:
        counts = counts_for(channel_map, wanted, limits)
    else:
        counts = Solver(channel_map, wanted, aim, scores).solve(wanted.overall)
    return PruningPlan({key: best(scores[key], counts[key]) for key in channel_map.groups if key in counts})
