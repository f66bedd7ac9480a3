"""PaddleSlim's count of FLOPs by name and arguments; the counting is the library's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
from paddle.static import InputSpec

from ..analysis.cost import cost
from ..analysis.example_input import is_leaf


def flops(
    model: paddle.nn.Layer,
    inputs: Any,
    dtypes: str | Sequence[str] | None = None,
    only_conv: bool = False,
    detail: bool = False,
) -> int | tuple[int, dict[str, int]]:
    """Count the FLOPs of a network, as ``paddle.flops`` does.

    Args:
        model: any ``paddle.nn.Layer``; it is left as it was.
        inputs: a shape, several shapes, or the arguments of ``model.forward`` as a list.
        dtypes: the type of each shape in ``inputs``; None for float32.
        only_conv: count the multiply-adds of convolutions and Linears only.
        detail: also say how the count spreads over the weights of convolutions and Linears.

    Returns:
        The count; with ``detail``, the count and ``{Paddle's name of a weight: count of its layer}``.

    Raises:
        PruneError: the network cannot be traced at these inputs.

    Example:
        >>> import paddle
        >>> from hapi_prune.paddleslim import flops
        >>> flops(paddle.vision.models.LeNet(), [1, 1, 28, 28])
        347560
    """
    found = cost(model, typed(inputs, dtypes))
    total = found.macs if only_conv else found.flops
    if not detail:
        return total
    weights = {name: getattr(layer, "weight", None) for name, layer in model.named_sublayers(include_self=True)}
    counted = [(weights.get(row.name), row.macs if only_conv else row.flops) for row in found.layers if row.macs]
    return total, {weight.name: count for weight, count in counted if weight is not None}


dygraph_flops = flops
"""The same by the name that ``paddleslim.analysis`` has for it."""


def typed(inputs: Any, dtypes: str | Sequence[str] | None) -> Any:
    """Shapes as InputSpecs of a type; what is no shape is left as it is."""
    if dtypes in (None, "float32") or not isinstance(inputs, (list, tuple)):
        return inputs
    shapes = [inputs] if is_leaf(inputs) else inputs
    kinds = [dtypes] * len(shapes) if isinstance(dtypes, str) else dtypes
    plain = [isinstance(shape, (list, tuple)) and is_leaf(shape) for shape in shapes]
    return [InputSpec(list(one), kind) if shape else one for one, kind, shape in zip(shapes, kinds, plain)]
