"""The library's `Pruner`, asked by Paddle's names of variables, and able to take back what it has done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import paddle

from ..analysis.cost import cost_at
from ..analysis.cut_state import PlannedCut
from ..analysis.labels import Mismatch
from ..analysis.layer_names import resolve
from ..cutting import interrupts, optimizers, ranks, surgery
from ..cutting.cut import Follow, rehearse, until_it_holds
from ..cutting.pruning import Pruner
from ..cutting.undo_log import UndoLog
from ..errors import PruneError
from ..plan import Axis, Cut, PruningPlan
from ..reporting.record import PruneRecord
from ..selection.goals import Goal, stays
from ..selection.options import Options
from ..selection.select import GroupScores


class Done(NamedTuple):
    """A cut that was made, and how to take it back."""

    record: PruneRecord
    cut: Cut
    undo_log: UndoLog


class Engine(Pruner):
    """A network and what is known of it, by PaddleSlim's rules of who decides.

    In a group (layers that can only shrink together) the variable that is named first decides: its ratio holds, and its
    filters are scored. The library itself would refuse two ratios, and score all that were named.
    """

    def __init__(self, network: paddle.nn.Layer, inputs: Any, options: Options) -> None:
        super().__init__(network, inputs, options)
        self._decided: PruningPlan | None = None
        self._followed = (Cut({}, {}), UndoLog())
        self._done: list[UndoLog] = []
        self._axes: dict[str, frozenset[Axis]] = {}

    def axes(self, variable: str) -> frozenset[Axis]:
        """The filter axes of a convolution's weight; none for what belongs to another layer or holds no filters.

        Raises:
            PruneError: the network has no such variable.
        """
        if variable not in self._axes:
            self._axes[variable] = self._looked_up(variable)
        return self._axes[variable]

    def _looked_up(self, variable: str) -> frozenset[Axis]:
        graph, constraints = self.channel_map.graph, self.channel_map.traced.constraints
        tensor = graph.aliases.get(variable, variable)
        if tensor in constraints.depthwise:  # its filters are the channels of the layer before
            return frozenset([(tensor, 0)])
        if tensor in graph.shapes:
            return frozenset(axis for axis in constraints.filters if axis[0] == tensor) & constraints.convolutions
        return frozenset(resolve(self.channel_map, variable, "ratios")) & constraints.convolutions

    def goal(self, ratio: float | Mapping[str, float]) -> Goal:
        """What ``{variable: ratio}`` asks of each group. Where nothing can be pruned, nothing is asked."""
        assert isinstance(ratio, Mapping)
        order = {variable: place for place, variable in enumerate(ratio)}
        owner: dict[Axis, str] = {}
        for variable in ratio:
            for axis in self.axes(variable):
                owner.setdefault(axis, variable)
        wanted, filters = Goal(), self.channel_map.traced.constraints.filters
        for key, group in self.channel_map.groups.items():
            first = min((owner[axis] for axis in group.index if axis in owner), key=order.__getitem__, default=None)
            if first is None:
                continue
            why = stays(self.channel_map, group, set())
            if why:
                wanted.stays[key] = why
                continue
            own = self.axes(first) & filters
            wanted.ratios[key] = ratio[first]
            wanted.scored[key] = [axis for axis in group.index if axis in own]
        return wanted

    def plan(self, wanted: Goal, optimizer: Any = None) -> PruningPlan:
        """The units that stay: those that were decided on before, if there are such."""
        return super().plan(wanted, optimizer) if self._decided is None else self._decided

    def _follow(self, optimizer: Any) -> Follow | None:
        follow = super()._follow(optimizer)

        def kept(cut: Cut, undo_log: UndoLog) -> None:
            self._followed = (cut, undo_log)
            if follow:
                follow(cut, undo_log)

        return kept

    def _notes(
        self, wanted: Goal, plan: PruningPlan, ratio: float | Mapping[str, float], reached: float = 0.0
    ) -> tuple[str, ...]:
        share = ratio if wanted.ratios else 0.0  # why all of it stays is reason enough
        return super()._notes(wanted, plan, share, reached)

    def decide(self, ratios: Mapping[str, float], optimizer: Any = None) -> tuple[PruningPlan, tuple[str, ...]]:
        """The plan that can be cut, and what has to be said of it. Nothing is changed."""
        self.channel_map.catch_up()

        def choose() -> tuple[Goal, PruningPlan]:
            wanted = self.goal(ratios)
            plan = self.plan(wanted, optimizer)
            return wanted, ranks.agree(plan)

        wanted, plan, _ = until_it_holds(
            self.channel_map, choose, lambda plan: rehearse(self.channel_map, plan), self.options.skip
        )
        return plan, self._notes(wanted, plan, dict(ratios))

    def perform(self, ratios: Mapping[str, float], decided: PruningPlan | None, optimizer: Any) -> Done:
        """Cut, by what was decided before if there is that."""
        before = self.channel_map.state.propagation, self.channel_map.state.grouping
        self._decided, self._followed = decided, (Cut({}, {}), UndoLog())
        try:
            record = self.cut(dict(ratios), optimizer)
        finally:
            self._decided = None
        cut, undo_log = self._followed
        undo_log.remember(lambda: self.channel_map.advance(*before))
        self._done.append(undo_log)
        return Done(record, cut, undo_log)

    def mask(self, cut: Cut) -> UndoLog:
        """Set to zero what ``cut`` would remove."""
        undo_log = UndoLog()
        with interrupts.held():
            surgery.mask(self.channel_map.tensors, cut, undo_log)
            self._done.append(undo_log)
        return undo_log

    def take_back(self, undo_log: UndoLog, optimizer: Any = None) -> bool:
        """Undo a cut or a mask and all that came after it, bitwise; the optimizer's state too.

        Returns:
            Whether the optimizer's state had to start anew, as it fitted no more.
        """
        if not any(one is undo_log for one in self._done):
            return False
        with interrupts.held():
            last = None
            while last is not undo_log:
                last = self._done.pop()
                last.undo()
            self.channel_map.network.clear_gradients(set_to_zero=False)  # they are those of the smaller network
        return optimizer is not None and self._reset_what_does_not_fit(optimizer)

    def _reset_what_does_not_fit(self, optimizer: Any) -> bool:
        """State that came up after the cut has the sizes of the smaller network, and there is none to put back."""
        tensors = self.channel_map.tensors
        try:
            optimizers.verify(optimizer, tensors, optimizers.covered(optimizer, tensors))
        except PruneError:
            optimizers.carry(optimizer, Cut({}, {}), tensors, UndoLog(), "reset")
            return True
        return False

    def scores(self, wanted: Goal) -> GroupScores:
        """How much each unit of each group matters, by the weights of now."""
        return GroupScores(self.channel_map, self.channel_map.tensors, wanted, self.criterion)

    def leader(self, wanted: Goal, keys: Iterable[str], variables: Iterable[str]) -> str:
        """The variable that is named first of those whose filters some groups are scored by."""
        scored = {axis for key in keys for axis in wanted.scored[key]}
        return next(variable for variable in variables if self.axes(variable) & scored)

    def planned(self, ratios: Mapping[str, float]) -> PlannedCut | None:
        """What these ratios remove, by arithmetic, and by trying where that is in doubt; None for nothing."""
        plan = self.plan(self.goal(ratios))
        try:
            return self.channel_map.plan_cut(plan) if plan else None
        except Mismatch:
            plan, _ = self.decide(ratios)
            return self.channel_map.plan_cut(plan) if plan else None

    def share_removed(self, ratios: Mapping[str, float]) -> float:
        """The share of the FLOPs that the pruner found, which would be gone with these ratios."""
        return self.share_gone(self.planned(ratios))

    def share_gone(self, planned: PlannedCut | None) -> float:
        """The share of the FLOPs that the pruner found, which is gone with a cut."""
        now = self.cost() if planned is None else cost_at(self.channel_map.graph, planned.propagation)
        return 1 - now.flops / max(self.original.flops, 1)
