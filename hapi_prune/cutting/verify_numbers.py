"""Where attributes are set with a cut: no number in the program may change with them but sizes and places of channels.

An attribute may do more than count channels: with ``self.dim ** -0.5`` it scales, and what that changes may be too
small to be seen in what the network returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..analysis.held_counts import spans_of
from ..analysis.labels import Signal, Value, signals_of
from ..analysis.op import Op

CONSTANTS = {"full", "full_int_array"}
"""Ops that are numbers in the code, and nothing else."""

GATHERING = {"builtin.combine", "stack", "assign", "cast"}
"""Ops that make a shape of numbers, where it is a list of several."""

SIZING = {"reshape", "expand", "split"}
"""Ops to which a number is a size, so that the shape of what they make says whether it is right."""

RANGES = {"slice": 1, "set_value_": 1, "set_value_with_tensor_": 2}
"""Ops to which two numbers are where a range begins and ends, and which operand the first of them is."""


@dataclass
class Changes:
    """What is not what it was before the cut, so far into the program.

    Attributes:
        numbers: by value, numbers in the code that are others now.
        others: values whose size has changed, and the labels do not say why.
    """

    numbers: dict[int, Any] = field(default_factory=dict)
    others: set[int] = field(default_factory=set)

    def are_sizes(self, op: Op, before: Op, args: Sequence[Value], results: Sequence[Value]) -> bool:
        """Whether an op does what it did, but for sizes that are already known to be as planned.

        Args:
            op: as it is now.
            before: as it was traced.
            args, results: its signals as planned.
        """
        now, was = op.in_both_modes, before.in_both_modes
        differ = {name for name in {*now, *was} - {"held"} if now.get(name) != was.get(name)}
        if op.name in CONSTANTS and differ == {"value"}:
            self.numbers.update(dict.fromkeys(op.results, op.attrs["value"]))
            return True
        self.others.update(number for number, shape, value in zip(op.results, op.shapes, results) if odd(shape, value))
        used = self.numbers.keys() & set(op.operands)
        if op.name in GATHERING and used:
            self.numbers.update(dict.fromkeys(op.results))
        elif op.name in RANGES and used:
            return not differ and not self.others.intersection(op.operands) and self.in_place(op, args, results)
        elif op.name not in SIZING and used:
            return False
        return differ <= {"groups", "target_shape"} and not self.others.intersection(op.operands)

    def in_place(self, op: Op, args: Sequence[Value], results: Sequence[Value]) -> bool:
        """Whether a range lies where the labels say. Where one end is as before, its length says where the other is."""
        first = RANGES[op.name]
        borders = [number for number in op.operands[first : first + 2] if number in self.numbers]
        if any(number in self.numbers for number in op.operands if number not in borders):
            return False
        if len(borders) < 2:
            return True
        if op.name != "slice":
            return False
        whole, part = signals_of(args)[:1], signals_of(results)[:1]
        planned, rank, begins = spans_of(whole, part), len(whole[0].shape), self.numbers[borders[0] or 0]
        return bool(begins) and all(
            planned.get(axis % rank, (None,))[0] == begin for axis, begin in zip(op.attrs["axes"], begins)
        )


def odd(shape: tuple[int, ...] | None, value: Value) -> bool:
    """Whether a result has another shape than planned."""
    return shape is not None and isinstance(value, Signal) and shape != value.shape and -1 not in shape
