"""FLOPs and parameters, counted from the shapes of the traced program: no forward pass."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import paddle

from ..plan import Cost, LayerCost
from .channel_map import ChannelMap
from .graph import Graph
from .propagation import Propagation
from .rules import flops_of


def cost(network: paddle.nn.Layer, inputs: Any) -> Cost:
    """Count the FLOPs and parameters of ``network`` as ``paddle.flops`` does.

    Args:
        network: any ``paddle.nn.Layer``; it is left as it was, and so are the random generators.
        inputs: a shape such as ``[1, 3, 32, 32]``, an InputSpec, a Tensor, or a list / tuple / dict of these.

    Returns:
        The cost of one forward pass in evaluation mode at that input, in total and by layer.

    Raises:
        PruneError: the network cannot be traced at that input.

    Example:
        >>> import paddle
        >>> from hapi_prune import cost
        >>> cost(paddle.vision.models.LeNet(), [1, 1, 28, 28]).flops
        347560
    """
    return cost_now(ChannelMap(network, inputs))


def cost_now(channel_map: ChannelMap) -> Cost:
    """What the network costs as it is now; counted once after each cut."""
    state = channel_map.state
    return state.once("cost", lambda: cost_at(channel_map.graph, state.propagation))


def cost_at(graph: Graph, propagation: Propagation) -> Cost:
    """What a network costs at the sizes of a propagation."""
    flops: dict[str, int] = {}
    macs: dict[str, int] = {}
    unknown: list[str] = []
    for (op, args, outs), owner in zip(propagation.evaluation.steps(), graph.evaluation.layers):
        of_op = flops_of(op, args, outs)
        if of_op is None:
            unknown.append(str(op))
            continue
        flops[owner] = flops.get(owner, 0) + of_op[0]
        macs[owner] = macs.get(owner, 0) + of_op[1]
    shapes = {name: graph.shape(name, propagation.sizes) for name in graph.shapes if name in graph.parameters}
    params = {name: math.prod(shape) for name, shape in shapes.items()}
    owned: Counter[str] = Counter()
    for name, elements in params.items():
        owned[name.rpartition(".")[0]] += elements
    rows = tuple(
        LayerCost(name, kind, flops.get(name, 0), macs.get(name, 0), owned[name])
        for name, kind in graph.kinds.items()
        if flops.get(name) or owned[name]
    )
    trainable = sum(count for name, count in params.items() if name in graph.trainable)
    return Cost(sum(flops.values()), sum(macs.values()), sum(params.values()), trainable, rows, tuple(unknown))
