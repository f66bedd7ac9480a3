"""How a goal is shared out among the groups: how important the next unit of each group is.

A scope makes *importances* of the scores, which can be compared between groups. All units of all groups are sorted by
importance, and the least important ones go until the goal is met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Union

import numpy as np
import numpy.typing as npt

from ..criteria.filters import Scores
from ..errors import PruneError
from ..plan import ChannelGroup

Curve = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
Importances = Union[float, npt.NDArray[np.float64], Curve]
"""What `Scope` returns for one group."""


class Scope(Protocol):
    """How a goal is shared out among the channel groups: the protocol that every scope follows.

    To write your own, write a function of three mappings by group key, as below, that returns for each group how much
    of it goes, relative to the others: the library scales all shares alike until the goal is met. A group that is left
    out, or has 0, stays.

    Instead of a share, a group may have an array with the importance of each of its units, shape ``[size]``, or a
    function from shares of the original group that are removed (an array, each in (0, 1]) to importances that do not
    fall. What is least important goes first, over all groups. Which units of a group go is up to the criterion.

    Attributes:
        name: what it is called in records and errors.

    Example:
        >>> import paddle
        >>> from hapi_prune import prune
        >>> def spare_the_first(groups, scores, costs):
        ...     return {key: 1.0 if number else 0.25 for number, key in enumerate(groups)}
        >>> network = paddle.vision.models.LeNet()
        >>> record = prune(network, [1, 1, 28, 28], 0.5, target="flops", scope=spare_the_first)
        >>> record.widths["features.0"], record.widths["features.3"]
        ((6, 5), (16, 9))
    """

    @property
    def name(self) -> str:
        """What it is called in records and errors."""

    def __call__(
        self, groups: Mapping[str, ChannelGroup], scores: Mapping[str, Scores], costs: Mapping[str, float]
    ) -> Mapping[str, Importances]:
        """How important the units of each group are.

        Args:
            groups: the groups that may shrink, as they are now.
            scores: the criterion's score for each unit, shape ``[size]``; worked out when it is asked for.
            costs: the share of the network's cost now (its FLOPs, parameters or filters, as the target says) that goes
                with one unit.

        Returns:
            For each group a share, an array of importances, or a function from shares to importances.
        """


@dataclass(frozen=True)
class Uniform:
    """The scope ``"uniform"``: the same share of every group.

    Attributes:
        name: ``"uniform"``.

    Example:
        >>> from hapi_prune import Uniform
        >>> Uniform()({"conv.weight": None}, {}, {})
        {'conv.weight': 1.0}
    """

    name = "uniform"

    def __call__(
        self, groups: Mapping[str, ChannelGroup], scores: Mapping[str, Scores], costs: Mapping[str, float]
    ) -> Mapping[str, Importances]:
        """A share of 1 for each group.

        Args:
            groups: the groups that may shrink.
            scores: not looked at.
            costs: not looked at.

        Returns:
            The same share for each group.
        """
        return dict.fromkeys(groups, 1.0)


NORMS: dict[str, Callable[[Scores], float]] = {
    "mean": lambda scores: float(scores.mean()),
    "max": lambda scores: float(scores.max()),
    "l2": lambda scores: float(np.linalg.norm(scores)),
    "sum": lambda scores: float(scores.sum()),
    "none": lambda scores: 1.0,
}


@dataclass(frozen=True)
class Global:
    """The scope ``"global"``: one ranking over the units of all groups, by importance and, if told, by cost.

    ``importance = score / norm of the group's scores / share of the cost that goes with the unit ** cost_power``

    Attributes:
        name: ``"global"``.
        normalize: what scores of different groups are divided by, so that they can be compared: ``"mean"``, ``"max"``,
            ``"l2"`` or ``"sum"`` of the group's scores, or ``"none"``.
        cost_power: how much the cost counts: 0 not at all, 1 in proportion. The defaults are what lost least in
            ``benchmarks/accuracy``: in proportion, the layers on large images were cut to the bone.
        isomorphic: whether only groups that are alike are ranked against each other: those that touch the same kinds of
            tensors, as the inner layers of all blocks do, or a residual stream and another. Each kind of group then
            loses the same share, as what one of them scores says nothing about another.

    Raises:
        PruneError: an unknown norm, or a power that is no number of at least 0.

    Example:
        >>> import numpy as np
        >>> from hapi_prune import Global
        >>> scores = {"a": np.array([1.0, 3.0]), "b": np.array([10.0, 30.0])}
        >>> importances = Global(cost_power=1.0)(scores, scores, {"a": 0.1, "b": 0.2})
        >>> importances["a"].tolist(), importances["b"].tolist()
        ([5.0, 15.0], [2.5, 7.5])

    Source: Molchanov, Tyree, Karras, Aila, Kautz, "Pruning Convolutional Neural Networks for Resource Efficient
    Inference" (2017), which divides scores by their layer's l2 norm and regularises them by FLOPs; for ``isomorphic``:
    Fang, Ma, Mi, Wang, "Isomorphic Pruning for Vision Models" (2024), which ranks sub-structures of the same topology.
    """

    normalize: str = "mean"
    cost_power: float = 0.0
    isomorphic: bool = False
    name = "global"

    def __post_init__(self) -> None:
        if self.normalize not in NORMS:
            raise PruneError("Global(normalize=...)", f"{self.normalize!r:.80}", ", ".join(map(repr, NORMS)))
        power = self.cost_power
        if isinstance(power, bool) or not isinstance(power, (int, float)) or not 0 <= power < np.inf:
            raise PruneError("Global(cost_power=...)", f"{power!r:.80}", "a number of at least 0")
        if not isinstance(self.isomorphic, bool):
            raise PruneError("Global(isomorphic=...)", f"{self.isomorphic!r:.80}", "True or False")

    def __call__(
        self, groups: Mapping[str, ChannelGroup], scores: Mapping[str, Scores], costs: Mapping[str, float]
    ) -> Mapping[str, Importances]:
        """The importance of each unit of each group.

        Args:
            groups: the groups that may shrink.
            scores: for each group the score of each unit, at least 0.
            costs: for each group the share of the cost that goes with one unit.

        Returns:
            For each group an array, shape ``[size]``.
        """
        importances: dict[str, Scores] = {}
        for key in groups:
            found = scores[key]
            weight = max(costs[key], 1e-12) ** self.cost_power
            importances[key] = found / (NORMS[self.normalize](found) or 1.0) / weight
        if not self.isomorphic:
            return importances
        places: dict[str, Importances] = {}
        for keys in by_topology(groups):
            order = np.argsort(np.concatenate([importances[key] for key in keys]), kind="stable")
            place = np.empty(len(order))
            place[order] = (np.arange(len(order)) + 0.5) / len(order)
            ends = np.cumsum([len(importances[key]) for key in keys])
            places.update(zip(keys, np.split(place, ends[:-1])))
        return places


def by_topology(groups: Mapping[str, ChannelGroup]) -> list[list[str]]:
    """The keys of groups that touch the same kinds of tensors along the same axes, equally often, together."""
    found: dict[tuple[tuple[str, int, int], ...], list[str]] = {}
    for key, group in groups.items():
        touched = [(name.rpartition(".")[2], slot, index.shape[1]) for (name, slot), index in group.index.items()]
        found.setdefault(tuple(sorted(touched)), []).append(key)
    return list(found.values())


@dataclass(frozen=True)
class FromShares:
    """A user's own function ``groups, scores, costs -> share of each group``."""

    function: Callable[..., Any]
    name: str

    def __call__(
        self, groups: Mapping[str, ChannelGroup], scores: Mapping[str, Scores], costs: Mapping[str, float]
    ) -> Mapping[str, Importances]:
        """What the function returns."""
        try:
            found = self.function(groups, scores, costs)
        except PruneError:
            raise
        except Exception as error:
            got = f"{self.name!r} raised {type(error).__name__}: {error}"
            raise PruneError("scope", got, "a share for each group") from error
        if not isinstance(found, Mapping) or not found.keys() <= groups.keys():
            unknown = sorted(set(found) - groups.keys())[:3] if isinstance(found, Mapping) else f"{found!r:.80}"
            raise PruneError("scope", f"{self.name!r} returned {unknown}", "{group key: share}, of the keys given")
        return found


