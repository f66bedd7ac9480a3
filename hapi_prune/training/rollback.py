"""The cuts of a run with an accuracy budget: each is provisional until the next event, and rolled back if it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import paddle

from ..analysis.cut_state import CutState
from ..cutting import ranks
from ..cutting.pruning import Pruner
from ..cutting.snapshot import Snapshot
from ..errors import PruneError
from ..plan import Array, Axis
from ..reporting.history import History
from ..reporting.tables import Metrics, is_loss
from ..selection.ranking import UnitRanks
from ..selection.ratios import Ratio
from . import fit_state, paddle_model
from .atomic_save import BEFORE
from .budget import Budget
from .settings import Settings


@dataclass(frozen=True)
class RestorePoint:
    """A copy of a run right before a cut.

    Attributes:
        snapshot: network and optimizer.
        state: the state of the channel map.
        gathered: what the criterion had gathered from gradients.
        unit_ranks: the ranking of the units at the previous cut.
        scaler: the state of hapi's GradScaler; None if there was none yet.
        callbacks: what hapi's own callbacks remembered, as `fit_state.callbacks` gives it.
    """

    snapshot: Snapshot
    state: CutState
    gathered: Mapping[Axis, Array]
    unit_ranks: UnitRanks
    scaler: dict[str, Any] | None
    callbacks: list[Any]

    @classmethod
    def now(cls, model: paddle.Model, pruner: Pruner, folder: str | None) -> RestorePoint:
        """Copy a run; ``folder``: where copies of large networks go, None for the default of `tempfile`."""
        optimizer, state = paddle_model.optimizer(model), pruner.channel_map.state
        snapshot = Snapshot(model.network, optimizer, folder, leave=(paddle_model.RETIRED,))
        copied = replace(state, fits=dict(state.fits), known=dict(state.known))
        gathered, unit_ranks = pruner.gathered, pruner.ranking.unit_ranks
        return cls(snapshot, copied, gathered, unit_ranks, fit_state.scaler_state(model), fit_state.callbacks())

    def put_back(self, model: paddle.Model, pruner: Pruner) -> None:
        """Restore network, optimizer, schedulers, GradScaler, hapi's callbacks and the state of the pruner."""
        self.snapshot.put_back()
        pruner.channel_map.state, pruner.gathered = self.state, dict(self.gathered)
        pruner.ranking.unit_ranks = self.unit_ranks
        fit_state.put_scaler_back(model, self.scaler)
        fit_state.recall_callbacks(self.callbacks)

    def write(self, draft: str) -> None:
        """Write the copy as files of the checkpoint whose draft is called ``draft``."""
        network, optimizer = self.snapshot.state_dicts()
        for part, state in zip(BEFORE, (network, optimizer, self.scaler)):
            if state:
                paddle.save(state, draft + part)


class Rollback:
    """The accuracy budget of a run, and the network as it was before its provisional cut, to roll back to.

    Args:
        model: the trained model.
        budget: what is known of the budget.
        before: the run right before the provisional cut; None if there is none.

    Attributes:
        budget: what is known by now.
    """

    def __init__(self, model: paddle.Model, budget: Budget, before: RestorePoint | None = None) -> None:
        self._model, self.budget, self._before = model, budget, before

    @property
    def before(self) -> RestorePoint | None:
        """The run right before the provisional cut; None if no cut is provisional."""
        return self._before if self.budget.tried is not None else None

    def write(self, draft: str) -> None:
        """Add to a checkpoint what a resumed run needs to roll back the provisional cut."""
        if self.before is not None:
            self.before.write(draft)

    def judge(self, metrics: Metrics) -> str:
        """The end of a phase: why its cut has to be rolled back; empty if it may stay, or if no cut is provisional.

        The metric of rank 0 decides.
        """
        if self.budget.tried is None:
            return ""
        self.budget, why = self.budget.judged(self._value(metrics))
        if not why:
            self._before = None
        return why

    def take_back(self, pruner: Pruner) -> None:
        """Roll the run back to right before the provisional cut."""
        before, self._before = self._before, None
        if before is not None:
            before.put_back(self._model, pruner)

    def cut(self, ratio: Ratio, metrics: Metrics, pruner: Pruner, make: Callable[[], Any]) -> Any:
        """Let ``make`` cut to ``ratio``; from then on the cut is provisional.

        Args:
            ratio: the ratio of the cut.
            metrics: the metrics right before it.
            pruner: the pruner of the run.
            make: makes the cut, and returns its record.
        """
        value = self._value(metrics)
        self._before = RestorePoint.now(self._model, pruner, fit_state.save_folder())
        record = make()
        if record.plan:
            self.budget = self.budget.begun(ratio, value)
        else:
            self.budget, self._before = self.budget.was_nothing(ratio), None
        return record

    def _value(self, metrics: Metrics) -> float:
        name = self.budget.monitor
        value: float | None = ranks.from_first(metrics.get(name))
        if value is None or (value != value and self.budget.dense is None):
            got = f"the evaluation has {'no' if value is None else 'nan for'} {name!r}"
            raise PruneError("PruneCallback(max_drop=...)", got, "a number, at each evaluation")
        return value


