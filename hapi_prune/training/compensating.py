"""Bias compensation: what removed channels added on average goes into the biases of the layers that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ..cutting import optimizers, ranks
from ..internals import layers
from ..plan import Array, Cut
from . import paddle_model

BATCHES = 10
"""How many batches of the training data the means are taken over, before and after a cut."""

BIASED = (nn.Linear, nn.Conv1D, nn.Conv2D, nn.Conv3D, nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)

Listener = Callable[[str, Array], "Array | None"]
"""Called with the name of a site and the mean of each channel there; may return what is to be added to the channels."""


@dataclass(frozen=True)
class MeanSite:
    """A place in the network where the means of channels can be corrected.

    Attributes:
        layer: one with a bias, which corrects its output; or a BatchNorm, whose running mean corrects its input.
        tensor: the bias or the running mean.
    """

    layer: nn.Layer
    tensor: paddle.Tensor

    @property
    def is_norm(self) -> bool:
        """Whether the input is corrected, in the running mean, and not the output, in the bias."""
        return not isinstance(self.layer, BIASED)

    def listen(self, name: str, listener: Listener) -> Any:
        """Register a hook: tell ``listener`` the means that pass, and add what it returns; ``remove()`` ends it."""

        def moved(value: paddle.Tensor) -> paddle.Tensor | None:
            axis = layers.channel_axis(self.layer, value.ndim)
            others = [other for other in range(value.ndim) if other != axis]
            added = listener(name, value.astype("float32").mean(others).numpy())
            shape = [-1 if other == axis else 1 for other in range(value.ndim)]
            return None if added is None else value + paddle.to_tensor(added).reshape(shape).astype(value.dtype)

        if self.is_norm:
            return self.layer.register_forward_pre_hook(lambda _, inputs: moved(inputs[0]))
        return self.layer.register_forward_post_hook(lambda _, inputs, output: moved(output))


def mean_sites(network: nn.Layer) -> dict[str, MeanSite]:
    """All sites of a network by the name of their tensor; tensors that several layers share are left out."""
    norms = {id(norm) for norm in layers.batch_norms(network)}
    found: dict[str, MeanSite] = {}
    for name, layer in layers.named_layers(network).items():
        own = "_mean" if id(layer) in norms else "bias" if isinstance(layer, BIASED) else None
        tensor = getattr(layer, own) if own else None
        if tensor is not None:
            found[f"{name}.{own}" if name else str(own)] = MeanSite(layer, tensor)
    tensors = [id(site.tensor) for site in found.values()]
    return {name: site for name, site in found.items() if tensors.count(id(site.tensor)) == 1}


class Compensation:
    """Restores the mean of each channel after a cut.

    A layer that read a removed channel lacks what this channel contributed. Its mean over some batches is added again:
    to the layer's bias, or subtracted from the running mean of a BatchNorm. Layers are corrected from the input to the
    output, each with the corrected ones before it. Only a constant can be restored in this way: it is exact for
    constant channels, except at the borders of a convolution with zero padding.

    Args:
        model: the trained model; made in a hook of its ``fit``, right before a cut.

    Source: the mean error of a layer, put into its bias, as is done for what rounding takes: Nagel, van Baalen,
    Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019).
    """

    def __init__(self, model: paddle.Model) -> None:
        self._model = model
        self._sites = mean_sites(model.network)
        self._before: list[dict[str, Array]] = []
        often: set[str] = set()

        def keep(name: str, mean: Array) -> None:
            if name in self._before[-1]:
                often.add(name)
            self._before[-1][name] = mean

        with self._listening(keep):
            for inputs in self._batches():
                self._before.append({})
                model.network(*inputs)
        for batch in self._before:
            for name in often & batch.keys():  # a layer that runs several times has one bias for all of them
                del batch[name]

    def apply(self, cut: Cut) -> bool:
        """Correct all layers after the cut, so that the channels that are left have their old means.

        Args:
            cut: the cut.

        Returns:
            Whether anything was corrected: it takes a bias or BatchNorm, and data that can be read again.
        """
        added: dict[str, list[Array]] = {}
        before: dict[str, Array] = {}

        def correct(name: str, mean: Array) -> Array | None:
            if name not in before:
                return None
            added.setdefault(name, []).append(before[name] - mean)
            return added[name][-1]

        with self._listening(correct):
            for batch, inputs in zip(self._before, self._batches()):
                before.update(cut.apply_to(batch))
                self._model.network(*inputs)
        self._write({name: np.mean(parts, axis=0) for name, parts in added.items()})
        return bool(added)

    def _write(self, added: Mapping[str, Array]) -> None:
        tensors = {name: site.tensor for name, site in self._sites.items()}
        masters = optimizers.masters(paddle_model.optimizer(self._model), tensors)
        for name, mean in added.items():
            change = paddle.to_tensor(-mean if self._sites[name].is_norm else mean)
            for tensor in (tensors[name], masters.get(name)):
                if tensor is not None:
                    tensor.set_value((tensor.astype("float32") + change).astype(tensor.dtype))
                    if ranks.ranks() > 1:
                        paddle.distributed.broadcast(tensor, 0)

    def _batches(self) -> Iterator[list[paddle.Tensor]]:
        data = paddle_model.train_data(self._model)
        if self._sites and data is not None and not paddle_model.read_once(data):
            yield from paddle_model.first_batches(self._model, data, BATCHES)

    @contextmanager
    def _listening(self, listener: Listener) -> Iterator[None]:
        """For forward passes in evaluation mode with ``listener`` at all sites, which leave nothing behind."""
        hooks: list[Any] = []
        try:
            with paddle_model.extra_passes(self._model, training=False):
                hooks += [site.listen(name, listener) for name, site in self._sites.items()]
                with paddle_model.precision(self._model):
                    yield
        finally:
            for hook in hooks:
                hook.remove()
