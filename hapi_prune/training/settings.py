"""The arguments of a PruneCallback, checked."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..criteria.named import as_criterion
from ..errors import PruneError
from ..plan import Cut
from ..schedules import Schedule
from ..selection.options import Options
from ..selection.ratios import real, whole
from ..selection.scopes import as_scope
from . import paddle_model


@dataclass(frozen=True)
class Settings:
    """The checked arguments of a PruneCallback; see there."""

    schedule: Schedule
    options: Options
    log_dir: str | os.PathLike[str] | None = None
    verbose: int = 1
    inputs: Any = None
    eval_data: Any = None
    on_cut: Callable[[Cut], object] | None = None
    recalibrate: int = 0
    max_drop: float | None = None
    monitor: str | None = None
    rewarm: int = 0
    compensate: bool = False

    def __post_init__(self) -> None:
        log_dir = self.log_dir
        if self.verbose not in (0, 1, 2):
            raise PruneError("PruneCallback(verbose=...)", f"{self.verbose!r:.80}", "0 (silent), or 1 or 2 (tables)")
        if log_dir is not None and (not isinstance(log_dir, (str, os.PathLike)) or not os.fspath(log_dir)):
            raise PruneError("PruneCallback(log_dir=...)", f"{log_dir!r:.80}", "the path of a directory, or None")
        if self.on_cut is not None and not callable(self.on_cut):
            raise PruneError("PruneCallback(on_cut=...)", f"{self.on_cut!r:.80}", "a function of the Cut, or None")
        whole(self.recalibrate, "PruneCallback(recalibrate=...)")
        whole(self.rewarm, "PruneCallback(rewarm=...)")
        if not isinstance(self.compensate, bool):
            raise PruneError("PruneCallback(compensate=...)", f"{self.compensate!r:.80}", "True or False")
        paddle_model.require_data(self.eval_data)
        self._check_budget()

    def _check_budget(self) -> None:
        if self.max_drop is None:
            if self.monitor is not None:
                todo = "write max_drop=0.01 too, or leave monitor out"
                raise PruneError("PruneCallback(monitor=...)", f"{self.monitor!r:.80}", "None without max_drop", todo)
            return
        where = "PruneCallback(max_drop=...)"
        if not 0 < real(self.max_drop) < 1:
            todo = "it is what the metric may lose: 0.01 is one point of accuracy"
            raise PruneError(where, f"{self.max_drop!r:.80}", "a number between 0 and 1, or None", todo)
        if self.monitor is not None and (not isinstance(self.monitor, str) or not self.monitor):
            raise PruneError("PruneCallback(monitor=...)", f"{self.monitor!r:.80}", "the name of a metric, or None")
        if self.on_cut is not None:
            got = "on_cut, which is told of cuts, and could not be told that one is taken back"
            raise PruneError(where, got, "no on_cut beside max_drop", "make what mirrors the weights after the run")

    def hparams(self, epochs: int, optimizer: Any) -> dict[str, Any]:
        """The settings that go into VisualDL's table of hyper-parameters, which leaves out None."""
        options = self.options
        return {
            "criterion": as_criterion(options.criterion).name,
            "schedule": repr(self.schedule),
            "target": options.target,
            "scope": as_scope(options.scope).name,
            "optimizer_state": options.optimizer_state,
            "max_drop": self.max_drop,
            "epochs": epochs,
            "optimizer": type(optimizer).__name__,
        }
