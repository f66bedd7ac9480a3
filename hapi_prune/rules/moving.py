"""Ops that move data: the labels go where the data goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..labels import NONE, Label, Mismatch, Record, Signal, merge
from ..plan import Index
from .registry import Call, Value, rule


def blocks(source: Sequence[int], target: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The smallest runs of axes whose sizes have equal products on both sides of a reshape.

    Axes of size 1 carry no labels and belong to no run.
    """
    left = [axis for axis, size in enumerate(source) if size != 1]
    right = [axis for axis, size in enumerate(target) if size != 1]
    found: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    while left and right:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        while (a := math.prod(source[i] for i in ours)) != (b := math.prod(target[i] for i in theirs)):
            side, rest = (ours, left) if a < b else (theirs, right)
            if not rest:
                return found
            side.append(rest.pop(0))
        found.append((tuple(ours), tuple(theirs)))
    return found


@rule("reshape", "flatten", "squeeze", "unsqueeze", "view_shape")
def reshape(call: Call) -> Sequence[Value]:
    """Sizes are regrouped; where one axis becomes several, the numbers kept depend on each other."""
    x, shape = call.arg(0), call.shape()
    runs = blocks(call.traced_arg(0).shape, shape)
    result = call.traced_result()
    sizes = list(shape)
    for ours, theirs in runs:
        resize_run(call, sizes, theirs, math.prod(x.shape[axis] for axis in ours))
    labels = []
    for number, label in enumerate(x.labels):
        touched = [run for run in runs if any(axis in label.axes for axis in run[0])]
        ours = tuple(axis for run in touched for axis in run[0])
        theirs = tuple(axis for run in touched for axis in run[1])
        if not set(label.axes) <= set(ours):
            call.record.stop([label], "is regrouped in a way that cannot be followed")
            labels.append(Label((), np.full((), NONE)))
            continue
        atoms = merge([label], x.shape, ours).reshape([sizes[axis] for axis in theirs])
        kept = result.labels[number].axes if result else varying(atoms, theirs)
        labels.append(Label(kept, narrowed(atoms, theirs, kept)))
        for run in touched:
            divide(call, labels[-1], [axis for axis in run[1] if axis in kept])
    return [Signal(tuple(sizes), tuple(labels))]


def divide(call: Call, label: Label, axes: Sequence[int]) -> None:
    """A run became several ``axes``: one of them shrinks, equally everywhere along the others."""
    if len(axes) > 1:
        fixed = [axis for axis in axes if axis != shrinking(call, axes)]
        call.record.balance(label.atoms, math.prod(call.shape()[axis] for axis in fixed))
        call.record.pin_along(label, fixed)


def shrinking(call: Call, axes: Sequence[int]) -> int:
    """Which of ``axes`` shrinks: the one written as -1, or else the longest; of equal ones the last."""
    shape = call.shape()
    written = call.numbers(1) if call.op.name == "reshape" else None
    if written and len(written) == len(shape) and any(written[axis] == -1 for axis in axes):
        return next(axis for axis in axes if written[axis] == -1)
    return max(axes, key=lambda axis: (shape[axis], axis))


def resize_run(call: Call, sizes: list[int], axes: tuple[int, ...], total: int) -> None:
    """Give a run of result axes the new ``total``, on the axis that `shrinking` names among those with labels."""
    if total == math.prod(sizes[axis] for axis in axes):
        return
    result = call.traced_result()
    labelled = {axis for label in (result.labels if result else ()) for axis in label.axes}
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


@rule("transpose")
def transpose(call: Call) -> Sequence[Value]:
    """Axes change places."""
    x = call.arg(0)
    perm = [axis % len(x.shape) for axis in call.op.attrs["perm"]]
    place = {axis: new for new, axis in enumerate(perm)}
    labels = tuple(label.renamed([place[axis] for axis in label.axes]) for label in x.labels)
    return [Signal(tuple(x.shape[axis] for axis in perm), labels)]


