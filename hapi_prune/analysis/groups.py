"""Which units live or die together: connected components of the ties, sorted by footprint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..plan import Axis, ChannelGroup, Index, Reason
from .constraints import Constraints, Hashes, distinct, hashed
from .layout import Layout, Places, layout_of
from .numbering import Numbering, alike_axes, ascending_pairs, components, concatenated
from .propagation import Propagation


@dataclass(frozen=True)
class Grouping:
    """All channel groups of a network at some sizes.

    Attributes:
        groups: by key, in the order of the network's tensors.
        keys_by_footprint: the key of each footprint, a number that is the same at all sizes.
        families: groups whose sizes depend on each other.
        layout: which slices belong to which unit.
        constraints: what the rules learned.
    """

    groups: dict[str, ChannelGroup]
    keys_by_footprint: dict[int, str]
    families: tuple[Family, ...]
    layout: Layout
    constraints: Constraints

    @cached_property
    def number(self) -> Numbering:
        """The atoms as consecutive numbers, each axis with its own."""
        return Numbering(self.constraints) if self.layout.number.alike else self.layout.number

    @cached_property
    def ties(self) -> Index:
        """The numbers of what is tied, shape ``[2, ties]``."""
        return self.number.pairs(self.constraints.ties)


Family = tuple[frozenset[str], int]
"""Keys of groups whose sizes depend on each other, and the number of blocks that they come in."""


def group(propagation: Propagation, keys: dict[int, str] | None = None) -> Grouping:
    """The channel groups of a network.

    Args:
        propagation: its labels at some sizes.
        keys: key of each footprint, from the grouping at the sizes that the network was traced at; None to
            make that one.
    """
    constraints = propagation.constraints
    alike, others = ({}, constraints.ties) if constraints.pins else alike_axes(constraints)
    number = Numbering(constraints, alike)
    ties = number.pairs(others)
    root = components(number.count, *ties)
    stays = np.zeros(number.count, bool)
    stays[root[number(concatenated([atoms.ravel() for atoms, _ in constraints.frozen]))]] = True
    colors = refined_colors(initial_colors(number, constraints), ties, pinned_units(number, constraints, root))
    hashes = np.zeros(number.count, np.uint64)
    np.add.at(hashes, root, colors)
    hashes[stays] ^= np.uint64(1)
    groups, seen, layout = collect(number, constraints, root, colors, hashes[root], keys)
    together = families(number, root, hashes[root], constraints, seen)
    return Grouping(groups, seen, together, layout, constraints)


def initial_colors(number: Numbering, constraints: Constraints) -> Hashes:
    """The color of each atom by itself: a hash of its axis, and of where it is pinned; the sum, for those alike."""
    of_axes = np.zeros(len(number.axes), np.uint64)
    np.add.at(of_axes, number.firsts, hashed(np.arange(len(number.axes))))
    colors = np.take(of_axes, number.axis_of)
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
) -> tuple[dict[str, ChannelGroup], dict[int, str], Layout]:
    """Sort the atoms by axis, footprint, unit and color, and read off the groups and the key of each footprint."""
    units = np.flatnonzero(root == np.arange(number.count))  # a unit goes by its smallest atom
    _, at, place = np.unique(footprints[units], return_index=True, return_inverse=True)
    first, rank = units[at], np.zeros(number.count, np.int64)
    rank[units] = np.argsort(np.argsort(first))[place.ravel()]
    rank = rank[root]
    layout = layout_of(number, root, in_order(number, root, colors, rank), rank)
    reasons = first_reasons(number, root, constraints.frozen)
    approximate = first_reasons(number, root, constraints.mixed)
    heights = layout.heights[np.unique(layout.groups, return_index=True)[1]]  # of each group on its first axis
    groups, seen = {}, dict(keys or {})
    taken: dict[str, int] = {}
    for place_of_group, atom in enumerate(np.sort(first)):
        footprint = int(footprints[atom])
        key = key_of(number.axes[number.axis_of[atom]], taken) if keys is None else keys.get(footprint, UNKNOWN)
        seen[footprint] = key
        index, unit = Places(layout, place_of_group), int(root[atom])
        size = int(heights[place_of_group])
        groups[key] = ChannelGroup(key, size, index, approximate.get(unit), reasons.get(unit))
    return groups, seen, layout


def in_order(number: Numbering, root: Index, colors: Hashes, rank: Index) -> Index:
    """The atoms sorted by axis, on each axis by footprint, then by unit, and those of a unit by their color."""
    if not number.count:
        return root
    keys = (number.axis_of * (int(rank.max()) + 1) + rank) * number.count + root
    order: Index = np.argsort(keys, kind="stable")
    if not np.diff(keys[order]).all():
        order = np.lexsort((colors, keys))
    return order


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
