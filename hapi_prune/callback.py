"""WHEN: the hooks of ``paddle.Model.fit``, and nothing about tensors."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import paddle

from . import hapi
from .criteria import Criterion, as_criterion
from .errors import PruneError, PruneWarning
from .history import History, PruneRecord, event_table
from .look import scalar_metrics
from .pruning import Options, Pruner
from .ratios import Ratio
from .report import Report
from .schedules import Schedule, as_schedule


class PruneCallback(paddle.callbacks.Callback):
    """Prune while ``paddle.Model.fit`` trains: filters go at the scheduled epochs, training heals what they did.

    At the *beginning* of an epoch at which more is due, the filters with the lowest scores are removed for good, with
    everything that depends on them, and the optimizer's state is carried along. The epoch's training then heals the
    network, so its evaluation and checkpoint show the healed one.

    Args:
        schedule: a Schedule, ``{epoch: ratio}``, ``{epoch: {layer: ratio}}``, or a function of the epoch. Epochs
            count from 0. A ratio is the share removed so far of the original filters, in [0, 1).
        criterion: ``"l1_norm"``, ``"l2_norm"``, ``"fpgm"``, a Criterion, or a callable weight -> scores.
        skip: names of layers to leave as they are: structured names, globs, or Paddle's parameter names.
        log_dir: where VisualDL's records go; None for none. It may be that of ``paddle.callbacks.VisualDL``.
        verbose: 1 prints a table for each cut and one at the end, 0 nothing.
        inputs: an example input (a shape such as ``[1, 3, 32, 32]``, an InputSpec, a Tensor, or a list / tuple /
            dict of these); not needed where ``paddle.Model`` has InputSpecs, or after the first batch.
        eval_data: what to evaluate before and after each cut; None for the ``eval_data`` of ``fit``, False for no
            such evaluations. A Dataset is read in batches of 64.
        min_filters: no layer gets smaller than this.
        round_to: keep a multiple of this many filters.
        optimizer_state: ``"carry"`` gathers the optimizer's state by the same indices as its parameters; ``"reset"``
            starts it anew.

    Attributes:
        history: the records of the run, see `History`.

    Raises:
        PruneError: bad arguments, at once; an unknown layer or a network that cannot be traced, as soon as the input
            shape is known, before anything has been changed.

    Example:
        >>> import paddle, hapi_prune
        >>> network = paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3), paddle.nn.ReLU(), paddle.nn.Conv2D(8, 4, 3),
        ...                                paddle.nn.Flatten(), paddle.nn.Linear(16, 2))
        >>> model = paddle.Model(network)
        >>> model.prepare(paddle.optimizer.Adam(parameters=model.parameters()), paddle.nn.CrossEntropyLoss())
        >>> batches = [(paddle.randn([4, 3, 6, 6]), paddle.zeros([4, 1], "int64"))] * 2
        >>> callback = hapi_prune.PruneCallback({1: 0.5}, verbose=0)
        >>> model.fit(batches, epochs=2, verbose=0, callbacks=[callback])
        >>> callback.history[0].widths
        {'0': (8, 4), '2': (4, 2)}
    """

    def __init__(
        self,
        schedule: Schedule | Mapping[int, Ratio] | Callable[[int], Ratio | None],
        criterion: str | Criterion | Callable[..., Any] = "l1_norm",
        *,
        skip: Sequence[str] = (),
        log_dir: str | os.PathLike[str] | None = None,
        verbose: int = 1,
        inputs: Any = None,
        eval_data: Any = None,
        min_filters: int = 1,
        round_to: int = 1,
        optimizer_state: str = "carry",
    ) -> None:
        super().__init__()
        self.schedule = as_schedule(schedule)
        self.options = Options(criterion, skip, min_filters, round_to, optimizer_state)
        if verbose not in (0, 1, 2):
            raise PruneError("PruneCallback(verbose=...)", f"{verbose!r}", "0 (silent) or 1 (tables)")
        self.log_dir, self.verbose, self.inputs, self.eval_data = log_dir, verbose, inputs, eval_data
        self.history = History()
        self._pruner: Pruner | None = None
        self._report: Report | None = None
        self._due: Ratio | None = None
        self._running = self._evaluating = False
        self._epoch = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start clean, look at the network if its input shape is known, and say what will happen."""
        hapi.check(self.model)
        self.history, self._due, self._epoch = History(), None, 0
        self._pruner = None
        self._running = True
        epochs = self.params.get("epochs") or 0
        self._announce(epochs)
        self._look()
        if self.log_dir is not None and hapi.is_first_rank():
            self._report = Report(self.log_dir)
            self._report.attach()
            self._report.hparams(self._hparams(epochs))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Cut, if more is due than before."""
        self._epoch = epoch
        due = self.schedule(epoch)
        if due is None or due == self._due:
            return
        self._due = due
        self._look()
        if self._pruner is None:
            raise PruneError(
                "PruneCallback",
                f"a cut due at epoch {epoch}, and no input shape to be had",
                "InputSpecs in paddle.Model(...), or inputs= in PruneCallback(...)",
                "write PruneCallback(..., inputs=[1, 3, 32, 32]), with the shape of your images",
            )
        self._event(self._pruner, epoch, due)

    def on_train_batch_end(self, step: int, logs: dict[str, Any] | None = None) -> None:
        """The first batch tells the input shape: look at the network now rather than when the first cut is due."""
        if self._pruner is None:
            self._look()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """A point for the curves, also where no evaluation follows."""
        self._point(epoch, {})

    def on_eval_end(self, logs: dict[str, Any] | None = None) -> None:
        """An evaluation of the run: it shows how far the last cut has healed."""
        if self._running and not self._evaluating:
            self.history.evaluated(self._epoch, logs or {})
            self._point(self._epoch, logs or {})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """The table of the run."""
        self._running = False
        self._say(self.history.table())
        if self._report is not None:
            self._report.close()
        self._pruner = self._report = None

    def _look(self) -> None:
        """Trace the network once its input shape is known, and check what the schedule names."""
        shapes = self.inputs if self.inputs is not None else hapi.input_shapes(self.model)
        if self._pruner is None and shapes is not None:
            pruner = Pruner(self.model.network, shapes, self.options)
            for _, ratio in self.schedule.preview(self.params.get("epochs") or 0):
                pruner.goal(ratio)
            self._pruner = pruner

    def _event(self, pruner: Pruner, epoch: int, ratio: Ratio) -> None:
        """One cut, with evaluations around it."""
        last = self.history.evaluations[-1] if self.history.evaluations else None
        before = last[1] if last and last[0] == epoch - 1 and self.eval_data is None else self._evaluate()
        record = pruner.cut(ratio, hapi.optimizer(self.model), epoch)
        if record.plan:
            record = replace(record, metrics_before=before, metrics_after=self._evaluate())
        self._warn(record)
        if not record.plan:
            return
        self.history.add(record)
        self._say(event_table(record))
        if self._report is not None:
            self._report.event(record, self.history)

    def _evaluate(self) -> dict[str, float]:
        """The user's metrics as they are now; empty without data."""
        data = hapi.eval_data(self.model) if self.eval_data is None else self.eval_data
        if data is None or data is False:
            return {}
        self._evaluating = True
        try:
            return scalar_metrics(hapi.evaluate(self.model, data))
        finally:
            self._evaluating = False

    def _point(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        if self._report is not None and self._pruner is not None:
            ratio = self.history[-1].ratio if self.history else 0.0
            self._report.evaluated(epoch, metrics, self._pruner.cost(), self._pruner.original, ratio)

    def _announce(self, epochs: int) -> None:
        """Say when what will be cut, and warn of what never will."""
        last = self.schedule.last_epoch
        if last is not None and last >= epochs:
            text = f"PruneCallback: the schedule goes on to epoch {last}, but the run ends with epoch {epochs - 1}"
            warnings.warn(f"{text}; what is due later will not be removed.", PruneWarning, stacklevel=2)
        events = self.schedule.preview(epochs)
        parts = [f"{epoch + 1}: {'by layer' if isinstance(r, dict) else f'{r:.1%}'}" for epoch, r in events]
        self._say(f"Filters removed by the beginning of epoch {', '.join(parts)}" if parts else "No cut is due.")

    def _warn(self, record: PruneRecord) -> None:
        for note in record.notes:
            if "nothing was removed" in note:
                warnings.warn(f"PruneCallback, epoch {record.epoch}: {note}", PruneWarning, stacklevel=2)

    def _say(self, text: str) -> None:
        if self.verbose and hapi.is_first_rank():
            print(text, flush=True)  # noqa: T201  # what verbose=1 is for

    def _hparams(self, epochs: int) -> dict[str, Any]:
        return {
            "criterion": as_criterion(self.options.criterion).name,
            "schedule": repr(self.schedule),
            "epochs": epochs,
            "optimizer": type(hapi.optimizer(self.model)).__name__,
            "optimizer_state": self.options.optimizer_state,
        }
