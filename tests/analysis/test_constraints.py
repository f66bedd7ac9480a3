"""What is written down about atoms, and what is read of it."""

from __future__ import annotations

import numpy as np

from hapi_prune.analysis.constraints import Constraints, distinct
from hapi_prune.analysis.labels import Label
from hapi_prune.analysis.rules.reduction import told_apart


def four_of_one_axis():
    """The constraints of a network of one axis, and the label of its four slices."""
    constraints = Constraints({("w", 0): 4}, {("w", 0): 0})
    return constraints, Label((0,), constraints.atoms(("w", 0)))


def test_slices_of_one_axis_are_told_apart_by_where_they_are_pinned():
    constraints, label = four_of_one_axis()
    assert not told_apart(constraints, label, 0)
    constraints.pin(label.atoms, np.array([0, 0, 1, 1]))
    assert not told_apart(constraints, label, 0)
    constraints.pin(label.atoms, np.array([0, 1, 0, 1]))
    assert told_apart(constraints, label, 0)


def test_a_slot_counts_once_however_often_an_atom_is_pinned_there():
    constraints, label = four_of_one_axis()
    constraints.pin(label.atoms[[0, 1, 1, 2, 2, 2, 3, 3, 3, 3]], np.zeros(10, np.int64))
    assert not told_apart(constraints, label, 0)


def test_pins_of_other_atoms_are_left_out():
    constraints = Constraints({("v", 0): 3, ("w", 0): 4}, {("v", 0): 0, ("w", 0): 1})
    one, other = constraints.atoms(("v", 0)), constraints.atoms(("w", 0))
    constraints.pin(one, np.arange(3))
    constraints.pin(np.concatenate([one[:1], other]), np.arange(5))
    constraints.pin(other[2:], np.arange(2))
    (atoms, slots), *more = constraints.pins_on(other[:2])
    assert atoms.tolist() == other[:2].tolist() and len(slots) == 2 and not more


def test_distinct_numbers_come_in_order():
    assert distinct(np.array([[3, 1], [3, 2]])).tolist() == [1, 2, 3]
    assert distinct(np.zeros(0, np.int64)).tolist() == []
