"""The labels and the groups after a cut, by arithmetic: what stays keeps its order, wherever it goes.

Where every label is one row of slices that no operation tells apart, an operation does to fewer slices what it does to
all of them, so its results are the old ones without what is gone. Nothing has to be propagated anew, and no wiring has
to be compared. Other networks, with groups of convolutions, shuffles or splits, are propagated at their new sizes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..plan import Axis, ChannelGroup, Index, PruningPlan
from .constraints import Constraints
from .groups import Grouping, Numbering
from .labels import INDEX_BITS, Label, Signal, Value, signals_of
from .propagation import Pass, Propagation


def keeps_order(propagation: Propagation) -> bool:
    """Whether every label is one row of slices, with an atom each, that no operation tells apart.

    Then the state after a cut is what is left of the one before; for networks that work at any size, see
    `smaller_input.works_at_any_size`, as others have sizes of channels written into their code.
    """
    found = propagation.constraints
    if found.pins or found.balanced or found.picks:
        return False
    rows: dict[int, Index] = {}
    for values in (values for one in propagation.passes for values in (*one.operands, *one.results)):
        for signal in (signal for signal in signals_of(values) if not signal.tensor):
            if any(len(label.axes) > 1 for label in signal.labels):
                return False
            rows.update((id(label.atoms), label.atoms) for label in signal.labels)
    return all(atoms.min(initial=0) >= 0 for atoms in rows.values())


class Survivors:
    """The atoms that a plan leaves, and their numbers once the others are gone.

    Args:
        before: the labels before the cut.
        grouping: the groups before the cut.
        plan: what to keep of them.

    Attributes:
        positions: for each axis the positions that stay, ascending.
    """

    def __init__(self, before: Propagation, grouping: Grouping, plan: PruningPlan) -> None:
        self._before, self._grouping = before, grouping
        kept_of = {key: np.array(kept, np.int64) for key, kept in plan.kept.items()}
        self._kept = {key: kept for key, kept in kept_of.items() if len(kept) < grouping.groups[key].size}
        self._number = number = grouping.number
        self._start = dict(zip(number.axes, number.starts.tolist()))
        self._stays = np.ones(number.count, bool)
        for key, kept in self._kept.items():
            group = grouping.groups[key]
            gone = np.ones(group.size, bool)
            gone[kept] = False
            for axis, index in group.index.items():
                self._stays[self._start[axis] + index[gone].ravel()] = False
        counts = np.add.reduceat(self._stays, number.starts[:-1], dtype=np.int64)
        self._sizes = dict(zip(number.axes, counts.tolist()))
        ends = np.cumsum(counts)
        self._places = np.cumsum(self._stays) - 1 - np.repeat(ends - counts, np.diff(number.starts))
        left = np.flatnonzero(self._stays)
        left -= number.starts[number.axis_of[left]]
        parts = zip(number.axes, (ends - counts).tolist(), ends.tolist())
        self.positions: dict[Axis, Index] = {axis: left[begin:end] for axis, begin, end in parts}
        firsts = np.array([before.constraints.numbers[axis] for axis in number.axes], np.int64) << INDEX_BITS
        self._atoms = self._places + firsts[number.axis_of]
        self._rows: dict[int, Index] = {}

    def state(self) -> tuple[Propagation, Grouping]:
        """The labels and the groups that are left."""
        ties = np.take(self._grouping.ties, np.flatnonzero(self._stays[self._grouping.ties[0]]), axis=1)
        constraints = self._constraints(ties)
        passes = [self._pass(one, constraints) for one in self._before.passes]
        number = Numbering(constraints)
        numbers = self._places + number.starts[self._number.axis_of]
        grouping = replace(self._grouping, groups=self._groups(), number=number, ties=numbers[ties])
        return Propagation(constraints, passes[0], passes[-1]), grouping

    def _constraints(self, ties: Index) -> Constraints:
        """What the rules learned, of the atoms that stay."""
        was, tied = self._before.constraints, self._atoms[ties]
        return replace(
            was,
            sizes=self._sizes,
            ties=[(tied[0], tied[1])],
            frozen=[(self._left(atoms), reason) for atoms, reason in was.frozen],
            mixed=[(self._left(atoms), reason) for atoms, reason in was.mixed],
        )

    def _left(self, atoms: Index) -> Index:
        """The new numbers of those of ``atoms`` that stay."""
        numbers = self._number(atoms)
        left: Index = self._atoms[numbers[self._stays[numbers]]]
        return left

    def _groups(self) -> dict[str, ChannelGroup]:
        """The groups of those units that stay."""
        found = {}
        for key, group in self._grouping.groups.items():
            kept, size = self._kept.get(key), group.size
            rows = group.index if kept is None else {axis: rows[kept] for axis, rows in group.index.items()}
            index = {axis: self._places[self._start[axis] + places] for axis, places in rows.items()}
            found[key] = ChannelGroup(key, size if kept is None else len(kept), index, group.approximate, group.frozen)
        return found

    def _pass(self, one: Pass, constraints: Constraints) -> Pass:
        """One program with the signals that are left."""
        known: dict[int, Signal] = {}

        def left(value: Value) -> Value:
            if not isinstance(value, Signal):
                return value and tuple(map(signal_left, value))
            return signal_left(value) if value.labels else value

        def signal_left(signal: Signal) -> Signal:
            if id(signal) not in known:  # the result of one operation is an operand of others
                known[id(signal)] = self._tensor(signal, constraints) if signal.tensor else self._signal(signal)
            return known[id(signal)]

        operands = [list(map(left, values)) for values in one.operands]
        return Pass(one.program, operands, [list(map(left, values)) for values in one.results], one.not_followed)

    def _tensor(self, signal: Signal, constraints: Constraints) -> Signal:
        """What is left of a tensor of the network: its own atoms, which others carry from here."""
        found = constraints.source(signal.tensor, signal.shape)
        for was, now in zip(signal.labels, found.labels):
            self._rows[id(was.atoms)] = now.atoms
        return found

    def _signal(self, signal: Signal) -> Signal:
        """What is left of any other signal."""
        labels, shape = tuple(map(self._label, signal.labels)), list(signal.shape)
        for label in labels:
            shape[label.axes[0]] = len(label.atoms)
        rest = (signal.tensor, signal.value, signal.uniform, signal.drawn, signal.nonzero)
        return Signal(tuple(shape), labels, *rest)

    def _label(self, label: Label) -> Label:
        """What is left of a label, whose atoms many share."""
        atoms = self._rows.get(id(label.atoms))
        if atoms is None:
            atoms = self._rows[id(label.atoms)] = self._left(label.atoms)
        return Label(label.axes, atoms)
