"""A smaller example on which the network does the same as on the user's: enough to compare values on.

A cut removes channels, and the verification shows that the others still compute the same. Most of the work of a forward
pass depends on the sizes of image and batch, which do not matter for that, as long as the same operations run, in the
same order and on the same channels. If the network's code reads sizes, or has some written into it, the network is
traced once more with the smaller example, to be sure of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, log2, prod
from typing import Any

import numpy as np
import paddle

from ..errors import PruneError
from ..internals.layers import Inventory
from .example_input import Example
from .graph import Graph, Program, traced_program
from .labels import Mismatch, Signal, Value
from .op import Op
from .propagation import Pass, Propagation, propagate
from .rules import (
    TABLE,
    broadcasting,
    convolution,
    elementwise,
    flops_of,
    normalization,
    products,
    reduction,
    stacking,
)

WORTH = 4_000_000
"""From so many multiply-adds of an operation, on average, the forward passes take longer than another trace."""

LEAST = 2
"""The smallest size of a reduced axis, anywhere in the network. With size 1, BatchNorm returns zeros in training mode,
and it could not be seen what is mixed along the axis."""

SIZES = {"held", "groups", "out_d", "out_h", "out_w"}
"""Attributes that depend on sizes; they may differ, as the shapes of the results are compared."""

SIZES_OF = {"data": {"shape"}, "full": {"shape", "value"}, "full_int_array": {"value"}}
"""The same, for some operations only."""


def smaller(network: paddle.nn.Layer, given: Example, graph: Graph, now: Propagation, any_size: bool) -> Example | None:
    """An example of fewer and smaller images than ``given``, with which the network does the same.

    Args:
        network: the network; it is left as it was.
        given: the user's example.
        graph: the network, traced with it.
        now: the labels at the sizes that the network has now.
        any_size: what `works_at_any_size` says of it.

    Returns:
        The smaller example; None where there is none, or it would not be worth it.
    """
    for least in (LEAST, 2 * LEAST, 4 * LEAST) if any_size else (LEAST,):
        found = replace(given, leaves=reduced(given.leaves, now.evaluation, least))
        if all(leaf is before for leaf, before in zip(found.leaves, given.leaves)):
            return None
        if does_the_same_by_arithmetic(graph, found, now) if any_size else does_the_same(network, found, graph, now):
            return found
    return None


def works_at_any_size(graph: Graph, now: Propagation) -> bool:
    """Whether a network runs the same operations for images and batches of any size.

    It does if its code reads no sizes and contains none: of the operations that take sizes, such as a reshape, only
    those are allowed that add or remove axes of size 1.
    """
    return not graph.reads.sizes and all(
        op.name in AT_ANY_SIZE or TABLE.rules.get(op.name) in RULES_AT_ANY_SIZE or only_leaves_out(op, args, results)
        for one in now.passes
        for op, args, results in one.steps()
    )


RULES_AT_ANY_SIZE = {
    elementwise.unary, broadcasting.elementwise, broadcasting.prelu, convolution.convolution, convolution.transposed,
    normalization.batch_norm, normalization.instance_norm, normalization.group_norm, products.matmul,
    reduction.reduction, reduction.along_axis, stacking.concat, stacking.combine, stacking.uncombine,
}  # fmt: skip
"""The rules of operations that take no sizes of images or batches."""

AT_ANY_SIZE = {"data", "full_int_array", "pool2d", "pool3d"}
"""More such operations; their rules are shared with operations that do take sizes."""


def only_leaves_out(op: Op, args: Sequence[Value], results: Sequence[Value]) -> bool:
    """Whether an operation only reshapes a tensor of the network, adds or removes axes of size 1, or is one number."""
    if op.name == "full":
        return all(prod(shape or ()) == 1 for shape in op.shapes)
    if op.name not in ("reshape", "flatten", "squeeze", "unsqueeze") or not isinstance(args[0], Signal):
        return False
    before, *after = ([n for n in value.shape if n > 1] for value in (args[0], *results) if isinstance(value, Signal))
    return bool(args[0].tensor) or (after == [before] and len(before) <= 2)


def macs(one: Pass) -> int:
    """The multiply-adds of a forward pass."""
    return sum((flops_of(op, args, results) or (0, 0))[1] for op, args, results in one.steps())


def reduced(leaves: Sequence[paddle.Tensor], one: Pass, least: int) -> list[paddle.Tensor]:
    """The tensors of an example with fewer images in the batch, and these smaller; one that stays is the same object.

    Of an image so many pixels are left that the smallest that the network makes of it should still have ``least`` a
    side. They are taken from all over it, as a corner may be empty.
    """
    smallest = smallest_images(one)
    one_batch = len({leaf.shape[0] if leaf.ndim else 0 for leaf in leaves}) == 1
    found = []
    for leaf in leaves:
        sizes = {0: LEAST} if one_batch and leaf.ndim else {}
        for axis, smallest_size in smallest.get(leaf.ndim, {}).items():
            sizes[axis] = least << ceil(log2(max(leaf.shape[axis] / smallest_size, 1)))
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


def does_the_same_by_arithmetic(graph: Graph, found: Example, now: Propagation) -> bool:
    """Whether all values of a network that `works_at_any_size` are large enough with an example.

    Where a trace leaves a size open, the rules compute it. So they are given a program in which all sizes are open, and
    no tensor has labels.
    """
    shapes = [tuple(leaf.shape) for leaf in found.leaves]
    one = without_sizes(now.training, shapes)
    other = one if graph.one_program else without_sizes(now.evaluation, shapes)
    bare = replace(graph, training=one, evaluation=other, sizes={}, numbers={}, picks={})
    try:
        sized = propagate(bare, {})
    except Mismatch:
        return False
    return not any(one.not_followed for one in sized.passes) and all(
        fits(made.shape, known[number])
        for one, known in zip(sized.passes, map(used, now.passes))
        for number, made in used(one).items()
        if isinstance(made, Signal)
    )


def used(one: Pass) -> dict[int, Value]:
    """The results that another operation uses or the network returns; not the statistics that BatchNorm returns."""
    wanted = {*one.program.outputs, *(number for op in one.program.ops for number in op.operands)}
    steps = zip(one.program.ops, one.results)
    return {n: value for op, results in steps for n, value in zip(op.results, results) if n in wanted}


def without_sizes(one: Pass, shapes: Sequence[tuple[int, ...]]) -> Program:
    """A program with the shapes of all results left open, except those of its inputs, which are ``shapes``.

    Operations that give a result of the shape of their operand, half of many networks, are left out.
    """
    known, ops, same = used(one), list[Op](), dict[int, int]()
    for op, args, _ in one.steps():
        operands = tuple(n if n is None else same.get(n, n) for n in op.operands)
        if keeps_shape(op, args[0] if args else None) and known.keys().isdisjoint(op.results[1:]):
            same[op.results[0]] = operands[0] or 0
        else:
            ops.append(replace(op, operands=operands, shapes=opened(op, shapes)))
    return replace(one.program, ops=tuple(ops), outputs=tuple(same.get(n, n) for n in one.program.outputs))


KEEPS_SHAPE = {elementwise.unary, normalization.batch_norm, normalization.instance_norm, normalization.group_norm}
"""The rules of operations whose first result has the shape of their first operand."""


def keeps_shape(op: Op, x: Value) -> bool:
    """Whether the first result of an operation on ``x`` has its shape, and its numbers are not known, as of sizes."""
    return TABLE.rules.get(op.name) in KEEPS_SHAPE and isinstance(x, Signal) and x.value is None


def opened(op: Op, shapes: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...] | None, ...]:
    """The shapes of an operation's results, left open; or that of the input which it stands for, out of ``shapes``."""
    if op.name == "data":
        return (shapes[int(op.attrs["name"].rpartition("_")[2])],)
    if op.name in ("full", "full_int_array"):
        return op.shapes
    return tuple(shape if shape is None else (-1,) * len(shape) for shape in op.shapes)


