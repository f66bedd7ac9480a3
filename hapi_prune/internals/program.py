"""Paddle's own op program (PIR) of a function, as plain data.

Three ways to it, the next where the one before does not lead there:

1. The function is run as it is on Paddle's symbolic values: nothing is computed and no source is converted.
2. Paddle converts the source first, so that what depends on values (a branch, a loop) becomes an op of the program.
3. The function is run on tensors, and the Python values that its code makes of them (``int(paddle.shape(x)[1])``) are
   recorded; then it is run as in 1, with these values. Only values that depend on sizes alone are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import pir
from paddle.static import InputSpec

try:
    from paddle.jit.dy2static import parameter_recorder
except ImportError:  # where Paddle 3.0 to 3.2 have it
    from paddle.jit.pir_dy2static import parameter_recorder

from .concrete_values import ConcreteValues, finite_values
from .stacks import Stacks, user_line

_TENSOR = "<tensor>"
"""How the names of data begin that are tensors of the network."""
_WRITES = ("set_value_", "set_value_with_tensor_")
"""Ops of ``x[...] = y``. Paddle makes a new value; whoever held the old one sees the new, as with tensors."""


@dataclass(frozen=True)
class RawOp:
    """One operation of Paddle's program (PIR), its values numbered.

    Attributes:
        name: without the dialect.
        where: ``file:line`` of the user's code.
        scope: which call of which layers the op was made in, outermost first.
        tensor: Paddle's name of the network's own tensor, where the op only stands for one.
        owner: the layer in whose code the op was made; None where it was made in none.
    """

    name: str
    attrs: dict[str, Any]
    operands: tuple[int | None, ...]
    results: tuple[int, ...]
    shapes: tuple[tuple[int, ...] | None, ...]
    where: str
    scope: str
    tensor: str = ""
    owner: str | None = None


@dataclass(frozen=True)
class RawProgram:
    """What a function did.

    Attributes:
        ops: the operations, in order.
        outputs: the numbers of the values that it returned.
    """

    ops: tuple[RawOp, ...]
    outputs: tuple[int, ...]


def traced(
    function: Callable[[list[Any]], Any],
    leaves: Sequence[paddle.Tensor],
    names: Mapping[int, str],
    as_it_is: bool = False,
) -> RawProgram:
    """A function, traced to Paddle's own op program (PIR) at fixed shapes.

    A plain function is traced and not the Layer itself, since that would replace the Layer's forward.

    Args:
        function: what to trace.
        leaves: its tensors.
        names: id of each layer -> its name.
        as_it_is: whether only the first way is taken.

    Raises:
        Exception: whatever the function raises, where Paddle converts its source if it does.
    """
    stacks = Stacks(names)
    with stacks.kept(), finite_values():
        program = _as_it_is(function, leaves) if as_it_is else _concrete(function, leaves)
    reader = _Reader(stacks)
    ops = tuple(reader.ops(program.main_program))
    return RawProgram(ops, reader.numbers(program.outputs))


def _concrete(function: Callable[[list[Any]], Any], leaves: Sequence[paddle.Tensor]) -> Any:
    """Paddle's program of a function, by the first way that leads there."""
    with suppress(Exception):  # whatever cannot be done with symbolic values
        return _as_it_is(function, leaves)
    try:
        return _program(function, _specs(leaves))
    except Exception as error:
        values = ConcreteValues()
        with suppress(Exception), values.recorded():
            function(list(leaves))
        if not values:
            raise
        try:
            with values.replayed():
                return _as_it_is(function, leaves)
        except Exception as second:
            raise second from error


def _as_it_is(function: Callable[[list[Any]], Any], leaves: Sequence[paddle.Tensor]) -> Any:
    """Paddle's program of a function whose source is not converted."""

    @paddle.jit.not_to_static
    def plain(values: list[Any]) -> Any:
        return function(values)

    with _quick_parameters():
        return _program(plain, _specs(leaves))


