"""Which units live or die together: connected components of the ties, sorted by footprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..plan import Axis, ChannelGroup, Index, Reason
from .constraints import Constraints, Hashes, distinct, hashed
from .labels import INDEX_BITS
from .propagation import Propagation


@dataclass(frozen=True)
class Grouping:
    """All channel groups of a network at some sizes.

    Attributes:
        groups: by key, in the order of the network's tensors.
        keys_by_footprint: the key of each footprint, a number that is the same at all sizes.
        families: groups whose sizes depend on each other.
        number: the atoms as consecutive numbers.
        ties: the numbers of what is tied, shape ``[2, ties]``.
    """

    groups: dict[str, ChannelGroup]
    keys_by_footprint: dict[int, str]
    families: tuple[Family, ...]
    number: Numbering
    ties: Index


Family = tuple[frozenset[str], int]
"""Keys of groups whose sizes depend on each other, and the number of blocks that they come in."""


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


class Numbering:
    """Atoms as consecutive numbers, axis after axis."""

    def __init__(self, constraints: Constraints) -> None:
        self.axes = sorted(constraints.numbers, key=constraints.numbers.__getitem__)
        sizes = [constraints.sizes[axis] for axis in self.axes]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.count = int(self.starts[-1])
        self.axis_of = np.repeat(np.arange(len(self.axes)), sizes)

    def __call__(self, atoms: Index) -> Index:
        """The consecutive numbers of ``atoms``; what came from none is left out."""
        atoms = atoms[atoms >= 0]
        numbers: Index = self.starts[atoms >> INDEX_BITS] + (atoms & ((1 << INDEX_BITS) - 1))
        return numbers

    def owners(self, groups: Mapping[str, ChannelGroup]) -> Index:
        """For each atom the position of its group in ``groups``; ``len(groups)`` for an atom that has to stay."""
        positions, found = {axis: n for n, axis in enumerate(self.axes)}, np.full(self.count, len(groups))
        for owner, group in enumerate(groups.values()):
            for axis, index in group.index.items() if not group.frozen else ():
                found[self.starts[positions[axis]] + index.ravel()] = owner
        return found

    def pairs(self, ties: list[tuple[Index, Index]]) -> Index:
        """The numbers of what is tied, shape ``[2, ties]``."""
        return np.stack([self(concatenated([tie[side] for tie in ties])) for side in (0, 1)])

    def pinned(self, pins: list[tuple[Index, Index]], moved: Index | None = None) -> Index:
        """The numbers of what is pinned (after a move), and where, shape ``[2, pins]``."""
        numbers = self(concatenated([atoms for atoms, _ in pins]))
        return np.stack([numbers if moved is None else moved[numbers], concatenated([slots for _, slots in pins])])


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


def group(propagation: Propagation, keys: dict[int, str] | None = None) -> Grouping:
    """The channel groups of a network.

    Args:
        propagation: its labels at some sizes.
        keys: key of each footprint, from the grouping at the sizes that the network was traced at; None to
            make that one.
    """
    constraints = propagation.constraints
    number = Numbering(constraints)
    ties = number.pairs(constraints.ties)
    root = components(number.count, *ties)
    stays = np.zeros(number.count, bool)
    stays[root[number(concatenated([atoms.ravel() for atoms, _ in constraints.frozen]))]] = True
    colors = refined_colors(initial_colors(number, constraints), ties, pinned_units(number, constraints, root))
    hashes = np.zeros(number.count, np.uint64)
    np.add.at(hashes, root, colors)
    hashes[stays] ^= np.uint64(1)
    groups, seen = collect(number, constraints, root, colors, hashes[root], keys)
    return Grouping(groups, seen, families(number, root, hashes[root], constraints, seen), number, ties)


def initial_colors(number: Numbering, constraints: Constraints) -> Hashes:
    """The color of each atom by itself: a hash of its axis, and of where it is pinned."""
    colors = np.take(hashed(np.arange(len(number.axes))), number.axis_of)
    for atoms, slots in constraints.pins:
        np.add.at(colors, number(atoms), hashed(slots + (1 << 61)))
    return colors


def pinned_units(number: Numbering, constraints: Constraints, root: Index) -> npt.NDArray[np.bool_]:
    """Whether an atom is one of a unit with pins."""
    pinned = np.zeros(number.count, bool)
    pinned[root[number(concatenated([atoms for atoms, _ in constraints.pins]))]] = True
    found: npt.NDArray[np.bool_] = pinned[root]
    return found


ROUNDS = 3


def refined_colors(colors: Hashes, ties: Index, where: npt.NDArray[np.bool_]) -> Hashes:
    """Color refinement (B. Weisfeiler and A. Leman, 1968): each atom's color takes in those of its neighbours, thrice.

    Neighbours are the atoms that it is tied to. Behind a group convolution and a channel shuffle, units with the same
    slices may be wired in different ways, and then get different colors. Units that keep the same color are matched in
    order of their index; `ChannelMap.plan_cut` checks the wiring afterwards. Only needed ``where`` there are pins.
    """
    if not where.any():
        return colors
    low, high = ascending_pairs(ties[:, where[ties[0]]])
    one, other = np.divmod(distinct(low * len(colors) + high), len(colors))  # each tie once, however often it was made
    for _ in range(ROUNDS):
        around = np.zeros_like(colors)
        np.add.at(around, one, hashed(colors[other]))
        np.add.at(around, other, hashed(colors[one]))
        colors = np.where(where, hashed(colors * np.uint64(3) + around), colors)
    return colors


def collect(
    number: Numbering,
    constraints: Constraints,
    root: Index,
    colors: Hashes,
    footprints: Hashes,
    keys: dict[int, str] | None,
) -> tuple[dict[str, ChannelGroup], dict[int, str]]:
    """Sort the atoms by axis, footprint, unit and color, and read off the groups and the key of each footprint."""
    units = np.flatnonzero(root == np.arange(number.count))  # a unit goes by its smallest atom
    _, at, place = np.unique(footprints[units], return_index=True, return_inverse=True)
    first, rank = units[at], np.zeros(number.count, np.int64)
    rank[units] = np.argsort(np.argsort(first))[place.ravel()]
    rank = rank[root]
    index = slices(number, root, in_order(number, root, colors, rank), rank, footprints)
    reasons = first_reasons(number, root, constraints.frozen)
    approximate = first_reasons(number, root, constraints.mixed)
    groups, seen = {}, dict(keys or {})
    taken: dict[str, int] = {}
    for atom in np.sort(first):
        footprint = int(footprints[atom])
        key = key_of(number.axes[number.axis_of[atom]], taken) if keys is None else keys.get(footprint, UNKNOWN)
        seen[footprint] = key
        size = next(iter(index[footprint].values())).shape[0]
        unit = int(root[atom])
        groups[key] = ChannelGroup(key, size, index[footprint], approximate.get(unit), reasons.get(unit))
    return groups, seen


def in_order(number: Numbering, root: Index, colors: Hashes, rank: Index) -> Index:
    """The atoms sorted by axis, on each axis by footprint, then by unit, and those of a unit by their color."""
    if not number.count:
        return root
    keys = (number.axis_of * (int(rank.max()) + 1) + rank) * number.count + root
    order: Index = np.argsort(keys, kind="stable")
    if not np.diff(keys[order]).all():
        order = np.lexsort((colors, keys))
    return order


def slices(
    number: Numbering, root: Index, order: Index, rank: Index, footprints: Hashes
) -> dict[int, dict[Axis, Index]]:
    """For each footprint the positions of its units on each axis; ``order`` has those of an axis and unit together."""
    axes, units = number.axis_of[order], root[order]
    edges = np.flatnonzero(np.diff(rank[order]) | np.diff(axes)) + 1
    starts, ends = (np.concatenate(parts) for parts in (([0], edges), (edges, [number.count])))
    nth = np.cumsum(np.diff(units, prepend=-1) != 0)
    positions = order - number.starts[axes]
    found: dict[int, dict[Axis, Index]] = {}
    if number.count:
        sizes = nth[ends - 1] - nth[starts] + 1
        parts = (starts, ends, sizes, axes[starts], footprints[order[starts]])
        for start, end, size, axis, footprint in zip(*(part.tolist() for part in parts)):
            found.setdefault(footprint, {})[number.axes[axis]] = positions[start:end].reshape(size, -1)
    return found


def key_of(axis: Axis, taken: dict[str, int]) -> str:
    """A group is named after the first axis that it touches; axis 0 goes without saying."""
    base = axis[0] if axis[1] == 0 else f"{axis[0]}[{axis[1]}]"
    taken[base] = taken.get(base, 0) + 1
    return base if taken[base] == 1 else f"{base}#{taken[base]}"


UNKNOWN = "?"
"""The key of all groups with a footprint that the network, when it was traced, had none of."""


def first_reasons(number: Numbering, root: Index, said: list[tuple[Index, Reason]]) -> dict[int, Reason]:
    """For each unit the first reason that any of its atoms was given."""
    first: dict[int, Reason] = {}
    for atoms, reason in said:
        for unit in distinct(root[number(atoms.ravel())]).tolist():
            first.setdefault(unit, reason)
    return first


def families(
    number: Numbering, root: Index, footprints: Hashes, constraints: Constraints, keys: dict[int, str]
) -> tuple[Family, ...]:
    """The groups whose sizes depend on each other, those with a group in common made one family."""
    found: list[tuple[set[str], int]] = []
    for balance in constraints.balanced:
        balanced = np.unique(footprints[root[number(balance.atoms)]])
        touched, blocks = {keys[int(footprint)] for footprint in balanced}, balance.blocks
        for members, others in [f for f in found if f[0] & touched]:
            touched |= members
            blocks = int(np.lcm(blocks, others))
            found.remove((members, others))
        found.append((touched, blocks))
    return tuple((frozenset(members), blocks) for members, blocks in found)
