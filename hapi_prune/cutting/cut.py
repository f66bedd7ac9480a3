"""One cut, in the order in which it happens: plan, agree, apply, verify, follow, commit or undo.

A cut is made completely or not at all. What does not hold is undone bitwise, the groups to blame are found, and the
next plan is made without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from ..analysis.channel_map import ChannelMap
from ..analysis.cut_state import Findings, PlannedCut
from ..analysis.labels import Mismatch
from ..errors import PruneError
from ..plan import Array, Cut, PruningPlan, Reason, ReasonKind
from ..reporting.record import SIZES, VALUES
from ..selection.coupling import after_refusal
from ..selection.goals import Goal
from . import attributes, interrupts, ranks, surgery, verify_outputs
from .blame import blamed_groups, holding_together, meeting_groups
from .masked import Masked
from .undo_log import UndoLog
from .verify_float64 import verify_in_float64
from .verify_outputs import Refused
from .verify_sizes import require_it_trains, verify_sizes

Follow = Callable[[Cut, UndoLog], None]
"""Changes what goes with a cut (the optimizer), noting each write in the same undo log."""

Choose = Callable[[], "tuple[Goal, PruningPlan]"]
"""Makes the goal and the plan, from what is known by now."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Proven:
    """A cut that was verified.

    Attributes:
        planned: what was removed, the network after it, and the attributes that were set with it.
        verified: what it was verified by, see `PruneRecord.verified`.
    """

    planned: PlannedCut
    verified: str


ELSEWHERE = Reason(ReasonKind.OTHER_RANK, "does not hold on another rank")


def until_it_holds(
    channel_map: ChannelMap, choose: Choose, attempt: Callable[[PruningPlan], Result], skip: Sequence[str]
) -> tuple[Goal, PruningPlan, Result | None]:
    """Plan and try until a plan holds. What is found out about groups on the way is kept in the map's findings.

    Args:
        channel_map: the network.
        choose: makes the goal and the plan.
        attempt: `cut` or `rehearse`, which raise `Refused`.
        skip: names of layers that stay as they are.

    Returns:
        The goal, the plan that holds, and what the attempt returned; None if the plan was empty.

    Raises:
        PruneError: a refusal after which the next plan would be the same.
    """
    with channel_map.read_once():
        while True:
            wanted, plan = choose()
            try:
                return wanted, plan, attempt(plan) if plan else None
            except Refused as refused:
                before, now = channel_map.findings, findings_after(channel_map, plan, refused, skip)
                channel_map.state.findings = now
                if now == before:
                    got = f"its cut network {refused}, and trying again would be the same"
                    raise PruneError("network", got, todo="leave layers alone with skip=[...]") from refused


def findings_after(channel_map: ChannelMap, plan: PruningPlan, refused: Refused, skip: Sequence[str]) -> Findings:
    """The findings after a refusal, the same on every rank, although only some ranks may have refused."""
    own = {} if refused.reason == ELSEWHERE else blamed_groups(channel_map, plan, refused, rehearsed)
    blamed = {key: why for each in ranks.gathered(own) for key, why in each.items()}
    where = next(filter(None, ranks.gathered(refused.stopped_at)), "")
    together = holding_together(channel_map, plan, blamed, where, rehearsed)
    meeting = meeting_groups(channel_map, where) if blamed else ()
    return after_refusal(channel_map, plan, blamed, together, meeting, skip)


def cut(
    channel_map: ChannelMap,
    plan: PruningPlan,
    follow: Follow | None = None,
    on_cut: Callable[[Cut], object] | None = None,
) -> Proven:
    """Cut as planned and keep it, if the network then computes what the masked one computed.

    Args:
        channel_map: the network.
        plan: what to keep.
        follow: carries along what goes with the cut; its writes are undone with the cut's.
        on_cut: called with the cut once it is verified on all ranks; if it raises, the cut is undone.

    Returns:
        The cut, and what it was verified by.

    Raises:
        Refused: it computes something else; everything is as it was.
    """
    answered = False
    try:
        rehearse_exact_part(channel_map, plan)
        with applied(channel_map, plan) as (undo_log, proven):
            planned = proven.planned
            if follow:
                follow(planned.cut, undo_log)
            answered = True
            if not ranks.all_alike(planned.counts):
                raise Refused(ELSEWHERE)
            if on_cut:
                on_cut(planned.cut)
            channel_map.advance(planned.propagation, planned.grouping)
    except BaseException:
        if not answered:
            ranks.all_alike(None)
        raise
    return proven


def rehearse(channel_map: ChannelMap, plan: PruningPlan, compare: bool = True) -> Proven:
    """Cut as planned, and take it back.

    Args:
        channel_map: the network; it is left as it was.
        plan: what to keep.
        compare: whether values matter, or only whether it runs.

    Returns:
        What `cut` would return.

    Raises:
        Refused: `cut` would refuse it too.
    """
    if compare:
        rehearse_exact_part(channel_map, plan)
    with applied(channel_map, plan, compare) as (undo_log, proven):
        undo_log.undo()
    return proven


def rehearsed(channel_map: ChannelMap, plan: PruningPlan, compare: bool = True) -> Refused | None:
    """Why ``plan`` cannot be cut; None if it can."""
    try:
        rehearse(channel_map, plan, compare)
    except Refused as refused:
        return Refused(refused.reason, refused.owner)  # a new one, whose traceback keeps nothing of the trial alive
    return None


