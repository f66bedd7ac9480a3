"""What a cut is, in a dozen lines: look, choose, cut, prove. Usable without ``paddle.Model``."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle

from . import distributed, interrupts, optimizers, trial
from .cost import cost_at
from .coupling import settle
from .criteria import Criterion, as_criterion
from .errors import PruneError, PruneWarning
from .graph import tensors_of
from .history import PruneRecord
from .inputs import example
from .journal import Journal
from .names import layer_name, resolve
from .plan import Cost, Cut, PruningPlan
from .ratios import check_ratio
from .selection import Goal, goal, select
from .survey import Survey
from .transaction import Also, Network


@dataclass(frozen=True)
class Options:
    """How to choose, and what to leave alone; see `prune`."""

    criterion: str | Criterion | Callable[..., Any] = "l1_norm"
    skip: Sequence[str] = ()
    min_filters: int = 1
    round_to: int = 1
    optimizer_state: str = "carry"

    def __post_init__(self) -> None:
        as_criterion(self.criterion)
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


class Pruner:
    """A network and what is known of it, ready for any number of cuts; ratios count from the first."""

    def __init__(self, network: paddle.nn.Layer, inputs: Any, options: Options) -> None:
        given = example(network, inputs)
        self.options = options
        self.criterion = as_criterion(options.criterion)
        self.network = Network(network, given, Survey(network, inputs))
        self.original = self.cost()
        self._said: set[str] = set()
        for name in options.skip:
            resolve(self.survey, name, "skip")

    @property
    def survey(self) -> Survey:
        """The network's graph and groups."""
        return self.network.survey

    def cost(self) -> Cost:
        """What the network costs now."""
        return cost_at(self.survey.graph, self.survey.flow)

    def goal(self, ratio: float | Mapping[str, float]) -> Goal:
        """What ``ratio`` asks of each group.

        Raises:
            PruneError: nothing can be pruned at all.
        """
        wanted = goal(self.survey, ratio, self.options.skip)
        if not wanted.ratios:
            first = next((f"{self._layer(key)} {why}" for key, why in wanted.stays.items()), "it has no convolution")
            raise PruneError("network", f"nothing to prune: {first}", "a convolution that feeds another layer")
        return wanted

    def plan(self, wanted: Goal, optimizer: Any = None) -> PruningPlan:
        """The units that stay. Where there are master weights they are scored: what they were rounded to has ties."""
        options, tensors = self.options, dict(self.network.tensors)
        if optimizer is not None:
            tensors.update(optimizers.masters(optimizer, tensors))
        return select(self.survey, tensors, wanted, self.criterion, options.min_filters, options.round_to)

    def cut(
        self,
        ratio: float | Mapping[str, float],
        optimizer: Any = None,
        epoch: int | None = None,
        on_cut: Callable[[Cut], object] | None = None,
    ) -> PruneRecord:
        """Cut so that ``ratio`` of the original filters is gone; groups that cannot be cut are left, and said."""
        start = time.perf_counter()
        self.survey.follow(self.network.tensors)
        before = self.cost()
        also = self._also(optimizer)
        while True:
            with interrupts.let_through():
                wanted = self.goal(ratio)
                plan = self.plan(wanted, optimizer)
            plan = distributed.agree(plan)
            try:
                if plan:
                    self.network.cut(plan, also, on_cut)
                break
            except trial.Refused as refused:
                settle(self.network, plan, refused, self.options.skip)
        self._compare(optimizer)
        widths = self.widths()
        asked = {axis for voices in wanted.voices.values() for axis in voices}
        sizes = [widths[layer_name(axis[0])] for axis in asked if layer_name(axis[0]) in widths]
        return PruneRecord(
            epoch=epoch,
            ratio_asked=dict(ratio) if isinstance(ratio, Mapping) else float(ratio),
            ratio=1 - sum(now for _, now in sizes) / max(sum(was for was, _ in sizes), 1),
            plan=plan,
            cost_original=self.original,
            cost_before=before,
            cost_after=self.cost(),
            widths=widths,
            seconds=time.perf_counter() - start,
            notes=self._notes(wanted, plan, ratio),
        )

    def _also(self, optimizer: Any) -> Also:
        """What goes with a cut, and is undone with it: the optimizer."""
        expected = optimizers.covered(optimizer, self.network.tensors) if optimizer is not None else None

        def also(cut: Cut, journal: Journal) -> None:
            if optimizer is not None:
                optimizers.carry(optimizer, cut, self.network.tensors, journal, self.options.optimizer_state)
                optimizers.verify(optimizer, self.network.tensors, expected)

        return also

    def _compare(self, optimizer: Any) -> None:
        """On many ranks: all of them hold the same parameters and the same state for them."""
        if distributed.ranks() > 1:
            trained = {name: t for name, t in self.network.tensors.items() if not t.stop_gradient}
            distributed.compare(trained, "parameter")
            if optimizer is not None:
                distributed.compare(optimizers.states(optimizer), "optimizer state")

    def widths(self) -> dict[str, tuple[int, int]]:
        """``(original filters, filters now)`` of each convolution, and of each Linear that shrank."""
        record, graph = self.survey.traced.record, self.survey.graph
        found: dict[str, tuple[int, int]] = {}
        for axis in sorted(record.filters & graph.sizes.keys(), key=graph.numbers.__getitem__):
            pair = (record.sizes[axis], graph.sizes[axis])
            if axis in record.convolutions or pair[0] != pair[1]:
                found[layer_name(axis[0])] = pair
        return found

    def _notes(self, wanted: Goal, plan: PruningPlan, ratio: float | Mapping[str, float]) -> tuple[str, ...]:
        """What has to be said about this cut; each thing once in a run."""
        asked_something = bool(max(ratio.values())) if isinstance(ratio, Mapping) else bool(ratio)
        notes = [f"{self._layer(key)} stays: {why}" for key, why in wanted.stays.items()]
        if asked_something and not plan:
            notes.append(f"nothing was removed at ratio {ratio}: it is done already, or rounds to nothing")
        # A gradual schedule that begins with too little to round to a filter says so once, not at each ratio.
        said = {note.partition(" at ratio ")[0]: note for note in reversed(notes)}
        fresh = [note for text, note in reversed(said.items()) if text not in self._said]
        self._said.update(said)
        return tuple(fresh)

    def _layer(self, key: str) -> str:
        """The layer that a group is known by: its first convolution, if it has one."""
        axes = self.survey.origin.groups[key].index
        first = next((axis[0] for axis in axes if axis in self.survey.traced.record.convolutions), key)
        return repr(layer_name(first.partition("[")[0].partition("#")[0]))


