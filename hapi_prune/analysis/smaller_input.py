"""A smaller example on which the network does the same as on the user's: enough to compare values on.

A cut removes channels, and the verification shows that the others still compute the same. Most of the work of a forward
pass depends on the sizes of image and batch, which do not matter for that, as long as the same operations run, in the
same order and on the same channels. To be sure of that, the network is traced once more with the smaller example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, log2
from typing import Any

import numpy as np
import paddle

from ..errors import PruneError
from .example_input import Example
from .graph import Graph, Program, traced_program
from .labels import Signal, Value
from .op import Op
from .propagation import Pass, Propagation
from .rules import TABLE

WORTH = 4_000_000
"""From so many multiply-adds of an operation, on average, the forward passes take longer than another trace."""

LEAST = 2
"""The smallest size of a reduced axis, anywhere in the network. With size 1, BatchNorm returns zeros in training mode,
and it could not be seen what is mixed along the axis."""

SIZES = {"held", "groups", "out_d", "out_h", "out_w"}
"""Attributes that depend on sizes; they may differ, as the shapes of the results are compared."""

SIZES_OF = {"data": {"shape"}, "full": {"shape", "value"}, "full_int_array": {"value"}}
"""The same, for some operations only."""


def smaller(network: paddle.nn.Layer, given: Example, graph: Graph, now: Propagation) -> Example | None:
    """An example of fewer and smaller images than ``given``, with which the network does the same.

    Args:
        network: the network; it is left as it was.
        given: the user's example.
        graph: the network, traced with it.
        now: the labels at the sizes that the network has now.

    Returns:
        The smaller example; None where there is none, or it would not be worth it.
    """
    if macs(now.evaluation) < WORTH * len(now.evaluation.program.ops):
        return None
    found = replace(given, leaves=reduced(given.leaves, now.evaluation))
    if all(leaf is before for leaf, before in zip(found.leaves, given.leaves)):
        return None
    one_program = [op.name for op in graph.training.ops] == [op.name for op in graph.evaluation.ops]
    try:
        for training in (False,) if one_program else (False, True):
            program = traced_program(network, found, graph.aliases, training, as_it_is=True)
            if not does_the_same(program, now.training if training else now.evaluation):
                return None
    except PruneError:  # as where a Linear reads all pixels
        return None
    return found


def macs(one: Pass) -> int:
    """The multiply-adds of a forward pass."""
    counted = [(TABLE.flops[op.name], op, args, results) for op, args, results in one.steps() if op.name in TABLE.flops]
    return sum(count(op, args, results)[1] for count, op, args, results in counted)


def reduced(leaves: Sequence[paddle.Tensor], one: Pass) -> list[paddle.Tensor]:
    """The tensors of an example with fewer images in the batch, and these smaller; one that stays is the same object.

    Of an image so many pixels are left that the smallest that the network makes of it still has `LEAST` a side. They
    are taken from all over it, as a corner may be empty.
    """
    smallest = smallest_images(one)
    one_batch = len({leaf.shape[0] if leaf.ndim else 0 for leaf in leaves}) == 1
    found = []
    for leaf in leaves:
        sizes = {0: LEAST} if one_batch and leaf.ndim else {}
        for axis, least in smallest.get(leaf.ndim, {}).items():
            sizes[axis] = LEAST << ceil(log2(max(leaf.shape[axis] / least, 1)))
        for axis, size in sizes.items():
            if size < leaf.shape[axis]:
                places = np.linspace(0, leaf.shape[axis] - 1, size).round().astype(np.int64)
                leaf = paddle.index_select(leaf, paddle.to_tensor(places, place=leaf.place), axis)
        found.append(leaf)
    return found


def smallest_images(one: Pass) -> dict[int, dict[int, int]]:
    """By the number of axes of an image, and by axis: its smallest size among all that is convolved or pooled.

    What has the size 1 does not count: it is pooled to that, however large it was.
    """
    found: dict[int, dict[int, int]] = {}
    for op, _, results in one.steps():
        image = results[0] if results and ("conv" in op.name or "pool" in op.name) else None
        if isinstance(image, Signal):
            of_rank = found.setdefault(len(image.shape), {})
            for axis in op.image_axes(len(image.shape)):
                if image.shape[axis] > 1:
                    of_rank[axis] = min(of_rank.get(axis, image.shape[axis]), image.shape[axis])
    return found


def does_the_same(program: Program, one: Pass) -> bool:
    """Whether a program has the operations of another, wired to each other in the same way, on the same channels."""
    if len(program.ops) != len(one.program.ops) or program.outputs != one.program.outputs:
        return False
    return program.tensors == one.program.tensors and all(
        is_the_same(op, before, results) for op, (before, _, results) in zip(program.ops, one.steps())
    )


def is_the_same(op: Op, before: Op, results: Sequence[Value]) -> bool:
    """Whether an operation is what it was, but for the sizes of images and batch."""
    return (
        (op.name, op.operands, op.results, op.where, op.owner)
        == (before.name, before.operands, before.results, before.where, before.owner)
        and attributes(op) == attributes(before)
        and all(fits(shape, value) for shape, value in zip(op.shapes, results))
    )


def attributes(op: Op) -> dict[str, Any]:
    """The attributes of an operation that no size of an image has a part in."""
    sizes = SIZES | SIZES_OF.get(op.name, set())
    return {name: value for name, value in op.attrs.items() if name not in sizes}


def fits(shape: tuple[int, ...] | None, value: Value) -> bool:
    """Whether a result has the sizes that it had; or fewer slices, but no less than `LEAST`, where no label is."""
    if shape is None or not isinstance(value, Signal):
        return True
    labelled = {axis for label in value.labels for axis in label.axes}
    return len(shape) == len(value.shape) and all(
        now == was or (axis not in labelled and LEAST <= now < was)
        for axis, (now, was) in enumerate(zip(shape, value.shape))
    )
