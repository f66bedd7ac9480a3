"""How to choose what goes, and what to leave alone: the arguments that `prune` and PruneCallback share, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..criteria.named import AnyCriterion, as_criterion
from ..errors import PruneError, nearest
from .limits import Limits
from .ratios import real
from .scopes import Scope, as_scope

if TYPE_CHECKING:
    from ..analysis.times import Times

TARGETS = ("filters", "flops", "params", "latency")
"""What a ratio can be a share of."""

MOST = 0.8
"""The largest share that a layer loses where the library chooses the shares, unless ``max_ratio`` says otherwise."""


@dataclass(frozen=True)
class Aim:
    """What a ratio is a share of, and how it is shared out.

    Attributes:
        target: ``"filters"``, ``"flops"``, ``"params"`` or ``"latency"``.
        scope: how it is shared out among the groups.
        limits: how far a group may shrink.
        times: how long the network's ops take, for ``"latency"``.
    """

    target: str
    scope: Scope
    limits: Limits
    times: Times | None = None


@dataclass(frozen=True)
class Options:
    """How to choose, and what to leave alone; see `prune`."""

    criterion: str | AnyCriterion | Callable[..., Any] = "l1_norm"
    skip: Sequence[str] = ()
    min_filters: int = 1
    round_to: int = 1
    optimizer_state: str = "carry"
    target: str = "filters"
    scope: str | Scope | Callable[..., Any] = "uniform"
    max_ratio: float | None = None

    def __post_init__(self) -> None:
        as_criterion(self.criterion)
        as_scope(self.scope)
        names = self.skip if isinstance(self.skip, Sequence) and not isinstance(self.skip, str) else [None]
        if not all(isinstance(name, str) for name in names):
            todo = f"write skip=[{self.skip!r}]" if isinstance(self.skip, str) else ""
            raise PruneError("skip", f"{self.skip!r:.80}", "a list of layer names", todo)
        for name in ("min_filters", "round_to"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                raise PruneError(name, f"{value!r}", "a whole number of at least 1")
        if self.optimizer_state not in ("carry", "reset"):
            raise PruneError("optimizer_state", f"{self.optimizer_state!r}", "'carry' or 'reset'")
        if not isinstance(self.target, str) or self.target not in TARGETS:
            todo = f"did you mean {nearest(self.target, TARGETS, 1)}?" if isinstance(self.target, str) else ""
            raise PruneError("target", f"{self.target!r:.80}", ", ".join(map(repr, TARGETS)), todo)
        if self.max_ratio is not None and not 0 < real(self.max_ratio) <= 1:
            allowed = "a number above 0 and up to 1: the largest share that a layer may lose"
            raise PruneError("max_ratio", f"{self.max_ratio!r:.80}", allowed)

    @property
    def aim(self) -> Aim | None:
        """What a ratio is a share of, and how it is shared out; None where each layer loses the ratio itself."""
        scope = as_scope(self.scope)
        if self.target == "filters" and scope == as_scope("uniform"):
            return None
        most = MOST if self.max_ratio is None else float(self.max_ratio)
        return Aim(self.target, scope, Limits(int(self.min_filters), int(self.round_to), most))

    @property
    def linears(self) -> bool:
        """Whether a plain ratio asks for Linears too: where what they cost is to be reduced, and not filters."""
        return self.target != "filters"

    @property
    def limits(self) -> Limits:
        """How far a group may shrink."""
        most = 1.0 if self.max_ratio is None else float(self.max_ratio)
        return self.aim.limits if self.aim else Limits(int(self.min_filters), int(self.round_to), most)
