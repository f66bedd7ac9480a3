"""What the rules learn where labels meet: what is tied, what stays, whose numbers depend on each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..plan import Axis, Index, Reason, ReasonKind
from .balance import Balance
from .labels import INDEX_BITS, Label, Mismatch, Signal, positions
from .op import Op
from .picks import Picks

if TYPE_CHECKING:
    from .units import Units


@dataclass
class Constraints:
    """What the rules learn while the signals pass.

    Attributes:
        sizes: size of every labelled axis of every tensor, at the sizes under test.
        numbers: the number of each such axis.
        strict: whether a tensor whose size does not fit is an error, or takes on the size that arrives.
        op: the op whose rule is at work; None between ops.
        ties: pairs of atoms that live or die together.
        frozen: atoms that stay, and why.
        mixed: atoms that are mixed non-linearly with others, and where.
        pins: atoms and what tells them apart from others with the same neighbours.
        balanced: atoms whose numbers depend on each other, and how.
        filters: the axes along which weights hold filters (the columns of a Linear included).
        convolutions: those of convolutions alone.
        depthwise: weights of convolutions with one group per channel: their groups go with the channels.
        followed: tensors that took on the size that arrived.
        picks: the buffers that pick channels by their number.
        units: the groups when the network was traced; None while it is.
        exact: whether numbers in the code that an attribute holds must scale exactly, or are rounded.
        compared: whether the values of this pass are compared after a cut, even if numbers are drawn in it.
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
    _pin: int = 0

    def source(self, name: str, shape: tuple[int, ...]) -> Signal:
        """The signal of tensor ``name``: every axis in `numbers` is labelled with its own atoms."""
        labels, sizes = [], list(shape)
        for axis in range(len(shape)):
            if (name, axis) in self.numbers:
                sizes[axis] = self.sizes[name, axis]
                labels.append(Label((axis,), self.atoms((name, axis))))
        return Signal(tuple(sizes), tuple(labels), tensor=name)

    def atoms(self, axis: Axis) -> Index:
        """The atoms of one axis of a tensor, in order."""
        return (self.numbers[axis] << INDEX_BITS) + np.arange(self.sizes[axis], dtype=np.int64)

    def picks_in(self, atoms: Index) -> Picks | None:
        """What stands in the buffer whose entries ``atoms`` are, if it is one that picks channels by their number."""
        return next((self.picks[name] for name in self.picks if np.array_equal(atoms, self.atoms((name, 0)))), None)

    def follow(self, signal: Signal, axis: int, size: int) -> Signal:
        """``signal`` with ``size`` on ``axis``: as it is, or, for a tensor of the network, resized to fit.

        Raises:
            Mismatch: it does not fit and cannot follow.
        """
        if signal.shape[axis] == size:
            return signal
        key = (signal.tensor, axis)
        if self.strict or key not in self.numbers or self.followed.get(key, size) != size:
            raise Mismatch(f"{self.op}: {signal.shape[axis]} channels meet {size}")
        self.followed[key] = self.sizes[key] = size
        return self.source(signal.tensor, signal.shape)

    def tie(self, one: Index, other: Index) -> None:
        """What meets position by position lives or dies together. Arrays broadcast against each other."""
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
        """A reason that names the op whose rule is at work."""
        return Reason(kind, text, self.op.name, self.op.where) if self.op else Reason(kind, text)

    def freeze(self, atoms: Iterable[Index], text: str, kind: ReasonKind = ReasonKind.STRUCTURE) -> None:
        """None of ``atoms`` can be removed."""
        for part in atoms:
            part = part[part >= 0]
            if part.size:
                self.frozen.append((part, self.reason(text, kind)))

    def stop(self, labels: Iterable[Label], text: str, kind: ReasonKind = ReasonKind.STRUCTURE) -> None:
        """Freeze every atom of ``labels``."""
        self.freeze([label.atoms.ravel() for label in labels], text, kind)

    def mix(self, labels: Iterable[Label], text: str) -> None:
        """Channels are mixed non-linearly here: removing one is not the same as zeroing it."""
        for label in labels:
            self.mixed.append((label.atoms[label.atoms >= 0], self.reason(text, ReasonKind.MIXED)))

    def mix_with_drawn(self, labels: Iterable[Label], axes: Set[int]) -> None:
        """Channels meet numbers drawn at random, one for each slice along ``axes``: fewer of them would be others."""
        if self.compared:
            self.mix([label for label in labels if axes & set(label.axes)], "meets numbers drawn at random")

    def pin(self, atoms: Index, slots: Index) -> None:
        """Atoms in different ``slots`` (same shape as ``atoms``) are not interchangeable."""
        atoms, slots = atoms.ravel(), np.broadcast_to(slots, atoms.shape).ravel()
        self.pins.append((atoms[atoms >= 0], (slots[atoms >= 0] << 32) + self._pin))
        self._pin += 1

    def pin_along(self, label: Label, axes: Iterable[int]) -> None:
        """Pin a label's atoms by their index along some of its axes."""
        for axis in axes:
            self.pin(label.atoms, np.broadcast_to(positions(label, axis), label.atoms.shape))

    def balance(
        self,
        atoms: Index,
        blocks: int = 1,
        parts: Index | None = None,
        rounded: bool = False,
        sections: Index | None = None,
    ) -> None:
        """The numbers kept among ``atoms`` depend on each other, see `Balance`; all of it broadcasts."""
        parts, sections = (n if n is None else np.broadcast_to(n, atoms.shape).ravel() for n in (parts, sections))
        self.balanced.append(Balance(atoms.ravel(), blocks, parts, rounded, sections))
