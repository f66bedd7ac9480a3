"""Which units go: groups, scores and a goal in, a PruningPlan out. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping

import paddle

from ..analysis.channel_map import ChannelMap
from ..criteria import Criterion
from ..plan import PruningPlan
from .counts import counts_for
from .goals import Goal
from .scores import Scores, best


def select(
    channel_map: ChannelMap,
    tensors: Mapping[str, paddle.Tensor],
    wanted: Goal,
    criterion: Criterion,
    min_filters: int = 1,
    round_to: int = 1,
) -> PruningPlan:
    """Choose the units that stay: in each group those with the highest scores.

    Args:
        channel_map: the network.
        tensors: its tensors, by structured name; the weights are scored as they are now.
        wanted: what is asked of each group; a group that turns out to have no smaller size that fits moves to `stays`.
        criterion: weight -> scores.
        min_filters: no group gets smaller than this.
        round_to: the units kept are rounded up to a multiple of this, where there are as many.

    Raises:
        PruneError: weights that are not finite, or a criterion that does not do what it should.
    """
    counts = counts_for(channel_map, wanted, min_filters, round_to)
    scores, filters = Scores(tensors, criterion), channel_map.traced.constraints.filters
    kept = {}
    for key, group in channel_map.groups.items():
        if key in counts:
            scored = wanted.scored.get(key) or [axis for axis in group.index if axis in filters]
            kept[key] = best(scores.of(group, scored), counts[key])
    return PruningPlan(kept)
