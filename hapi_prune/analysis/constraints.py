"""What the rules learn where labels meet: what is tied, what stays, whose numbers depend on each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..plan import Axis, Index, Reason, ReasonKind
from .balance import Balance
from .labels import INDEX_BITS, Label, Mismatch, Signal, positions
from .op import Op
from .picks import Picks

if TYPE_CHECKING:
    from .units import Units

PIN_BITS = 32
"""Of a pinned slot, the lower bits that number the pin."""

Hashes = npt.NDArray[np.uint64]
"""For each of some numbers a hash."""


@dataclass
class Constraints:
    """What the rules learn during a propagation.

    Attributes:
        sizes: size of every labelled axis of every tensor, at the sizes under test.
        numbers: the number of each such axis.
        strict: whether a tensor whose size does not fit its operation is an error, or is resized to fit.
        op: the op whose rule is running; None between ops.
        ties: pairs of atoms that are kept or removed together.
        frozen: atoms that stay, and why.
        mixed: atoms that are mixed non-linearly with others, and where.
        pins: atoms, and for each a number that distinguishes it from other atoms that are tied in the same way.
        balanced: atoms whose numbers depend on each other, and how.
        filters: the axes along which weights hold filters (the columns of a Linear included).
        convolutions: those of convolutions alone.
        depthwise: weights of convolutions with one group per channel: their groups go with the channels.
        followed: axes of tensors that were resized to fit, and their sizes.
        picks: the buffers that pick channels by their number.
        units: the groups when the network was traced; None while it is.
        exact: whether numbers that an attribute holds must scale exactly, or may be rounded.
        compared: whether values of this pass are compared after a cut, even where it draws random numbers.
        whole: the atoms of each axis that was used.
    """

    sizes: dict[Axis, int]
    numbers: dict[Axis, int]
    strict: bool = True
    op: Op | None = None
    ties: list[tuple[Index, Index]] = field(default_factory=list)
    frozen: list[tuple[Index, Reason]] = field(default_factory=list)
    mixed: list[tuple[Index, Reason]] = field(default_factory=list)
    pins: list[tuple[Index, Index]] = field(default_factory=list)
    balanced: list[Balance] = field(default_factory=list)
    filters: set[Axis] = field(default_factory=set)
    convolutions: set[Axis] = field(default_factory=set)
    depthwise: set[str] = field(default_factory=set)
    followed: dict[Axis, int] = field(default_factory=dict)
    picks: Mapping[str, Picks] = field(default_factory=dict)
    units: Units | None = None
    exact: bool = False
    compared: bool = True
    whole: dict[Axis, Index] = field(default_factory=dict)
    _pin: int = 0
    _axis_of: dict[int, Axis] = field(default_factory=dict)
    _pins_of: dict[int, list[tuple[Index, Index]]] = field(default_factory=lambda: defaultdict(list))

    def source(self, name: str, shape: tuple[int, ...]) -> Signal:
        """The signal of tensor ``name``: every axis in `numbers` is labelled with its own atoms."""
        labels, sizes = [], list(shape)
        for axis in range(len(shape)):
            if (name, axis) in self.numbers:
                sizes[axis] = self.sizes[name, axis]
                labels.append(Label((axis,), self.atoms((name, axis))))
        return Signal(tuple(sizes), tuple(labels), tensor=name)

    def atoms(self, axis: Axis) -> Index:
        """The atoms of one axis of a tensor, in order; one array for all who ask."""
        known = self.whole.get(axis)
        if known is None or len(known) != self.sizes[axis]:  # it was resized to fit
            first = self.numbers[axis] << INDEX_BITS
            known = self.whole[axis] = np.arange(first, first + self.sizes[axis], dtype=np.int64)
            known.flags.writeable = False
            self._axis_of[id(known)] = axis
        return known

    @cached_property
    def _axes(self) -> list[Axis]:
        """The axes in the order of their numbers."""
        return list(self.numbers)

    def origins(self, label: Label) -> set[Axis]:
        """The axes of the network's tensors that a label comes from, also by way of other ops."""
        axis = self._axis_of.get(id(label.atoms))
        if axis is not None and self.whole.get(axis) is label.atoms:
            return {axis}
        return {self._axes[number] for number in axis_numbers(label.atoms[label.atoms >= 0])}

    def picks_in(self, atoms: Index) -> Picks | None:
        """The index buffer whose entries are ``atoms``, if there is one that picks channels."""
        return next((self.picks[name] for name in self.picks if np.array_equal(atoms, self.atoms((name, 0)))), None)

    def follow(self, signal: Signal, axis: int, size: int) -> Signal:
        """``signal`` with ``size`` on ``axis``. A tensor of the network is resized to fit, unless `strict`.

        Raises:
            Mismatch: it has another size, and cannot be resized.
        """
        if signal.shape[axis] == size:
            return signal
        key = (signal.tensor, axis)
        if self.strict or key not in self.numbers or self.followed.get(key, size) != size:
            raise Mismatch(f"{self.op}: {signal.shape[axis]} channels meet {size}")
        self.followed[key] = self.sizes[key] = size
        return self.source(signal.tensor, signal.shape)

    def tie(self, one: Index, other: Index) -> None:
        """Atoms at the same position are kept or removed together. The arrays broadcast against each other."""
        if one.shape != other.shape:
            try:
                one, other = np.broadcast_arrays(one, other)
            except ValueError as error:
                raise Mismatch(f"{self.op}: {one.shape} channels meet {other.shape}") from error
        one, other = one.ravel(), other.ravel()
        bare = (one < 0) | (other < 0)
        if bare.any():
            self.freeze([one[bare & (one >= 0)], other[bare & (other >= 0)]], "meets slices of a fixed size")
            one, other = one[~bare], other[~bare]
        self.ties.append((one, other))

    def reason(self, text: str, kind: ReasonKind = ReasonKind.STRUCTURE) -> Reason:
        """A reason that names the op whose rule is running."""
        return Reason(kind, text, self.op.name, self.op.where) if self.op else Reason(kind, text)

    def freeze(self, atoms: Iterable[Index], text: str, kind: ReasonKind = ReasonKind.STRUCTURE) -> None:
        """None of ``atoms`` can be removed."""
        for some in atoms:
            some = some[some >= 0]
            if some.size:
                self.frozen.append((some, self.reason(text, kind)))

    def stop(self, labels: Iterable[Label], text: str, kind: ReasonKind = ReasonKind.STRUCTURE) -> None:
        """Freeze every atom of ``labels``."""
        self.freeze([label.atoms.ravel() for label in labels], text, kind)

    def mix(self, labels: Iterable[Label], text: str) -> None:
        """The op mixes these channels non-linearly, so that removing one is not the same as zeroing it."""
        for label in labels:
            self.mixed.append((label.atoms[label.atoms >= 0], self.reason(text, ReasonKind.MIXED)))

    def mix_with_drawn(self, labels: Iterable[Label], axes: Set[int]) -> None:
        """These channels meet random numbers, one for each slice along ``axes``: fewer of them would be others."""
        if self.compared:
            self.mix([label for label in labels if axes & set(label.axes)], "meets numbers drawn at random")

    def pin(self, atoms: Index, slots: Index) -> None:
        """Atoms with different ``slots`` (same shape as ``atoms``) are not interchangeable."""
        atoms, slots = atoms.ravel(), np.broadcast_to(slots, atoms.shape).ravel()
        pin = (atoms[atoms >= 0], (slots[atoms >= 0] << PIN_BITS) + self._pin)
        self.pins.append(pin)
        for number in axis_numbers(pin[0]):
            self._pins_of[number].append(pin)
        self._pin += 1

    def pins_on(self, atoms: Index) -> list[tuple[Index, Index]]:
        """The pins of any of ``atoms``, with those alone."""
        numbers = axis_numbers(atoms[atoms >= 0])
        near = {id(pin): pin for number in numbers for pin in self._pins_of.get(number, ())}.values()
        inside = [(pinned, slots, np.isin(pinned, atoms)) for pinned, slots in near]
        return [(pinned[ours], slots[ours]) for pinned, slots, ours in inside if ours.any()]

    def pin_along(self, label: Label, axes: Iterable[int]) -> None:
        """Pin a label's atoms by their index along some of its axes."""
        for axis in axes:
            self.pin(label.atoms, np.broadcast_to(positions(label, axis), label.atoms.shape))

    def balance(
        self,
        atoms: Index,
        blocks: int = 1,
        sections: Index | None = None,
        rounded: bool = False,
        pieces: Index | None = None,
    ) -> None:
        """The numbers kept of ``atoms`` depend on each other, see `Balance`; what is given broadcasts against them."""
        spread = [n if n is None else np.broadcast_to(n, atoms.shape).ravel() for n in (sections, pieces)]
        self.balanced.append(Balance(atoms.ravel(), blocks, spread[0], rounded, spread[1]))


def axis_numbers(atoms: Index) -> list[int]:
    """The numbers of the axes that some atoms, none of them `NONE`, come from: mostly one, which is quick to see."""
    numbers = atoms >> INDEX_BITS
    if not numbers.size or numbers.min() == numbers.max():
        return [int(number) for number in numbers.ravel()[:1]]
    found: list[int] = distinct(numbers).tolist()
    return found


def distinct(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Each number once, ascending. NumPy's own goes by hashes in later versions, which takes several times as long."""
    ascending = np.sort(numbers, axis=None)
    found: npt.NDArray[Any] = ascending[np.append(ascending[1:] != ascending[:-1], True)[: ascending.size]]
    return found


def hashed(numbers: Index | Hashes) -> Hashes:
    """A 64-bit hash of each number (the finaliser of splitmix64), so that sums tell multisets apart."""
    x = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
