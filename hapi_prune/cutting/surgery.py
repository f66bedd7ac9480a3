"""A cut, made: the only writer of layers and parameters. Every write goes through the undo log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle

from ..analysis.held_counts import Count
from ..internals import layers
from ..internals.tensors import gradients, own_tensors, view, written
from ..plan import Array, Cut, Index
from .undo_log import UndoLog

Slices = tuple["slice | Index", ...]
"""What picks slices along one axis of an array: the axes before it whole, then positions."""


def mask(tensors: Mapping[str, paddle.Tensor], cut: Cut, undo_log: UndoLog) -> None:
    """Zero what the cut would remove, in every tensor that it touches; nothing changes its shape.

    A buffer that picks channels by their number stays: what it picks is zero.
    """
    for name in (name for name in cut.kept if name not in cut.numbers):
        array = tensors[name].numpy()
        for index in removed(cut, name, array.shape):
            array[index] = 0
        undo_log.resize(tensors[name], array)


@contextmanager
def masked(tensors: Mapping[str, paddle.Tensor], cut: Cut) -> Iterator[None]:
    """As `mask`, for the length of a block: in place, with nothing but what is zeroed put aside."""
    aside: list[tuple[paddle.Tensor, Slices, Array]] = []
    try:
        for name in (name for name in cut.kept if name not in cut.numbers):
            for index in removed(cut, name, tuple(tensors[name].shape)):
                with written(tensors[name]) as array:
                    aside.append((tensors[name], index, array[index]))
                    array[index] = 0
        yield
    finally:
        for tensor, index, values in reversed(aside):
            with written(tensor) as array:
                array[index] = values


def removed(cut: Cut, name: str, shape: tuple[int, ...]) -> list[Slices]:
    """The slices of a tensor of this shape that the cut removes, an index for each axis."""
    found: list[Slices] = []
    for axis, positions in cut.kept[name].items():
        gone = np.ones(shape[axis], dtype=bool)
        gone[positions] = False
        found.append((*[slice(None)] * axis, np.flatnonzero(gone)))
    return found


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
            undo_log.resize(tensor, cut.gather(name, view(tensor)))
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
