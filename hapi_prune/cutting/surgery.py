"""A cut, made: the only writer of layers and parameters. Every write goes through the undo log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import paddle

from ..analysis.held_counts import Count
from ..internals import layers
from ..internals.tensors import gradients, new, own_tensors, view, write_back
from ..plan import Array, Cut, Index
from .undo_log import UndoLog

Shape = tuple[int, ...]


def mask(tensors: Mapping[str, paddle.Tensor], cut: Cut, undo_log: UndoLog) -> None:
    """Zero what the cut would remove, in every tensor that it touches; nothing changes its shape.

    A buffer that picks channels by their number stays: what it picks is zero.
    """
    for name in (name for name in cut.kept if name not in cut.numbers):
        array = tensors[name].numpy()
        for slices, shape in removed(cut, name, array.shape):
            array.reshape(shape)[slices] = 0
        undo_log.resize(tensors[name], array)


@contextmanager
def masked(tensors: Mapping[str, paddle.Tensor], cut: Cut) -> Iterator[None]:
    """As `mask`, for the length of a block: in place, with nothing but what is zeroed put aside."""
    aside: list[tuple[paddle.Tensor, list[tuple[Index, Array, Shape]]]] = []
    try:
        for name in (name for name in cut.kept if name not in cut.numbers):
            array, parts = view(tensors[name]), list[tuple[Index, Array, Shape]]()
            aside.append((tensors[name], parts))
            for slices, shape in removed(cut, name, array.shape):
                flat = array.reshape(shape)
                parts.append((slices, flat.take(slices, 0), shape))
                flat[slices] = 0
            write_back(tensors[name], array)
        yield
    finally:
        for tensor, parts in aside:
            array = view(tensor)
            for slices, values, shape in reversed(parts):
                array.reshape(shape)[slices] = values
            write_back(tensor, array)


def removed(cut: Cut, name: str, shape: tuple[int, ...]) -> list[tuple[Index, Shape]]:
    """The slices of a tensor of this shape that the cut removes: for each axis their places, as it lies in memory.

    An axis divides it into slices of one size. With them is told the shape that has nothing but these in front; numbers
    are in one row there, for which NumPy is several times as fast as for slices of one number.
    """
    found: list[tuple[Index, Shape]] = []
    for axis, positions in cut.kept[name].items():
        goes = np.ones(shape[axis], bool)
        goes[positions] = False
        places, size = np.flatnonzero(goes), prod(shape[axis + 1 :])
        if axis:
            places = (np.arange(prod(shape[:axis]))[:, None] * shape[axis] + places).ravel()
        found.append((places, (-1, size) if size > 1 else (-1,)))
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
            undo_log.become(tensor, left(cut, name, tensor))
    touched = {id(tensors[name]): name for name in cut.kept}
    for layer in layers.named_layers(network).values():
        own = {slot: touched[id(t)] for slot, t in own_tensors(layer).items() if id(t) in touched}
        if own:
            for attribute, value in layers.sizes(layer, bool(depthwise & set(own.values()))).items():
                if getattr(layer, attribute) != value:
                    undo_log.assign(layer, attribute, value)


def left(cut: Cut, name: str, tensor: paddle.Tensor) -> paddle.Tensor:
    """What stays of a tensor that mirrors ``name``, or is it: gathered right into memory of Paddle's."""
    array = view(tensor)
    found, memory = new(cut.after(name), tensor, array)
    if name in cut.numbers:
        memory[...] = cut.numbers[name]
    else:
        *first, last = cut.kept[name]
        for axis in first:
            array = array.take(cut.kept[name][axis], axis)
        # All positions are inside; with "clip" NumPy does not first gather into memory of its own to find that out.
        array.take(cut.kept[name][last], last, memory, "clip")
    write_back(found, memory)
    return found


def set_counts(network: paddle.nn.Layer, counts: Sequence[Count], undo_log: UndoLog, back: bool = False) -> None:
    """Set attributes of layers to what they have to be after a cut; or ``back`` to what they were before it."""
    layers_by_name = layers.named_layers(network) if counts else {}
    for count in counts:
        undo_log.assign(layers_by_name[count.layer], count.attribute, count.before if back else count.after)


@contextmanager
def widths_follow(network: paddle.nn.Layer, undo_log: UndoLog) -> Iterator[None]:
    """Within the block, layers that check a width but hold no parameter adopt the width of their input."""

    def take(layer: paddle.nn.Layer, inputs: Sequence[Any]) -> None:
        for attribute, value in layers.width_arriving(layer, inputs[0]).items():
            undo_log.assign(layer, attribute, value)

    hooks = [
        layer.register_forward_pre_hook(take)
        for layer in layers.named_layers(network).values()
        if layers.takes_any_width(layer)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
