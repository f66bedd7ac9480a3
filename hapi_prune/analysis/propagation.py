"""Propagation of the labels through the traced network, at any sizes of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..plan import Axis, ReasonKind
from .constraints import Constraints
from .graph import Graph, Program
from .labels import Mismatch, Signal, Value, signals_of
from .picks import Picks
from .rules import TABLE, Call, Op
from .rules.zeros import marked

if TYPE_CHECKING:
    from .units import Units

Results = list[list[Value]]
"""For each operation the signals of its operands, or of its results."""


@dataclass
class Pass:
    """One program, with the labels propagated through it.

    Attributes:
        program: its operations.
        operands, results: the signals of each operation.
        not_followed: operations that could not be followed, by number, and why.
    """

    program: Program
    operands: Results = field(default_factory=list)
    results: Results = field(default_factory=list)
    not_followed: dict[int, str] = field(default_factory=dict)

    def steps(self) -> Iterator[tuple[Op, list[Value], list[Value]]]:
        """Each operation of the program, with the signals of its operands and of its results."""
        return zip(self.program.ops, self.operands, self.results)


@dataclass
class Propagation:
    """Both programs, with the labels propagated through them.

    Attributes:
        constraints: what the rules learned: ties, frozen atoms and the like.
        training, evaluation: the signals of each operation; one object where the programs are.
    """

    constraints: Constraints
    training: Pass
    evaluation: Pass

    @property
    def passes(self) -> tuple[Pass, ...]:
        """That in training mode, then that in evaluation mode, if it is another one."""
        return (self.training,) if self.training is self.evaluation else (self.training, self.evaluation)

    @property
    def sizes(self) -> dict[Axis, int]:
        """The size of every axis that can shrink."""
        return self.constraints.sizes


def propagate(
    graph: Graph,
    sizes: dict[Axis, int],
    traced: Propagation | None = None,
    strict: bool = True,
    picks: Mapping[str, Picks] | None = None,
    exact: bool = False,
    units: Units | None = None,
) -> Propagation:
    """Propagate the labels through both programs.

    Args:
        graph: the network.
        sizes: size of every axis that can shrink.
        traced: the propagation at the sizes that the network was traced at; None if this is that one.
        strict: whether a tensor whose size does not fit its operation is an error, or is resized to fit.
        picks: the buffers that pick channels, at these sizes; None: as when the network was traced.
        exact: whether numbers that attributes hold must scale exactly too, see `rules.slicing.scaled_position`.
        units: the groups when it was traced; None to find them out.

    Raises:
        Mismatch: a network of these sizes would not run, or not as this one does.
    """
    picks = graph.picks if picks is None else picks
    constraints = Constraints(dict(sizes), graph.numbers, strict, picks=picks, units=units, exact=exact)
    training = Pass(graph.training)
    found = Propagation(constraints, training, training if graph.one_program else Pass(graph.evaluation))
    before = traced.passes if traced else (None, None)
    for one, was in zip(found.passes, before):
        constraints.compared = one is found.evaluation
        propagate_program(graph, one, was, constraints)
    return found


def propagate_program(graph: Graph, one: Pass, traced: Pass | None, constraints: Constraints) -> None:
    """Propagate the labels through one program, and freeze those that reach its outputs."""
    values: dict[int, Value] = {}
    for number, op in enumerate(one.program.ops):
        args = operands(op, values, graph, one.program, constraints)
        one.operands.append(args)
        constraints.op = op
        results = follow(op, number, one, traced, constraints)
        results += [Signal(shape or ()) for shape in op.shapes[len(results) :]]
        one.results.append(results)
        values.update(zip(op.results, results))
    constraints.op = None
    for output in one.program.outputs:
        signal = values.get(output)
        if isinstance(signal, Signal):
            constraints.stop(signal.labels, "is an output of the network", ReasonKind.OUTPUT)


def operands(op: Op, values: dict[int, Value], graph: Graph, program: Program, constraints: Constraints) -> list[Value]:
    """The signals of an op's operands; a tensor of the network gets its labels where it is used."""
    args: list[Value] = []
    for operand in op.operands:
        if operand in program.tensors:
            name = program.tensors[operand]
            args.append(constraints.source(name, graph.shapes[name]))
        else:
            args.append(values.get(operand) if operand is not None else None)
    return args


def follow(op: Op, number: int, one: Pass, traced: Pass | None, constraints: Constraints) -> list[Value]:
    """The signals of an op's results. An op that has no rule, or does not fit its rule, freezes what reaches it."""
    args, rule = one.operands[number], TABLE.rules.get(op.name)
    not_followed = (traced or one).not_followed
    if rule is None:
        not_followed.setdefault(number, "has no rule")
    elif number not in not_followed:
        was: Sequence[Value] = traced.operands[number] if traced else args
        try:
            call = Call(op, args, constraints, was, traced.results[number] if traced else None)
            return marked(op, args, rule(call))
        except Mismatch as error:
            if traced:
                raise
            not_followed[number] = str(error)
        except (AssertionError, ValueError, IndexError, KeyError, TypeError) as error:
            if traced:
                raise Mismatch(f"{op}: {error}") from error
            not_followed[number] = f"could not be followed ({error})"
    why = f"reaches an op that {not_followed[number]}"
    for signal in signals_of(args):
        constraints.stop(signal.labels, why, ReasonKind.NOT_FOLLOWED)
    return []
