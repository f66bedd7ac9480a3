"""Paddle's own op program (PIR) of a function, as plain data.

Three ways to it, the next where the one before does not lead there:

1. The function is run as it is on Paddle's symbolic values: nothing is computed and no source is converted.
2. The function is run on tensors, and the Python values that its code makes of them (``int(paddle.shape(x)[1])``) are
   recorded; then it is run as in 1, with these values. Only values that depend on sizes alone are taken.
3. Paddle converts the source, so that what depends on values (a branch, a loop) becomes an op of the program. What is
   done in it cannot be followed, and of a loop over sizes too Paddle makes such an op: so this comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import paddle
from paddle.jit.dy2static.program_translator import StaticFunction
from paddle.static import InputSpec

from .concrete_values import ConcreteValues, as_on_tensors
from .forward_reads import ForwardReads, OpenSize, recording_reads
from .preserve import forward_pass, forwards
from .stacks import Stacks, user_line
from .symbolic import Symbolic, notes, symbolic

_PARAMETER = "builtin.parameter"
"""What stands for a tensor of the network where Paddle has converted the source."""

_WRITES = ("set_value_", "set_value_with_tensor_")
"""Ops of ``x[...] = y``. Paddle makes a new value; whoever held the old one sees the new, as with tensors."""

CAST_FROM = "from"
"""The attribute of a cast that says which type it is given."""


@dataclass(frozen=True)
class RawOp:
    """One operation of Paddle's program (PIR), its values numbered.

    Attributes:
        name: without the dialect.
        where: ``file:line`` of the user's code.
        scope: which call of which layers the op was made in, outermost first.
        owner: the layer in whose code the op was made; None where it was made in none.
    """

    name: str
    attrs: dict[str, Any]
    operands: tuple[int | None, ...]
    results: tuple[int, ...]
    shapes: tuple[tuple[int, ...] | None, ...]
    where: str
    scope: str
    owner: str | None = None


@dataclass(frozen=True)
class RawProgram:
    """What a function did.

    Attributes:
        ops: the operations, in order.
        tensors: number of the value -> Paddle's name, for tensors that the function came with.
        outputs: the numbers of the values that it returned.
        reads: whether its code reads the mode or sizes.
    """

    ops: tuple[RawOp, ...]
    tensors: dict[int, str]
    outputs: tuple[int, ...]
    reads: ForwardReads


def traced(
    layers: Mapping[str, paddle.nn.Layer],
    function: Callable[[list[Any]], Any],
    leaves: Sequence[paddle.Tensor],
    as_it_is: bool = False,
) -> RawProgram:
    """A function, traced to Paddle's own op program (PIR) at fixed shapes.

    A plain function is traced and not the Layer itself, since that would replace the Layer's forward.

    Args:
        layers: those of the network that the function calls, by name.
        function: what to trace.
        leaves: its tensors.
        as_it_is: whether only the first way is taken.

    Raises:
        Exception: whatever the function raises, where Paddle converts its source if it does.
    """
    stacks = Stacks({id(layer): name for name, layer in layers.items()})
    reads = ForwardReads()

    def watched(values: list[Any]) -> Any:
        with recording_reads(layers.values(), reads):
            return function(values)

    with stacks.kept(), as_on_tensors():
        try:
            made = symbolic(watched, leaves)
        except Exception as error:  # whatever cannot be done with symbolic values
            if as_it_is:
                raise
            reads = ForwardReads(mode=True, sizes=True)
            try:
                made = _otherwise(layers, function, leaves)
            except Exception:
                if not isinstance(error, OpenSize):
                    raise
                made = symbolic(function, leaves)  # with -1 for such sizes, which does where code only passes them on
    return _Reader(stacks, made).raw_program(reads)


def _otherwise(
    layers: Mapping[str, paddle.nn.Layer], function: Callable[[list[Any]], Any], leaves: Sequence[paddle.Tensor]
) -> Symbolic:
    """Paddle's program of a function that does not run as it is, by the first other way that leads there."""
    with forwards(layers.values()):  # Paddle 3.0 leaves converted ones in the layers
        if any(isinstance(layer.forward, StaticFunction) for layer in layers.values()):
            return _converted(function, leaves)  # the user has it converted, and a run on tensors would leave a program
        values = ConcreteValues()
        with suppress(Exception), forward_pass(layers.values(), layers[""].training), values.recorded():
            function(list(leaves))
        if not values:
            return _converted(function, leaves)
        try:
            with values.replayed():
                return symbolic(function, leaves)
        except Exception as first:
            try:
                return _converted(function, leaves)
            except Exception as second:
                raise first from second


