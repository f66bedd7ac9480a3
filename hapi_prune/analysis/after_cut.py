"""The labels and the groups after a cut, by arithmetic: what stays keeps its order, wherever it goes.

Where every label is one row of slices that no operation tells apart, an operation does to fewer slices what it does to
all of them, so its results are the old ones without what is gone. Nothing has to be propagated anew, and no wiring has
to be compared. Other networks, with groups of convolutions, shuffles or splits, are propagated at their new sizes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..plan import Axis, Index, PruningPlan
from .groups import Grouping
from .labels import INDEX_BITS, Label, Signal, Value, signals_of
from .layout import Places
from .numbering import Numbering
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
    for values in (values for one in propagation.passes for values in one.results):
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
        self._before, self._grouping, layout = before, grouping, grouping.layout
        self._number = number = layout.number
        self._alive = np.ones(layout.firsts[-1], bool)
        for first, (key, group) in zip(layout.firsts.tolist(), grouping.groups.items()):
            if key in plan.kept:
                self._alive[first : first + group.size] = False
                self._alive[first + np.array(plan.kept[key], np.int64)] = True
        self._stays = np.ones(number.count, bool)
        self._stays[layout.slices] = self._alive[layout.units]
        counted = np.concatenate([[0], np.cumsum(self._stays)])
        self._places = counted[:-1] - counted[number.starts[number.axis_of]]
        self.positions = dict[Axis, Index]()
        for axis, place in number.first_of.items():
            start, first = number.starts[place], number.axes[place]
            if axis == first:
                self.positions[axis] = np.flatnonzero(self._stays[start : start + before.sizes[axis]])
            else:
                self.positions[axis] = self.positions[first]
        self._rows: dict[int, Label] = {}
        self._shapes: dict[tuple[int, int], tuple[tuple[int, ...], tuple[Label, ...]]] = {}
        self._signals: dict[int, Value] = {}

    def state(self) -> tuple[Propagation, Grouping]:
        """The labels and the groups that are left. What is tied is not told: it serves to compare wirings."""
        was = self._before.constraints
        constraints = self._constraints = replace(
            was,
            sizes={axis: len(positions) for axis, positions in self.positions.items()},
            ties=[],
            frozen=[(self._moved(atoms), reason) for atoms, reason in was.frozen],
            mixed=[(self._moved(atoms), reason) for atoms, reason in was.mixed],
            whole={},
        )
        passes = [self._pass(one) for one in self._before.passes]
        layout = self._grouping.layout.after(self._alive, self._places, Numbering(constraints, self._number.alike))
        groups = {
            key: replace(group, size=int(layout.sizes[place]), index=Places(layout, place))
            for place, (key, group) in enumerate(self._grouping.groups.items())
        }
        grouping = replace(self._grouping, groups=groups, layout=layout, constraints=constraints)
        return Propagation(constraints, passes[0], passes[-1]), grouping

    def _moved(self, atoms: Index) -> Index:
        """The new numbers of those of ``atoms`` that stay: their axis with another position."""
        atoms = atoms[atoms >= 0]
        numbers = self._number(atoms)
        stays = self._stays[numbers]
        left: Index = (atoms[stays] >> INDEX_BITS << INDEX_BITS) + self._places[numbers[stays]]
        return left

    def _pass(self, one: Pass) -> Pass:
        """One program with the signals that are left."""
        operands, results = ([list(map(self._value, v)) for v in values] for values in (one.operands, one.results))
        return Pass(one.program, operands, results, one.not_followed)

    def _value(self, value: Value) -> Value:
        """What is left of an operand or a result; the result of one operation is an operand of others."""
        if id(value) not in self._signals:
            left = self._signal(value) if isinstance(value, Signal) else value and tuple(map(self._signal, value))
            self._signals[id(value)] = left
        return self._signals[id(value)]

    def _signal(self, signal: Signal) -> Signal:
        """What is left of a signal."""
        if not signal.labels:
            return signal
        key = id(signal.shape), id(signal.labels)
        known = self._shapes.get(key)
        if known is None:
            labels, shape = tuple([self._label(label, signal.tensor) for label in signal.labels]), list(signal.shape)
            for label in labels:
                shape[label.axes[0]] = len(label.atoms)
            known = self._shapes[key] = tuple(shape), labels
        return Signal(*known, signal.tensor, signal.value, signal.uniform, signal.drawn, signal.nonzero)

    def _label(self, label: Label, tensor: str) -> Label:
        """What is left of a label, of ``tensor`` if the signal is one of the network's own; many share their atoms."""
        axis, known = label.axes[0], self._rows.get(id(label.atoms))
        if known is None:
            left = self._constraints.atoms((tensor, axis)) if tensor else self._moved(label.atoms)
            known = self._rows[id(label.atoms)] = Label(label.axes, left)
        return known if known.axes == label.axes else Label(label.axes, known.atoms)
