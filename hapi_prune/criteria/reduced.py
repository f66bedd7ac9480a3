"""A criterion of filters for a whole group, reduced in a way of the user's choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import PruneError
from .filters import Criterion, Scores
from .groups import GroupSlices

REDUCTIONS: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
    "mean": lambda scores: scores.mean(axis=0),
    "sum": lambda scores: scores.sum(axis=0),
    "max": lambda scores: scores.max(axis=0),
    "first": lambda scores: scores[0],
}


@dataclass(frozen=True)
class Reduced:
    """A criterion of filters for a whole group, with the scores of its layers brought together in a way of your choice.

    A criterion by itself sums the layers' scores, each divided by the mean of its layer.

    Attributes:
        criterion: scores the filters of each layer.
        reduce: how a unit's scores in the layers of a group are brought together: ``"mean"``, ``"sum"``, ``"max"``, or
            ``"first"`` for those of the first layer alone.
        normalize: whether each layer's scores are first divided by their mean.
        name: the criterion's name and the reduction.

    Raises:
        PruneError: an unknown reduction.

    Example:
        >>> import numpy as np
        >>> from hapi_prune import GroupSlices, L1Norm, Reduced
        >>> filters = {"a": np.array([[[1.0]], [[3.0]]]), "b": np.array([[[5.0]], [[1.0]]])}
        >>> Reduced(L1Norm(), "max", normalize=False).of_group(GroupSlices("a", 2, filters)).tolist()
        [5.0, 3.0]
    """

    criterion: Criterion
    reduce: str = "sum"
    normalize: bool = True

    def __post_init__(self) -> None:
        if self.reduce not in REDUCTIONS:
            raise PruneError("Reduced(reduce=...)", f"{self.reduce!r:.80}", ", ".join(map(repr, REDUCTIONS)))

    @property
    def name(self) -> str:
        """The criterion's name and the reduction."""
        return f"{self.criterion.name}, {self.reduce}"

    def of_group(self, group: GroupSlices) -> Scores:
        """The reduced score of each unit.

        Args:
            group: the units' slices.

        Returns:
            float64, shape ``[units]``.
        """
        found = []
        for array in group.filters.values():
            layer = np.asarray(self.criterion(array.reshape(-1, *array.shape[2:])), dtype=np.float64)
            scores = layer.reshape(group.size, -1).mean(axis=1)
            found.append(scores / (scores.mean() or 1.0) if self.normalize else scores)
        return REDUCTIONS[self.reduce](np.stack(found))
