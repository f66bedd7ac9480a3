"""WHEN: the hooks of ``paddle.Model.fit``, and nothing about tensors."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import paddle

from . import hapi, hapi_state, interrupts
from .criteria import Criterion, as_criterion
from .errors import PruneError, PruneWarning, gist
from .history import History, event_table
from .keeping import Keeper
from .look import scalar_metrics
from .pruning import Options, Pruner, check_optimizer
from .ratios import Ratio, check_ratio, rising
from .report import Report
from .resume import Resumed, note_of
from .schedules import Schedule, as_schedule
from .writer import running_callbacks


class PruneCallback(paddle.callbacks.Callback):
    """Prune while ``paddle.Model.fit`` trains: filters go at the scheduled epochs, training heals what they did.

    At the *beginning* of an epoch at which more is due, the filters with the lowest scores are removed for good, with
    everything that depends on them, and the optimizer's state is carried along. The epoch's training then heals the
    network, so its evaluation and checkpoint show the healed one. A second ``fit`` starts anew: its ratios count from
    the network as it is then.

    Args:
        schedule: a Schedule, ``{epoch: ratio}``, ``{epoch: {layer: ratio}}``, or a function of the epoch. Epochs
            count from 0. A ratio is the share removed so far of the original filters, in [0, 1).
        criterion: ``"l1_norm"``, ``"l2_norm"``, ``"fpgm"``, a Criterion, or a callable weight -> scores.
        skip: names of layers to leave as they are: structured names, globs, or Paddle's parameter names.
        log_dir: where VisualDL's records go; None for none. It may be that of ``paddle.callbacks.VisualDL``.
        verbose: 1 prints a table for each cut and one at the end, 0 nothing.
        inputs: an example input (a shape such as ``[1, 3, 32, 32]``, an InputSpec, a Tensor, or a list / tuple /
            dict of these). Only needed where ``paddle.Model`` has no InputSpecs, and a sample of the data does not
            tell: then for a cut at epoch 0, and to hear of mistakes before the first epoch is over.
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
            raise PruneError("PruneCallback(verbose=...)", f"{verbose!r:.80}", "0 (silent), or 1 or 2 (tables)")
        if log_dir is not None and (not isinstance(log_dir, (str, os.PathLike)) or not os.fspath(log_dir)):
            raise PruneError("PruneCallback(log_dir=...)", f"{log_dir!r:.80}", "the path of a directory, or None")
        hapi.check_data(eval_data)
        self.log_dir, self.verbose, self.inputs, self.eval_data = log_dir, verbose, inputs, eval_data
        self.history = History()
        self._keeper: Keeper | None = None
        self._resumed: Resumed | None = None
        self._first = 0
        self._events: list[tuple[int, Ratio]] = []
        self._pruner: Pruner | None = None
        self._report: Report | None = None
        self._evaluated = False
        self._epoch = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start clean, check what can be checked, and say what will happen. Nothing is changed yet."""
        self._end()  # a run that was broken off has not called on_train_end
        resumed = self._resumed
        self.history, self._first = (resumed.history, resumed.epochs) if resumed else (History(), 0)
        self._epoch, epochs = self._first, int(self.params.get("epochs") or 0)
        epochs += self._first if epochs else 0
        if resumed:
            self._pruner = resumed.pruner
            hapi_state.rewind_data(resumed.memory["sampler"])
        self._check(epochs)
        self._look()
        self._announce(epochs)
        if self.log_dir is not None and hapi.is_first_rank():
            self._report = Report(self.log_dir)
            self._report.attach()
            self._report.hparams(self._hparams(epochs))
            self._report.replay(self.history)
        self._keeper = Keeper(self.model, self._first, self._note)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Cut, if more is due than before."""
        resumed, self._resumed = self._resumed, None
        if resumed:
            self._recall(resumed)
        self._epoch = epoch = self._first + epoch
        due = [ratio for when, ratio in self._events if when <= epoch]
        self._events = self._events[len(due) :]
        if due:
            with self._ending():
                self._look()
                self._event(epoch, due[-1])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """A point for the curves, also where no evaluation follows."""
        # Not after a batch: hapi reads on in a thread, and the generators are put back after looking.
        with self._ending():
            self._look()
        self._point({})

    def on_eval_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Wait for a first batch: without one, hapi's logs hold what training said."""
        self._evaluated = False

    def on_eval_batch_end(self, step: int, logs: dict[str, Any] | None = None) -> None:
        """There is something to evaluate on."""
        self._evaluated = True

    def on_eval_end(self, logs: dict[str, Any] | None = None) -> None:
        """An evaluation of the run: it shows how far the last cut has healed."""
        if self._evaluated and self.params.get("epochs"):  # an evaluate() outside of a run knows no epochs
            # All runs of a process share one dict of logs, so that of another model may have left its metrics in it.
            found = {name: value for name, value in (logs or {}).items() if name in self.params["metrics"]}
            self.history.evaluated(self._epoch, found)
            self._point(found)
            if self._keeper is not None:
                self._keeper.write()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """The table of the run, and what it did not get to."""
        self._say(self.history.table())
        self._end()
        if self._events:
            late = ", ".join(str(epoch) for epoch, _ in self._events)
            self._warn(f"PruneCallback: the run ended in epoch {self._epoch}, before the cut at {late} (from 0).")

    def _end(self) -> None:
        """Let go of the run, and close its report."""
        report, self._report, self._pruner = self._report, None, None
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.release()
        if report is not None:
            report.close()

    def go_on(self, model: paddle.Model, resumed: Resumed) -> None:
        """For `resume`: at the next ``fit``, go on with a run."""
        self.set_model(model)
        self._resumed = resumed

    def _recall(self, resumed: Resumed) -> None:
        """Be where the run stopped; an evaluation that it did not get to is made up for, as it draws numbers too."""
        hapi_state.recall(self.model, resumed.memory)
        data = hapi.eval_data(self.model)
        if resumed.evaluate and data is not None and not hapi.read_once(data):
            logs = hapi.evaluate(self.model, data, drawing=True)
            self.history.evaluated(self._first - 1, logs)
            hapi_state.evaluated(logs)

    def _note(self) -> dict[str, Any]:
        return note_of(self.model, self._epoch, self.history, self._pruner)

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Hapi calls no further hook once one has raised, not even on_train_end."""
        try:
            yield
        except BaseException:
            self._end()
            raise

    def _check(self, epochs: int) -> None:
        """Raise now for what would go wrong later."""
        hapi.check(self.model, epochs)
        if sum(isinstance(callback, PruneCallback) for callback in running_callbacks()) > 1:
            todo = "put all cuts into one schedule, as in {4: {'conv1': 0.3}, 8: 0.5}"
            raise PruneError("fit(callbacks=...)", "more than one PruneCallback", "one in a run", todo)
        events = [(epoch, check_ratio(r, f"schedule, epoch {epoch}")) for epoch, r in self.schedule.preview(epochs)]
        self._events = [event for event in rising(events, "schedule") if event[0] >= self._first]
        if self._events:
            check_optimizer(hapi.optimizer(self.model), self.model.network)

    def _look(self) -> None:
        """Trace the network once its input shape is known, and check what the schedule names."""
        if self._pruner is not None:
            return
        shapes = self.inputs if self.inputs is not None else hapi.input_shapes(self.model)
        if shapes is not None:
            with hapi.precision(self.model):
                pruner = Pruner(self.model.network, shapes, self.options)
            for epoch, ratio in self._events:
                try:
                    pruner.goal(ratio)
                except PruneError as error:  # noqa: PERF203  # one that names the epoch
                    where = f"schedule, epoch {epoch}, {error.where}"
                    raise PruneError(where, error.got, error.allowed, error.todo) from error
            self._pruner = pruner

    def _event(self, epoch: int, ratio: Ratio) -> None:
        """One cut, with evaluations around it."""
        if self._pruner is None:
            got = f"a cut due at epoch {epoch}, and no input shape to be had"
            allowed = "InputSpecs in paddle.Model(...), or inputs= in PruneCallback(...)"
            todo = "write PruneCallback(..., inputs=[1, 3, 32, 32]), with the shape of your images"
            raise PruneError("PruneCallback", got, allowed, todo)
        last = self.history.evaluations[-1] if self.history.evaluations else None
        before = last[1] if last and last[0] == epoch - 1 and self.eval_data is None else self._evaluate()
        with interrupts.held(), hapi.precision(self.model):  # ctrl-C or not, the history knows of every cut
            record = self._pruner.cut(ratio, hapi.optimizer(self.model), epoch)
            if record.plan:
                hapi.wrap_again(self.model)
                self.history.add(replace(record, metrics_before=before))
        if not record.plan:
            self._warn(f"PruneCallback, epoch {epoch}: {'; '.join(record.notes)}")
            return
        self.history.records[-1] = record = replace(self.history[-1], metrics_after=self._evaluate())
        self._say(event_table(record))
        if self._report is not None:
            self._report.event(record, self.history)

    def _evaluate(self) -> dict[str, float]:
        """The user's metrics as they are now; empty without data."""
        data = hapi.eval_data(self.model) if self.eval_data is None else self.eval_data
        if data is None or data is False or hapi.read_once(data):
            return {}
        try:
            return scalar_metrics(hapi.evaluate(self.model, data))
        except Exception as error:
            if self.eval_data is None:
                raise  # the user's network and data, without us in between
            allowed = "batches of inputs and labels, as model.evaluate takes them"
            raise PruneError("PruneCallback(eval_data=...)", gist(error), allowed) from error

    def _point(self, metrics: Mapping[str, Any]) -> None:
        if self._report is not None and self._pruner is not None:
            ratio = self.history[-1].ratio if self.history else 0.0
            self._report.evaluated(self._epoch, metrics, self._pruner.cost(), self._pruner.original, ratio)

    def _announce(self, epochs: int) -> None:
        """Say when what will be cut, and warn of what never will."""
        last = self.schedule.last_epoch
        if last is not None and last >= epochs:
            text = f"PruneCallback: the schedule goes on to epoch {last}, but the run ends with epoch {epochs - 1}"
            self._warn(f"{text} (counted from 0); what is due later will not be removed.")
        if self._events and self.eval_data is None and hapi.read_once(hapi.eval_data(self.model)):
            text = "the eval_data of fit can be read once only, so there is no evaluation before and after the cuts."
            self._warn(f"PruneCallback: {text} Give a list of batches or a DataLoader.")
        parts = [f"{epoch + 1}: {'by layer' if isinstance(r, dict) else f'{r:.1%}'}" for epoch, r in self._events]
        self._say(f"Filters removed by the beginning of epoch {', '.join(parts)}" if parts else "No cut is due.")

    def _warn(self, text: str) -> None:
        warnings.warn(text, PruneWarning, stacklevel=3)

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
