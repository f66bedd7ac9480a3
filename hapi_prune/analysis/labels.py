"""Labels, which say where the slices of a value came from.

Every index of every axis of every tensor of the network is an *atom*, a number. A value in the program is a
`Signal`: its shape, and for some of its axes which atom each slice came from. The rules compute the signals of an
operation's results; what they learn on the way (atoms tied, frozen, pinned) is written into the
`constraints.Constraints`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
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
        if self.axes == tuple(axes) and len(axes) == 1:
            return self.atoms[:, None]
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
        if tuple(axes) == self.axes:
            return self
        order = np.argsort(axes, kind="stable")
        return Label(tuple(axes[i] for i in order), self.atoms.transpose(order))


@dataclass(frozen=True, init=False)
class Signal:
    """A value of the program: its shape and labels.

    Attributes:
        shape: the shape at the sizes under test.
        labels: what is known of its slices.
        tensor: structured name, where the value is a tensor of the network itself.
        value: the numbers, where they are few, and written into the program or computed from sizes.
        uniform: axes along which all slices are alike, so that any number of them will do.
        drawn: whether its numbers are drawn at random, one for each element, so that fewer of them would be others.
        nonzero: whether slices that are removed may be other than zero in the masked network, as behind a sigmoid.

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
    value: tuple[float, ...] | None = None
    uniform: frozenset[int] = frozenset()
    drawn: bool = False
    nonzero: bool = False

    def __init__(
        self,
        shape: tuple[int, ...],
        labels: tuple[Label, ...] = (),
        tensor: str = "",
        value: tuple[float, ...] | None = None,
        uniform: frozenset[int] = frozenset(),
        drawn: bool = False,
        nonzero: bool = False,
    ) -> None:
        # As dataclass would, but it calls object.__setattr__ for each field, which takes three times as long.
        self.__dict__.update(
            shape=shape, labels=labels, tensor=tensor, value=value, uniform=uniform, drawn=drawn, nonzero=nonzero
        )

    @property
    def size(self) -> int:
        """How many elements the value has."""
        return int(prod(self.shape))  # a rule of a user may give sizes of NumPy's

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


def positions(label: Label, axis: int) -> Index:
    """The positions along one axis of a label, in a shape that broadcasts against its atoms."""
    size = label.atoms.shape[label.axes.index(axis)]
    return np.arange(size).reshape([-1 if other == axis else 1 for other in label.axes])
