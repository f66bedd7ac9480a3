"""The labels and the groups after a cut, by arithmetic: what stays keeps its order, wherever it goes.

Where every label is one row of slices that no operation tells apart, an operation does to fewer slices what it does to
all of them, so its results are the old ones without what is gone. Nothing has to be propagated anew, and no wiring has
to be compared. Other networks, with groups of convolutions, shuffles or splits, are propagated at their new sizes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..plan import Axis, ChannelGroup, Index, PruningPlan
from .groups import Grouping
from .labels import INDEX_BITS, Label, Signal, Value, signals_of
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
    for values in (values for one in propagation.passes for values in (*one.operands, *one.results)):
        for signal in (signal for signal in signals_of(values) if not signal.tensor):
            if any(len(label.axes) > 1 for label in signal.labels):
                return False
            rows.update((id(label.atoms), label.atoms) for label in signal.labels)
    return all(atoms.min(initial=0) >= 0 for atoms in rows.values())


class Left(NamedTuple):
    """What is left of an axis.

    Attributes:
        positions: those that stay, ascending.
        places: for each position the one that it has then, if it stays.
        stays: whether it does.
    """

    positions: Index
    places: Index
    stays: npt.NDArray[np.bool_]


def left_of(size: int, going: Iterable[Index]) -> Left:
    """What is left of an axis of ``size`` without some positions."""
    stays = np.ones(size, bool)
    for positions in going:
        stays[positions] = False
    return Left(np.flatnonzero(stays), np.cumsum(stays) - 1, stays)


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
        self._before, self._grouping, self._number = before, grouping, grouping.number
        kept_of = {key: np.array(kept, np.int64) for key, kept in plan.kept.items()}
        self._kept = {key: kept for key, kept in kept_of.items() if len(kept) < grouping.groups[key].size}
        self._left_on, known = dict[Axis, Left](), dict[tuple[int, ...], Left]()
        going = self._going()
        for axis, size in ((axis, before.sizes[axis]) for axis in self._number.axes):
            same = (size, *map(id, going.get(axis, ())))
            if same not in known:
                known[same] = left_of(size, going.get(axis, ()))
            self._left_on[axis] = known[same]
        self.positions: dict[Axis, Index] = {axis: left.positions for axis, left in self._left_on.items()}
        firsts = np.array([before.constraints.numbers[axis] for axis in self._number.axes], np.int64) << INDEX_BITS
        self._stays = np.concatenate([left.stays for left in self._left_on.values()])
        self._atoms = np.concatenate([left.places for left in self._left_on.values()]) + firsts[self._number.axis_of]
        self._rows: dict[int, Label] = {}
        self._signals: dict[int, Value] = {}

    def _going(self) -> dict[Axis, list[Index]]:
        """The positions that go on each axis, by group: one array for all axes on which a group has the same ones."""
        found: dict[Axis, list[Index]] = {}
        for key, kept in self._kept.items():
            group, known = self._grouping.groups[key], dict[int, Index]()
            gone = np.ones(group.size, bool)
            gone[kept] = False
            for axis, index in group.index.items():
                if id(index) not in known:
                    known[id(index)] = index[gone].ravel()
                found.setdefault(axis, []).append(known[id(index)])
        return found

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
        groups, number = self._groups(), Numbering(constraints)
        grouping = replace(self._grouping, groups=groups, number=number, constraints=constraints)
        return Propagation(constraints, passes[0], passes[-1]), grouping

    def _moved(self, atoms: Index) -> Index:
        """The new numbers of those of ``atoms`` that stay."""
        numbers = self._number(atoms)
        left: Index = self._atoms[numbers[self._stays[numbers]]]
        return left

    def _groups(self) -> dict[str, ChannelGroup]:
        """The groups of those units that stay."""
        found, known = {}, dict[tuple[int, int], Index]()
        for key, group in self._grouping.groups.items():
            kept, index = self._kept.get(key), dict[Axis, Index]()
            for axis, rows in group.index.items():
                places = self._left_on[axis].places
                if (id(rows), id(places)) not in known:
                    known[id(rows), id(places)] = places[rows if kept is None else rows[kept]]
                index[axis] = known[id(rows), id(places)]
            size = group.size if kept is None else len(kept)
            found[key] = ChannelGroup(key, size, index, group.approximate, group.frozen)
        return found

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
        labels, shape = tuple([self._label(label, signal.tensor) for label in signal.labels]), list(signal.shape)
        for label in labels:
            shape[label.axes[0]] = len(label.atoms)
        rest = (signal.tensor, signal.value, signal.uniform, signal.drawn, signal.nonzero)
        return Signal(tuple(shape), labels, *rest)

    def _label(self, label: Label, tensor: str) -> Label:
        """What is left of a label, of ``tensor`` if the signal is one of the network's own; many share their atoms."""
        axis, known = label.axes[0], self._rows.get(id(label.atoms))
        if known is None:
            left = self._constraints.atoms((tensor, axis)) if tensor else self._moved(label.atoms)
            known = self._rows[id(label.atoms)] = Label(label.axes, left)
        return known if known.axes == label.axes else Label(label.axes, known.atoms)
