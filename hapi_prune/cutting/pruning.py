"""`prune`, and the `Pruner` behind it: analyse, select, cut, verify. Usable without ``paddle.Model``."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import paddle

from ..analysis import latency
from ..analysis.channel_map import ChannelMap
from ..analysis.cost import cost_now
from ..analysis.graph import tensors_of
from ..analysis.layer_names import layer_name, resolve
from ..analysis.times import Times
from ..criteria.filters import L1Norm
from ..criteria.named import AnyCriterion, as_criterion
from ..errors import NothingToPruneError, PruneError, PruneWarning
from ..plan import Array, Axis, Cost, Cut, PruningPlan
from ..reporting.record import NOUNS, VALUES, PruneRecord
from ..selection.goals import Goal, goal
from ..selection.kept_groups import layers_by_reason, layers_of, why_nothing
from ..selection.options import Aim, Options
from ..selection.ranking import Ranking
from ..selection.ratios import Ratio, check_ratio
from ..selection.scopes import Scope
from ..selection.scores import gathered_now
from ..selection.select import GroupScores, select
from ..selection.targets import TOLERANCE, require_reachable
from . import interrupts, optimizers, ranks
from .cut import Follow, Proven, cut, until_it_holds
from .undo_log import UndoLog

NOTHING = "nothing"
"""The note that a cut removed nothing is kept under this key, whatever ratio was asked for, so that it is said once."""


class Pruner:
    """A network with its channel map, for any number of cuts; all ratios are of the network before the first.

    Args:
        network: any ``paddle.nn.Layer``.
        inputs: an example input, as for `prune`.
        options: how to choose.
        times: how long its ops take, if a resumed run knows it; None to measure it if the target is latency.

    Attributes:
        channel_map: the network's graph and groups.
        original: the cost of the network before the first cut.
        times: how long its ops take; None if latency is not the target.
        gathered: what the criterion gathered from gradients since the last cut; if empty, the gradients that the
            parameters hold are used.
        ranking: how units were ranked at the last cut.
    """

    def __init__(
        self, network: paddle.nn.Layer, inputs: Any, options: Options, times: Mapping[str, int] | None = None
    ) -> None:
        self.options, self.criterion = options, as_criterion(options.criterion)
        self.channel_map = ChannelMap(network, inputs)
        self.original = self.cost()
        self._said: set[str] = set()
        self.gathered: dict[Axis, Array] = {}
        self.ranking = Ranking()
        for name in options.skip:
            resolve(self.channel_map, name, "skip")
        self.times: Times | None = None
        if options.target == "latency":
            known = ranks.made_by_first(lambda: latency.measured(self.channel_map, times).asked)
            self.times = latency.measured(self.channel_map, known)

    @property
    def aim(self) -> Aim | None:
        """As `Options.aim`, with the measured times."""
        aim = self.options.aim
        return replace(aim, times=self.times) if aim else None

    def cost(self) -> Cost:
        """What the network costs now."""
        return cost_now(self.channel_map)

    def goal(self, ratio: float | Mapping[str, float]) -> Goal:
        """What ``ratio`` asks of each group.

        Raises:
            PruneError: nothing can be pruned at all, or not as much as that.
        """
        aim = self.aim
        if aim and isinstance(ratio, Mapping):
            got = f"a ratio by layer, with target={aim.target!r} and scope={aim.scope.name!r}"
            raise PruneError("ratio", got, "one number, or target='filters' and scope='uniform'")
        wanted = goal(self.channel_map, ratio, self.options.skip, self.options.linears)
        if not wanted.ratios:
            got, todo = why_nothing(self.channel_map, wanted), "explain(network, inputs) tells of each layer"
            raise NothingToPruneError("network", f"nothing to prune: {got}", "a convolution that feeds another", todo)
        if aim and not (self.channel_map.findings.refused or self.channel_map.findings.coupled):
            require_reachable(self.channel_map, wanted, aim)
        return wanted

    def require_goals(self, events: Sequence[tuple[int, Ratio]]) -> None:
        """Raise a PruneError that names the epoch, if one of a schedule's ``events`` asks for what cannot be done."""
        for epoch, ratio in events:
            try:
                self.goal(ratio)
            except PruneError as error:  # noqa: PERF203  # one that names the epoch
                where = f"schedule, epoch {epoch}, {error.where}"
                raise PruneError(where, error.got, error.allowed, error.todo) from error

    def plan(self, wanted: Goal, optimizer: Any = None) -> PruningPlan:
        """The units that stay. Master weights are scored, if there are any: the weights rounded from them have ties."""
        options, tensors = self.options, dict(self.channel_map.tensors)
        gathered = self.gathered or gathered_now(self.criterion, tensors, wanted)
        if optimizer is not None:
            tensors.update(optimizers.masters(optimizer, tensors))
        self._scores = GroupScores(self.channel_map, tensors, wanted, self.criterion, gathered)
        self._usual = GroupScores(self.channel_map, tensors, wanted, L1Norm()) if self.criterion != L1Norm() else None
        return select(self.channel_map, self._scores, wanted, options.limits, self.aim)

    def cut(
        self,
        ratio: float | Mapping[str, float],
        optimizer: Any = None,
        epoch: int | None = None,
        on_cut: Callable[[Cut], object] | None = None,
    ) -> PruneRecord:
        """Cut until ``ratio`` of the original filters is gone. Groups that cannot be cut stay; the notes say why."""
        start = time.perf_counter()
        self.channel_map.catch_up()
        before, follow = self.cost(), self._follow(optimizer)
        times, predicted = self.times, self.predicted({})

        def choose() -> tuple[Goal, PruningPlan]:
            with interrupts.let_through():
                wanted = self.goal(ratio)
                plan = self.plan(wanted, optimizer)
            plan = ranks.agree(plan)
            self.ranking.begin(plan, self._scores, self._usual)
            return wanted, plan

        def attempt(plan: PruningPlan) -> Proven:
            return cut(self.channel_map, plan, follow, on_cut)

        wanted, plan, proven = until_it_holds(self.channel_map, choose, attempt, self.options.skip)
        self._compare_ranks(optimizer)
        self.gathered = {}
        widths = self.widths()
        counted = {axis for scored in wanted.scored.values() for axis in scored}
        if self.options.aim:
            counted &= self.channel_map.traced.constraints.convolutions
        asked = {layer_name(name) for name, _ in counted}
        sizes = [widths[layer] for layer in asked if layer in widths]
        record = PruneRecord(
            epoch=epoch,
            ratio_asked=dict(ratio) if isinstance(ratio, Mapping) else float(ratio),
            ratio=1 - sum(now for _, now in sizes) / max(sum(was for was, _ in sizes), 1),
            plan=plan,
            cost_original=self.original,
            cost_before=before,
            cost_after=self.cost(),
            widths=widths,
            seconds=time.perf_counter() - start,
            verified=proven.verified if proven else VALUES,
            target=self.options.target,
            rank_correlation=self.ranking.finish(plan),
            latency=None if times is None else latency.now(self.channel_map, times, predicted),
            stays={layer: str(why) for key, why in wanted.stays.items() for layer in layers_of(self.channel_map, key)},
        )
        counts = map(str, proven.planned.counts if proven else ())
        return replace(record, notes=(*counts, *self._notes(wanted, plan, ratio, record.reached)))

    def predicted(self, counts: Mapping[str, int]) -> float | None:
        """Milliseconds of a forward pass if each group keeps so many units; None if latency is not the target."""
        return None if self.times is None else latency.predicted(self.channel_map, self.times, counts)

    def _follow(self, optimizer: Any) -> Follow | None:
        """Carries the optimizer along with a cut; its writes are undone with the cut's."""
        if optimizer is None:
            return None
        expected = optimizers.covered(optimizer, self.channel_map.tensors)

        def follow(cut: Cut, undo_log: UndoLog) -> None:
            tensors = self.channel_map.tensors
            optimizers.carry(optimizer, cut, tensors, undo_log, self.options.optimizer_state)
            optimizers.verify(optimizer, tensors, expected)

        return follow

    def _compare_ranks(self, optimizer: Any) -> None:
        """On many ranks: raise unless all hold the same parameters and the same optimizer state."""
        if ranks.ranks() > 1:
            trained = {name: t for name, t in self.channel_map.tensors.items() if not t.stop_gradient}
            ranks.compare(trained, "parameter")
            if optimizer is not None:
                ranks.compare(optimizers.states(optimizer), "optimizer state")

    def widths(self) -> dict[str, tuple[int, int]]:
        """``(original filters, filters now)`` of each convolution, and of each Linear that shrank."""
        constraints, numbers = self.channel_map.traced.constraints, self.channel_map.graph.numbers
        now = self.channel_map.sizes
        found: dict[str, tuple[int, int]] = {}
        for axis in sorted(constraints.filters & now.keys(), key=numbers.__getitem__):
            pair = (constraints.sizes[axis], now[axis])
            if axis in constraints.convolutions or pair[0] != pair[1]:
                found[layer_name(axis[0])] = pair
        return found

    def _notes(
        self, wanted: Goal, plan: PruningPlan, ratio: float | Mapping[str, float], reached: float
    ) -> tuple[str, ...]:
        """The notes of this cut, without those that an earlier cut of the run has had."""
        told: dict[str, str] = {}
        if why := self.channel_map.graph.untraced:
            told[why] = f"training mode does not run with these inputs ({why}): the cut was compared in evaluation mode"
        if self.options.aim and abs(reached - wanted.overall) > TOLERANCE:
            asked = f"{wanted.overall:.1%} of the {NOUNS[self.options.target]} were asked for"
            told[asked] = f"{asked}, and {reached:.1%} is the nearest there is"
        for text, names in layers_by_reason(self.channel_map, wanted).items():
            note = f"{', '.join(map(repr, names))} {'stays' if len(names) == 1 else 'stay'}: {text}"
            told[note] = note
        if not plan and highest(ratio):
            # A gradual schedule that begins with too little to round to a filter says so once, not at each ratio.
            told[NOTHING] = f"nothing was removed at ratio {ratio}: it is done already, or rounds to nothing"
        fresh = tuple(note for what, note in told.items() if what not in self._said)
        self._said.update(told)
        return fresh