def does_the_same(network: paddle.nn.Layer, found: Example, graph: Graph, now: Propagation) -> bool:
    """Whether a network, traced with an example, runs the same operations on the same channels as with the user's.

    If the trace would take longer than the forward passes that it makes faster, it is not tried.
    """
    if macs(now.evaluation) < WORTH * len(now.evaluation.program.ops):
        return False
    held = Inventory.of(network)
    try:
        for training in (True,) if graph.one_program else (False, True):
            program = traced_program(held, found, graph.aliases, training, as_it_is=True)
            if not is_wired_alike(program, now.training if training else now.evaluation):
                return False
    except PruneError:  # as where a Linear reads all pixels
        return False
    return True


def is_wired_alike(program: Program, one: Pass) -> bool:
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
    return {name: value for name, value in op.in_both_modes.items() if name not in sizes}


def fits(shape: tuple[int, ...] | None, value: Value) -> bool:
    """Whether a result has the sizes that it had; or fewer slices, but no less than `LEAST`, where no label is."""
    if shape is None or not isinstance(value, Signal):
        return True
    labelled = {axis for label in value.labels for axis in label.axes}
    return len(shape) == len(value.shape) and all(
        now == was or (axis not in labelled and LEAST <= now < was)
        for axis, (now, was) in enumerate(zip(shape, value.shape))
    )
