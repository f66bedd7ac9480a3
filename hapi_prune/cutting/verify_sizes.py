"""Where removing channels is not zeroing them, no values can be compared; then sizes are, operation by operation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ..analysis.channel_map import ChannelMap
from ..analysis.graph import traced_program
from ..analysis.held_counts import Count
from ..analysis.labels import Signal, Value
from ..analysis.op import Op
from ..analysis.propagation import Propagation
from ..errors import PruneError
from ..plan import Reason, ReasonKind
from . import verify_outputs
from .verify_numbers import Changes
from .verify_outputs import Refused


def verify_sizes(channel_map: ChannelMap, planned: Propagation, counts: Sequence[Count] = ()) -> None:
    """Trace the network as it is now, and hold it against the labels that its cut was planned by.

    A reshape into rows and columns says how many of each there are, and not which of them shrink: from 8 channels as
    4 x 2, half of them may be 2 x 2 or 4 x 1, and only the user's code knows. Where the sizes are those that were
    planned, the same operations move the channels just as the labels went.

    Args:
        channel_map: the network, cut, and as it was traced.
        planned: the labels at the sizes after the cut.
        counts: the attributes that were set with the cut; if there are any, numbers are looked at too.

    Raises:
        Refused: it lays its channels out in another way, or computes with other numbers.
    """
    for training in channel_map.graph.modes:
        verify_mode(channel_map, planned, training, counts)


def verify_mode(
    channel_map: ChannelMap,
    planned: Propagation,
    training: bool,
    counts: Sequence[Count] = (),
    as_it_is: bool = False,
) -> None:
    """As `verify_sizes`, in training or in evaluation mode; ``as_it_is``: see `program.traced`.

    Raises:
        Refused: it lays its channels out in another way, or computes with other numbers.
    """
    one = planned.training if training else planned.evaluation
    try:
        held, given, aliases = channel_map.inventory(), channel_map.example, channel_map.graph.aliases
        ops = traced_program(held, given, aliases, training, as_it_is).ops
    except PruneError as error:
        raise Refused(Reason(ReasonKind.OTHER_SIZES, f"would not be traced any more ({error.got})")) from error
    changes = Changes()
    for op, (before, args, results) in zip(ops, one.steps()):
        # A group convolution whose groups are left with one channel each is a depthwise one to Paddle.
        if op.name.removeprefix("depthwise_") != before.name.removeprefix("depthwise_"):
            raise refused("takes another way through the code", op)
        if not all(fits(shape, value, bool(counts)) for shape, value in zip(op.shapes, results)):
            raise refused("would be laid out in another way", op)
        if counts and not changes.are_sizes(op, before, args, results):
            raise refused("would compute with another number", op)
    if len(ops) != len(one.program.ops):
        raise refused("takes another way through the code", ops[-1])


def require_it_trains(channel_map: ChannelMap, planned: Propagation) -> None:
    """Let the network run in training mode with the user's example, where nothing was compared.

    Where values were compared on a smaller example, it need not compute anything: it is traced, and all sizes are held
    against the plan. What that has doubts about is run; and then a smaller example does not show all there is to see.

    Raises:
        Refused: the network does not run.
    """
    if channel_map.graph.untraced:  # it wants more inputs for that
        return
    if channel_map.tried_on is not channel_map.example:
        with suppress(Refused):
            verify_mode(channel_map, planned, training=True, as_it_is=True)
            return
        channel_map.tried_on = channel_map.example
    verify_outputs.attempt(channel_map.inventory(), channel_map.example, training=True)


def refused(text: str, op: Op) -> Refused:
    """A refusal that names an operation."""
    return Refused(Reason(ReasonKind.OTHER_SIZES, text, op.name, op.where))


def fits(shape: tuple[int, ...] | None, value: Value, everywhere: bool = False) -> bool:
    """Whether a result has the sizes that the labels say it has, along the axes where there are labels or along all.

    A result without any is none that the rules speak of, as the statistics that a BatchNorm returns.
    """
    if shape is None or not isinstance(value, Signal):
        return True
    axes = {axis for label in value.labels for axis in label.axes}
    axes = set(range(len(shape))) if everywhere and axes else axes
    return len(shape) == len(value.shape) and all(shape[axis] in (-1, value.shape[axis]) for axis in axes)
