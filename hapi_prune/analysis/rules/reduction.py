"""Ops along an axis: sums, maxima, softmax, sorting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ...plan import Index
from ..constraints import PIN_BITS, Constraints, distinct, hashed
from ..labels import INDEX_BITS, Label, Signal, Value
from .registry import Call, free, rule


def told_apart(constraints: Constraints, label: Label, axis: int) -> bool:
    """Whether the slices along ``axis`` are not interchangeable: they come from different axes, or are pinned.

    Then this axis is not the one that shrinks: what lies along it is removed together.
    """
    ascending: Index = np.sort(label.along([axis])[:, 0])
    if (ascending[1:] == ascending[:-1]).any():
        return False
    marks = hashed(ascending >> INDEX_BITS)
    for atoms, slots in constraints.pins_on(ascending):
        at, slot, pin = np.searchsorted(ascending, atoms), slots >> PIN_BITS, slots[0] & ((1 << PIN_BITS) - 1)
        at, slot = np.divmod(distinct(at * (slot.max() + 1) + slot), slot.max() + 1)  # each slot of an atom once
        np.add.at(marks, at, hashed((slot << PIN_BITS) + pin))
    return len(distinct(marks)) == len(marks)


def tied(constraints: Constraints, label: Label, axes: Iterable[int]) -> Label:
    """``label`` without ``axes``: what lies along them is tied."""
    rest = tuple(axis for axis in label.axes if axis not in set(axes))
    atoms = label.along(rest)
    constraints.tie(atoms, np.broadcast_to(atoms[..., :1], atoms.shape))
    return Label(rest, atoms[..., 0])


THE_SAME_WITHOUT_ZEROS = {"sum", "any", "p_norm", "frobenius_norm", "squared_l2_norm"}


@rule("mean", "sum", "max", "min", "amax", "amin", "prod", "logsumexp", "any", "all", "p_norm", "frobenius_norm",
      "squared_l2_norm", "mean_all", "median", "nanmedian", flops=free)  # fmt: skip
def reduction(call: Call) -> Sequence[Value]:
    """Axes are summed up: their labels end here, or go on along the axes that are left."""
    x = call.arg(0)
    rank = len(x.shape)
    axes = summed(call, rank)
    if axes is None:
        call.constraints.stop(x.labels, "is summed up along a computed axis")
        return [call.plain()]
    keep = len(call.op.shapes[0] or ()) == rank and rank > 0
    result = call.traced_result()
    labels = []
    for label in x.labels:
        gone = axes & set(label.axes)
        shift = {a: a if keep else a - sum(g < a for g in axes) for a in label.axes}
        left = tuple(shift[a] for a in label.axes if a not in gone)
        # Whether it goes on is decided at trace time, for all sizes.
        if result is not None:
            goes_on = any(la.axes == left for la in result.labels)
        else:
            goes_on = bool(left) and all(told_apart(call.constraints, label, axis) for axis in gone)
        if gone and not goes_on:
            if x.nonzero or call.op.name not in THE_SAME_WITHOUT_ZEROS:
                call.constraints.mix([label], "is summed up with others")
            call.constraints.pin_along(label, [axis for axis in label.axes if axis not in gone])
            continue
        label = tied(call.constraints, label, gone) if gone else label
        labels.append(label.renamed([shift[axis] for axis in label.axes]))
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes]
    return [Signal(tuple(shape), tuple(labels))]


def summed(call: Call, rank: int) -> set[int] | None:
    """The axes that are summed over; None if the program computes them."""
    if (
        call.op.attrs.get("reduce_all")
        or call.op.attrs.get("asvector")
        or call.op.name in ("squared_l2_norm", "mean_all")
    ):
        return set(range(rank))
    written = call.numbers(1, "axis")
    if written is None and call.has(1):
        return None
    return {axis % rank for axis in written} if written and rank else set(range(rank))


@rule(
    "softmax",
    "log_softmax",
    "gumbel_softmax",
    "cumsum",
    "cumprod",
    "logcumsumexp",
    "cummax",
    "cummin",
    "norm",
    flops=free,
)
def along_axis(call: Call) -> Sequence[Value]:
    """The slices along one axis are mixed, as by a softmax, and stay where they are: the labels pass."""
    x = call.arg(0)
    axis = (call.numbers(1, "axis") or (-1,))[0] % max(len(x.shape), 1)
    if call.op.attrs.get("flatten"):
        call.constraints.stop(x.labels, "is flattened and summed up")
        return [call.plain()]
    for label in x.on(axis):
        if len(label.axes) > 1 and told_apart(call.constraints, label, axis):
            tied(call.constraints, label, [axis])
        else:
            call.constraints.mix([label], "is mixed with others")
    return [Signal(x.shape, x.labels)]


@rule("argmax", "argmin", "topk", "argsort", "kthvalue", "mode", "unique", "nonzero", "searchsorted", flops=free)
def ordered(call: Call) -> Sequence[Value]:
    """The result tells slices by their number, as argmax does: the slices of that axis stay."""
    x = call.arg(0)
    call.stop_others(0)
    axis = (call.numbers(1, "axis") if call.op.name in ("argmax", "argmin") else None) or (
        call.op.attrs.get("axis", -1),
    )
    whole = call.op.attrs.get("flatten") or call.op.name in ("unique", "nonzero", "searchsorted") or not x.shape
    at = axis[0] % max(len(x.shape), 1)
    call.constraints.stop([label for label in x.labels if whole or at in label.axes], "is told by its number")
    if whole:
        return [call.plain(n) for n in range(len(call.op.shapes))]
    return [kept_off(call, x, n, at) for n in range(len(call.op.shapes))]


def kept_off(call: Call, x: Signal, index: int, axis: int) -> Signal:
    """Result ``index``, with the labels of ``x`` that do not vary along ``axis``."""
    keep = len(call.shape(index)) == len(x.shape)
    sizes = [size for a, size in enumerate(x.shape) if keep or a != axis]
    if keep:
        sizes[axis] = call.shape(index)[axis]
    labels = [label for label in x.labels if axis not in label.axes]
    return Signal(tuple(sizes), tuple(la.renamed([a - (not keep and a > axis) for a in la.axes]) for la in labels))


@rule("svd", "svdvals", "qr", "lu", "cholesky", "inverse", "determinant", "slogdet", "matrix_power", "eigh", "eigvalsh")
def matrices(call: Call) -> Sequence[Value]:
    """The last two axes are a matrix, taken as a whole; the others count such matrices."""
    x = call.arg(0)
    rank, count = len(x.shape), len(x.shape) - 2
    call.constraints.stop([label for label in x.labels if max(label.axes) >= count], "is a row or column of a matrix")
    labels = tuple(label for label in x.labels if max(label.axes) < count)
    shapes = [call.shape(n) for n in range(len(call.op.shapes))]
    # A result that does not count the matrices first, as the pair of slogdet, is not followed.
    fits = [call.traced_arg(0).shape[:count] == shape[:count] and rank > 2 for shape in shapes]
    if not any(fits):
        call.constraints.stop(labels, "is one of several matrices")
    return [Signal(x.shape[:count] + s[count:], labels) if fit else Signal(s) for s, fit in zip(shapes, fits)]
