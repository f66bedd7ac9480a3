"""What a rule is, and the table of all rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...errors import PruneError
from ..constraints import Constraints
from ..labels import Signal, Value, signals_of
from ..op import Op


@dataclass(frozen=True)
class Call:
    """One op with the signals that reach it, at the sizes under test and at trace time: what a rule is given.

    A rule runs when the network is traced, and again at other sizes whenever a cut is planned. What flows at the sizes
    of now is in `arg`; how the program was built is in `traced_arg` and `shape`, whatever the sizes are.

    Attributes:
        op: the operation.
        args: the operands at the sizes under test.
        constraints: where the rule writes what it learns.
        traced: the operands at trace time: their sizes say how the program is built.
        results: the results at trace time; None while they are being computed for the first time.

    Example:
        >>> from hapi_prune import Call, Signal, register_rule
        >>> def my_activation(call: Call):  # element by element, so the labels pass; all other operands stay
        ...     x = call.arg(0)
        ...     call.stop_others(0)
        ...     return [Signal(x.shape, x.labels)]
        >>> register_rule("my_activation", my_activation)
    """

    op: Op
    args: Sequence[Value]
    constraints: Constraints
    traced: Sequence[Value]
    results: Sequence[Value] | None = None

    def arg(self, index: int) -> Signal:
        """An operand at the sizes under test.

        Args:
            index: its number, from 0.

        Returns:
            Its shape and labels. An operand that is a list, or was left out, is an AssertionError: then the op counts
            as one that cannot be followed.
        """
        value = self.args[index]
        assert isinstance(value, Signal), f"operand {index} of {self.op} is not a tensor"
        return value

    def traced_arg(self, index: int) -> Signal:
        """An operand at trace time.

        Args:
            index: its number, from 0.

        Returns:
            Its shape and labels; otherwise as `arg`.
        """
        value = self.traced[index]
        assert isinstance(value, Signal), f"operand {index} of {self.op} is not a tensor"
        return value

    def traced_result(self, index: int = 0) -> Signal | None:
        """A result at trace time.

        Args:
            index: its number, from 0.

        Returns:
            Its shape and labels; None while it is being computed for the first time, and for a list.
        """
        value = self.results[index] if self.results is not None else None
        return value if isinstance(value, Signal) else None

    def channel_axis(self) -> int:
        """The axis of operand 0 that holds the channels."""
        return self.op.channel_axis(len(self.arg(0).shape))

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of a result at trace time.

        Args:
            index: its number, from 0.

        Returns:
            Its sizes; -1 where the program computes one in a way that is not known.
        """
        shape = self.op.shapes[index] or ()
        if -1 not in shape:
            return shape
        result, shape_rule = self.traced_result(index), TABLE.shapes.get(self.op.name)
        found = result.shape if result else shape_rule(self) if shape_rule else shape
        return tuple(known if size == -1 else size for size, known in zip(shape, found))

    def has(self, index: int) -> bool:
        """Whether an operand is there.

        Args:
            index: its number, from 0.

        Returns:
            False if it was left out.
        """
        return index < len(self.args) and self.args[index] is not None

    def numbers(self, index: int, attr: str = "") -> tuple[int, ...] | None:
        """Whole numbers that are written into the program, as an operand or as an attribute.

        Args:
            index: number of the operand, from 0.
            attr: name of the attribute that holds them where there is no such operand.

        Returns:
            The numbers; None where the program computes them, or has none.
        """
        if self.has(index):
            operand = self.args[index]
            parts = [part.value for part in (operand if isinstance(operand, tuple) else [operand]) if part is not None]
            found = [n for part in parts for n in part or ()]
            return None if None in parts or not all(map(is_whole, found)) else tuple(map(int, found))
        value = self.op.attrs.get(attr)
        if value is None:
            return None
        return tuple(int(v) for v in value) if isinstance(value, (list, tuple)) else (int(value),)

    def plain(self, index: int = 0) -> Signal:
        """A result as it was at trace time, without labels.

        Args:
            index: its number, from 0.

        Returns:
            A signal with the shape of the result.
        """
        return Signal(self.shape(index))

    def stop_others(self, *followed: int, reason: str = "steers what is done with others") -> None:
        """Freeze what reaches the op by any operand but those that the rule accounts for.

        Args:
            followed: the numbers of these, from 0.
            reason: why the others stay, for the user.
        """
        for signal in signals_of(value for index, value in enumerate(self.args) if index not in followed):
            self.constraints.stop(signal.labels, reason)


