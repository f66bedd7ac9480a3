"""Ops in which values meet: what meets position by position is tied."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ...plan import Index
from ..constraints import Constraints
from ..labels import Label, Mismatch, Signal, Value, signals_of
from ..op import Op
from .reduction import told_apart
from .registry import Call, free, in_float32, rule

FIXED = "meets a value of fixed size"
BLOCK = "is one of several blocks, which stay"
LAYOUT = "meets channels that are laid out in another way"


def meet(
    constraints: Constraints, ours: Iterable[Label], our_axes: set[int], theirs: Iterable[Label], their_axes: set[int]
) -> set[int]:
    """Two values meet position by position, on common axes.

    Args:
        constraints: where the ties go.
        ours, theirs: the labels of each value, on the axes of the result.
        our_axes, their_axes: the axes along which each value is spread out (its size there is more than 1).

    Returns:
        The ids of the labels that are frozen here.
    """
    ended: set[int] = set()
    ours, theirs = list(ours), list(theirs)
    met: set[int] = set()
    for label in ours:
        for other in theirs:
            wide, narrow, spread = (label, other, their_axes) if len(label.axes) >= len(other.axes) else (
                other, label, our_axes
            )  # fmt: skip
            rest = set(wide.axes) - set(narrow.axes)
            if not set(narrow.axes) <= set(wide.axes):
                if crossed(constraints, label, other):
                    met |= {id(label), id(other)}
                continue
            if rest and all(map(partial(separate, constraints, wide), narrow.axes)):
                # One number for each block of the wider one, as for each head: the blocks stay.
                constraints.stop([narrow], BLOCK)
                met |= {id(label), id(other)}
            elif all(map(partial(separate, constraints, wide), rest & spread)):
                tie_blocks(constraints, wide, narrow)
                met |= {id(label), id(other)}
    for labels, others, axes, own in ((ours, theirs, their_axes, our_axes), (theirs, ours, our_axes, their_axes)):
        # What did not meet and is covered on all of its axes is frozen below, so nothing can slip along it.
        free = [other for other in others if id(other) in met or not set(other.axes) <= own]
        for label in labels:
            shared = [axis for axis in label.axes if axis in axes]
            if id(label) in met or not shared:
                continue
            if len(shared) == len(label.axes) or any(slips(constraints, label, other, shared) for other in free):
                constraints.stop([label], LAYOUT if any(set(label.axes) & set(o.axes) for o in others) else FIXED)
                ended.add(id(label))
            else:
                constraints.pin_along(label, shared)
    return ended


def crossed(constraints: Constraints, one: Label, other: Label) -> bool:
    """Whether two labels share axes and each has others of its own, along which it is one of several blocks that stay.

    Then whole heads can go, as in attention by heads: what lies at one place of the shared axes is tied, in both.
    """
    shared = sorted(set(one.axes) & set(other.axes))
    blocks = [separate(constraints, label, axis) for label in (one, other) for axis in set(label.axes) - set(shared)]
    if not shared or not all(blocks) or not any(slips(constraints, one, other, [axis]) for axis in shared):
        return False
    heads = [head_of_each(constraints, label.along(shared)) for label in (one, other)]
    constraints.tie(*heads)
    return True


def head_of_each(constraints: Constraints, atoms: Index) -> Index:
    """The first atom of each block, ``atoms``: ``[blocks..., slices]``, to which all others of it are tied.

    Slices that are none, such as padding, go with their block.
    """
    if atoms.shape[-1] == 1:
        return atoms[..., 0]
    first = np.take_along_axis(atoms, (atoms >= 0).argmax(axis=-1)[..., None], axis=-1)
    constraints.tie(np.where(atoms >= 0, atoms, first), np.broadcast_to(first, atoms.shape))
    return first[..., 0]


def separate(constraints: Constraints, label: Label, axis: int) -> bool:
    """Whether the slices along ``axis`` are told apart; a single one that is left is no block of its own."""
    return label.atoms.shape[label.axes.index(axis)] > 1 and told_apart(constraints, label, axis)


def slips(constraints: Constraints, label: Label, other: Label, shared: Iterable[int]) -> bool:
    """Whether one could lose slices along an axis that they share, and not the other; blocks stay in both."""
    common = set(other.axes) & set(shared)
    return not all(separate(constraints, one, axis) for one in (label, other) for axis in common)


def tie_blocks(constraints: Constraints, wide: Label, narrow: Label) -> None:
    """All slices of the wider label at one position of the narrower one are tied to the slice that is there."""
    atoms = wide.along(narrow.axes)
    if atoms.shape[:-1] != narrow.atoms.shape:
        raise Mismatch(f"{constraints.op}: {atoms.shape[:-1]} channels meet {narrow.atoms.shape}")
    constraints.tie(head_of_each(constraints, atoms), narrow.atoms)


def aligned(signal: Signal, rank: int) -> list[Label]:
    """The labels on the axes of a result of ``rank`` axes, to which the value is broadcast."""
    lead = rank - len(signal.shape)
    return [label.renamed([axis + lead for axis in label.axes]) for label in signal.labels]


def settled(sides: Sequence[Sequence[Label]]) -> list[Label]:
    """The labels that stand for all after the ``sides`` have met.

    A label that met one of another side is tied to it (or both are frozen), so one of the two is enough: the
    wider. Labels of one side say different things, and all stay.
    """
    kept: list[Label] = []
    for number, side in enumerate(sides):
        others = [(n, label) for n, labels in enumerate(sides) if n != number for label in labels]
        kept += [
            label
            for label in side
            if not any(set(label.axes) < set(o.axes) or (label.axes == o.axes and n < number) for n, o in others)
        ]
    return kept


def broadcast(call: Call, args: Sequence[Signal], traced: Sequence[Signal]) -> Signal:
    """The result of an element-wise op over ``args``: sizes agree, labels meet."""
    rank = max((len(signal.shape) for signal in args), default=0)
    spread = [
        {a + rank - len(t.shape) for a, size in enumerate(t.shape) if size > 1 and a not in t.uniform} for t in traced
    ]
    args = agreed(call.constraints, args, spread, rank)
    sides = [aligned(signal, rank) for signal in args]
    random = [signal for signal in traced if signal.drawn]
    places = {axis + rank - len(signal.shape) for signal in random for axis in signal.uniform}
    call.constraints.mix_with_drawn([label for side in sides for label in side], places)
    ended: set[int] = set()
    for number, side in enumerate(sides):
        for before in range(number):
            ended |= meet(call.constraints, sides[before], spread[before], side, spread[number])
    # What is frozen here has said what it has to say, and would only be in the way of others further on.
    sides = [[label for label in side if id(label) not in ended] for side in sides]
    shape = [1] * rank
    for signal, axes in zip(args, spread):
        for axis in axes:
            shape[axis] = signal.shape[axis - rank]
    for axis in range(rank):
        if not any(axis in axes for axes in spread):
            sizes = [signal.shape[axis - rank] for signal in args if len(signal.shape) >= rank - axis]
            shape[axis] = -1 if -1 in sizes else max(sizes)
    uniform = {axis for axis, size in enumerate(shape) if size > 1 and not any(axis in axes for axes in spread)}
    return Signal(tuple(shape), tuple(settled(sides)), uniform=frozenset(uniform), drawn=bool(random))


def agreed(constraints: Constraints, args: Sequence[Signal], spread: Sequence[set[int]], rank: int) -> list[Signal]:
    """The arguments with equal sizes where they are spread out; the network's own tensors follow the others."""
    result = list(args)
    for axis in range(rank):
        wide = [n for n, axes in enumerate(spread) if axis in axes]
        sizes = [(not args[n].tensor, args[n].shape[axis - rank]) for n in wide]
        if len({size for _, size in sizes}) < 2:
            continue
        lead = max(sizes, key=lambda pair: pair[0])[1]
        for n in wide:
            result[n] = constraints.follow(result[n], len(args[n].shape) + axis - rank, lead)
    return result