def highest(ratio: float | Mapping[str, float]) -> float:
    """The largest share asked of any layer."""
    return max(ratio.values()) if isinstance(ratio, Mapping) else ratio


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
    criterion: str | AnyCriterion | Callable[..., Any] = "l1_norm",
    *,
    target: str = "filters",
    scope: str | Scope | Callable[..., Any] = "uniform",
    max_ratio: float | None = None,
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
        ratio: the share to remove, in [0, 1): of the filters of each convolution, or of what ``target`` says; or
            ``{layer: share}`` of filters.
        criterion: ``"l1_norm"``, ``"l2_norm"``, ``"fpgm"``, a Criterion, any callable weight -> scores, or one that
            sees the whole group, as for `PruneCallback`; ``"taylor"`` takes the gradients that the parameters hold.
        target, scope, max_ratio: what the ratio is a share of, and how it is shared out among the layers; see
            `PruneCallback`.
        optimizer: a Paddle optimizer over the network's parameters, carried along if given: its state is gathered by
            the same indices.
        optimizer_state: ``"carry"``, or ``"reset"`` to start the state anew.
        skip: names of layers to leave as they are.
        min_filters: no layer gets smaller than this; at least 1.
        round_to: keep a multiple of this many filters; at least 1.

    Returns:
        What was done, with the cost before and after.

    Raises:
        PruneError: bad arguments, a network with nothing to prune, or a goal out of reach; nothing has been changed.

    Example:
        >>> import paddle
        >>> from hapi_prune import prune
        >>> network = paddle.vision.models.LeNet()
        >>> record = prune(network, [1, 1, 28, 28], 0.5)
        >>> record.widths
        {'features.0': (6, 3), 'features.3': (16, 8)}
    """
    ratio = check_ratio(ratio, "prune(ratio=...)")
    options = Options(criterion, skip, min_filters, round_to, optimizer_state, target, scope, max_ratio)
    record = Pruner(network, inputs, options).cut(ratio, optimizer)
    if not record.plan and highest(ratio):
        warnings.warn(record.notes[-1], PruneWarning, stacklevel=2)
    return record