def check_optimizer(optimizer: Any, network: paddle.nn.Layer) -> None:
    """Raise now if the optimizer could not be carried along later. It may hold only a part of the network."""
    tensors = tensors_of(network)
    held = optimizers.covered(optimizer, tensors)
    optimizers.verify(optimizer, tensors, held)
    if not held:
        todo = "make the optimizer with parameters=model.parameters(), and call model.prepare again"
        got = "it holds no parameter of the network"
        raise PruneError(f"optimizer {type(optimizer).__name__}", got, "one over this network's parameters", todo)


def prune(
    network: paddle.nn.Layer,
    inputs: Any,
    ratio: float | Mapping[str, float],
    criterion: str | Criterion | Callable[..., Any] = "l1_norm",
    *,
    optimizer: Any = None,
    optimizer_state: str = "carry",
    skip: Sequence[str] = (),
    min_filters: int = 1,
    round_to: int = 1,
) -> PruneRecord:
    """Remove filters from ``network`` in place, with everything that depends on them.

    Args:
        network: any ``paddle.nn.Layer``. Parameters keep their identity and name.
        inputs: an example input: a shape such as ``[1, 3, 32, 32]``, an InputSpec, a Tensor, or a list / tuple /
            dict of these.
        ratio: the share of filters to remove, in [0, 1): one for all convolutions, or ``{layer: share}``.
        criterion: ``"l1_norm"``, ``"l2_norm"``, ``"fpgm"``, a Criterion, or any callable weight -> scores.
        optimizer: carried along, if given: its state is gathered by the same indices.
        optimizer_state: ``"carry"``, or ``"reset"`` to start the state anew.
        skip: names of layers to leave as they are.
        min_filters: no layer gets smaller than this.
        round_to: keep a multiple of this many filters.

    Returns:
        What was done, with the cost before and after.

    Raises:
        PruneError: bad arguments, or a network with nothing to prune; nothing has been changed.

    Example:
        >>> import paddle, hapi_prune
        >>> network = paddle.vision.models.LeNet()
        >>> record = hapi_prune.prune(network, [1, 1, 28, 28], 0.5)
        >>> record.widths
        {'features.0': (6, 3), 'features.3': (16, 8)}
    """
    ratio = check_ratio(ratio, "prune(ratio=...)")
    options = Options(criterion, skip, min_filters, round_to, optimizer_state)
    record = Pruner(network, inputs, options).cut(ratio, optimizer)
    for note in record.notes:
        if "nothing was removed" in note:
            warnings.warn(note, PruneWarning, stacklevel=2)
    return record
