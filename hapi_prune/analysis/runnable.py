"""Whether a network can run on its example input at all: a trace does not ask, and Paddle may end the process."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import PruneError
from .labels import Signal, Value
from .layer_names import layer_name
from .op import Op
from .propagation import Propagation

FORWARD = {"conv1d", "conv2d", "depthwise_conv2d", "conv3d"}
IMAGE = {*FORWARD, "pool2d", "pool3d", "conv2d_transpose", "depthwise_conv2d_transpose", "conv3d_transpose"}
"""Operations that slide over an image, and may find none."""

ALLOWED, TODO = "an input that the network runs on", "give the shape of your data"


def runnable(propagation: Propagation) -> Propagation:
    """The network as it was traced, if it can run on its example input.

    Raises:
        PruneError: a layer gets another number of channels than its weight is for, or leaves nothing of an image.
    """
    tensors = propagation.evaluation.program.tensors
    for op, operands, results in propagation.evaluation.steps():
        names = [tensors[number] for number in op.operands if number in tensors]
        wrong = amiss(op, operands, results) if names or op.name in IMAGE else ""
        if wrong:
            where = f"layer {layer_name(names[0])!r}" if names else str(op)
            raise PruneError("inputs", f"{where} gets {wrong}", ALLOWED, TODO)
    return propagation


def amiss(op: Op, operands: Sequence[Value], results: Sequence[Value]) -> str:
    """What is wrong with what an operation gets; empty where nothing is."""
    if not operands or not isinstance(operands[0], Signal):
        return ""
    data, weight = operands[0], operands[1] if len(operands) > 1 else None
    if op.name == "matmul" and isinstance(weight, Signal) and weight.tensor and len(weight.shape) == 2:
        return mismatch(data.shape[-1], weight.shape[1 if op.attrs["transpose_y"] else 0], "features")
    if op.name in FORWARD and isinstance(weight, Signal):
        got = data.shape[op.channel_axis(len(data.shape))]
        groups = got if "depthwise" in op.name else int(op.attrs.get("groups", 1))
        if wrong := mismatch(got, weight.shape[1] * groups, "channels"):
            return wrong
    left = results[0] if results else None
    if op.name in IMAGE and isinstance(left, Signal) and min(data.shape) > 0 >= min(left.shape):
        return f"an image of {list(data.shape)}, of which nothing is left"
    return ""


def mismatch(got: int, wanted: int, what: str) -> str:
    """What is said of two numbers that are known and differ."""
    return f"{got} {what}, and its weight is for {wanted}" if 0 < got != wanted > 0 else ""
