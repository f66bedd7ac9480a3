"""How much a filter matters: pure functions from a weight to one score for each filter; higher is kept.

A criterion sees the weight of one layer with the filters on axis 0 and nothing else. Equal scores are the
caller's to order: a stable sort takes the lower index first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import PruneError

Weight = npt.NDArray[Any]
Scores = npt.NDArray[np.float64]


class Criterion(Protocol):
    """How much each filter of a layer matters: the protocol that every criterion follows. Higher scores are kept.

    To write your own, write a function ``weight -> scores``, as below; it is known by the name of the function. If it
    has options, make it a class with a ``name`` and a ``__call__``: there is nothing to inherit from. It must be pure
    (the same weight, the same scores), and treat all filters alike, whatever their order. It gets a copy of the
    weight; what it returns is checked, and an error names the layer.

    Attributes:
        name: what it is called in records, on the dashboard and in errors.

    Example:
        >>> import numpy as np, paddle
        >>> from hapi_prune import prune
        >>> def largest_weight(weight):
        ...     return np.abs(weight).reshape(len(weight), -1).max(axis=1)
        >>> record = prune(paddle.vision.models.LeNet(), [1, 1, 28, 28], 0.5, criterion=largest_weight)
        >>> record.widths
        {'features.0': (6, 3), 'features.3': (16, 8)}
    """

    @property
    def name(self) -> str:
        """What it is called in records, on the dashboard and in errors."""

    def __call__(self, weight: Weight) -> Scores:
        """One score for each filter.

        Args:
            weight: floating point, shape ``[filters, ...]``: ``[filters, in / groups, kh, kw]`` of a Conv2D. Whatever
                the layer, the filters are on axis 0.

        Returns:
            Finite numbers, shape ``[filters]``; the filters with the highest ones are kept.
        """


@dataclass(frozen=True)
class L1Norm:
    """The criterion ``"l1_norm"``, the sum of magnitudes: ``score_i = sum_k |w_ik|``.

    Attributes:
        name: ``"l1_norm"``.

    Example:
        >>> import numpy as np
        >>> from hapi_prune import L1Norm
        >>> L1Norm()(np.array([[1.0, -2.0], [0.5, 0.0]])).tolist()
        [3.0, 0.5]

    Source: Li, Kadav, Durdanovic, Samet, Graf, "Pruning Filters for Efficient ConvNets" (2017).
    """

    name = "l1_norm"

    def __call__(self, weight: Weight) -> Scores:
        """The sum of magnitudes of each filter.

        Args:
            weight: shape ``[filters, ...]``, finite.

        Returns:
            float64, shape ``[filters]``, at least 0; scales with ``|c|`` when the weight scales with ``c``.
        """
        return _sums(weight, np.abs)


@dataclass(frozen=True)
class L2Norm:
    """The criterion ``"l2_norm"``, the Euclidean length: ``score_i = sqrt(sum_k w_ik ** 2)``.

    Attributes:
        name: ``"l2_norm"``.

    Example:
        >>> import numpy as np
        >>> from hapi_prune import L2Norm
        >>> L2Norm()(np.array([[3.0, -4.0], [0.5, 0.0]])).tolist()
        [5.0, 0.5]

    Source: Li, Kadav, Durdanovic, Samet, Graf, "Pruning Filters for Efficient ConvNets" (2017), section 4.4.
    """

    name = "l2_norm"

    def __call__(self, weight: Weight) -> Scores:
        """The length of each filter.

        Args:
            weight: shape ``[filters, ...]``, finite.

        Returns:
            float64, shape ``[filters]``, at least 0; scales with ``|c|`` when the weight scales with ``c``.
        """
        return np.asarray(np.sqrt(_sums(weight, np.square)))


@dataclass(frozen=True)
class FPGM:
    """The criterion ``"fpgm"``, the distance to all other filters: ``score_i = sum_j sqrt(sum_k (w_ik - w_jk) ** 2)``.

    The filter with the lowest score lies nearest the geometric median of its layer: the others can stand in for it.

    Attributes:
        name: ``"fpgm"``; ``"geometric_median"`` means the same.

    Example:
        >>> import numpy as np
        >>> from hapi_prune import FPGM
        >>> FPGM()(np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])).tolist()
        [15.0, 10.0, 15.0]

    Source: He, Liu, Wang, Hu, Yang, "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks
    Acceleration" (2019).
    """

    name = "fpgm"

    def __call__(self, weight: Weight) -> Scores:
        """The sum of the distances of each filter to all others.

        Args:
            weight: shape ``[filters, ...]``, finite. Takes memory for ``filters ** 2`` distances.

        Returns:
            float64, shape ``[filters]``, at least 0; the same, bitwise, for equal filters and in whatever order the
            filters come; not changed by adding one filter to all; scales with ``|c|`` when the weight scales with
            ``c``.
        """
        rows, inverse, counts = _distinct(weight)
        rows -= rows.mean(axis=0)  # distances do not change, but what they are the difference of gets small
        lengths = np.einsum("ij,ij->i", rows, rows)
        sums = np.zeros(len(rows))
        for begin in range(0, len(rows), _TOGETHER):  # each pair once: those of some filters with the ones behind them
            end = begin + _TOGETHER
            apart = rows[begin:end] @ rows[begin:].T
            apart *= -2
            apart += lengths[begin:]
            apart += lengths[begin:end, None]
            np.sqrt(np.maximum(apart, 0, out=apart), out=apart)
            np.fill_diagonal(apart, 0)
            sums[begin:end] += apart @ counts[begin:]
            sums[end:] += counts[begin:end] @ apart[:, _TOGETHER:]
        return np.asarray(sums[inverse])


@dataclass(frozen=True)
class FunctionCriterion:
    """Your own function of the weight, under a name for records and errors.

    Example:
        >>> FunctionCriterion(lambda weight: weight.max(axis=1), "peak")(np.array([[1.0, 2.0], [5.0, 0.0]])).tolist()
        [2.0, 5.0]
    """

    function: Callable[[Weight], Any]
    name: str

    def __call__(self, weight: Weight) -> Any:
        """What the function returns for ``weight``."""
        return self.function(weight)


def score(criterion: Criterion, weight: Weight, where: str) -> Scores:
    """The criterion's scores for the filters of one layer, checked.

    Args:
        criterion: works on a copy, so that it may do with it what it likes.
        weight: floating point, shape ``[filters, ...]``, not empty.
        where: the layer, for errors, as in ``"layer 'conv1'"``.

    Returns:
        float64, shape ``[filters]``, finite.

    Raises:
        PruneError: a weight that is not floating point, empty or not finite; a criterion that fails, or returns
            anything but one finite number a filter.

    Example:
        >>> score(L1Norm(), np.ones([2, 3, 1, 1], "float32"), "layer 'conv1'").tolist()
        [3.0, 3.0]
    """
    _check_type(weight, where)
    if type(criterion) in (L1Norm, L2Norm):  # they leave the weight as it is, and are finite if it is
        scores = np.asarray(criterion(weight))
        if not np.isfinite(scores).all():
            check_finite(weight, where)
    else:
        check_finite(weight, where)
        scores = _scores_of_copy(criterion, weight, where)
    check_scores(scores, len(weight), criterion.name, where)
    return scores.astype(np.float64)


def _scores_of_copy(criterion: Criterion, weight: Weight, where: str) -> npt.NDArray[Any]:
    own = np.array(weight, dtype=np.result_type(weight.dtype, np.float32), order="C")  # float16 overflows in sums
    try:
        return np.asarray(criterion(own))
    except PruneError:
        raise
    except Exception as error:
        got = f"criterion {criterion.name!r} raised {type(error).__name__}: {error}"
        raise PruneError(where, got, f"scores for a weight of shape {list(weight.shape)}") from error


def _check_type(weight: Weight, where: str) -> None:
    if weight.ndim == 0 or weight.size == 0 or weight.dtype.kind != "f":
        got = f"a weight of dtype {weight.dtype} and shape {list(weight.shape)}"
        todo = "cast bfloat16 to float32 first: Paddle hands it to NumPy as uint16" if weight.dtype == np.uint16 else ""
        raise PruneError(where, got, "floating point, [filters, ...], not empty", todo)


def check_finite(weight: Weight, where: str) -> None:
    """Raise a PruneError if a tensor holds NaN or infinite numbers."""
    bad = weight.size - np.count_nonzero(np.isfinite(weight))
    if bad:
        got = f"{bad} of {weight.size} weights are not finite (NaN or infinite)"
        todo = "lower the learning rate, clip the gradients or train in float32: the run diverged before this cut"
        raise PruneError(where, got, "finite weights", todo)


def check_scores(scores: npt.NDArray[Any], filters: int, name: str, where: str) -> None:
    """Raise a PruneError if ``scores`` are not one finite number for each of so many filters or units."""
    allowed = f"{filters} finite numbers, one a filter, higher is kept"
    if scores.shape != (filters,) or scores.dtype.kind not in "fiu":
        raise PruneError(where, f"criterion {name!r} returned {scores.dtype} of shape {list(scores.shape)}", allowed)
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise PruneError(where, f"criterion {name!r} returned {scores[bad[0]]} for filter {bad[0]}", allowed)


_TOGETHER = 128
"""So many filters are compared with the others at a time: what is computed of them stays in the cache."""

_BLOCK = 1 << 15
"""So many numbers are summed at a time: what is computed of them stays in the cache."""


def _sums(weight: Weight, terms: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Scores:
    """For each filter the sum of ``terms`` of its numbers in float64, in the order in which they lie in memory."""
    step = max(1, _BLOCK * len(weight) // weight.size)
    if weight.ndim == 2 and weight.T.flags.c_contiguous:  # as of a Linear, whose filters are columns
        lines = np.array_split(weight.T, max(1, weight.size // _BLOCK))
        return np.asarray(sum(terms(np.asarray(part, dtype=np.float64)).sum(axis=0) for part in lines))
    return np.concatenate([terms(_rows(weight[n : n + step])).sum(axis=1) for n in range(0, len(weight), step)])


def _rows(weight: Weight) -> npt.NDArray[np.float64]:
    return np.asarray(weight, dtype=np.float64).reshape(len(weight), -1)


def _distinct(weight: Weight) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Each different filter once, in an order of their own; for each one given, which it is; how often each occurs.

    Equal filters would else be apart by rounding, and a score depend on where its filter stands.
    """
    rows = np.add(weight.reshape(len(weight), -1), 0.0, dtype=np.float64, order="C")  # -0.0 has other bytes than 0.0
    found = np.unique(_hashes(rows), return_index=True, return_inverse=True, return_counts=True)
    if len(found[1]) < len(rows) and not np.array_equal(rows[found[1]][found[2].ravel()], rows):
        keys = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()  # two of one hash: by their bytes
        found = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    _, index, inverse, counts = found
    return rows[index], inverse.ravel(), counts.astype(np.float64)


def _hashes(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """A hash of each row: its bits times odd numbers, one for each column, summed up."""
    odd = np.arange(rows.shape[1], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)
    return np.asarray(np.einsum("ij,j->i", rows.view(np.uint64), odd))
