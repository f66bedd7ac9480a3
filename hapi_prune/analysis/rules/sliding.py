"""Windows that move one place at a time along channels, where these are laid out as places of an image.

Attention over channels is written so (ECA: a convolution along them), and normalisation by neighbours. Any number of
channels will do; but without one of them its neighbours see others, so that removing it is not zeroing it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..labels import NONE, Label
from . import shape_inference
from .registry import Call


@dataclass(frozen=True)
class Window:
    """A window that moves one place at a time.

    Attributes:
        reach: how many places it reaches over.
        front: how many places are padded in front of the first.
        padded: how many places are padded in all.
    """

    reach: int
    front: int
    padded: int

    def places(self, size: int) -> int:
        """How many places it moves to along an axis of ``size``."""
        return size + self.padded - self.reach + 1


def windows(call: Call, kernel: Sequence[int]) -> dict[int, Window]:
    """The axes of the image along which the window of a convolution or pooling moves so, and the window.

    Args:
        call: the op, whose operand 0 is the image.
        kernel: the size of the window along each axis of the image.
    """
    attrs, shape = call.op.attrs, call.traced_arg(0).shape
    axes = call.op.image_axes(len(shape))
    if attrs.get("adaptive") or attrs.get("global_pooling") or len(kernel) != len(axes):
        return {}
    strides, dilations = (shape_inference.spread(attrs.get(name), len(axes)) for name in ("strides", "dilations"))
    found = {}
    for n, axis in enumerate(axes):
        if kernel[n] > 1 and strides[n] == 1 and shape[axis] > 1:
            reach = (kernel[n] - 1) * dilations[n] + 1
            padded = shape_inference.margins(call, n, len(axes), shape[axis], reach, 1)
            found[axis] = Window(reach, front(call, n, len(axes), padded), padded)
    return found


def front(call: Call, axis: int, count: int, padded: int) -> int:
    """How many of the ``padded`` places are in front of the first."""
    pads = shape_inference.spread(call.op.attrs.get("paddings"), count)
    explicit = call.op.attrs.get("padding_algorithm", "EXPLICIT") == "EXPLICIT"
    return pads[2 * axis] if explicit and len(pads) == 2 * count else padded // 2


def slid(call: Call, label: Label, windows: Mapping[int, Window]) -> Label | None:
    """The label behind such windows: that of the place in the middle of each, mixed with its neighbours.

    Where channels were padded before, the middle is where the first of them comes to lie. None where a channel would be
    left out, or slices that are none would come between them.
    """
    atoms = label.atoms
    for axis in windows.keys() & set(label.axes):
        window, at = windows[axis], label.axes.index(axis)
        line = np.moveaxis(atoms, at, 0).reshape(atoms.shape[at], -1)
        real = np.flatnonzero((line != NONE).any(axis=1))
        begin = int(real[0]) if real.size and real[0] else (window.reach - 1) // 2 - window.front
        places = window.places(len(line))
        if begin < 0 or not real.size or begin > real[0] or begin + places <= real[-1] or begin + places > len(line):
            return None
        atoms = np.take(atoms, np.arange(begin, begin + places), axis=at)
    call.constraints.mix([label], "is mixed with its neighbours")
    return Label(label.axes, atoms)