@rule("builtin.combine")
def combine(call: Call) -> Sequence[Value]:
    """Several values as a list."""
    return [tuple(arg for arg in call.args if isinstance(arg, Signal))]


@rule("builtin.split")
def uncombine(call: Call) -> Sequence[Value]:
    """A list as several values."""
    parts = call.args[0]
    return list(parts) if isinstance(parts, tuple) else []


@rule("concat")
def concat(call: Call) -> Sequence[Value]:
    """Values side by side along one axis."""
    parts, traced = call.args[0], call.traced[0]
    axis = call.numbers(1, "axis")
    assert isinstance(parts, tuple) and isinstance(traced, tuple) and axis
    return [joined(call.record, parts, [t.shape for t in traced], axis[0] % len(parts[0].shape))]


@rule("stack")
def stack(call: Call) -> Sequence[Value]:
    """Values side by side along a new axis."""
    parts, traced = call.args[0], call.traced[0]
    assert isinstance(parts, tuple) and isinstance(traced, tuple)
    axis = call.op.attrs["axis"] % (len(parts[0].shape) + 1)
    if all(part.value is not None for part in parts):
        return [Signal((len(parts),), value=tuple(n for part in parts for n in part.value or ()))]
    raised = [unsqueezed(part, axis) for part in parts]
    return [joined(call.record, raised, [unsqueezed(t, axis).shape for t in traced], axis)]


def unsqueezed(signal: Signal, axis: int) -> Signal:
    """``signal`` with a new axis of size 1."""
    labels = tuple(label.renamed([a + (a >= axis) for a in label.axes]) for label in signal.labels)
    return Signal(signal.shape[:axis] + (1,) + signal.shape[axis:], labels)


def squeezed(signal: Signal, axis: int) -> Signal:
    """``signal`` without ``axis``, along which no label varies."""
    labels = tuple(label.renamed([a - (a > axis) for a in label.axes]) for label in signal.labels)
    return Signal(signal.shape[:axis] + signal.shape[axis + 1 :], labels)


def joined(record: Record, parts: Sequence[Signal], traced: Sequence[tuple[int, ...]], axis: int) -> Signal:
    """The parts one after the other along ``axis``; on the other axes their labels meet."""
    from .joining import meet

    first = parts[0]
    for number, part in enumerate(parts[1:], 1):
        for other in range(len(first.shape)):
            if other != axis and part.shape[other] != first.shape[other]:
                raise Mismatch(f"{record.here}: {part.shape} beside {first.shape}")
        full = [{a for a, size in enumerate(traced[n]) if size > 1 and a != axis} for n in (0, number)]
        meet(record, off(first, axis), full[0], off(part, axis), full[1])
    size = sum(part.shape[axis] for part in parts)
    labels = [label for part in parts for label in off(part, axis)]
    along = [part.on(axis) for part in parts]
    if any(along):
        for extra in along:
            record.stop(extra[1:], "carries two kinds of channels")
        axes = tuple(sorted({a for labels in along for label in labels[:1] for a in label.axes}))
        atoms = [merge(labels[:1], part.shape, axes) for labels, part in zip(along, parts)]
        labels.append(Label(axes, np.concatenate(atoms, axis=axes.index(axis))))
    return Signal(first.sized(axis, size).shape, tuple(unique(labels)))


def off(signal: Signal, axis: int) -> tuple[Label, ...]:
    """The labels that do not vary along ``axis``."""
    return tuple(label for label in signal.labels if axis not in label.axes)


def unique(labels: Sequence[Label]) -> list[Label]:
    """One label for each set of axes: what met is tied, so any of them stands for all."""
    seen: dict[tuple[int, ...], Label] = {}
    for label in labels:
        seen.setdefault(label.axes, label)
    return list(seen.values())