def as_scope(scope: object) -> Scope:
    """The Scope that a user's value stands for: ``"uniform"``, ``"global"``, a Scope, or a function.

    Raises:
        PruneError: anything else.
    """
    if isinstance(scope, str) and scope in BUILT_IN:
        return BUILT_IN[scope]
    if callable(scope) and not isinstance(scope, type):
        if isinstance(getattr(scope, "name", None), str):
            return scope  # type: ignore[return-value]
        return FromShares(scope, getattr(scope, "__name__", type(scope).__name__))
    allowed = f"{', '.join(map(repr, BUILT_IN))}, a Scope, or a function of groups, scores and costs"
    raise PruneError("scope", f"{scope!r:.80}", allowed)


def importances_of(given: Importances, key: str, origin: int, now: int) -> npt.NDArray[np.float64]:
    """The importance of each unit of a group in the order in which it loses them; it never falls.

    Args:
        given: what the scope gave for the group.
        key: the group, for errors.
        origin: its units when the network was traced.
        now: its units now.

    Returns:
        Shape ``[now]``; infinite for what must stay.

    Raises:
        PruneError: it is none of what a scope may give.
    """
    shares = (origin - now + np.arange(now) + 0.5) / origin
    where = f"scope, group {key!r}"
    if isinstance(given, (int, float, np.integer, np.floating)) and not isinstance(given, bool):
        if not 0 <= given < np.inf:
            raise PruneError(where, f"a share of {given}", "a finite number of at least 0")
        return shares / given if given else np.full(now, np.inf)
    found = np.asarray(given(shares) if callable(given) else given)
    if found.shape != (now,) or found.dtype.kind not in "fiu" or np.isnan(found).any():
        raise PruneError(where, f"{found.dtype} of shape {list(found.shape)}", f"a share, or {now} importances")
    ordered = found.astype(np.float64) if callable(given) else np.sort(found.astype(np.float64))
    return np.maximum.accumulate(ordered)


BUILT_IN: dict[str, Scope] = {"uniform": Uniform(), "global": Global()}
