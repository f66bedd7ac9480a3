"""Whether a ranking of units is more than noise: how far it agrees with that of the cut before, and with another's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..criteria.filters import Scores
from ..plan import PruningPlan

UnitRanks = Mapping[str, tuple[int, ...]]
"""For each group the place of each unit in its ranking, twice: units with equal scores share the mean of theirs."""

LAST, USUAL = "last cut", "l1_norm"
"""What a ranking is compared with."""

FEWEST = 3
"""With fewer units there is no ranking to speak of."""


class Ranking:
    """How the units of each group were ranked at the last cut, as far as they are left.

    Attributes:
        unit_ranks: of the units that are left, as they were ranked at the last cut in which their group lost some.
        scores: of the groups that lose units in the cut that is being made, or was made last.
    """

    def __init__(self) -> None:
        self.unit_ranks: UnitRanks = {}
        self.scores: dict[str, Scores] = {}
        self._usual: dict[str, Scores] = {}

    def begin(self, plan: PruningPlan, scores: Mapping[str, Scores], usual: Mapping[str, Scores] | None) -> None:
        """Keep the scores that a plan was made by, before it is cut.

        Args:
            plan: what will be cut.
            scores: the criterion's, of each unit of each group.
            usual: those of the L1 norm; None where that is the criterion.
        """
        self.scores = {key: scores[key] for key in plan.kept}
        self._usual = {} if usual is None else {key: usual[key] for key in plan.kept}

    def finish(self, plan: PruningPlan) -> dict[str, float]:
        """The plan was cut: what its ranking agrees with, from -1 to 1, and what is left of it for the next cut."""
        found = {LAST: agreement(self.unit_ranks, self.scores), USUAL: agreement(self._usual, self.scores)}
        left = {key: doubled_ranks(self.scores[key][list(kept)]) for key, kept in plan.kept.items()}
        self.unit_ranks = {**self.unit_ranks, **left}
        return {name: value for name, value in found.items() if value is not None}


def doubled_ranks(scores: npt.ArrayLike) -> tuple[int, ...]:
    """Twice the place of each score, the lowest first; equal ones share the mean of their unit_ranks.

    Example:
        >>> doubled_ranks([0.5, 0.1, 0.5])
        (3, 0, 3)
    """
    _, group, counts = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    twice = 2 * np.cumsum(counts) - counts - 1
    return tuple(int(place) for place in twice[group.ravel()])


def spearman(left: npt.ArrayLike, right: npt.ArrayLike) -> float | None:
    """Spearman's rank correlation, -1 to 1; None where all are equal on one side.

    Example:
        >>> spearman([1.0, 2.0, 3.0], [10.0, 20.0, 15.0])
        0.5
    """
    one, other = (np.array(doubled_ranks(scores), dtype=np.float64) for scores in (left, right))
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / scale if scale else None


def agreement(left: Mapping[str, Any], right: Mapping[str, Any]) -> float | None:
    """The mean of Spearman's correlation over the groups that both rank, by their units; None without any."""
    total = weight = 0.0
    for key in sorted(left.keys() & right.keys()):
        size = len(right[key])
        found = spearman(left[key], right[key]) if len(left[key]) == size >= FEWEST else None
        if found is not None:
            total, weight = total + size * found, weight + size
    return total / weight if weight else None
