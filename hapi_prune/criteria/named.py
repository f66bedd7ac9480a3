"""The criteria by name, and what else a user may give for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

from ..errors import PruneError, nearest
from .filters import FPGM, Criterion, FunctionCriterion, L1Norm, L2Norm, Weight
from .groups import BatchNormScale, GroupCriterion, GroupL2Norm, Random, Taylor

AnyCriterion = Union[Criterion, GroupCriterion]

OF_FILTERS: dict[str, Criterion] = {criterion.name: criterion for criterion in (L1Norm(), L2Norm(), FPGM())}
OF_GROUPS: dict[str, GroupCriterion] = {
    criterion.name: criterion for criterion in (GroupL2Norm(), BatchNormScale(), Taylor(), Random())
}
BUILT_IN: dict[str, AnyCriterion] = {**OF_FILTERS, **OF_GROUPS}
ALIASES = {"geometric_median": "fpgm", "geometry_median": "fpgm"}


def as_criterion(criterion: str | AnyCriterion | Callable[[Weight], Any]) -> AnyCriterion:
    """The Criterion that a user's value stands for.

    Args:
        criterion: a name of `BUILT_IN` or `ALIASES`, a Criterion, a GroupCriterion, or a function ``weight -> scores``.

    Raises:
        PruneError: anything else.

    Example:
        >>> as_criterion("geometric_median")
        FPGM()
    """
    if isinstance(criterion, str):
        return _named(criterion)
    if hasattr(criterion, "of_group") and not isinstance(criterion, type):
        return criterion  # type: ignore[return-value]
    if not callable(criterion) or isinstance(criterion, type):
        allowed = f"one of {_known()}, a Criterion, a GroupCriterion, or a function [filters, ...] -> [filters]"
        todo = f"write {criterion.__name__}()" if isinstance(criterion, type) else ""
        raise PruneError("criterion", f"{criterion!r:.200}", allowed, todo)
    if isinstance(getattr(criterion, "name", None), str):
        return criterion  # type: ignore[return-value]
    return FunctionCriterion(criterion, getattr(criterion, "__name__", type(criterion).__name__))


def wants_gradients(criterion: AnyCriterion) -> bool:
    """Whether a criterion gathers from gradients, see `GroupCriterion`."""
    return hasattr(criterion, "gather")


def _named(name: str) -> AnyCriterion:
    known = ALIASES.get(name, name)
    if known not in BUILT_IN:
        raise PruneError("criterion", repr(name), _known(), f"did you mean {nearest(name, [*BUILT_IN, *ALIASES], 1)}?")
    return BUILT_IN[known]


def _known() -> str:
    return ", ".join(repr(name) for name in [*BUILT_IN, *ALIASES])