def _converted(function: Callable[[list[Any]], Any], leaves: Sequence[paddle.Tensor]) -> Symbolic:
    """Paddle's program of a function whose source Paddle converts."""
    specs = [InputSpec(list(leaf.shape), leaf.dtype, name=f"input_{n}") for n, leaf in enumerate(leaves)]
    with _nothing_left_of_failures():
        made = paddle.jit.to_static(function, input_spec=[specs], full_graph=True).concrete_program
    own = (op for op in made.main_program.global_block().ops if op.name() == _PARAMETER)
    names = {op.results()[0].id: str(op.attrs()["parameter_name"]) for op in own}
    return Symbolic(made.main_program, paddle.utils.flatten(made.outputs), names)


@contextmanager
def _nothing_left_of_failures() -> Iterator[None]:
    """What Paddle has noted of a program is taken back where it fails.

    It goes by the address of the program and is only dropped at the end of a trace: a later program at the same address
    would be given values of the one that is gone.
    """
    before = [(note, set(note)) for note in notes()]
    try:
        yield
    except BaseException:
        for note, keys in before:
            for key in note.keys() - keys:
                del note[key]
        raise


class _Reader:
    """Reads one of Paddle's programs; its values get numbers."""

    def __init__(self, stacks: Stacks, made: Symbolic) -> None:
        self._stacks, self._made = stacks, made
        self._numbers: dict[str, int] = {}

    def raw_program(self, reads: ForwardReads) -> RawProgram:
        """All of it."""
        ops = tuple(self._op(op) for op in self._made.program.global_block().ops if op.name() != _PARAMETER)
        outputs = [self._number(v) for v in self._made.outputs if hasattr(v, "id")]
        tensors = {self._numbers[key]: name for key, name in self._made.tensors.items() if key in self._numbers}
        return RawProgram(ops, tensors, tuple(outputs), reads)

    def _op(self, op: Any) -> RawOp:
        attrs, name = op.attrs(), op.name().replace("pd_op.", "", 1)
        stack = attrs.pop("op_callstack", None) or ()
        if "place" in attrs:
            attrs["place"] = str(attrs["place"])  # to Paddle 3.0 no two places are equal
        scope, owner = self._stacks.made_in(stack)
        operands, results = op.operands_source(), op.results()
        if name == "cast":
            attrs[CAST_FROM] = str(operands[0].dtype)
        blocks = op.blocks() if op.num_regions() else ()
        inner = [self._number(value) for block in blocks for value in _captured(block)]
        numbers = [self._number(value) if value.initialized() else None for value in operands]
        made = tuple(self._number(value) for value in results)
        if name in _WRITES:
            self._numbers[operands[0].id] = made[0]
        shapes = tuple(_shape(value) for value in results)
        return RawOp(name, attrs, (*numbers, *inner), made, shapes, user_line(stack), scope, owner)

    def _number(self, value: Any) -> int:
        return self._numbers.setdefault(value.id, len(self._numbers))


def _captured(block: Any) -> Iterator[Any]:
    """Values that a nested block (a branch, a loop body) uses."""
    for op in block.ops:
        yield from (value for value in op.operands_source() if value.initialized())
        for inner in op.blocks():
            yield from _captured(inner)


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a value; None for a list of values."""
    try:
        return tuple(value.shape)
    except ValueError:
        return None
