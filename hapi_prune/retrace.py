"""Where removing channels is not zeroing them, no values can be compared; then sizes are, operation by operation."""

from __future__ import annotations

import paddle

from .errors import PruneError
from .flow import PROGRAMS, Flow
from .graph import Graph, program
from .inputs import Example
from .labels import Signal
from .rules import Value
from .state import rng
from .trial import Refused


def check_sizes(network: paddle.nn.Layer, given: Example, graph: Graph, there: Flow) -> None:
    """Trace the network as it is now, and hold it against the journey that its cut was planned by.

    A reshape into rows and columns says how many of each there are, and not which of them shrink: from 8 channels as
    4 x 2, half of them may be 2 x 2 or 4 x 1, and only the user's code knows. With the sizes of the journey, the same
    operations move the channels just as the labels went.

    Args:
        network: the cut network.
        given: its example input.
        graph: the network as it was traced.
        there: the journey at the sizes after the cut.

    Raises:
        Refused: it lays its channels out in another way.
    """
    for name in PROGRAMS:
        try:
            with rng():
                ops = program(network, given, graph.aliases, name == "training").ops
        except PruneError as error:
            raise Refused(f"would not be traced any more ({error.got})") from error
        was = getattr(graph, name).ops
        for op, before, results in zip(ops, was, there.results[name]):
            # A group convolution whose groups are left with one channel each is a depthwise one to Paddle.
            if op.name.removeprefix("depthwise_") != before.name.removeprefix("depthwise_"):
                raise Refused(f"takes another way through the code, {op}")
            if not all(fits(shape, value) for shape, value in zip(op.shapes, results)):
                raise Refused(f"would be laid out in another way, {op}")
        if len(ops) != len(was):
            raise Refused(f"takes another way through the code, {ops[-1]}")


def fits(shape: tuple[int, ...] | None, value: Value) -> bool:
    """Whether a result has the sizes that the labels say it has, along the axes where there are labels."""
    if shape is None or not isinstance(value, Signal):
        return True
    axes = {axis for label in value.labels for axis in label.axes}
    return len(shape) == len(value.shape) and all(shape[axis] in (-1, value.shape[axis]) for axis in axes)
