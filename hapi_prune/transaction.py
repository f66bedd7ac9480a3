"""A cut is made completely or not at all: apply, try, commit, or undo and find out which group is to blame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import paddle

from . import distributed, interrupts, retrace, surgery, trial
from .errors import PruneError, gist
from .graph import tensors_of
from .inputs import Example
from .journal import Journal
from .labels import INDEX_BITS, Mismatch
from .plan import Array, Cut, Index, PruningPlan
from .rules import Value
from .rules.joining import flat
from .survey import Survey

Also = Callable[[Cut, Journal], None]
"""What else a cut changes (the optimizer), through the same journal."""


RANDOM = {"dropout", "rrelu", "gaussian", "uniform", "bernoulli", "randint", "randperm", "truncated_gaussian_random"}
"""Ops that draw as many numbers as they have elements, so that a smaller network draws others."""


class Network:
    """A network that can be cut, again and again.

    Attributes:
        layer: the user's network.
        given: its example input.
        survey: its graph and groups.
        families: groups whose sizes depend on each other by the rules alone.
        coupled: groups that are tried together with others, and why they cannot shrink without them.
    """

    def __init__(self, layer: paddle.nn.Layer, given: Example, survey: Survey) -> None:
        self.layer, self.given, self.survey = layer, given, survey
        self.families = survey.origin.families
        self.coupled: dict[str, str] = {}

    @property
    def tensors(self) -> dict[str, paddle.Tensor]:
        """Its parameters and buffers, by structured name: those that it has now, as a forward may replace buffers."""
        return tensors_of(self.layer)

    def cut(self, plan: PruningPlan, also: Also | None = None, on_cut: Callable[[Cut], object] | None = None) -> Cut:
        """Cut as planned and keep it, if the network then computes what the masked one computed.

        Args:
            plan: what to keep.
            also: what goes with it, and is undone with it.
            on_cut: who is told, once nothing but this call can undo the cut.

        Raises:
            trial.Refused: it does not; everything is as it was.
        """
        said = False
        try:
            refused = self._refused_exactly(plan)
            if refused is not None:
                raise refused
            with self._applied(plan) as (cut, journal, advance):
                if also:
                    also(cut, journal)
                said = True
                if not distributed.all_fine(True):
                    raise trial.Refused(trial.ELSEWHERE)
                if on_cut:
                    on_cut(cut)
                advance()
        except BaseException:
            if not said:
                distributed.all_fine(False)
            raise
        return cut

    def refusal(self, plan: PruningPlan, compare: bool = True) -> trial.Refused | None:
        """Why `plan` cannot be cut; None if it can. The network is left as it was."""
        refused = self._refused_exactly(plan) if compare else None
        if refused is not None:
            return refused
        try:
            with self._applied(plan, compare) as (_, journal, _advance):
                journal.undo()
        except trial.Refused as refused:
            return refused
        return None

    def _refused_exactly(self, plan: PruningPlan) -> trial.Refused | None:
        """Where only some groups must match the masked network to the letter, these are tried by themselves first."""
        exact = self._exact(plan)
        return self.refusal(exact) if exact and len(exact.kept) < len(plan.kept) else None

    @contextmanager
    def _applied(self, plan: PruningPlan, compare: bool = True) -> Iterator[tuple[Cut, Journal, Callable[[], None]]]:
        try:
            cut, there, grouping = self.survey.cut(plan)
        except Mismatch as error:
            raise trial.Refused(f"would not fit: {error}") from error
        exact = len(self._exact(plan).kept) == len(plan.kept)
        runs = (False, True) if compare else (False,)
        journal = Journal()
        masked: dict[bool, list[Array]] = {}
        with interrupts.held():
            try:
                if compare:
                    surgery.mask(self.tensors, cut, journal)
                    masked = {training: self._masked(training) for training in runs if self._two_sided or not training}
                surgery.shrink(self.layer, self.tensors, cut, self.survey.traced.record.depthwise, journal)
                with surgery.widths_follow(self.layer, journal):
                    pruned = {training: trial.attempt(self.layer, self.given, training) for training in runs}
                for training in masked:
                    most = trial.tolerance(self.layer, self._casts, training)
                    trial.compare(pruned[training], masked[training], exact, most)
                if compare and not exact:
                    retrace.check_sizes(self.layer, self.given, self.survey.graph, there)
                yield cut, journal, lambda: self.survey.advance(there, grouping)
            except BaseException:
                journal.undo()
                raise

    @property
    def _casts(self) -> set[str]:
        """The element types that the network casts to on its way, as in mixed precision."""
        ops = (*self.survey.graph.training.ops, *self.survey.graph.evaluation.ops)
        return {str(op.attrs.get("dtype")) for op in ops if op.name == "cast"}

    def _exact(self, plan: PruningPlan) -> PruningPlan:
        """The part of a plan that must compute what the masked network computes; families stay together."""
        groups = self.survey.grouping.groups
        loose = {key for key in plan.kept if groups[key].approximate}
        loose |= {key for members, _ in self.survey.origin.families if members & loose for key in members}
        return PruningPlan({key: kept for key, kept in plan.kept.items() if key not in loose})

    @property
    def _two_sided(self) -> bool:
        """Whether training computes something else than evaluation, and nothing that is drawn at random."""
        names = [
            [op.name for op in program.ops] for program in (self.survey.graph.training, self.survey.graph.evaluation)
        ]
        return names[0] != names[1] and not RANDOM & set(names[0])

    def _masked(self, training: bool) -> list[Array]:
        """The outputs of the masked network; where it does not run, the network did not before either.

        Raises:
            PruneError: it does not run on the example input.
        """
        try:
            return trial.outputs(self.layer, self.given, training)
        except Exception as error:  # the user's forward may raise anything
            shapes = ", ".join(str(list(leaf.shape)) for leaf in self.given.leaves)
            raise PruneError(
                "inputs",
                f"the network does not run on {shapes} ({gist(error)})",
                "an input that it runs on",
                "give the shape of your data",
            ) from error

    def blame(self, plan: PruningPlan, refused: trial.Refused) -> dict[str, str]:
        """The groups that `plan` cannot cut, and why, found by halving.

        Where the network stopped at a line of the user's code, the groups that reach that line are tried first. On
        many ranks, those that refused look for the groups, and all learn what was found.
        """
        found = {} if str(refused) == trial.ELSEWHERE else self._found(plan, refused)
        return {key: why for each in distributed.gathered(found) for key, why in each.items()}

    def _found(self, plan: PruningPlan, refused: trial.Refused) -> dict[str, str]:
        families = [members for members, _ in self.survey.origin.families]
        parts: dict[frozenset[str], list[str]] = {}
        for key in plan.kept:
            family = next((members for members in families if key in members), frozenset([key]))
            parts.setdefault(family, []).append(key)
        reach = self.reaching(refused.place)
        suspects = [part for part in parts.values() if any(key in reach for key in part)]
        others = [part for part in parts.values() if part not in suspects]
        if suspects and others and self._refused(plan, others, refused) is None:
            return self._halved(plan, suspects, refused)
        return self._halved(plan, list(parts.values()), refused)

    def reaching(self, place: str, around: bool = False) -> set[str]:
        """The groups whose channels reach an op at a line of the user's code, or one in the same layers as these."""
        graph, here = self.survey.graph, self.survey.flow
        ops = [(op, args) for n in here.operands for op, args in zip(getattr(graph, n).ops, here.operands[n])]
        scopes = {op.scope for op, _ in ops if op.where == place} if around else set()
        axes = set()
        for op, args in ops:
            if op.where == place or op.scope in scopes:
                axes |= {int(atom) >> INDEX_BITS for atom in atoms_of(args)}
        reached = {axis for axis, number in graph.numbers.items() if number in axes}
        return {key for key, group in self.survey.grouping.groups.items() if group.index.keys() & reached}

    def _refused(self, plan: PruningPlan, parts: Sequence[list[str]], refused: trial.Refused) -> trial.Refused | None:
        only = PruningPlan({key: plan.kept[key] for keys in parts for key in keys})
        return self.refusal(only, compare=not refused.place)

    def _halved(self, plan: PruningPlan, parts: Sequence[list[str]], refused: trial.Refused) -> dict[str, str]:
        if len(parts) == 1:
            return {key: str(refused) for key in parts[0]}
        found: dict[str, str] = {}
        for half in (parts[: len(parts) // 2], parts[len(parts) // 2 :]):
            again = self._refused(plan, half, refused)
            if again is not None:
                found.update(self._halved(plan, half, again))
        # Each half alone is fine: the groups are to blame together.
        return found or {key: str(refused) for keys in parts for key in keys}


def atoms_of(args: Sequence[Value]) -> Index:
    """One atom of each source that reaches an op."""
    labels = [label for signal in flat(args) for label in signal.labels]
    atoms = np.concatenate([np.zeros(0, np.int64), *(label.atoms.ravel() for label in labels)])
    return np.unique(atoms[atoms >= 0] >> INDEX_BITS) << INDEX_BITS