def _specs(leaves: Sequence[paddle.Tensor]) -> list[InputSpec]:
    return [InputSpec(list(leaf.shape), leaf.dtype, name=f"input_{n}") for n, leaf in enumerate(leaves)]


def _program(function: Callable[[list[Any]], Any], specs: list[InputSpec]) -> Any:
    with _nothing_left_of_failures():
        return paddle.jit.to_static(function, input_spec=[specs], full_graph=True).concrete_program


@contextmanager
def _nothing_left_of_failures() -> Iterator[None]:
    """What Paddle has noted of a program is taken back where it fails.

    It goes by the address of the program and is only dropped at the end of a trace: a later program at the same address
    would be given values of the one that is gone.
    """
    recorder, writes = parameter_recorder._global_parameter_recorder, parameter_recorder._global_inplace_map
    notes = [recorder.params_dict, recorder.tensor2value, writes.params_dict]
    before = [set(note) for note in notes]
    try:
        yield
    except BaseException:
        for note, keys in zip(notes, before):
            for key in note.keys() - keys:
                del note[key]
        raise


@contextmanager
def _quick_parameters() -> Iterator[None]:
    """The network's own tensors go into the program as data by their names, until the block ends.

    Paddle's way makes a second program that fills each with zeros, and copies what it holds for each: half of the time
    of a trace, and of a deep network's more.
    """
    recorder = parameter_recorder._global_parameter_recorder
    known: dict[int, Any] = {}

    def get(program: Any, tensor: paddle.Tensor) -> Any:
        if id(tensor) not in known:
            place = pir.get_current_insertion_point()
            pir.set_insertion_point_to_block_end(program.global_block())
            pir.reset_insertion_point_to_start()  # before all else: a loop whose body is just being made uses it too
            value = paddle._C_ops.data(_TENSOR + tensor.name, tensor.shape, tensor.dtype, paddle.base.core.Place())
            pir.set_insertion_point(place)
            value.stop_gradient = tensor.stop_gradient
            known[id(tensor)] = value
        return known[id(tensor)]

    recorder.get = get
    try:
        yield
    finally:
        del recorder.get


class _Reader:
    """Reads one of Paddle's programs; its values get numbers."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks
        self._numbers: dict[int, int] = {}
        self._given = 0

    def numbers(self, outputs: Any) -> tuple[int, ...]:
        """The numbers of the values among what a function returned."""
        return tuple(self._number(value) for value in paddle.utils.flatten(outputs) if hasattr(value, "id"))

    def ops(self, program: Any) -> Iterator[RawOp]:
        """The operations, in order."""
        for op in program.global_block().ops:
            attrs, name = op.attrs(), op.name().replace("pd_op.", "", 1)
            stack = attrs.pop("op_callstack", None) or ()
            scope, owner = self._stacks.made_in(stack)
            operands = tuple(self._operand(value) for value in op.operands_source())
            inner = tuple(self._number(value) for block in op.blocks() for value in _captured(block))
            results = tuple(self._number(value) for value in op.results())
            if name in _WRITES:
                self._numbers[op.operands_source()[0].id] = results[0]
            yield RawOp(
                name=name,
                attrs=attrs,
                operands=operands + inner,
                results=results,
                shapes=tuple(_shape(value) for value in op.results()),
                where=user_line(stack),
                scope=scope,
                tensor=_tensor(name, attrs),
                owner=owner,
            )

    def _number(self, value: Any) -> int:
        number = self._numbers.setdefault(value.id, self._given)
        self._given += number == self._given
        return number

    def _operand(self, value: Any) -> int | None:
        return self._number(value) if value.initialized() else None


def _tensor(name: str, attrs: Mapping[str, Any]) -> str:
    """Paddle's name of the network's own tensor that an op stands for; empty for other ops."""
    if name == "data" and attrs["name"].startswith(_TENSOR):
        return str(attrs["name"][len(_TENSOR) :])
    return str(attrs["parameter_name"]) if name == "builtin.parameter" else ""


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
