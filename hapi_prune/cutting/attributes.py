"""Setting attributes that hold numbers of channels, if the cut network has other sizes than planned without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..analysis.channel_map import ChannelMap
from ..analysis.cut_state import PlannedCut
from ..analysis.held_counts import Count, proposals, unhelpful_attributes
from ..analysis.propagation import Propagation
from ..plan import Reason
from . import surgery, verify_outputs
from .undo_log import UndoLog
from .verify_outputs import Refused
from .verify_sizes import verify_sizes


def candidates(channel_map: ChannelMap, planned: PlannedCut) -> Iterator[tuple[Count, ...]]:
    """Attributes that give the cut network the planned sizes, the most certain first. The network is left as it was."""
    now = channel_map.state.propagation
    for proposal in proposals(channel_map.network, now, planned.propagation):
        undo_log = UndoLog()
        try:
            depthwise = channel_map.traced.constraints.depthwise
            surgery.shrink(channel_map.inventory(), planned.cut, depthwise, undo_log)
            counts = needed(channel_map, planned.propagation, proposal, undo_log)
        finally:
            undo_log.undo()
        if counts:
            yield counts


def set_needed(channel_map: ChannelMap, after: Propagation, undo_log: UndoLog) -> None:
    """Set the attributes of a network that got its new sizes from a checkpoint and not from a cut.

    Args:
        channel_map: the network as it was before.
        after: its labels at the sizes that it has now.
        undo_log: notes every change.
    """
    guesses = proposals(channel_map.network, channel_map.state.propagation, after)
    if guesses and not is_laid_out(channel_map, after, ()):
        next((counts for guess in guesses if (counts := needed(channel_map, after, guess, undo_log))), None)


def needed(
    channel_map: ChannelMap, after: Propagation, counts: Sequence[Count], undo_log: UndoLog
) -> tuple[Count, ...]:
    """Set those of ``counts`` without which the cut network has other sizes than the labels say.

    Attributes of the same name in layers of the same class are decided together. Attributes that the cut itself has
    set, such as the sizes of a convolution, are left alone.

    Returns:
        Those that were set; none if the sizes are wrong even with all of them.
    """
    held = channel_map.inventory()
    counts = [count for count in counts if getattr(held.layers[count.layer], count.attribute) is count.before]
    with surgery.widths_follow(held, undo_log):
        surgery.set_counts(held, counts, undo_log)
        if not is_laid_out(channel_map, after, counts):
            surgery.set_counts(held, counts, undo_log, back=True)
            return ()
        for kind in sorted({kind_of(channel_map, count) for count in counts}):
            alike = [count for count in counts if kind_of(channel_map, count) == kind]
            others = [count for count in counts if count not in alike]
            surgery.set_counts(held, alike, undo_log, back=True)
            if is_laid_out(channel_map, after, others):
                counts = others
            else:
                surgery.set_counts(held, alike, undo_log)
    return tuple(counts)


def kind_of(channel_map: ChannelMap, count: Count) -> tuple[str, str]:
    """The class of a count's layer, and the attribute."""
    return channel_map.graph.kinds[count.layer], count.attribute


def is_laid_out(channel_map: ChannelMap, after: Propagation, counts: Sequence[Count]) -> bool:
    """Whether the network runs, all operations have the sizes that the labels say, and ``counts`` change only sizes."""
    try:
        verify_outputs.attempt(channel_map.inventory(), channel_map.example, training=False)  # fails fast
        verify_sizes(channel_map, after, counts)
    except Refused:
        return False
    return True


def with_attributes_named(channel_map: ChannelMap, planned: PlannedCut, refused: Refused) -> Refused:
    """A refusal that also names the attributes that the failing line may depend on."""
    reason = refused.reason
    open_to = unhelpful_attributes(
        channel_map.network, channel_map.state.propagation, planned.propagation, reason.where
    )
    if not reason.where or not open_to:
        return refused
    text = f"{reason.text}; {', '.join(open_to)}"
    return Refused(Reason(reason.kind, text, reason.op, reason.where), refused.owner)
