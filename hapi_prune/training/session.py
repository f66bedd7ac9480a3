"""One ``fit`` with a PruneCallback: makes the cuts that are due; history, report and checkpoints follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import paddle

from ..criteria.named import as_criterion, wants_gradients
from ..cutting import interrupts
from ..cutting.pruning import Pruner, check_optimizer
from ..errors import PruneError, gist
from ..plan import Array, Axis
from ..reporting.dashboard import Dashboard
from ..reporting.history import History
from ..reporting.record import PruneRecord, epoch_text, event_table
from ..reporting.tables import Metrics, scalar_metrics
from ..selection.ratios import Ratio, check_ratio, rising
from . import fit_state, paddle_model
from .announcement import announced, warn
from .atomic_save import AtomicSaver
from .gathering import Gathering
from .healing import Healing
from .note import note_of
from .resume import Resumed
from .rewarming import Rewarming, give_back, warming_up
from .rollback import Rollback, require_evaluations, rollback_of
from .settings import Settings


class Session:
    """One ``fit``, from its first epoch to its last. Knows epochs and logs, and no tensors.

    Args:
        model: what is trained.
        settings: the checked arguments of the callback.
        epochs: how many epochs this ``fit`` has.
        resumed: the run that is resumed; None for a new one.
    """

    def __init__(self, model: paddle.Model, settings: Settings, epochs: int, resumed: Resumed | None) -> None:
        self.model, self.settings, self._resumed = model, settings, resumed
        self.history = resumed.history if resumed else History()
        self.first = self.epoch = resumed.epochs if resumed else 0
        self.epochs = epochs + self.first if epochs else 0
        self._pruner = resumed.pruner if resumed else None
        self._events: list[tuple[int, Ratio]] = []
        self._report: Dashboard | None = None
        self._keeper: AtomicSaver | None = None
        self._gathering: Gathering | None = None
        self._rewarming: Rewarming | None = None
        known, before = (resumed.budget, resumed.before) if resumed else (None, None)
        self._rollback: Rollback | None = rollback_of(model, settings, self.history, known, before)

    def begin(self) -> None:
        """Check what can be checked, and print the planned cuts. The network is not changed yet."""
        if self._resumed:
            fit_state.rewind_data(self._resumed.memory["sampler"])
        self._check()
        give_back(self.model.network)
        self._trace()
        self._say(announced(self.model, self.settings, self._events, self.epochs))
        if self.settings.log_dir is not None and paddle_model.is_first_rank():
            self._report = Dashboard(self.settings.log_dir)
            self._report.attach()
            self._report.hparams(self.settings.hparams(self.epochs, paddle_model.optimizer(self.model)))
            self._report.replay(self.history)
        beside = self._rollback.write if self._rollback is not None else None
        self._keeper = AtomicSaver(self.model, self.first, self._note, beside)

    def enter(self, epoch: int) -> None:
        """An epoch of this ``fit`` begins: cut, if more is due than was removed so far."""
        resumed, self._resumed = self._resumed, None
        if resumed:
            self._recall(resumed)
        self.epoch = self.first + epoch
        due = [ratio for when, ratio in self._events if when <= self.epoch]
        self._events = self._events[len(due) :]
        if due:
            self._event(due[-1])
        if self._gathers and self._events and self._events[0][0] == self.epoch + 1:
            self._gathering = Gathering(self._known())
        self._rewarming = warming_up(self.model.network, self.settings.rewarm, self.epoch, self.history)

    def batch(self, step: int, steps: int | None) -> None:
        """Batch ``step`` of ``steps`` (None: not known) begins: raise the learning rate, if it is rewarming."""
        if self._rewarming is not None:
            self._rewarming.at((step + 1) / steps if steps else 1.0)

    def leave(self) -> None:
        """An epoch ends: add a point to the curves, even if no evaluation follows."""
        self._stop_gathering()
        # Not after a batch: hapi goes on reading data in a thread, and tracing restores the random generators.
        self._trace()
        self._point({})

    def evaluated(self, metrics: Mapping[str, Any]) -> None:
        """An evaluation of the run ended: keep its metrics, which show how far the last cut has healed."""
        self.history.evaluated(self.epoch, metrics)
        self._point(metrics)
        if self._keeper is not None:
            self._keeper.write()

    def finish(self) -> None:
        """The run ends: judge the last cut if there is a budget, print the table, warn of cuts that did not happen."""
        if self._rollback is not None and self._rollback.before is not None:
            self._judge(self._metrics_of(self.epoch))
            self._point({})
        self._say(self.history.table())
        self.close()
        if self._events:
            late = ", ".join(str(epoch) for epoch, _ in self._events)
            text = f"the run ended in epoch {self.epoch}, before the cut at {late} (from 0)"
            warn(f"PruneCallback: {text}. Train longer, or cut earlier.")

    def complete(self, data: Any) -> None:
        """A resumed run has no epoch left: judge its last cut, if it was stopped before that.

        Args:
            data: evaluation data, in case the last epoch was not evaluated.
        """
        if self._rollback is not None and self._rollback.before is not None:
            self._judge(self._metrics_of(self.first - 1, data))
        self._say(f"The run is complete: its {self.first} epochs are done.\n{self.history.table()}")

    def close(self) -> None:
        """Release the model, and close the report."""
        self._stop_gathering()
        if self._rewarming:
            self._rewarming.close()
        report, self._report = self._report, None
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.release()
        if report is not None:
            report.close()

    def _recall(self, resumed: Resumed) -> None:
        """Restore what hapi remembered. A missing evaluation is made up for, as it draws random numbers too."""
        fit_state.recall(self.model, resumed.memory)
        data = paddle_model.eval_data(self.model)
        if resumed.evaluate and data is not None and not paddle_model.read_once(data):
            logs = paddle_model.evaluate(self.model, data, advance_random=True)
            self.history.evaluated(self.first - 1, logs)
            fit_state.tell_evaluated(logs)

    def _note(self) -> dict[str, Any]:
        return note_of(self.model, self.epoch, self.history, self._pruner, self._gathered(), self._rollback)

    def _gathered(self) -> Mapping[Axis, Array]:
        """What the criterion has gathered from gradients for the next cut."""
        own = self._pruner.gathered if self._pruner else {}
        return self._gathering.averages() if self._gathering else own

    def _check(self) -> None:
        """Raise now for what would fail later."""
        paddle_model.require_prunable(self.model, self.epochs)
        require_evaluations(self.model, self.settings)
        planned = self.settings.schedule.preview(self.epochs)
        events = [(epoch, check_ratio(ratio, f"schedule, epoch {epoch}")) for epoch, ratio in planned]
        self._events = [event for event in rising(events, "schedule") if event[0] >= self.first]
        if self._gathers and self._events and self._events[0][0] == self.first and not self._gathered():
            got = f"criterion {as_criterion(self.settings.options.criterion).name!r}, and a cut before any training"
            todo = f"let the first cut be at epoch {self.first + 1} or later"
            raise PruneError(f"schedule, epoch {self.first}", got, "an epoch to gather gradients in", todo)
        if self._events:
            check_optimizer(paddle_model.optimizer(self.model), self.model.network)

    def _trace(self) -> None:
        """Trace the network, if its input shape is known by now, and check the layers that the schedule names."""
        if self._pruner is not None:
            return
        inputs = self.settings.inputs
        shapes = inputs if inputs is not None else paddle_model.input_shapes(self.model)
        if shapes is not None:
            with paddle_model.precision(self.model):
                pruner = Pruner(self.model.network, shapes, self.settings.options)
            pruner.require_goals(self._events)
            self._pruner = pruner

    def _known(self) -> Pruner:
        """The pruner, now that it is needed."""
        self._trace()
        if self._pruner is None:
            when = self._events[0][0] if self._events else self.epoch
            raise PruneError(
                "PruneCallback",
                f"a cut due at epoch {when}, and no input shape to be had",
                "InputSpecs in paddle.Model(...), or inputs= in PruneCallback(...)",
                "write PruneCallback(..., inputs=[1, 3, 32, 32]), with the shape of your images",
            )
        return self._pruner

    @property
    def _gathers(self) -> bool:
        return wants_gradients(as_criterion(self.settings.options.criterion))

    def _stop_gathering(self) -> None:
        gathering, self._gathering = self._gathering, None
        if gathering is not None:
            gathering.close()

    def _event(self, ratio: Ratio) -> None:
        """One cut, with evaluations around it."""
        pruner, before = self._known(), self._metrics_of(self.epoch - 1)
        if self._rollback is not None:
            before = self._judge(before)
        aim = ratio if self._rollback is None else self._rollback.budget.aim(ratio)
        if aim is None:
            return

        healing = Healing(self.model, self.settings)

        def cut() -> PruneRecord:
            return pruner.cut(aim, paddle_model.optimizer(self.model), self.epoch, healing.on_cut)

        with interrupts.held(), paddle_model.precision(self.model):  # ctrl-C or not, the history knows of every cut
            record = cut() if self._rollback is None else self._rollback.cut(aim, before, pruner, cut)
            if record.plan:
                self._made(replace(record, metrics_before=before))
        if not record.plan and record.notes:
            warn(f"PruneCallback, epoch {self.epoch}: {'; '.join(record.notes)}")
        if not record.plan:
            return
        record = replace(self.history[-1], metrics_after=self._evaluate())
        if healing.heal():
            record = replace(record, metrics_healed=self._evaluate())
        self.history.records[-1] = record
        self._say(event_table(record))
        if self._report is not None:
            self._report.event(record, self.history, pruner.ranking.scores)

    def _made(self, record: PruneRecord) -> None:
        """A cut was made: update all that goes with the network."""
        paddle_model.wrap_again(self.model)
        self.history.add(record)
        self._rename_best(record.cost_before.params)
        fit_state.start_anew()

    def _judge(self, metrics: Metrics) -> Metrics:
        """The phase of the last cut ends with these metrics: the cut is kept, or rolled back completely.

        Returns:
            The metrics of the network as it is then.
        """
        rollback, pruner = self._rollback, self._known()
        why = rollback.judge(metrics) if rollback is not None else ""
        if rollback is None or not why:
            return metrics
        with interrupts.held():
            self._rename_best(self.history[-1].cost_after.params)
            rollback.take_back(pruner)  # including the best values of hapi's own callbacks
            paddle_model.wrap_again(self.model)
            self.history.take_back(why)
            self._rename_best(self.history[-1].cost_before.params, back=True)
        record = self.history[-1]
        self._say(f"The cut of epoch {epoch_text(record)} is taken back: {why}.")
        if self._report is not None:
            self._report.taken_back(record, self.epoch, self.history)
        return record.metrics_before

    def _rename_best(self, params: int, back: bool = False) -> None:
        """Rename the best network of the old size, so that the best of the new size does not overwrite it."""
        for path in fit_state.best_models():
            if self._keeper is not None and paddle_model.is_first_rank():
                names = (path, f"{path}_{params}_params")
                self._keeper.rename(*(reversed(names) if back else names))

    def _metrics_of(self, epoch: int, data: Any = None) -> Metrics:
        """The metrics at the end of ``epoch``, from the evaluation at its end, or else from one now."""
        last = self.history.evaluations[-1] if self.history.evaluations else None
        known = last and last[0] == epoch and self.settings.eval_data is None
        return last[1] if last and known else self._evaluate(data)

    def _evaluate(self, data: Any = None) -> Metrics:
        """The user's metrics as they are now; empty without data. ``data``: None for that of ``fit``."""
        own = self.settings.eval_data
        data = paddle_model.eval_data(self.model) if data is None else data
        data = data if own is None else own
        if data is None or data is False or paddle_model.read_once(data):
            return {}
        try:
            return scalar_metrics(paddle_model.evaluate(self.model, data))
        except Exception as error:
            if own is None:
                raise  # from the user's own network and data
            allowed = "batches of inputs and labels, as model.evaluate takes them"
            raise PruneError("PruneCallback(eval_data=...)", gist(error), allowed) from error

    def _point(self, metrics: Mapping[str, Any]) -> None:
        if self._report is not None and self._pruner is not None:
            ratio = self.history.now.ratio if self.history.now else 0.0
            self._report.evaluated(self.epoch, metrics, self._pruner.cost(), self._pruner.original, ratio)
            self._report.network(self._pruner.channel_map)

    def _say(self, text: str) -> None:
        if self.settings.verbose and paddle_model.is_first_rank():
            print(text, flush=True)  # noqa: T201  # what verbose=1 is for
