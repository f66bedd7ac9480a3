"""Whether a network can run on its example input at all: a trace does not ask, and Paddle may end the process."""

from __future__ import annotations

from ..errors import PruneError
from .labels import Signal
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
        PruneError: a layer gets other channels than its weight is for, or leaves nothing of an image.
    """
    for op, operands, results in propagation.evaluation.steps():
        if op.name not in IMAGE or not operands or not isinstance(operands[0], Signal):
            continue
        wrong = channels_amiss(op, operands[0], operands[1]) if op.name in FORWARD else ""
        if not wrong and isinstance(results[0], Signal) and min(operands[0].shape) > 0 >= min(results[0].shape):
            wrong = f"an image of {list(operands[0].shape)}, of which nothing is left"
        if wrong:
            tensors = propagation.evaluation.program.tensors
            names = [tensors[number] for number in op.operands if number in tensors]
            where = f"layer {layer_name(names[0])!r}" if names else str(op)
            raise PruneError("inputs", f"{where} gets {wrong}", ALLOWED, TODO)
    return propagation


def channels_amiss(op: Op, image: Signal, weight: object) -> str:
    """What is wrong with the channels that a convolution gets; empty where nothing is."""
    if not isinstance(weight, Signal):
        return ""
    got = image.shape[op.channel_axis(len(image.shape))]
    groups = got if "depthwise" in op.name else int(op.attrs.get("groups", 1))
    wanted = weight.shape[1] * groups
    return f"{got} channels, and its weight is for {wanted}" if 0 < got != wanted > 0 else ""
