"""Ops that move data: the labels go where the data goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...plan import Index
from ..labels import Label, Mismatch, Signal, Value, positions
from .registry import Call, free, rule
from .stacking import merge

UNKNOWN = 1_000_003
"""A prime that stands for a computed size: no product of other sizes is a multiple of it."""

Run = tuple[tuple[int, ...], tuple[int, ...]]
"""Axes before and axes after a reshape that hold the same slices."""


def blocks(source: Sequence[int], target: Sequence[int]) -> list[Run]:
    """The smallest runs of axes whose sizes have equal products on both sides of a reshape.

    Axes of size 1 carry no labels and belong to no run.
    """
    left = [axis for axis, size in enumerate(source) if size != 1]
    right = [axis for axis, size in enumerate(target) if size != 1]
    found: list[Run] = []
    while left and right:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        while (a := math.prod(source[i] for i in ours)) != (b := math.prod(target[i] for i in theirs)):
            side, rest = (ours, left) if a < b else (theirs, right)
            if not rest:
                return found
            side.append(rest.pop(0))
        found.append((tuple(ours), tuple(theirs)))
    return found


def counted(shape: Sequence[int]) -> list[int]:
    """The sizes, with a number of its own for the one that the program computes, such as how many boxes there are."""
    return [UNKNOWN if size == -1 else size for size in shape]


@rule("reshape", "flatten", "squeeze", "unsqueeze", "view_shape", flops=free)
def reshape(call: Call) -> Sequence[Value]:
    """Sizes are regrouped; where one axis becomes several, the numbers kept depend on each other."""
    x, shape, before = call.arg(0), call.shape(), call.traced_arg(0).shape
    if x.value is not None or before.count(-1) != shape.count(-1) or shape.count(-1) > 1:
        call.constraints.stop(x.labels, "is regrouped into computed sizes")
        return [Signal(shape, value=x.value)]
    runs = blocks(counted(before), counted(shape))
    runs = [run for run in runs if len(run[0]) == len(run[1]) == 1 or -1 not in {before[axis] for axis in run[0]}]
    result = call.traced_result()
    sizes = list(shape)
    for run in runs:
        resize_run(call, sizes, run)
    labels: list[Label] = []
    for label in x.labels:
        touched = [run for run in runs if any(axis in label.axes for axis in run[0])]
        ours = tuple(axis for run in touched for axis in run[0])
        theirs = tuple(axis for run in touched for axis in run[1])
        if not set(label.axes) <= set(ours):
            call.constraints.stop([label], "is regrouped in a way that cannot be followed")
            continue
        atoms = merge([label], x.shape, ours).reshape([sizes[axis] for axis in theirs])
        kept = result.labels[len(labels)].axes if result else varying(atoms, theirs)
        labels.append(Label(kept, narrowed(atoms, theirs, kept)))
        for run in touched:
            divide(call, labels[-1], [axis for axis in run[1] if axis in kept])
    return [Signal(tuple(sizes), tuple(labels))]


def divide(call: Call, label: Label, axes: Sequence[int]) -> None:
    """A run became several ``axes``: one of them shrinks, equally everywhere along the others."""
    if len(axes) > 1:
        fixed = [axis for axis in axes if axis != shrinking(call, axes)]
        rows = np.zeros((), np.int64)
        for axis in fixed:
            rows = rows * call.shape()[axis] + positions(label, axis)
        call.constraints.balance(label.atoms, math.prod(call.shape()[axis] for axis in fixed), rows)
        call.constraints.pin_along(label, fixed)


def shrinking(call: Call, axes: Sequence[int]) -> int:
    """Which of ``axes`` shrinks: the one written as -1, or else the longest; of equal ones the last."""
    shape = call.shape()
    written = call.numbers(1) if call.op.name == "reshape" else None
    if written and len(written) == len(shape) and any(written[axis] == -1 for axis in axes):
        return next(axis for axis in axes if written[axis] == -1)
    return max(axes, key=lambda axis: (shape[axis], axis))


def resize_run(call: Call, sizes: list[int], run: Run) -> None:
    """Give the result axes of a run the number of slices under test.

    An axis that keeps a label for itself has as many slices as that label has atoms. What is then still
    open falls to the axis that `shrinking` names.
    """
    x, result, axes = call.arg(0), call.traced_result(), run[1]
    total = math.prod(x.shape[axis] for axis in run[0])
    if result is None or total == math.prod(sizes[axis] for axis in axes):
        return
    for label, kept in zip(x.labels, result.labels if len(result.labels) == len(x.labels) else ()):
        inside = [axis for axis in kept.axes if axis in axes]
        if len(inside) == 1 and set(label.axes) <= set(run[0]) and np.unique(kept.atoms).size == kept.atoms.size:
            sizes[inside[0]] = np.unique(label.atoms).size
    if total == math.prod(sizes[axis] for axis in axes):
        return
    labelled = {axis for label in result.labels for axis in label.axes}
    axis = shrinking(call, [axis for axis in axes if axis in labelled] or axes)
    rest = math.prod(sizes[other] for other in axes if other != axis)
    if total % rest:
        raise Mismatch(f"{call.op}: {total} slices cannot be divided by {rest}")
    sizes[axis] = total // rest


def varying(atoms: Index, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The axes along which ``atoms`` are not all alike."""
    return tuple(axis for place, axis in enumerate(axes) if (atoms != np.take(atoms, [0], axis=place)).any())


def narrowed(atoms: Index, axes: tuple[int, ...], kept: tuple[int, ...]) -> Index:
    """``atoms`` without the axes along which they are all alike."""
    index = tuple(slice(None) if axis in kept else 0 for axis in axes)
    return atoms[index]


@rule("transpose", flops=free)
def transpose(call: Call) -> Sequence[Value]:
    """Axes change places, and each label goes with its axes."""
    x = call.arg(0)
    perm = [axis % len(x.shape) for axis in call.op.attrs["perm"]]
    place = {axis: new for new, axis in enumerate(perm)}
    labels = tuple(label.renamed([place[axis] for axis in label.axes]) for label in x.labels)
    uniform = frozenset(place[axis] for axis in x.uniform)
    return [Signal(tuple(x.shape[axis] for axis in perm), labels, uniform=uniform, drawn=x.drawn)]


@rule("flip", "roll", "reverse", flops=free)
def rearranged(call: Call) -> Sequence[Value]:
    """Slices change places along an axis, by a rule that does not name the number of slices."""
    x = call.arg(0)
    axes = [axis % len(x.shape) for axis in call.op.attrs["axis"]]
    shifts = call.numbers(1, "shifts") if call.op.name == "roll" else tuple(0 for _ in axes)
    if shifts is None or (call.op.name == "roll" and len(shifts) != len(axes)):
        call.constraints.stop(x.labels, "is shifted by a computed number of places")
        return [Signal(x.shape)]
    labels = list(x.labels)
    for axis, shift in zip(axes, shifts):
        for number, label in enumerate(labels):
            if axis in label.axes:
                place = label.axes.index(axis)
                atoms = label.atoms
                atoms = np.roll(atoms, shift, place) if call.op.name == "roll" else np.flip(atoms, place)
                labels[number] = Label(label.axes, atoms)
    return [replace(x, labels=tuple(labels), tensor="", value=None)]
