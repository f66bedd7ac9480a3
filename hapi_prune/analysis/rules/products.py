"""Products that sum over an axis: matmul and its like."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..labels import Label, Signal, Value, signals_of
from ..op import Op
from .broadcasting import broadcast, head_of_each, meet, separate, settled
from .reduction import tied
from .registry import Call, elements, rule
from .zeros import Sides, is_zero, on_common_axes

Side = tuple[Signal, list[int], list[Label], set[int]]
"""An operand, the number of each of its axes in the product, its labels on these, and the axes it is spread along."""


def product_flops(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """For each element of the result as many multiply-adds as the axis that is summed over is long."""
    x, out = args[0], outs[0]
    assert isinstance(x, Signal) and isinstance(out, Signal)
    summed = x.shape[-2 if op.attrs.get("transpose_x") and len(x.shape) > 1 else -1]
    macs = out.size * summed
    return macs, macs


@rule("matmul", "bmm", "mv", flops=product_flops)
def matmul(call: Call) -> Sequence[Value]:
    """The last axis of one meets the last but one of the other, and is summed over."""
    x, y = call.arg(0), call.arg(1)
    x_axes, y_axes = axis_roles(call, 0), axis_roles(call, 1)
    k_x, k_y = x_axes.index("k"), y_axes.index("k")
    if k_x in x.uniform:
        x = x.sized(k_x, y.shape[k_y])
    if k_y in y.uniform:
        y = y.sized(k_y, x.shape[k_x])
    if x.tensor and not y.tensor:
        x = call.constraints.follow(x, k_x, y.shape[k_y])
    y = call.constraints.follow(y, k_y, x.shape[k_x])
    rank, tail = len(call.shape()), (len(x_axes) > 1) + (len(y_axes) > 1)
    sides = []
    for signal, axes, traced in ((x, x_axes, call.traced_arg(0)), (y, y_axes, call.traced_arg(1))):
        positions = [coordinate(axis, rank, tail) for axis in axes]
        labels = [label.renamed([positions[axis] for axis in label.axes]) for label in signal.labels]
        sides.append((signal, positions, labels, spread_out(traced, positions)))
    return [contracted(call, sides, rank)]


def spread_out(traced: Signal, positions: Sequence[int]) -> set[int]:
    """The axes of the product along which an operand has slices that are not all alike."""
    return {positions[axis] for axis, size in enumerate(traced.shape) if size > 1 and axis not in traced.uniform}


def axis_roles(call: Call, index: int) -> list[str]:
    """What each axis of an operand is: a batch axis ``"b0"`` (counted from the right), ``"m"``, ``"k"`` or ``"n"``."""
    rank = len(call.traced_arg(index).shape)
    if rank == 1:
        return ["k"]
    last = ["m", "k"] if index == 0 else ["k", "n"]
    if call.op.attrs.get("transpose_x" if index == 0 else "transpose_y"):
        last.reverse()
    return [f"b{rank - 3 - axis}" for axis in range(rank - 2)] + last


def coordinate(name: str, rank: int, tail: int) -> int:
    """The axis of a result of ``rank`` axes, ``tail`` of them not batch axes; ``rank`` for the axis summed over."""
    if name in ("k", "m", "n"):
        return {"k": rank, "m": rank - tail, "n": rank - 1}[name]
    return rank - tail - 1 - int(name[1:])


def contracted(call: Call, sides: Sequence[Side], rank: int) -> Signal:
    """The product: labels on the summed axis meet and end, the others go on."""
    y, positions, _, _ = sides[1]
    if y.tensor and len(y.shape) == 2:
        call.constraints.filters.add((y.tensor, positions.index(rank - 1)))
    return combined(call, sides, rank)


def combined(call: Call, sides: Sequence[Side], rank: int) -> Signal:
    """All sides meet; axes of the result are numbered below ``rank``, axes that are summed over from it on."""
    for number, (_, _, labels, spread) in enumerate(sides):
        for _, _, others, axes in sides[:number]:
            meet(call.constraints, others, axes, labels, spread)
    shape = list(call.shape())
    kept: list[list[Label]] = []
    met = [(signal, labels) for signal, _, labels, _ in sides]
    alike = {positions[axis] for signal, positions, _, _ in sides for axis in signal.uniform}
    if any(signal.drawn for signal, _ in met):
        call.constraints.mix_with_drawn([label for _, labels in met for label in labels], alike)
    for signal, positions, labels, spread in sides:
        for axis in {positions[axis] for axis in signal.uniform} | spread:
            if axis < rank:
                shape[axis] = signal.shape[positions.index(axis)]
        through = [label for label in labels if max(label.axes) < rank]
        for label in labels:
            if max(label.axes) >= rank:
                summed_up(call, label, met)
                through = with_blocks(call, through, left_of(call, label, rank))
        kept.append(through)
    nonzero = any(not is_zero(label, met) for labels in kept for label in labels)
    taken = {axis for _, _, _, spread in sides for axis in spread}
    uniform = frozenset(axis for axis in alike - taken if axis < rank)
    return Signal(tuple(shape), tuple(settled(kept)), uniform=uniform, nonzero=nonzero)


def left_of(call: Call, label: Label, rank: int) -> Label | None:
    """What is left of a label of which axes are summed over, those from ``rank`` on; None where it ends.

    Where whole blocks of them can go, as heads of an attention, it goes on: one for each block. Otherwise the slices
    keep their places on the other axes.
    """
    left, gone = ([axis for axis in label.axes if (axis >= rank) == over] for over in (False, True))
    blocks = [separate(call.constraints, label, axis) for axis in gone]
    if left and all(blocks) and not all(separate(call.constraints, label, axis) for axis in left):
        return tied(call.constraints, label, gone)
    call.constraints.pin_along(label, left)
    return None


def with_blocks(call: Call, labels: list[Label], blocks: Label | None) -> list[Label]:
    """The labels of a product with one more, of whole blocks; it is tied to one that has slices inside of these."""
    inside = next((label for label in labels if blocks and set(blocks.axes) <= set(label.axes)), None)
    if blocks and inside:
        call.constraints.tie(blocks.atoms, head_of_each(call.constraints, inside.along(blocks.axes)))
    return [*labels, *([blocks] if blocks and not inside else [])]


def summed_up(call: Call, label: Label, sides: Sides) -> None:
    """The slices of a label are summed up: those that go are only left out where they are zero."""
    if not is_zero(label, sides):
        call.constraints.mix([label], "is summed up with others")


def einsum_flops(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """One multiply-add for each combination of the values of all letters, as in nested loops, one a letter."""
    letters = equation(op, args)
    if letters is None:
        return 0, 0
    sizes = {name: s.shape[n] for s, names in zip(signals_of(args), letters[0]) for n, name in enumerate(names)}
    return (math.prod(sizes.values()),) * 2


def equation(op: Op, args: Sequence[Value]) -> tuple[list[list[str]], list[str]] | None:
    """The letters of each operand and of the result; None where a letter stands twice in one of them."""
    left, arrow, right = op.attrs["equation"].replace(" ", "").partition("->")
    terms = left.split(",")
    ranks = [len(signal.shape) for signal in signals_of(args)]
    dots = max((rank - len(term) + 3 for rank, term in zip(ranks, terms) if "..." in term), default=0)
    if not arrow:
        once = sorted(letter for letter in set(left) - {",", "."} if left.count(letter) == 1)
        right = ("..." if dots else "") + "".join(once)
    spelled = []
    for term, rank in zip([*terms, right], [*ranks, dots + len(right) - 3 * ("..." in right)]):
        front, _, back = term.partition("...")
        count = rank - len(front) - len(back) if "..." in term else 0
        spelled.append([*front, *(f".{n}" for n in range(dots - count, dots)), *back])
    if any(len(set(names)) < len(names) for names in spelled):
        return None
    return spelled[:-1], spelled[-1]


@rule("einsum", flops=einsum_flops)
def einsum(call: Call) -> Sequence[Value]:
    """Axes of one letter meet; those that the result does not have are summed over."""
    letters = equation(call.op, call.args)
    args, traced = signals_of(call.args), signals_of(call.traced)
    if letters is None or len(letters[0]) != len(args):
        call.constraints.stop([label for signal in args for label in signal.labels], "meets itself in an einsum")
        return [call.plain()]
    operands, result = letters
    summed = sorted({name for names in operands for name in names} - set(result))
    number = {name: axis for axis, name in enumerate([*result, *summed])}
    sides = []
    for names, signal, was in zip(operands, followed(call, operands, args), traced):
        positions = [number[name] for name in names]
        labels = [label.renamed([positions[axis] for axis in label.axes]) for label in signal.labels]
        sides.append((signal, positions, labels, spread_out(was, positions)))
    return [combined(call, sides, len(result))]


def followed(call: Call, operands: Sequence[Sequence[str]], args: Sequence[Signal]) -> list[Signal]:
    """The operands; tensors of the network take on the sizes of the others."""
    sizes = {name: s.shape[n] for s, names in zip(args, operands) if not s.tensor for n, name in enumerate(names)}
    found = []
    for signal, names in zip(args, operands):
        for axis, name in enumerate(names):
            if signal.tensor and sizes.get(name, 1) > 1 and signal.shape[axis] > 1:
                signal = call.constraints.follow(signal, axis, sizes[name])
        found.append(signal)
    return found


def dot_flops(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """One multiply-add for each element of an operand."""
    return (elements(args[0]),) * 2


@rule("dot", flops=dot_flops)
def dot(call: Call) -> Sequence[Value]:
    """Two values are multiplied element by element, and summed up over the last axis."""
    met = broadcast(call, [call.arg(0), call.arg(1)], [call.traced_arg(0), call.traced_arg(1)])
    last, sides = len(met.shape) - 1, on_common_axes([call.arg(0), call.arg(1)])
    for label in met.labels:
        if last in label.axes:
            summed_up(call, label, sides)
        call.constraints.pin_along(label, [axis for axis in label.axes if axis != last and last in label.axes])
    return [Signal(met.shape[:-1], tuple(label for label in met.labels if last not in label.axes))]
