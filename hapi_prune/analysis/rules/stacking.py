"""Ops that put values side by side (concat, stack), and those that make lists of values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...plan import Index
from ..constraints import Constraints
from ..labels import NONE, Label, Mismatch, Signal, Value
from .broadcasting import meet, settled
from .registry import Call, free, rule


@rule("builtin.combine", flops=free)
def combine(call: Call) -> Sequence[Value]:
    """Paddle's own op that makes one operand, a list, of several values."""
    return [tuple(arg for arg in call.args if isinstance(arg, Signal))]


@rule("builtin.split", flops=free)
def uncombine(call: Call) -> Sequence[Value]:
    """Paddle's own op that takes such a list apart again."""
    parts = call.args[0]
    return list(parts) if isinstance(parts, tuple) else []


@rule("concat", flops=free)
def concat(call: Call) -> Sequence[Value]:
    """Values side by side along one axis: the result has the labels of all, one after the other."""
    parts, traced = call.args[0], call.traced[0]
    axis = call.numbers(1, "axis")
    assert isinstance(parts, tuple) and isinstance(traced, tuple) and axis
    return [beside(call.constraints, parts, [t.shape for t in traced], axis[0] % len(parts[0].shape))]


@rule("stack", flops=free)
def stack(call: Call) -> Sequence[Value]:
    """Values side by side along a new axis: the slices of each are those of a value."""
    parts, traced = call.args[0], call.traced[0]
    assert isinstance(parts, tuple) and isinstance(traced, tuple)
    axis = call.op.attrs["axis"] % (len(parts[0].shape) + 1)
    raised = [unsqueezed(part, axis) for part in parts]
    return [beside(call.constraints, raised, [unsqueezed(t, axis).shape for t in traced], axis)]


def unsqueezed(signal: Signal, axis: int) -> Signal:
    """``signal`` with a new axis of size 1."""
    labels = tuple(label.renamed([a + (a >= axis) for a in label.axes]) for label in signal.labels)
    return Signal(signal.shape[:axis] + (1,) + signal.shape[axis:], labels, value=signal.value)


def squeezed(signal: Signal, axis: int) -> Signal:
    """``signal`` without ``axis``, which has size 1 or is left with one slice: no label varies along it."""
    labels = tuple(label.renamed([a - (a > axis) for a in label.axes]) for label in signal.labels)
    return Signal(signal.shape[:axis] + signal.shape[axis + 1 :], labels)


def beside(constraints: Constraints, parts: Sequence[Signal], traced: Sequence[tuple[int, ...]], axis: int) -> Signal:
    """The parts one after the other along ``axis``; on the other axes their labels meet."""
    if all(part.value is not None for part in parts) and len(parts[0].shape) == 1:
        numbers = tuple(n for part in parts for n in part.value or ())
        return Signal((len(numbers),), value=numbers)
    first = parts[0]
    for number, part in enumerate(parts[1:], 1):
        for other, size in enumerate(first.shape):
            if other != axis and part.shape[other] != size and -1 not in (part.shape[other], size):
                raise Mismatch(f"{constraints.op}: {part.shape} beside {first.shape}")
        full = [{a for a, size in enumerate(traced[n]) if size > 1 and a != axis} for n in (0, number)]
        meet(constraints, off(first, axis), full[0], off(part, axis), full[1])
    labels = settled([off(part, axis) for part in parts])
    along = [part.on(axis) for part in parts]
    if any(part.shape[axis] == -1 for part in parts):
        constraints.stop([label for labels in along for label in labels], "stands beside slices of a computed number")
        return Signal(first.sized(axis, -1).shape, tuple(labels))
    if any(along):
        for extra in along:
            constraints.stop(extra[1:], "carries two kinds of channels")
        axes = tuple(sorted({a for labels in along for label in labels[:1] for a in label.axes}))
        atoms = [merge(labels[:1], part.shape, axes) for labels, part in zip(along, parts)]
        labels.append(Label(axes, np.concatenate(atoms, axis=axes.index(axis))))
    size = sum(part.shape[axis] for part in parts)
    return Signal(first.sized(axis, size).shape, tuple(labels))


def off(signal: Signal, axis: int) -> tuple[Label, ...]:
    """The labels that do not vary along ``axis``."""
    return tuple(label for label in signal.labels if axis not in label.axes)


def merge(labels: Sequence[Label], shape: Sequence[int], axes: tuple[int, ...]) -> Index:
    """One label's atoms spread over all of ``axes`` of a value of ``shape``; NONE where there is no label."""
    if not labels:
        return np.full([shape[axis] for axis in axes], NONE, dtype=np.int64)
    label = labels[0]
    place = [-1 if axis in label.axes else 1 for axis in axes]
    sizes = iter(label.atoms.shape)
    spread = label.atoms.reshape([next(sizes) if p == -1 else 1 for p in place])
    return np.broadcast_to(spread, [shape[axis] for axis in axes])
