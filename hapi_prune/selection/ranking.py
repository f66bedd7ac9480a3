"""How far the ranking of units agrees with that of the previous cut and with that by L1 norm: is it more than noise?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..criteria.filters import Scores
from ..plan import PruningPlan

UnitRanks = Mapping[str, tuple[int, ...]]
"""For each group the ranks of its units, doubled, so that mean ranks of equal scores are whole numbers."""

LAST, USUAL = "last cut", "l1_norm"
"""What a ranking is compared with."""

FEWEST = 3
"""Groups with fewer units are left out of correlations."""


class Ranking:
    """The ranking of the units of each group at the last cut.

    Attributes:
        scores: for each group that loses units in the current or last cut, the scores of its units before it.
    """

    def __init__(self) -> None:
        self._ranks: UnitRanks = {}
        self._left: dict[str, Scores] = {}
        self.scores: dict[str, Scores] = {}
        self._usual: dict[str, Scores] = {}

    @property
    def unit_ranks(self) -> UnitRanks:
        """For each group, the ranks of the units that are left, at the last cut in which it lost some."""
        self._ranks = {**self._ranks, **{key: doubled_ranks(scores) for key, scores in self._left.items()}}
        self._left = {}
        return self._ranks

    @unit_ranks.setter
    def unit_ranks(self, ranks: UnitRanks) -> None:
        self._ranks, self._left = ranks, {}

    def begin(self, plan: PruningPlan, scores: Mapping[str, Scores], usual: Mapping[str, Scores] | None) -> None:
        """Before a cut: keep the scores that its plan was made by.

        Args:
            plan: what will be cut.
            scores: the criterion's, of each unit of each group.
            usual: those of the L1 norm; None if that is the criterion.
        """
        self.scores = {key: scores[key] for key in plan.kept}
        self._usual = {} if usual is None else {key: usual[key] for key in plan.kept}

    def finish(self, plan: PruningPlan) -> dict[str, float]:
        """After a cut: its rank correlations, in [-1, 1], by name. The ranks of the units left are kept."""
        found = {LAST: agreement(self.unit_ranks, self.scores), USUAL: agreement(self._usual, self.scores)}
        self._left.update((key, self.scores[key][list(kept)]) for key, kept in plan.kept.items())
        return {name: value for name, value in found.items() if value is not None}


def doubled_ranks(scores: npt.ArrayLike) -> tuple[int, ...]:
    """Twice the rank of each score, from 0 for the lowest; equal scores share the mean of their ranks.

    Example:
        >>> doubled_ranks([0.5, 0.1, 0.5])
        (3, 0, 3)
    """
    _, group, counts = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    twice = 2 * np.cumsum(counts) - counts - 1
    return tuple(twice[group.ravel()].tolist())


def spearman(left: npt.ArrayLike, right: npt.ArrayLike) -> float | None:
    """Spearman's rank correlation, in [-1, 1]; None if all scores of one side are equal.

    Example:
        >>> spearman([1.0, 2.0, 3.0], [10.0, 20.0, 15.0])
        0.5
    """
    one, other = (np.array(doubled_ranks(scores), dtype=np.float64) for scores in (left, right))
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / scale if scale else None


def agreement(left: Mapping[str, Any], right: Mapping[str, Any]) -> float | None:
    """The mean of Spearman's correlation over the groups that both sides rank, weighted by size; None without any."""
    total = weight = 0.0
    for key in sorted(left.keys() & right.keys()):
        size = len(right[key])
        found = spearman(left[key], right[key]) if len(left[key]) == size >= FEWEST else None
        if found is not None:
            total, weight = total + size * found, weight + size
    return total / weight if weight else None
