"""The network as plain data: its operations, at the sizes that it was traced at. Reads only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import paddle

from ..errors import PruneError, gist
from ..internals import program
from ..internals.forward_reads import ForwardReads
from ..internals.layers import Inventory, whole_numbers
from ..internals.preserve import forward_pass
from ..plan import Axis
from .example_input import Example
from .op import SECTIONS, Op
from .picks import Picks, picks_of


@dataclass(frozen=True)
class Program:
    """The operations of one forward pass.

    Attributes:
        ops: the operations, in order.
        tensors: number of the value -> structured name, for the network's own tensors.
        outputs: numbers of the values that the network returns.
        reads: whether the code of the forward reads the mode or sizes.
    """

    ops: tuple[Op, ...]
    tensors: dict[int, str]
    outputs: tuple[int, ...]
    reads: ForwardReads = field(default_factory=ForwardReads, compare=False)

    @cached_property
    def layers(self) -> list[str]:
        """For each operation the layer that its cost is counted to: the owner of a tensor that it uses.

        A sum that adds a bias belongs to the convolution right before it. All other operations without tensors of their
        own belong to the network.
        """
        found: list[str] = []
        for op in self.ops:
            names = [self.tensors[value] for value in op.operands if value in self.tensors]
            owner = names[0].rpartition(".")[0] if names else ""
            found.append(found[-1] if found and op.attrs.get("conv_bias") else owner)
        return found


@dataclass(frozen=True)
class Graph:
    """A network, traced once. The same graph serves every later cut.

    Attributes:
        training, evaluation: the two forward passes; they may differ (auxiliary heads). One object where they do not.
        shapes: shape of each tensor when it was traced.
        trainable: names of the tensors that an optimizer may change.
        parameters: names of the tensors that ``network.parameters()`` holds.
        kinds: class name of each layer, by structured name.
        aliases: Paddle's own name of each tensor -> structured name.
        sizes: size of every axis that can shrink, when it was traced.
        numbers: the number of each such axis.
        picks: the buffers that pick channels by their number, when it was traced.
        untraced: why the pass in training mode was not traced, and stands for what evaluation does; empty where it was.
    """

    training: Program
    evaluation: Program
    shapes: dict[str, tuple[int, ...]]
    trainable: frozenset[str]
    parameters: frozenset[str]
    kinds: dict[str, str]
    aliases: dict[str, str]
    sizes: dict[Axis, int]
    numbers: dict[Axis, int]
    picks: dict[str, Picks]
    untraced: str = ""

    @property
    def one_program(self) -> bool:
        """Whether both forward passes are the same, but for the mode that their operations are told."""
        return self.training is self.evaluation

    @property
    def modes(self) -> tuple[bool, ...]:
        """Whether to trace training (True) or evaluation (False), or both, to see all that the network does."""
        return (False,) if self.untraced else (True, False) if self.reads.mode else (True,)

    @property
    def reads(self) -> ForwardReads:
        """Whether the code of the forward reads the mode or sizes, in either mode."""
        both = self.training.reads, self.evaluation.reads
        return ForwardReads(any(one.mode for one in both), any(one.sizes for one in both))

    @cached_property
    def paddle_names(self) -> dict[str, str]:
        """Structured name of each tensor -> Paddle's own."""
        return {name: alias for alias, name in self.aliases.items()}

    def shape(self, name: str, sizes: dict[Axis, int]) -> tuple[int, ...]:
        """Shape of a tensor at ``sizes``."""
        found = list(self.shapes[name])
        for axis, size in enumerate(found):
            found[axis] = sizes.get((name, axis), size)
        return tuple(found)


def tensors_of(network: paddle.nn.Layer) -> dict[str, paddle.Tensor]:
    """Every parameter and buffer, by its first structured name. Shared tensors appear once."""
    return Inventory.of(network).tensors


def trace(network: paddle.nn.Layer, given: Example) -> Graph:
    """Run ``network`` symbolically, once in training and once in evaluation mode, and keep what it did.

    Args:
        network: any ``paddle.nn.Layer``; it is left as it was.
        given: the arguments that it is run with.

    Raises:
        PruneError: static-graph mode; tensors that share a name; a forward that cannot be traced.
    """
    if not paddle.in_dynamic_mode():
        raise PruneError("hapi_prune", "static-graph mode", "dynamic mode", "call paddle.disable_static() first")
    held = Inventory.of(network)
    tensors, aliases = held.tensors, dict[str, str]()
    for name, tensor in tensors.items():
        if aliases.setdefault(tensor.name, name) != name:
            raise PruneError(
                f"tensors {aliases[tensor.name]!r} and {name!r}",
                f"the same Paddle name {tensor.name!r} for both",
                "a name of its own for each tensor",
                "drop the fixed names, or build the network under paddle.utils.unique_name.guard()",
            )
    training, evaluation, untraced = both_modes(held, given, aliases)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    axes = [(name, axis) for name, shape in shapes.items() for axis, size in enumerate(shape) if size > 1]
    return Graph(
        training=training,
        evaluation=evaluation,
        shapes=shapes,
        trainable=frozenset(name for name, tensor in tensors.items() if not tensor.stop_gradient),
        parameters=frozenset(held.parameters),
        kinds={name: type(layer).__name__ for name, layer in held.layers.items()},
        aliases=aliases,
        sizes={(name, axis): shapes[name][axis] for name, axis in axes},
        numbers={axis: number for number, axis in enumerate(axes)},
        picks=picks_of(tensors, network.state_dict, [(one.ops, one.tensors) for one in (training, evaluation)]),
        untraced=untraced,
    )


