"""A cut, made: the only writer of layers and parameters. Every write goes through the undo log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle

from ..analysis.held_counts import Count
from ..internals import layers
from ..internals.tensors import gradients, own_tensors
from ..plan import Array, Cut
from .undo_log import UndoLog


def mask(tensors: Mapping[str, paddle.Tensor], cut: Cut, undo_log: UndoLog) -> None:
    """Zero what the cut would remove, in every tensor that it touches; nothing changes its shape.

    A buffer that picks channels by their number stays: what it picks is zero.
    """
    for name in (name for name in cut.kept if name not in cut.numbers):
        undo_log.resize(tensors[name], masked(tensors[name].numpy(), cut, name))


def masked(array: Array, cut: Cut, name: str) -> Array:
    """``array``, shape ``before[name]``, with the slices that the cut removes set to zero."""
    result = array.copy()
    for axis, positions in cut.kept[name].items():
        gone = np.setdiff1d(np.arange(array.shape[axis]), positions)
        index: list[slice | np.ndarray] = [slice(None)] * array.ndim
        index[axis] = gone
        result[tuple(index)] = 0
    return result


def shrink(
    network: paddle.nn.Layer,
    tensors: Mapping[str, paddle.Tensor],
    cut: Cut,
    depthwise: Set[str],
    undo_log: UndoLog,
) -> None:
    """Remove the slices for good: tensors keep their identity and name, layers tell their new sizes.

    Args:
        network: the network to cut.
        tensors: its tensors, by structured name.
        cut: what stays.
        depthwise: weights of convolutions whose number of groups is their number of channels.
        undo_log: takes every change back, if asked to.
    """
    for name in cut.kept:
        # Gradients too: between two steps of an accumulation they hold what the filters that stay have learnt.
        for tensor in (tensors[name], *gradients(tensors[name])):
            undo_log.resize(tensor, cut.gather(name, tensor.numpy()))
    touched = {id(tensors[name]): name for name in cut.kept}
    for layer in network.sublayers(include_self=True):
        own = {slot: touched[id(t)] for slot, t in own_tensors(layer).items() if id(t) in touched}
        if own:
            for attribute, value in layers.sizes(layer, bool(depthwise & set(own.values()))).items():
                if getattr(layer, attribute) != value:
                    undo_log.assign(layer, attribute, value)


def set_counts(network: paddle.nn.Layer, counts: Iterable[Count], undo_log: UndoLog, back: bool = False) -> None:
    """Set attributes of layers to what they have to be after a cut; or ``back`` to what they were before it."""
    layers_by_name = dict(network.named_sublayers(include_self=True))
    for count in counts:
        undo_log.assign(layers_by_name[count.layer], count.attribute, count.before if back else count.after)


@contextmanager
def widths_follow(network: paddle.nn.Layer, undo_log: UndoLog) -> Iterator[None]:
    """In the forward passes in here, layers that check a width and hold no parameter take on the width that arrives."""

    def take(layer: paddle.nn.Layer, inputs: Sequence[Any]) -> None:
        for attribute, value in layers.width_arriving(layer, inputs[0]).items():
            undo_log.assign(layer, attribute, value)

    hooks = [layer.register_forward_pre_hook(take) for layer in network.sublayers() if layers.takes_any_width(layer)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
