"""WHEN: the hooks of ``paddle.Model.fit``, and nothing about tensors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import paddle

from .criteria.named import AnyCriterion
from .errors import PruneError
from .internals.hapi_frames import running_callbacks
from .internals.progress import bars
from .plan import Cut
from .reporting.history import History
from .schedules import Schedule, as_schedule
from .selection.options import Options
from .selection.ratios import Ratio
from .selection.scopes import Scope
from .training.paddle_model import input_shapes
from .training.settings import Settings

if TYPE_CHECKING:
    from .diagnostics.preview import Preview
    from .training.resume import Resumed
    from .training.session import Session


class PruneCallback(paddle.callbacks.Callback):
    """Prune while ``paddle.Model.fit`` trains: filters go at the scheduled epochs, training heals what they did.

    At the *beginning* of an epoch at which more is due, the filters with the lowest scores are removed for good, with
    everything that depends on them, and the optimizer's state is carried along. The epoch's training then heals the
    network, so its evaluation and checkpoint show the healed one. A second ``fit`` starts anew: its ratios count from
    the network as it is then.

    Args:
        schedule: a Schedule, ``{epoch: ratio}``, ``{epoch: {layer: ratio}}``, or a function of the epoch. Epochs
            count from 0. A ratio is the share removed so far of the original filters, or of what ``target`` says, in
            [0, 1).
        criterion: ``"l1_norm"``, ``"l2_norm"``, ``"fpgm"``; of the whole group: ``"group_l2_norm"``, ``"bn_scale"``,
            ``"taylor"`` (from the gradients of the epoch before a cut), ``"random"``; a Criterion or GroupCriterion,
            or a callable weight -> scores.
        target: what a ratio is a share of: ``"filters"`` of each layer, or ``"flops"``, ``"params"`` or ``"latency"``
            of the network, where Linears shrink too. Each cut lands within half a point of its goal, or as near as
            whole filters allow. A ratio by layer goes with ``"filters"`` alone. Latency is that of ``inputs`` on this
            machine, with its threads, in evaluation mode: the network's ops are timed once, each at some widths, and
            the table is kept in the folder that the environment variable ``HAPI_PRUNE_CACHE`` names, or in the user's
            cache. Only widths that are cheaper by it are chosen; ``record.latency`` has what was predicted, and what
            the whole network took.
        scope: how the goal is shared out: ``"uniform"``, the same share of every layer; ``"global"``, one ranking over
            all layers, by importance; ``Global(cost_power=1.0)`` for what a filter costs; a Scope, or a function as
            in `Scope`.
        max_ratio: the largest share that a layer may lose, in (0, 1]. None: 0.8, and no limit where each layer loses
            the ratio itself (``target="filters"``, ``scope="uniform"``).
        skip: names of layers to leave as they are: structured names, globs, or Paddle's parameter names.
        log_dir: where VisualDL's records go; None for none. It may be that of ``paddle.callbacks.VisualDL``.
        verbose: 1 prints a table for each cut and one at the end, and shows a progress bar in a terminal; 0 nothing.
        inputs: an example input (a shape such as ``[1, 3, 32, 32]``, an InputSpec, a Tensor, or a list / tuple /
            dict of these). Only needed where ``paddle.Model`` has no InputSpecs, and a sample of the data does not
            tell: then for a cut at epoch 0, and to hear of mistakes before the first epoch is over.
        eval_data: what to evaluate before and after each cut; None for the ``eval_data`` of ``fit``, False for no
            such evaluations. A Dataset is read in batches of 64.
        min_filters: no layer gets smaller than this; at least 1.
        round_to: keep a multiple of this many filters; at least 1.
        optimizer_state: ``"carry"`` gathers the optimizer's state by the same indices as its parameters; ``"reset"``
            starts it anew.
        recalibrate: after each cut, estimate the statistics of BatchNorm anew on so many batches of the training data:
            they are those of the larger network, and most of what a cut costs at once. 0 for none.
        compensate: after each cut, let the next layers make up for what the removed channels added on average: it goes
            into their bias, or into the running mean of BatchNorm. It is measured on 10 batches of the training data,
            and exact for channels that are constant. In a network with BatchNorm everywhere ``recalibrate`` does more.
        rewarm: for so many epochs after a cut the learning rate rises in a line from zero to where it would be, batch
            by batch. The optimizer and its scheduler are not touched. 0 for none.
        max_drop: an accuracy budget, in (0, 1): a cut after which the metric, at the next event of the schedule or the
            end of training, is further than this below that of the network before the first cut, is taken back
            exactly, and half of its step is tried instead. What is left is the smallest network that was found within
            the budget. EarlyStopping and ReduceLROnPlateau go on from what they knew before such a cut. It does
            not go with ``on_cut``, which is not told that a cut is taken back. None: no budget.
        monitor: the metric that `max_drop` is about; one with "loss" in its name is better where it is lower. None:
            ``acc_top1``, else ``acc``, else the first that is no loss.
        on_cut: called with the `Cut` once network and optimizer are cut, for what mirrors the parameters: the weights
            of an EMA, say, become ``cut.apply_to(weights)``. If it raises, network and optimizer are as before.

    Attributes:
        history: the records of the run, see `History`.
        settings: what it was given, checked.

    Raises:
        PruneError: bad arguments, at once; an unknown layer or a network that cannot be traced, as soon as the input
            shape is known, before anything has been changed.

    Example:
        >>> import paddle
        >>> from hapi_prune import PruneCallback
        >>> network = paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3), paddle.nn.ReLU(), paddle.nn.Conv2D(8, 4, 3),
        ...                                paddle.nn.Flatten(), paddle.nn.Linear(16, 2))
        >>> model = paddle.Model(network)
        >>> model.prepare(paddle.optimizer.Adam(parameters=model.parameters()), paddle.nn.CrossEntropyLoss())
        >>> batches = [(paddle.randn([4, 3, 6, 6]), paddle.zeros([4, 1], "int64"))] * 2
        >>> callback = PruneCallback({1: 0.5}, verbose=0)
        >>> model.fit(batches, epochs=2, verbose=0, callbacks=[callback])
        >>> callback.history[0].widths
        {'0': (8, 4), '2': (4, 2)}
    """

    def __init__(
        self,
        schedule: Schedule | Mapping[int, Ratio] | Callable[[int], Ratio | None],
        criterion: str | AnyCriterion | Callable[..., Any] = "l1_norm",
        *,
        target: str = "filters",
        scope: str | Scope | Callable[..., Any] = "uniform",
        max_ratio: float | None = None,
        skip: Sequence[str] = (),
        log_dir: str | os.PathLike[str] | None = None,
        verbose: int = 1,
        inputs: Any = None,
        eval_data: Any = None,
        min_filters: int = 1,
        round_to: int = 1,
        optimizer_state: str = "carry",
        recalibrate: int = 0,
        compensate: bool = False,
        rewarm: int = 0,
        max_drop: float | None = None,
        monitor: str | None = None,
        on_cut: Callable[[Cut], object] | None = None,
    ) -> None:
        super().__init__()
        options = Options(criterion, skip, min_filters, round_to, optimizer_state, target, scope, max_ratio)
        self.settings = Settings(
            as_schedule(schedule),
            options,
            log_dir,
            verbose,
            inputs,
            eval_data,
            on_cut,
            recalibrate,
            max_drop,
            monitor,
            rewarm,
            compensate,
        )
        self.history = History()
        self._session: Session | None = None
        self._resumed: Resumed | None = None
        self._evaluated = False

    def preview(
        self, network: paddle.nn.Layer | paddle.Model, inputs: Any = None, epochs: int | None = None
    ) -> Preview:
        """What the cuts will leave, before anything is trained. Tried once on the network, which is left as it was.

        Args:
            network: the network that will be trained, or the ``paddle.Model`` around it.
            inputs: an example input, as for `prune`; None for ``inputs`` of the callback, or the InputSpecs of a Model.
            epochs: how long the run will be; None for as long as it takes to get to the last cut.

        Returns:
            For each cut the cost and the narrowest layer, and the layers that stay, with the reason.

        Raises:
            PruneError: a goal that is out of reach, with the nearest that is not; a network that cannot be pruned.
        """
        inputs = self.settings.inputs if inputs is None else inputs
        if isinstance(network, paddle.Model):
            inputs, network = input_shapes(network) if inputs is None else inputs, network.network
        last = self.settings.schedule.last_epoch
        if inputs is None or (epochs is None and last is None):
            missing = "inputs" if inputs is None else "epochs"
            todo = "write preview(network, [1, 3, 32, 32], epochs=10), with the shape of your images"
            raise PruneError(f"preview({missing}=...)", "None", "an example input, and how long the run will be", todo)
        epochs = last + 1 if epochs is None and last is not None else epochs
        from .diagnostics.preview import preview  # a look that training does without

        return preview(network, inputs, self.settings.schedule, self.settings.options, epochs or 0)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start clean, check what can be checked, and say what will happen. Nothing is changed yet."""
        self._end()  # a run that was broken off has not called on_train_end
        if sum(isinstance(callback, PruneCallback) for callback in running_callbacks()) > 1:
            todo = "put all cuts into one schedule, as in {4: {'conv1': 0.3}, 8: 0.5}"
            raise PruneError("fit(callbacks=...)", "more than one PruneCallback", "one in a run", todo)
        from .training.session import Session  # with everything that cuts: loaded by a run, not by an import

        session = Session(self.model, self.settings, int(self.params.get("epochs") or 0), self._resumed)
        self._session, self.history = session, session.history
        with self._ending():
            session.begin()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Cut, if more is due at this epoch than was removed before."""
        self._resumed = None
        if self._session is not None:
            with self._ending():
                self._session.enter(epoch)

    def on_train_batch_begin(self, step: int, logs: dict[str, Any] | None = None) -> None:
        """Let the learning rate rise again after a cut."""
        if self._session is not None:
            self._session.batch(step, self.params.get("steps"))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the cost of now to the curves, also where no evaluation follows."""
        if self._session is not None:
            with self._ending():
                self._session.leave()

    def on_eval_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget the evaluation before: it counts once there is a batch, as hapi's logs hold what training said."""
        self._evaluated = False

    def on_eval_batch_end(self, step: int, logs: dict[str, Any] | None = None) -> None:
        """Note that there was a batch, so that what the evaluation says will be its own."""
        self._evaluated = True

    def on_eval_end(self, logs: dict[str, Any] | None = None) -> None:
        """Keep an evaluation of the run: one that knows epochs, as an evaluate() outside of a run does not."""
        if self._session is not None and self._evaluated and self.params.get("epochs"):
            # All runs of a process share one dict of logs, so that of another model may have left its metrics in it.
            self._session.evaluated({k: value for k, value in (logs or {}).items() if k in self.params["metrics"]})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Judge the last cut by the budget, print the table of the run, and warn of cuts that it did not get to."""
        if self._session is not None:
            with self._ending():
                self._session.finish()
            self._session = None

    def go_on(self, model: paddle.Model, resumed: Resumed) -> None:
        """For `resume`: go on with a run at the next ``fit``.

        Args:
            model: what is trained.
            resumed: the run.
        """
        self.set_model(model)
        self._resumed = resumed

    def complete(self, resumed: Resumed, eval_data: Any = None) -> None:
        """For `resume`: no epoch is left of the run; the network is the finished one, once its last cut is judged.

        Args:
            resumed: the run.
            eval_data: what to judge it by, where the run has not been evaluated at its end.
        """
        from .training.session import Session

        self._resumed, self.history = None, resumed.history
        Session(self.model, self.settings, 0, resumed).complete(eval_data)

    def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """As `verbose` says; and hapi calls no further hook once one has raised, not even on_train_end."""
        try:
            with bars(self.settings.verbose > 0):
                yield
        except BaseException:
            self._end()
            raise