def bias_flops(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """One per output for the bias of a convolution, which the trace marks; any other sum is free."""
    out = outs[0]
    if not op.attrs.get("conv_bias") or not isinstance(out, Signal):
        return 0, 0
    return out.size, 0


@rule("add", flops=bias_flops)
@rule(
    "subtract", "multiply", "divide", "maximum", "minimum", "fmax", "fmin", "remainder", "floor_divide",
    "elementwise_pow", "heaviside", "atan2", "add_n", "where", "lerp", "masked_fill",
    "equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal",
    "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor", "assign_out_", "hypot",
    "fmod", "copysign", "nextafter", "logaddexp", flops=free,
)  # fmt: skip
def elementwise(call: Call) -> Sequence[Value]:
    """Several values are computed with, position by position: labels that meet at a position are tied."""
    args, traced = signals_of(call.args), signals_of(call.traced)
    if len(args) == 1:
        return [Signal(args[0].shape, args[0].labels)]
    return [replace(broadcast(call, args, traced), value=computed(call, args))]


ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "floor_divide": operator.floordiv,
    "divide": operator.truediv, "remainder": operator.mod,
    "maximum": lambda a, b: max(a, b), "minimum": lambda a, b: min(a, b),
}  # fmt: skip

DIVIDING = ("divide", "floor_divide", "remainder")


def computed(call: Call, args: Sequence[Signal]) -> tuple[float, ...] | None:
    """The numbers of the result, if those of the operands are known: programs compute sizes from sizes."""
    function = ARITHMETIC.get(call.op.name)
    if function is None or len(args) != 2 or None in (args[0].value, args[1].value):
        return None
    one, other = args[0].value or (), args[1].value or ()
    length = max(len(one), len(other))
    if {len(one), len(other)} - {1, length} or (call.op.name in DIVIDING and 0 in other):
        return None
    return tuple(in_float32(function(a, b)) for a, b in zip(one * (length // len(one)), other * (length // len(other))))


@rule("prelu", flops=free)
def prelu(call: Call) -> Sequence[Value]:
    """A leaky ReLU with one slope for all channels, or one for each, which is tied to its channel."""
    x, slope = call.arg(0), call.arg(1)
    if call.traced_arg(1).shape[0] == 1:
        return [Signal(x.shape, x.labels)]
    return [per_channel(call, x, call.channel_axis(), [slope])]


def per_channel(call: Call, x: Signal, axis: int, tensors: Sequence[Signal | None]) -> Signal:
    """One number per slice along ``axis`` of ``x`` for each of ``tensors``, all of shape ``[size of axis]``."""
    labels = x.on(axis)
    for tensor in tensors:
        if tensor is None:
            continue
        tensor = call.constraints.follow(tensor, 0, x.shape[axis])
        for own in tensor.labels:
            if len(labels) != 1:
                call.constraints.stop([own, *labels], LAYOUT if labels else FIXED)
                continue
            atoms = labels[0].along([axis])
            one = own.atoms[:, None]
            call.constraints.tie(atoms, one if one.shape == atoms.shape else np.broadcast_to(one, atoms.shape))
        if not tensor.labels:
            call.constraints.stop(labels, FIXED)
    return Signal(x.shape, x.labels)
