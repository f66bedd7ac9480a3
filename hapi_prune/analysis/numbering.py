"""Atoms as consecutive numbers, so that arrays can be indexed by them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from ..plan import Axis, ChannelGroup, Index
from .constraints import Constraints
from .labels import INDEX_BITS


class Numbering:
    """Atoms as consecutive numbers, axis after axis.

    Args:
        constraints: what the rules learned.
        alike: see `alike_axes`; these axes have the numbers of those that they are like.

    Attributes:
        alike: which axes have the numbers of others.
        axes: all axes, in order.
        firsts: for each axis the place of the one whose numbers it has; its own, where it is like none before it.
        starts: for each axis its first number; and behind them `count`.
        count: how many numbers there are.
        axis_of: for each number the place of its axis; of the first of those that have it.
    """

    def __init__(self, constraints: Constraints, alike: Mapping[int, int] | None = None) -> None:
        self.axes = sorted(constraints.numbers, key=constraints.numbers.__getitem__)
        self.alike = alike = alike or {}
        self.firsts = np.array([alike.get(place, place) for place in range(len(self.axes))], np.int64)
        sizes = [0 if place in alike else constraints.sizes[axis] for place, axis in enumerate(self.axes)]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.count = int(self.starts[-1])
        self.axis_of = np.repeat(np.arange(len(self.axes)), np.array(sizes, np.int64))
        self.starts[:-1] = self.starts[self.firsts]

    @cached_property
    def first_of(self) -> dict[Axis, int]:
        """For each axis the place of the one whose numbers it has."""
        return dict(zip(self.axes, self.firsts.tolist()))

    @cached_property
    def sharing(self) -> dict[int, list[int]]:
        """The places of the axes that share numbers, by the first of them; ascending."""
        found: dict[int, list[int]] = {}
        for place, first in enumerate(self.firsts.tolist()):
            found.setdefault(first, []).append(place)
        return found

    def __call__(self, atoms: Index) -> Index:
        """The consecutive numbers of ``atoms``; what came from none is left out."""
        atoms = atoms[atoms >= 0]
        numbers: Index = self.starts[atoms >> INDEX_BITS] + (atoms & ((1 << INDEX_BITS) - 1))
        return numbers

    def owners(self, groups: Mapping[str, ChannelGroup]) -> Index:
        """For each atom the position of its group in ``groups``; ``len(groups)`` for an atom that has to stay."""
        found = np.full(self.count, len(groups))
        for owner, group in enumerate(groups.values()):
            for axis, index in group.index.items() if not group.frozen else ():
                found[self.starts[self.first_of[axis]] + index.ravel()] = owner
        return found

    def pairs(self, ties: list[tuple[Index, Index]]) -> Index:
        """The numbers of what is tied, shape ``[2, ties]``."""
        return np.stack([self(concatenated([tie[side] for tie in ties])) for side in (0, 1)])

    def pinned(self, pins: list[tuple[Index, Index]], moved: Index | None = None) -> Index:
        """The numbers of what is pinned (after a move), and where, shape ``[2, pins]``."""
        numbers = self(concatenated([atoms for atoms, _ in pins]))
        return np.stack([numbers if moved is None else moved[numbers], concatenated([slots for _, slots in pins])])


def alike_axes(constraints: Constraints) -> tuple[dict[int, int], list[tuple[Index, Index]]]:
    """The axes that are tied to one before them as a whole, in order, as that of a BatchNorm to its convolution's.

    Most ties are such, and of those axes only the first has to be looked at.

    Returns:
        Number of such an axis -> that of the first one that it is like; and all other ties.
    """
    numbers = {id(atoms): constraints.numbers[axis] for axis, atoms in constraints.whole.items()}
    first = {number: number for number in numbers.values()}
    others = []

    def first_of(atoms: Index) -> int | None:
        """The first known axis like that of ``atoms``, one side of a tie, if these are all of its atoms, in order."""
        owner = atoms if atoms.base is None else atoms.base  # the memory that they lie in, one after the other
        number = numbers.get(id(owner))
        if number is None or atoms.size != owner.size:
            return None
        while first[number] != number:
            number = first[number]
        return number

    for tie in constraints.ties:
        one, other = map(first_of, tie)
        if one is None or other is None:
            others.append(tie)
        else:
            first[max(one, other)] = min(one, other)
    alike = {number: first_of(atoms) for number, atoms in zip(numbers.values(), constraints.whole.values())}
    return {number: like for number, like in alike.items() if like is not None and like != number}, others


def components(count: int, one: Index, other: Index) -> Index:
    """For each of ``count`` nodes the smallest node that it is connected to."""
    root = np.arange(count)
    while True:
        a, b = root[one], root[other]
        apart = a != b
        if not apart.any():
            return root
        one, other = one[apart], other[apart]
        low, high = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
        np.minimum.at(root, high, low)
        while not np.array_equal(shorter := root[root], root):
            root = shorter


def ascending_pairs(pairs: Index) -> Index:
    """The columns of ``pairs``, shape ``[2, any]``, each with its smaller number first."""
    return np.stack([np.minimum(*pairs), np.maximum(*pairs)])


def not_among(numbers: Index, known: Index) -> Index:
    """The ``numbers`` that are not in ``known``, ascending. Sorting is faster than NumPy's set functions."""
    numbers, known = np.sort(numbers), np.append(np.sort(known), -1)  # a sentinel: larger numbers are found at it
    found: Index = numbers[known[np.searchsorted(known[:-1], numbers)] != numbers]
    return found


def concatenated(parts: list[Index]) -> Index:
    """All parts one after the other, in one array; an empty array for none."""
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
