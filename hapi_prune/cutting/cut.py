"""One cut, in the order in which it happens: plan, agree, apply, verify, follow, commit or undo.

A cut is made completely or not at all. What does not hold is undone bitwise, the groups to blame are found, and the
next plan is made without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..analysis.channel_map import ChannelMap, Findings, PlannedCut
from ..analysis.labels import Mismatch
from ..errors import PruneError, gist
from ..plan import Array, Cut, PruningPlan, Reason, ReasonKind
from ..selection.coupling import after_refusal
from ..selection.goals import Goal
from . import interrupts, ranks, surgery, verify_outputs
from .blame import blamed_groups, meeting_groups
from .undo_log import UndoLog
from .verify_outputs import Refused
from .verify_sizes import verify_sizes

Follow = Callable[[Cut, UndoLog], None]
"""What else changes with a cut (the optimizer), through the same undo log."""

Choose = Callable[[], "tuple[Goal, PruningPlan]"]
"""What is asked for now, and the plan that does it."""

ELSEWHERE = Reason(ReasonKind.OTHER_RANK, "does not hold on another rank")

RANDOM = {"dropout", "rrelu", "gaussian", "uniform", "bernoulli", "randint", "randperm", "truncated_gaussian_random"}
"""Ops that draw as many numbers as they have elements, so that a smaller network draws others."""


def until_it_holds(
    channel_map: ChannelMap, choose: Choose, attempt: Callable[[PruningPlan], object], skip: Sequence[str]
) -> tuple[Goal, PruningPlan]:
    """Plan and try, until what is planned holds. What was found out on the way is kept in the map's findings.

    Args:
        channel_map: the network.
        choose: makes a plan from what is known by now.
        attempt: `cut` or `rehearse`, which raise a `Refused`.
        skip: names of layers that stay as they are.

    Raises:
        PruneError: a refusal from which nothing could be learnt.
    """
    while True:
        wanted, plan = choose()
        try:
            if plan:
                attempt(plan)
            return wanted, plan
        except Refused as refused:
            before, channel_map.state.findings = channel_map.findings, learnt(channel_map, plan, refused, skip)
            if channel_map.findings == before:
                got = f"its cut network {refused}, and trying again would be the same"
                raise PruneError("network", got, todo="leave layers alone with skip=[...]") from refused


def learnt(channel_map: ChannelMap, plan: PruningPlan, refused: Refused, skip: Sequence[str]) -> Findings:
    """What is known after a refusal; the same on every rank, of which only some may have refused."""
    own = {} if refused.reason == ELSEWHERE else blamed_groups(channel_map, plan, refused, rehearsed)
    blamed = {key: why for each in ranks.gathered(own) for key, why in each.items()}
    where = next(filter(None, ranks.gathered(refused.stopped_at)), "")
    return after_refusal(channel_map, plan, blamed, meeting_groups(channel_map, where) if blamed else (), skip)


def cut(
    channel_map: ChannelMap,
    plan: PruningPlan,
    follow: Follow | None = None,
    on_cut: Callable[[Cut], object] | None = None,
) -> Cut:
    """Cut as planned and keep it, if the network then computes what the masked one computed.

    Args:
        channel_map: the network.
        plan: what to keep.
        follow: what goes with it, and is undone with it.
        on_cut: who is told, once nothing but this call can undo the cut.

    Raises:
        Refused: it does not; everything is as it was.
    """
    answered = False
    try:
        rehearse_exact_part(channel_map, plan)
        with applied(channel_map, plan) as (planned, undo_log):
            if follow:
                follow(planned.cut, undo_log)
            answered = True
            if not ranks.all_fine(True):
                raise Refused(ELSEWHERE)
            if on_cut:
                on_cut(planned.cut)
            channel_map.advance(planned.propagation, planned.grouping)
    except BaseException:
        if not answered:
            ranks.all_fine(False)
        raise
    return planned.cut


def rehearse(channel_map: ChannelMap, plan: PruningPlan, compare: bool = True) -> None:
    """Cut as planned, and take it back.

    Args:
        channel_map: the network; it is left as it was.
        plan: what to keep.
        compare: whether values matter, or only whether it runs.

    Raises:
        Refused: `cut` would refuse it too.
    """
    if compare:
        rehearse_exact_part(channel_map, plan)
    with applied(channel_map, plan, compare) as (_, undo_log):
        undo_log.undo()


def rehearsed(channel_map: ChannelMap, plan: PruningPlan, compare: bool = True) -> Refused | None:
    """Why ``plan`` cannot be cut; None if it can."""
    try:
        rehearse(channel_map, plan, compare)
    except Refused as refused:
        return refused
    return None


def rehearse_exact_part(channel_map: ChannelMap, plan: PruningPlan) -> None:
    """Where only some groups must match the masked network to the letter, these are tried by themselves first."""
    exact = exact_part(channel_map, plan)
    if exact and len(exact.kept) < len(plan.kept):
        rehearse(channel_map, exact)


@contextmanager
def applied(channel_map: ChannelMap, plan: PruningPlan, compare: bool = True) -> Iterator[tuple[PlannedCut, UndoLog]]:
    """The network as ``plan`` leaves it, proven. If the block raises, it is taken back."""
    network, tensors = channel_map.network, channel_map.tensors
    try:
        planned = channel_map.plan_cut(plan)
    except Mismatch as error:
        raise Refused(Reason(ReasonKind.OTHER_SIZES, f"would not fit: {error}")) from error
    exact = len(exact_part(channel_map, plan).kept) == len(plan.kept)
    undo_log = UndoLog()
    with interrupts.held():
        try:
            masked = outputs_of_masked(channel_map, planned.cut, undo_log) if compare else {}
            surgery.shrink(network, tensors, planned.cut, channel_map.traced.constraints.depthwise, undo_log)
            with surgery.widths_follow(network, undo_log):
                for training in (False, True) if compare else (False,):
                    pruned = verify_outputs.attempt(network, channel_map.example, training)
                    if training in masked:
                        most = verify_outputs.tolerance(network, casts(channel_map), training)
                        verify_outputs.compare(pruned, masked[training], exact, most)
            if compare and not exact:
                verify_sizes(channel_map, planned.propagation)
            yield planned, undo_log
        except BaseException:
            undo_log.undo()
            raise


def outputs_of_masked(channel_map: ChannelMap, cut: Cut, undo_log: UndoLog) -> dict[bool, list[Array]]:
    """What the network returns with all that goes set to zero, in evaluation mode and, where it can be told, training.

    Raises:
        PruneError: it does not run, so it did not before either.
    """
    surgery.mask(channel_map.tensors, cut, undo_log)
    modes = (False, True) if trains_otherwise(channel_map) else (False,)
    try:
        return {mode: verify_outputs.outputs(channel_map.network, channel_map.example, mode) for mode in modes}
    except Exception as error:  # the user's forward may raise anything
        shapes = ", ".join(str(list(leaf.shape)) for leaf in channel_map.example.leaves)
        raise PruneError(
            "inputs",
            f"the network does not run on {shapes} ({gist(error)})",
            "an input that it runs on",
            "give the shape of your data",
        ) from error


def trains_otherwise(channel_map: ChannelMap) -> bool:
    """Whether training computes something else than evaluation, and nothing that is drawn at random."""
    training, evaluation = ([op.name for op in one.program.ops] for one in channel_map.traced.passes)
    return training != evaluation and not RANDOM & set(training)


def casts(channel_map: ChannelMap) -> set[str]:
    """The element types that the network casts to on its way, as in mixed precision."""
    ops = [op for one in channel_map.traced.passes for op in one.program.ops]
    return {str(op.attrs.get("dtype")) for op in ops if op.name == "cast"}


def exact_part(channel_map: ChannelMap, plan: PruningPlan) -> PruningPlan:
    """The part of a plan that must compute what the masked network computes; families stay together."""
    inexact = {key for key in plan.kept if channel_map.groups[key].approximate}
    inexact = inexact.union(*(members for members, _ in channel_map.findings.families if members & inexact))
    return PruningPlan({key: kept for key, kept in plan.kept.items() if key not in inexact})
