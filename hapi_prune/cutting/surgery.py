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
from ..internals.tensors import gradients, memory, new, own_tensors, sees, storage, view, write_back
from ..plan import Array, Cut, Index
from .undo_log import UndoLog

Shape = tuple[int, ...]

FEW = 1 << 14
"""So many numbers are sooner copied once more than Paddle's memory is made to be looked at."""


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
    aside: list[tuple[paddle.Tensor, Array, list[tuple[Index, Array, Shape]]]] = []
    try:
        for name in (name for name in cut.kept if name not in cut.numbers):
            array, parts = view(tensors[name]), list[tuple[Index, Array, Shape]]()
            aside.append((tensors[name], array, parts))
            for slices, shape in removed(cut, name, array.shape):
                flat = array.reshape(shape)
                parts.append((slices, flat.take(slices, 0), shape))
                flat[slices] = 0
            write_back(tensors[name], array)
        yield
    finally:
        for tensor, array, parts in aside:
            array = array if sees(array, tensor) else view(tensor)
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
    held: layers.Inventory,
    cut: Cut,
    depthwise: Set[str],
    undo_log: UndoLog,
) -> None:
    """Remove the slices for good: tensors keep their identity and name, layers tell their new sizes.

    Args:
        held: the network to cut.
        cut: what stays.
        depthwise: weights of convolutions whose number of groups is their number of channels.
        undo_log: takes every change back, if asked to.
    """
    for name in cut.kept:
        # Gradients too: between two steps of an accumulation they hold what the filters that stay have learnt.
        for tensor in (held.tensors[name], *gradients(held.tensors[name])):
            undo_log.become(tensor, left(cut, name, tensor))
    touched = {id(held.tensors[name]): name for name in cut.kept}
    for layer in held.layers.values():
        own = {slot: touched[id(t)] for slot, t in own_tensors(layer).items() if id(t) in touched}
        if own:
            for attribute, value in layers.sizes(layer, bool(depthwise & set(own.values()))).items():
                if getattr(layer, attribute) != value:
                    undo_log.assign(layer, attribute, value)


def left(cut: Cut, name: str, tensor: paddle.Tensor) -> Any:
    """What stays of a tensor that mirrors ``name``, or is it: a storage, see `tensors.become`."""
    if name in cut.numbers:
        return memory(cut.numbers[name].astype(tensor.numpy().dtype), tensor.place)
    *first, last = cut.kept[name]
    few = prod(cut.before[name]) <= FEW
    whole = array = tensor.numpy() if few else view(tensor)
    for axis in first:
        array = array.take(cut.kept[name][axis], axis)
    if few:
        return memory(array.take(cut.kept[name][last], last), tensor.place)
    # Gathered right into memory of Paddle's. All positions are inside; with "clip" NumPy does not first gather into
    # memory of its own to find that out.
    found, inside = new(cut.after(name), tensor, whole)
    array.take(cut.kept[name][last], last, inside, "clip")
    write_back(found, inside)
    return storage(found)


def set_counts(held: layers.Inventory, counts: Sequence[Count], undo_log: UndoLog, back: bool = False) -> None:
    """Set attributes of layers to what they have to be after a cut; or ``back`` to what they were before it."""
    for count in counts:
        undo_log.assign(held.layers[count.layer], count.attribute, count.before if back else count.after)


@contextmanager
def widths_follow(held: layers.Inventory, undo_log: UndoLog) -> Iterator[None]:
    """Within the block, layers that check a width but hold no parameter adopt the width of their input."""

    def take(layer: paddle.nn.Layer, inputs: Sequence[Any]) -> None:
        for attribute, value in layers.width_arriving(layer, inputs[0]).items():
            undo_log.assign(layer, attribute, value)

    hooks = [layer.register_forward_pre_hook(take) for layer in held.layers.values() if layers.takes_any_width(layer)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