def rehearse_exact_part(channel_map: ChannelMap, plan: PruningPlan) -> None:
    """If only some groups of the plan can be verified by values, verify these by themselves first."""
    exact = exact_part(channel_map, plan)
    if exact and len(exact.kept) < len(plan.kept):
        rehearse(channel_map, exact)


@contextmanager
def applied(channel_map: ChannelMap, plan: PruningPlan, compare: bool = True) -> Iterator[tuple[UndoLog, Proven]]:
    """Cut as planned and verified for the length of a block; if the block raises, the cut is undone."""
    try:
        planned = channel_map.plan_cut(plan)
    except Mismatch as error:
        raise Refused(Reason(ReasonKind.OTHER_SIZES, f"would not fit: {error}")) from error
    exact = len(exact_part(channel_map, plan).kept) == len(plan.kept)
    undo_log = UndoLog()
    with interrupts.held():
        try:
            yield undo_log, verified_cut(channel_map, planned, undo_log, compare, exact)
        except BaseException:
            undo_log.undo()
            raise


def verified_cut(channel_map: ChannelMap, planned: PlannedCut, undo_log: UndoLog, compare: bool, exact: bool) -> Proven:
    """Make the cut and verify it, on a smaller example than the user's if there is one.

    The first cut that the smaller example refuses is verified on the user's own too. If that accepts it, all later cuts
    are verified on the user's own.

    Raises:
        Refused: it does not hold.
    """

    def made() -> Proven:
        masked = Masked(channel_map, planned.cut) if compare else None
        return proven_with_counts(channel_map, planned, undo_log, masked, exact)

    smaller, own = channel_map.tried_on, channel_map.example
    try:
        return made()
    except (Refused, PruneError) as first:
        useful = isinstance(first, Refused) and channel_map.tried_on is smaller
        if smaller is own or (useful and channel_map.agreed):
            raise
        undo_log.undo()
        channel_map.tried_on = own
        try:
            return made()
        except Refused:
            if useful:
                channel_map.tried_on, channel_map.agreed = smaller, True
            raise


def proven_with_counts(
    channel_map: ChannelMap, planned: PlannedCut, undo_log: UndoLog, masked: Masked | None, exact: bool
) -> Proven:
    """Make and verify the cut; if it is refused, once more with attributes set that hold numbers of channels.

    Raises:
        Refused: why it is refused without attributes set.
    """
    try:
        return proven(channel_map, planned, undo_log, masked, exact)
    except Refused as refused:
        undo_log.undo()
        for counts in attributes.candidates(channel_map, planned):
            with suppress(Refused):  # these attributes do not help
                return proven(channel_map, replace(planned, counts=counts), undo_log, masked, exact)
            undo_log.undo()
        raise attributes.with_attributes_named(channel_map, planned, refused) from refused


def proven(
    channel_map: ChannelMap, planned: PlannedCut, undo_log: UndoLog, masked: Masked | None, exact: bool
) -> Proven:
    """Make the cut, and verify it against ``masked`` or, if removing is not the same as zeroing, the planned sizes.

    Raises:
        Refused: it does not hold.
    """
    exact = exact and (masked is None or verify_outputs.comparable(masked.outputs))
    verified = VALUES if masked and exact else SIZES
    try:
        apply_and_compare(channel_map, planned, undo_log, masked.outputs if masked else {}, exact)
    except Refused as doubt:
        if doubt.reason.kind is not ReasonKind.OTHER_VALUES or masked is None:
            raise
        undo_log.undo()
        if masked.lightly:
            channel_map.scales_suffice = False  # one verification more in a run, and no more in a search
            masked.wholly()
            return proven(channel_map, planned, undo_log, masked, exact)
        verified = verify_in_float64(channel_map, planned, doubt, masked.outputs)
        apply_and_compare(channel_map, planned, undo_log, masked.outputs, exact=False)
    if masked and not exact:
        verify_sizes(channel_map, planned.propagation)
    return Proven(planned, verified)


def apply_and_compare(
    channel_map: ChannelMap,
    planned: PlannedCut,
    undo_log: UndoLog,
    masked: Mapping[bool, list[Array]],
    exact: bool,
) -> None:
    """Remove the slices for good, run the network in both modes, and compare what it returns with ``masked``."""
    held = channel_map.inventory()
    surgery.shrink(held, planned.cut, channel_map.traced.constraints.depthwise, undo_log)
    surgery.set_counts(held, planned.counts, undo_log)
    with surgery.widths_follow(held, undo_log):
        for training in masked or (False,):
            pruned = verify_outputs.attempt(held, channel_map.tried_on, training)
            if training in masked:
                casts = verify_outputs.casts(channel_map, training)
                most = verify_outputs.tolerance(held.tensors.values(), casts, training)
                verify_outputs.compare(pruned, masked[training], exact, most)
        untrained = channel_map.graph.reads.mode and True not in masked
        unlike = channel_map.tried_on is not channel_map.example and not channel_map.works_at_any_size
        if masked and (untrained or unlike):
            require_it_trains(channel_map, planned.propagation)


def exact_part(channel_map: ChannelMap, plan: PruningPlan) -> PruningPlan:
    """The part of a plan that can be verified by values: exact groups that share no family with an approximate one."""
    inexact = {key for key in plan.kept if channel_map.groups[key].approximate}
    inexact = inexact.union(*(members for members, _ in channel_map.findings.families if members & inexact))
    return PruningPlan({key: kept for key, kept in plan.kept.items() if key not in inexact})
