"""The attributes of Paddle's layers that hold their widths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import paddle
from paddle import nn

from .tensors import own_tensors


def named_layers(network: paddle.nn.Layer) -> dict[str, paddle.nn.Layer]:
    """Every layer by its structured name, the network itself first; one that is used twice by its first name.

    The order is that of ``named_sublayers``, which hands each layer through a generator for every layer above it.
    """
    found, seen = {"": network}, {id(network)}
    waiting = [("", iter(network._sub_layers.items()))]
    while waiting:
        prefix, inside = waiting[-1]
        for key, layer in inside:
            if layer is not None and id(layer) not in seen:
                seen.add(id(layer))
                found[prefix + key] = layer
                if layer._sub_layers:
                    waiting.append((f"{prefix}{key}.", iter(layer._sub_layers.items())))
                    break
        else:
            waiting.pop()
    return found


@dataclass(frozen=True)
class Inventory:
    """A network with its layers and tensors, read once for all steps of a cut.

    Attributes:
        layers: every layer by its structured name, see `named_layers`.
    """

    layers: dict[str, paddle.nn.Layer]

    @classmethod
    def of(cls, network: paddle.nn.Layer) -> Inventory:
        """The layers that a network has now."""
        return cls(named_layers(network))

    @property
    def network(self) -> paddle.nn.Layer:
        """The network itself."""
        return self.layers[""]

    @cached_property
    def parameters(self) -> dict[str, paddle.Tensor]:
        """Every parameter by its structured name; one that is held twice by its first name."""
        return self._with("_parameters", {})

    @cached_property
    def tensors(self) -> dict[str, paddle.Tensor]:
        """As `parameters`, and every buffer behind them."""
        return self._with("_buffers", self.parameters)

    def _with(self, kind: str, found: Mapping[str, paddle.Tensor]) -> dict[str, paddle.Tensor]:
        """What was found, and the tensors that layers hold in their dict ``kind``."""
        seen, more = set(map(id, found.values())), dict(found)
        for name, layer in self.layers.items():
            for key, tensor in vars(layer)[kind].items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    more[joined(name, key)] = tensor
        return more


def joined(name: str, key: str) -> str:
    """The structured name of what a layer holds under ``key``."""
    return f"{name}.{key}" if name else key


def sizes(layer: paddle.nn.Layer, depthwise: bool) -> dict[str, Any]:
    """The values that a layer's attributes must have to fit the shapes of its tensors.

    Some attributes are only printed; ``LayerNorm`` and convolutions compute with them.
    """
    tensors = own_tensors(layer)
    weight = tensors.get("weight")
    shape = list(weight.shape) if weight is not None else []
    told: dict[str, Any] = {}
    if hasattr(layer, "_in_channels") and hasattr(layer, "_groups") and len(shape) > 2:
        told = _conv_sizes(layer, shape, depthwise)
    elif isinstance(layer, nn.Linear) and len(shape) == 2:
        told = {"in_features": shape[0], "out_features": shape[1]}
    elif isinstance(layer, nn.Embedding):
        told = {"_embedding_dim": shape[1], "embedding_dim": shape[1]}
    elif isinstance(layer, nn.LayerNorm) and tensors:
        # Its tensors are flat: which axis shrank is known where the others have size 1, as in [C, 1, 1].
        width, spread = next(iter(tensors.values())).shape[0], [size for size in layer._normalized_shape if size > 1]
        told = {"_normalized_shape": [width if size > 1 else 1 for size in layer._normalized_shape]}
        told = told if len(spread) == 1 else {}
    elif shape or tensors:
        width = (shape or list(next(iter(tensors.values())).shape))[0:1]
        told = {name: width[0] for name in ("_num_features", "_num_channels", "_num_parameters") if width}
    return {name: value for name, value in told.items() if hasattr(layer, name)}


def takes_any_width(layer: paddle.nn.Layer) -> bool:
    """Whether a layer checks the width of its input, without a tensor of that width: a LayerNorm without parameters."""
    return isinstance(layer, nn.LayerNorm) and len(layer._normalized_shape) == 1 and not own_tensors(layer)


def width_arriving(layer: paddle.nn.Layer, value: paddle.Tensor) -> dict[str, Any]:
    """The values that the attributes of such a layer must have for an input ``value``; empty if they fit already."""
    width = [value.shape[-1]]
    return {} if list(layer._normalized_shape) == width else {"_normalized_shape": width}


def batch_norms(network: paddle.nn.Layer) -> list[paddle.nn.Layer]:
    """The BatchNorm layers of a network."""
    kinds = (nn.BatchNorm, nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.SyncBatchNorm)
    return [layer for layer in named_layers(network).values() if isinstance(layer, kinds)]


def statistics_of(norm: paddle.nn.Layer) -> tuple[paddle.Tensor, paddle.Tensor]:
    """The running mean and variance of a BatchNorm layer."""
    return norm._mean, norm._variance


def channel_axis(layer: paddle.nn.Layer, rank: int) -> int:
    """The channel axis of an input or output of a layer that has ``rank`` axes."""
    data_format = str(getattr(layer, "_data_format", ""))
    last = isinstance(layer, nn.Linear) or (len(data_format) > 2 and data_format.endswith("C")) or rank == 2
    return rank - 1 if last else 1


@contextmanager
def momentum(norms: Iterable[paddle.nn.Layer], value: float) -> Iterator[None]:
    """Set the momentum of BatchNorm layers within a block."""
    before = [(norm, norm._momentum) for norm in norms]
    try:
        for norm, _ in before:
            norm._momentum = value
        yield
    finally:
        for norm, own in before:
            norm._momentum = own


def is_depthwise(layer: paddle.nn.Layer) -> bool:
    """Whether a layer that is not cut is a convolution with one group for each channel."""
    groups = getattr(layer, "_groups", 1)
    return bool(groups > 1 and groups == getattr(layer, "_in_channels", 0))


def whole_numbers(layer: paddle.nn.Layer) -> dict[str, Any]:
    """The attributes of a layer that hold a whole number, or a list or tuple of whole numbers."""

    def is_whole(value: Any) -> bool:
        return isinstance(value, (int, np.integer)) and not isinstance(value, bool)

    def are_whole(value: Any) -> bool:
        return type(value) in (list, tuple) and bool(value) and all(map(is_whole, value))

    return {name: value for name, value in vars(layer).items() if is_whole(value) or are_whole(value)}


def _conv_sizes(layer: paddle.nn.Layer, shape: list[int], depthwise: bool) -> dict[str, Any]:
    """The sizes of a convolution, from the shape of its weight."""
    groups = layer._groups
    if isinstance(layer, (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)):
        groups = shape[0] if depthwise else groups
        return {"_groups": groups, "_in_channels": shape[0], "_out_channels": shape[1] * groups}
    if depthwise:
        groups = shape[0] * groups // layer._out_channels
    return {"_groups": groups, "_in_channels": shape[1] * groups, "_out_channels": shape[0]}