def both_modes(held: Inventory, given: Example, aliases: dict[str, str]) -> tuple[Program, Program, str]:
    """The forward pass in training and in evaluation mode, one object where they do not differ.

    A network in evaluation mode may want more inputs for training, as a detector wants boxes. Then evaluation stands
    for both, if every parameter is in it: layers that training alone uses would keep the sizes that they have.

    Returns:
        The two, and why training mode was not traced; empty where it was.
    """
    # Evaluation first: where one trace is enough, its operations say which of them draw random numbers there too.
    evaluation = traced_program(held, given, aliases, training=False)
    if not evaluation.reads.mode:
        return evaluation, evaluation, ""
    try:
        training = traced_program(held, given, aliases, training=True)
    except PruneError as error:
        if held.network.training:
            raise
        unused = held.parameters.keys() - set(evaluation.tensors.values())
        if unused:
            layers = ", ".join(repr(name.rpartition(".")[0] or name) for name in sorted(unused)[:3])
            todo = f"give the inputs of training too, as it alone uses {layers}"
            raise PruneError(error.where, error.got, error.allowed, todo) from error
        return evaluation, evaluation, error.got
    return evaluation if alike(training, evaluation) else training, evaluation, ""


def traced_program(
    held: Inventory, given: Example, aliases: dict[str, str], training: bool, as_it_is: bool = False
) -> Program:
    """One forward pass of a network, traced, as plain data; ``as_it_is``: see `program.traced`."""

    def run(leaves: list[paddle.Tensor]) -> Any:
        args, kwargs = given.rebuilt(leaves)
        return held.network(*args, **kwargs)

    with forward_pass(held.layers.values(), training):
        try:
            raw = program.traced(held.layers, run, given.leaves, as_it_is)
        except Exception as error:  # whatever the user's forward raises belongs to the user
            raise PruneError(
                f"tracing {type(held.network).__name__} in {'training' if training else 'evaluation'} mode",
                gist(error),
                "a forward that runs at this input shape, and does the same whatever the values of its input are",
                "check the input shape, and the line at which a tensor is asked for its value, if one is named",
            ) from error
    return program_of(raw, aliases, held.layers)


def alike(one: Program, other: Program) -> bool:
    """Whether two programs are the same but for the mode that their operations are told."""
    if one is other or len(one.ops) != len(other.ops):
        return one is other
    return (one.tensors, one.outputs) == (other.tensors, other.outputs) and all(
        replace(a, attrs=a.in_both_modes) == replace(b, attrs=b.in_both_modes) for a, b in zip(one.ops, other.ops)
    )


def lists(layer: paddle.nn.Layer) -> list[list[int]]:
    """The lists and tuples of whole numbers in a layer's attributes."""
    values = whole_numbers(layer).values()
    return [[int(n) for n in value] for value in values if isinstance(value, (list, tuple))]


def held(layer: paddle.nn.Layer) -> set[int]:
    """All whole numbers in the attributes of a layer."""
    values = whole_numbers(layer).values()
    return {int(n) for value in values for n in (value if isinstance(value, (list, tuple)) else [value])}


def program_of(traced: program.RawProgram, aliases: dict[str, str], layers: dict[str, paddle.nn.Layer]) -> Program:
    """The traced program as operations, and which of its values are tensors of the network; ``layers`` by name."""
    ops: list[Op] = []
    tensors = {number: aliases[name] for number, name in traced.tensors.items() if name in aliases}
    producers: dict[int, Op] = {}
    for raw in traced.ops:
        attrs = dict(raw.attrs)
        if raw.name == "add" and is_conv_bias(raw.operands, producers, tensors):
            attrs["conv_bias"] = True
        given = [producers[operand] for operand in raw.operands if operand in producers]
        numbers = {n for op in given for n in written(op) if n > 1}
        if numbers and raw.owner is not None and numbers & held(layers[raw.owner]):
            whole = raw.name == "split" and any(written(op) in lists(layers[raw.owner]) for op in given)
            attrs["held"] = SECTIONS if whole else True
        op = Op(raw.name, attrs, raw.operands, raw.results, raw.shapes, raw.where, raw.scope, raw.owner)
        ops.append(op)
        producers.update((result, op) for result in op.results)
    return Program(tuple(ops), tensors, traced.outputs, traced.reads)


def written(op: Op) -> list[int]:
    """The whole numbers of an op that is a constant."""
    return list(op.attrs["value"]) if op.name == "full_int_array" else []


def is_conv_bias(operands: tuple[int | None, ...], producers: dict[int, Op], tensors: dict[int, str]) -> bool:
    """Whether a sum adds a tensor of the network to what a convolution has just made."""
    if len(operands) != 2 or None in operands:
        return False
    made, added = (producers.get(operand or 0) for operand in operands)
    bias = operands[1] in tensors or (added and added.name == "reshape" and added.operands[0] in tensors)
    return bool(bias) and made is not None and "conv" in made.name
