<<<<<<< HEAD
"""Labels that travel with the data.

Every index of every axis of every tensor of the network is an *atom*, a number. A value in the program is a
`Signal`: its shape, and for some of its axes which atom each slice came from. The rules move and join
signals; what they learn on the way (atoms tied, frozen, pinned) is written into the `constraints.Constraints`.
=======
"""Labels, which say where the slices of a value came from, and the constraints that rules derive from them.

Every index of every axis of every tensor of the network is an *atom*, a number. A value in the program is a
`Signal`: its shape, and for some of its axes which atom each slice came from. The rules compute the signals of an
operation's results; what they learn on the way (atoms tied, frozen, pinned) is written into the `Constraints`.
>>>>>>> main
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Union

import numpy as np

from ..plan import Axis, Index

NONE = -1
"""The label of a slice that came from no atom: padding, the input, a constant."""

INDEX_BITS = 24
"""An atom is ``axis number << INDEX_BITS | index``."""


class Mismatch(Exception):
    """Two signals do not fit: a network of the sizes under test would not run.

    A rule raises it, and other sizes are tried. At the traced sizes, it means that the op cannot be followed.

    Args:
        text: what does not fit.
        axes: the axes of tensors whose slices do not, where that is known.

    Example:
        >>> from hapi_prune import Mismatch
        >>> def halves(call):
        ...     x = call.arg(0)
        ...     if x.shape[1] % 2:
        ...         raise Mismatch(f"{call.op}: {x.shape[1]} channels in two halves")
    """

    def __init__(self, text: str, axes: Iterable[Axis] = ()) -> None:
        super().__init__(text)
        self.axes = frozenset(axes)


@dataclass(frozen=True)
class Label:
    """Which atom each slice along some axes of a value came from.

    An *atom* is a number that stands for one index of one axis of one tensor of the network, such as the second filter
    of a weight.

    Attributes:
        axes: the axes of the value along which the label varies, ascending.
        atoms: shape ``[size of each of axes]``; -1 for a slice that came from none, such as padding.

    Example:
        >>> import numpy as np
        >>> from hapi_prune import Label
        >>> label = Label((1, 2), np.arange(6).reshape(2, 3))  # of a value [N, 2, 3, W]
        >>> label.along([2]).tolist()  # for each slice along axis 2, all of its atoms
        [[0, 3], [1, 4], [2, 5]]
        >>> label.renamed([2, 1]).atoms.shape  # the value is transposed to [N, 3, 2, W]
        (3, 2)
    """

    axes: tuple[int, ...]
    atoms: Index

    def along(self, axes: Sequence[int]) -> Index:
        """The atoms with some axes in front, and the other axes flattened into one behind them.

        Args:
            axes: of the value; the label varies along each of them.

        Returns:
            Atoms, shape ``[size of each of axes, rest]``; rest is 1 where there are no other axes.
        """
        order = [self.axes.index(axis) for axis in axes]
        order += [i for i, axis in enumerate(self.axes) if axis not in axes]
        moved = self.atoms.transpose(order)
        return moved.reshape(*moved.shape[: len(axes)], -1)

    def renamed(self, axes: Sequence[int]) -> Label:
        """The same label on axes of another value.

        Args:
            axes: for each axis of the label its new number; they need not ascend.

        Returns:
            A label whose axes ascend.
        """
        order = np.argsort(axes, kind="stable")
        return Label(tuple(axes[i] for i in order), self.atoms.transpose(order))


@dataclass(frozen=True)
class Signal:
    """A value of the program: its shape and labels.

    Attributes:
        shape: the shape at the sizes under test.
        labels: what is known of its slices.
        tensor: structured name, where the value is a tensor of the network itself.
        value: the numbers, where they are written into the program and few.
        uniform: axes along which all slices are alike, so that any number of them will do.
        drawn: whether its numbers are drawn at random, as many as there are: fewer would be others.
        nonzero: whether slices that go may be other than zero where all that they are made of is, as behind a sigmoid.

    Example:
        >>> import numpy as np
        >>> from hapi_prune import Label, Signal
        >>> x = Signal((2, 8, 4, 4), (Label((1,), np.arange(8)),))  # an image with 8 channels, which carry labels
        >>> len(x.on(1)), len(x.on(2)), x.size
        (1, 0, 256)
        >>> x.sized(2, 1).shape
        (2, 8, 1, 4)
    """

    shape: tuple[int, ...]
    labels: tuple[Label, ...] = ()
    tensor: str = ""
    value: tuple[int, ...] | None = None
    uniform: frozenset[int] = frozenset()
    drawn: bool = False
    nonzero: bool = False

    @property
    def size(self) -> int:
        """How many elements the value has."""
        return int(np.prod(self.shape, dtype=np.int64))

    def on(self, axis: int) -> tuple[Label, ...]:
        """The labels that vary along an axis.

        Args:
            axis: its number, from 0.

        Returns:
            Those of `labels` that do; more than one where different things are known of the same slices.
        """
        return tuple(label for label in self.labels if axis in label.axes)

    def sized(self, axis: int, size: int) -> Signal:
        """The same signal with another size on an axis without labels.

        Args:
            axis: its number, from 0.
            size: its new size.

        Returns:
            A new signal.
        """
        return replace(self, shape=self.shape[:axis] + (size,) + self.shape[axis + 1 :])


Value = Union[Signal, tuple[Signal, ...], None]
"""An operand or a result of an op: a signal, a list of signals, or None for an optional operand that was left out."""


def signals_of(values: Iterable[Value]) -> list[Signal]:
    """All signals among operands or results, those in lists too."""
    found: list[Signal] = []
    for value in values:
        found += [value] if isinstance(value, Signal) else list(value or ())
    return found


<<<<<<< HEAD
=======
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
        exact: whether numbers that an attribute holds must scale exactly, or may be rounded.
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
    exact: bool = False
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

    def pin(self, atoms: Index, slots: Index) -> None:
        """Atoms with different ``slots`` (same shape as ``atoms``) are not interchangeable."""
        atoms, slots = atoms.ravel(), np.broadcast_to(slots, atoms.shape).ravel()
        self.pins.append((atoms[atoms >= 0], (slots[atoms >= 0] << 32) + self._pin))
        self._pin += 1

    def pin_along(self, label: Label, axes: Iterable[int]) -> None:
        """Pin a label's atoms by their index along some of its axes."""
        for axis in axes:
            self.pin(label.atoms, np.broadcast_to(positions(label, axis), label.atoms.shape))

    def balance(self, atoms: Index, blocks: int = 1, sections: Index | None = None, rounded: bool = False) -> None:
        """The numbers kept of ``atoms`` depend on each other, see `Balance`; ``sections`` broadcasts against them."""
        sections = None if sections is None else np.broadcast_to(sections, atoms.shape).ravel()
        self.balanced.append(Balance(atoms.ravel(), blocks, sections, rounded))


>>>>>>> main
def positions(label: Label, axis: int) -> Index:
    """The positions along one axis of a label, in a shape that broadcasts against its atoms."""
    size = label.atoms.shape[label.axes.index(axis)]
    return np.arange(size).reshape([-1 if other == axis else 1 for other in label.axes])