Rule = Callable[[Call], Sequence[Value]]
"""The signals of the results. A rule that gives fewer leaves the others without labels."""

FlopsRule = Callable[[Op, Sequence[Value], Sequence[Value]], tuple[int, int]]
"""FLOPs and multiply-adds of an op, from its operands and its results."""

ShapeRule = Callable[[Call], tuple[int, ...]]
"""The shape of result 0 at trace time, where Paddle left it open."""


def free(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """Nothing: by convention, moving data and element-wise work are not counted."""
    return 0, 0


def is_whole(number: object) -> bool:
    """Whether a number could be a size or the place of a slice: a whole one, of no more than 62 bits."""
    return isinstance(number, (int, float)) and abs(number) < 2**62 and number == int(number)


def in_float32(number: float) -> float:
    """A number that Paddle computes from sizes, rounded as there: 12 times a third is 4, and not a little more."""
    found = number if number == int(number) else float(np.float32(number))
    return int(found) if found == int(found) else found


def elements(value: Value) -> int:
    """How many elements a value has; 0 for a list, or where there is none."""
    return value.size if isinstance(value, Signal) else 0


@dataclass
class Table:
    """By name of the op: its rule, its FLOPs, and the shape of its result where Paddle leaves it open."""

    rules: dict[str, Rule] = field(default_factory=dict)
    flops: dict[str, FlopsRule] = field(default_factory=dict)
    shapes: dict[str, ShapeRule] = field(default_factory=dict)


TABLE = Table()


def flops_of(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int] | None:
    """FLOPs and multiply-adds of an op, from its operands and results.

    None where they are unknown: no rule counts them, or they depend on a size that the program computes, such as the
    number of boxes.
    """
    count = TABLE.flops.get(op.name)
    found = count(op, args, outs) if count else None
    if not found or not any(found):
        return found
    return None if any(-1 in signal.shape for signal in signals_of([*args[:1], *outs[:1]])) else found


def rule(*names: str, flops: FlopsRule | None = None) -> Callable[[Rule], Rule]:
    """Enter a rule for the ops of these names, and what they cost (`free`: nothing; None: unknown, and reported)."""

    def enter(function: Rule) -> Rule:
        for name in names:
            TABLE.rules[name] = function
            if flops is not None:
                TABLE.flops[name] = flops
        return function

    return enter


def shape_rule(*names: str) -> Callable[[ShapeRule], ShapeRule]:
    """Enter how the shape of a result is found for the ops of these names."""

    def enter(function: ShapeRule) -> ShapeRule:
        TABLE.shapes.update(dict.fromkeys(names, function))
        return function

    return enter


def register_rule(name: str, rule: Rule, flops: FlopsRule | None = None) -> None:
    """Teach the library an op of your own, or another way with one that it knows.

    Args:
        name: the op's name in the traced program, without ``pd_op.``: the name that ``check`` and the notes of a
            cut give for "an op that has no rule". For a custom C++ op it is the name given to ``PD_BUILD_OP``.
        rule: what the op does to labels: `Call` -> signals of the results.
        flops: what it costs, from the op, its operands and its results: (FLOPs, multiply-adds). None: unknown, and
            reported so.

    Raises:
        PruneError: a name that no op can have, or a rule or flops that cannot be called.

    Example:
        >>> from hapi_prune import register_rule
        >>> from hapi_prune.analysis.rules.elementwise import unary  # each element by itself: the labels pass
        >>> register_rule("my_activation", unary, flops=lambda op, args, outs: (args[0].size, 0))
    """
    if not isinstance(name, str) or not name or name.startswith("pd_op."):
        raise PruneError("register_rule(name=...)", f"{name!r}", "an op's name without 'pd_op.'")
    for what, value in (("rule", rule), ("flops", flops)):
        if not callable(value) and not (what == "flops" and value is None):
            raise PruneError(f"register_rule({name!r}, {what}=...)", f"{value!r}", "a function")
    TABLE.rules[name] = rule
    TABLE.flops.pop(name, None)
    if flops is not None:
        TABLE.flops[name] = flops
