"""The labels' journey: a graph's operations run over signals, at any sizes of its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .graph import Graph, Program
from .labels import Mismatch, Record, Signal
from .plan import Axis
from .rules import TABLE, Call, Op, Value

Results = list[list[Value]]
"""For each operation the signals of its results."""


@dataclass
class Flow:
    """One journey: what the rules learned, and every signal.

    Attributes:
        record: ties, frozen atoms and the like.
        training, evaluation: the results of each operation of the two programs.
        operands: the operands of each operation, likewise.
        opaque: operations that could not be followed, by program and place.
    """

    record: Record
    results: dict[str, Results] = field(default_factory=dict)
    operands: dict[str, Results] = field(default_factory=dict)
    opaque: dict[tuple[str, int], str] = field(default_factory=dict)


PROGRAMS = ("training", "evaluation")


def flow(graph: Graph, sizes: dict[Axis, int], traced: Flow | None = None, strict: bool = True) -> Flow:
    """Run both programs over labels.

    Args:
        graph: the network.
        sizes: size of every axis that can shrink.
        traced: the journey at the sizes that the network was traced at; None to make that one.
        strict: whether tensors must have the sizes that arrive, or take them on.

    Raises:
        Mismatch: a network of these sizes would not run, or not as this one does.
    """
    record = Record(dict(sizes), graph.numbers, strict)
    here = Flow(record)
    for name in PROGRAMS:
        walk(graph, name, here, traced)
    return here


def walk(graph: Graph, name: str, here: Flow, traced: Flow | None) -> None:
    """Run one program, and freeze what it returns."""
    program: Program = getattr(graph, name)
    record = here.record
    values: dict[int, Value] = {}
    results, operands = here.results.setdefault(name, []), here.operands.setdefault(name, [])
    for place, op in enumerate(program.ops):
        args = fetch(op, values, graph, program, record)
        was = traced.operands[name][place] if traced else args
        record.here = str(op)
        outs = step(op, args, was, here, traced, (name, place))
        outs += [Signal(shape or ()) for shape in op.shapes[len(outs) :]]
        operands.append(args)
        results.append(outs)
        values.update(zip(op.results, outs))
    record.here = ""
    for number in program.outputs:
        signal = values.get(number)
        if isinstance(signal, Signal):
            record.stop(signal.labels, "is an output of the network")


def fetch(op: Op, values: dict[int, Value], graph: Graph, program: Program, record: Record) -> list[Value]:
    """The operands of an op; tensors of the network enter where they are used."""
    args: list[Value] = []
    for operand in op.operands:
        if operand in program.tensors:
            name = program.tensors[operand]
            args.append(record.source(name, graph.shapes[name]))
        else:
            args.append(values.get(operand) if operand is not None else None)
    return args


def step(
    op: Op, args: list[Value], was: Sequence[Value], here: Flow, traced: Flow | None, place: tuple[str, int]
) -> list[Value]:
    """The results of one op. What has no rule, or does not fit its rule, freezes what reaches it."""
    rule = TABLE.rules.get(op.name)
    known = traced.opaque if traced else here.opaque
    if rule is None:
        known.setdefault(place, "has no rule")
    if place not in known and rule is not None:
        results = traced.results[place[0]][place[1]] if traced else None
        try:
            return list(rule(Call(op, args, here.record, was, results)))
        except Mismatch as error:
            if traced:
                raise
            known[place] = str(error)
        except (AssertionError, ValueError, IndexError, KeyError, TypeError) as error:
            if traced:
                raise Mismatch(f"{op}: {error}") from error
            known[place] = f"could not be followed ({error})"
    for value in args:
        for signal in value if isinstance(value, tuple) else (value,):
            if isinstance(signal, Signal):
                here.record.stop(signal.labels, f"reaches an op that {known[place]}")
    return []