def rollback_of(
    model: paddle.Model, settings: Settings, history: History, known: Budget | None, before: RestorePoint | None
) -> Rollback | None:
    """The rollback of a new or resumed run; None if it has no budget.

    Args:
        model: the trained model.
        settings: the checked arguments of the callback.
        history: the history so far.
        known: the budget in the checkpoint of a resumed run.
        before: the run right before the provisional cut, from the same checkpoint.

    Raises:
        PruneError: no metric to judge cuts by, or a run that was begun without a budget or with another metric.
    """
    if settings.max_drop is None:
        return None
    monitor = monitored(paddle_model.metric_names(model), settings.monitor)
    if known is not None:
        if known.monitor != monitor:
            where, todo = "PruneCallback(monitor=...)", f"write monitor={known.monitor!r}, or begin a new run"
            got = f"{monitor!r}, in a run that has gone by {known.monitor!r}"
            raise PruneError(where, got, repr(known.monitor), todo)
        return Rollback(model, replace(known, max_drop=settings.max_drop), before)
    if not history:
        return Rollback(model, Budget(settings.max_drop, monitor))
    dense = history[0].metrics_before.get(monitor)
    if dense is None:
        got = f"a run to go on with that was not evaluated by {monitor!r} before its first cut"
        todo = "leave max_drop out, or begin a new run"
        raise PruneError("PruneCallback(max_drop=...)", got, "a run with a budget from its beginning", todo)
    held = history.now.ratio_asked if history.now is not None else 0.0
    return Rollback(model, Budget(settings.max_drop, monitor, dense, held))


def require_evaluations(model: paddle.Model, settings: Settings) -> None:
    """Raise if there is a budget, but no evaluation data that can be read more than once."""
    own = settings.eval_data
    data = paddle_model.eval_data(model) if own is None else own
    if settings.max_drop is not None and (data is None or data is False or paddle_model.read_once(data)):
        got = "no evaluation data" if data is None or data is False else "evaluation data that can be read once only"
        todo = "give a list of batches, a Dataset or a DataLoader"
        raise PruneError("PruneCallback(max_drop=...)", got, "eval_data in fit(...) or in PruneCallback(...)", todo)


def monitored(names: list[str], asked: str | None) -> str:
    """The metric that judges cuts: the one asked for, else ``acc_top1``, else ``acc``, else the first that is no loss.

    Raises:
        PruneError: there is none.
    """
    where, has = "PruneCallback(monitor=...)", f"one of {', '.join(map(repr, names))}"
    if asked is not None:
        if asked not in names:
            raise PruneError(where, f"{asked!r:.80}", has, "name a metric given to model.prepare, or 'loss'")
        return asked
    others = [name for name in names if not is_loss(name)]
    if not others:
        todo = "give metrics to model.prepare, or write monitor='loss'"
        raise PruneError(where, "None, and model.prepare was given no metric", "a metric that is no loss", todo)
    return next(name for name in ("acc_top1", "acc", *others) if name in others)