@rule("tile")
def tile(call: Call) -> Sequence[Value]:
    """The whole value again and again."""
    x, shape = call.arg(0), call.shape()
    lead = len(shape) - len(x.shape)
    times = [out // size for out, size in zip(shape[lead:], call.traced_arg(0).shape)]
    labels = []
    for label in x.labels:
        atoms = np.tile(label.atoms, [times[axis] for axis in label.axes])
        labels.append(Label(tuple(axis + lead for axis in label.axes), atoms))
    sizes = shape[:lead] + tuple(size * n for size, n in zip(x.shape, times))
    return [Signal(sizes, tuple(labels))]


@rule("expand", "expand_as", "broadcast_to")
def expand(call: Call) -> Sequence[Value]:
    """Axes of size 1 become longer; the others stay."""
    x, shape, traced = call.arg(0), call.shape(), call.traced_arg(0)
    lead = len(shape) - len(x.shape)
    sizes = list(shape)
    for axis, size in enumerate(traced.shape):
        if size > 1:
            sizes[axis + lead] = x.shape[axis]
    labels = tuple(label.renamed([axis + lead for axis in label.axes]) for label in x.labels)
    return [Signal(tuple(sizes), labels)]


@rule("repeat_interleave")
def repeat_interleave(call: Call) -> Sequence[Value]:
    """Every slice several times in a row."""
    x, axis, times = call.arg(0), call.op.attrs["axis"], call.op.attrs["repeats"]
    labels = [
        Label(la.axes, np.repeat(la.atoms, times, axis=la.axes.index(axis))) if axis in la.axes else la
        for la in x.labels
    ]
    return [Signal(x.sized(axis, x.shape[axis] * times).shape, tuple(labels))]


@rule("flip", "roll", "reverse")
def rearranged(call: Call) -> Sequence[Value]:
    """Slices change places along an axis, by a rule that does not name the number of slices."""
    x = call.arg(0)
    axes = [axis % len(x.shape) for axis in call.op.attrs["axis"]]
    shifts = call.numbers(1) if call.op.name == "roll" else tuple(0 for _ in axes)
    labels = list(x.labels)
    for axis, shift in zip(axes, shifts or ()):
        for number, label in enumerate(labels):
            if axis in label.axes:
                place = label.axes.index(axis)
                atoms = label.atoms
                atoms = np.roll(atoms, shift, place) if call.op.name == "roll" else np.flip(atoms, place)
                labels[number] = Label(label.axes, atoms)
    return [replace(x, labels=tuple(labels), tensor="", value=None)]


@rule("pad", "pad3d")
def pad(call: Call) -> Sequence[Value]:
    """Slices of zeros at both ends: they came from nowhere and cannot be removed."""
    x, shape, traced = call.arg(0), call.shape(), call.traced_arg(0)
    written = tuple(call.op.attrs["paddings"]) if call.op.name == "pad" else call.numbers(1, "paddings")
    grown = [axis for axis, size in enumerate(shape) if size != traced.shape[axis]]
    sizes = tuple(size + new - old for size, new, old in zip(x.shape, shape, traced.shape))
    labels = []
    for label in x.labels:
        inside = [axis for axis in label.axes if axis in grown]
        if inside and (written is None or call.op.attrs.get("mode", "constant") != "constant"):
            call.record.stop([label], "is padded")
            continue
        widths = [front_and_back(call, written, axis, shape, traced.shape) for axis in label.axes]
        labels.append(Label(label.axes, np.pad(label.atoms, widths, constant_values=NONE)))
    return [Signal(sizes, tuple(labels))]


def front_and_back(
    call: Call, written: Sequence[int] | None, axis: int, shape: Sequence[int], before: Sequence[int]
) -> tuple[int, int]:
    """How many slices are padded before and behind ``axis``."""
    grown = shape[axis] - before[axis]
    if not grown or written is None:
        return 0, grown
    if call.op.name == "pad":
        return written[2 * axis], written[2 * axis + 1]
    # pad3d counts from the last spatial axis: left, right, top, bottom, front, back.
    last = len(shape) - (1 if call.op.attrs["data_format"][1] == "C" else 2)
    place = 2 * (last - axis)
    return (written[place], written[place + 1]) if 0 <= place < len(written) else (0, grown)
