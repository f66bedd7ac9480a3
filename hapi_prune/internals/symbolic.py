"""A function run on Paddle's symbolic values gives its program (PIR): nothing is computed, no source converted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import paddle
from paddle.base.dygraph.base import to_static_mode_guard
from paddle.base.framework import _dygraph_guard
from paddle.base.libpaddle.pir import create_shaped_type
from paddle.jit.dy2static.program_translator import check_view_api_used_by_inplace
from paddle.pir import Program, core

try:
    from paddle.jit.dy2static import parameter_recorder
except ImportError:  # where Paddle 3.0 to 3.2 have it
    from paddle.jit.pir_dy2static import parameter_recorder

from .preserve import attributes

_STATISTICS_ONLY = "pd_op.batch_norm_"
"""An operation that writes in place, but only into its own statistics, which are no views of other tensors."""


@dataclass(frozen=True)
class Symbolic:
    """What a function did.

    Attributes:
        program: Paddle's program.
        outputs: what the function returned: values of the program, and whatever else.
        tensors: id of the value -> Paddle's name, for tensors that the function came with.
    """

    program: Any
    outputs: list[Any]
    tensors: dict[str, str]


class _Tensors:
    """Tensors as values of a program: arguments of its block, which are ten times as fast to make as operations."""

    def __init__(self, program: Any) -> None:
        self._block = program.global_block()
        self._known: dict[int, tuple[paddle.Tensor, Any]] = {}

    def __call__(self, given: Any) -> Any:
        """The value of a tensor; anything else as it is."""
        if not isinstance(given, paddle.Tensor):
            return given
        if id(given) not in self._known:
            kind = create_shaped_type(_type_of(given.dtype), list(given.shape))
            value = self._block.add_kwarg(f"tensor_{len(self._known)}", kind)
            value.stop_gradient = given.stop_gradient
            self._known[id(given)] = given, value
        return self._known[id(given)][1]

    def names(self) -> dict[str, str]:
        """Id of the value -> Paddle's name of the tensor."""
        return {value.id: tensor.name for tensor, value in self._known.values()}


@cache
def _type_of(dtype: Any) -> Any:
    """The type of a symbolic value with elements of ``dtype``."""
    with core.program_guard(Program(), Program()):
        return paddle._C_ops.data("any", [1], dtype, paddle.base.core.Place()).type()


def symbolic(function: Callable[[list[Any]], Any], leaves: Sequence[paddle.Tensor]) -> Symbolic:
    """Run a function on symbolic values of the shapes of ``leaves``.

    Raises:
        Exception: whatever the function raises, as it would where it asks for the numbers in a value.
    """
    program = Program()
    tensors = _Tensors(program)
    with _traced_into(program, tensors):
        place = paddle.base.core.Place()
        values = [paddle._C_ops.data(f"input_{n}", list(x.shape), x.dtype, place) for n, x in enumerate(leaves)]
        for value in values:
            value.stop_gradient = False
        outputs = [tensors(output) for output in paddle.utils.flatten(function(values))]
    names = {op.name() for op in program.global_block().ops}
    if any(name.endswith("_") and name != _STATISTICS_ONLY for name in names):
        check_view_api_used_by_inplace(program)
    return Symbolic(program, outputs, tensors.names())


def notes() -> list[dict[Any, Any]]:
    """What Paddle notes of the programs that are being traced, each by the address of the program."""
    recorder, writes = parameter_recorder._global_parameter_recorder, parameter_recorder._global_inplace_map
    return [recorder.params_dict, recorder.tensor2value, writes.params_dict]


@contextmanager
def _traced_into(program: Any, tensors: _Tensors) -> Iterator[None]:
    """Within the block, operations are added to a program, and tensors that they use become values of it."""
    with ExitStack() as stack:
        stack.enter_context(_dygraph_guard(None))
        stack.enter_context(core.program_guard(program, Program()))
        stack.enter_context(to_static_mode_guard(is_to_static=True))
        stack.enter_context(core.static_op_arg_cast_guard(tensors))
        stack.enter_context(attributes((core, ["_convert_into_value"])))
        core._convert_into_value = tensors
        stack.callback(parameter_recorder._global_inplace_map.pop, program)
        yield
