"""Verification in float64, for networks that are too ill-conditioned to be compared in float32.

The output of deep networks with gates or unusual statistics can change by as much as its own size when the numbers of
their input change by 1e-6 of themselves. Their output after a cut proves nothing in float32, but in float64 it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import paddle

from ..analysis.channel_map import ChannelMap
from ..analysis.cut_state import PlannedCut
from ..analysis.example_input import Example
from ..internals.layers import Inventory
from ..plan import Array
from ..reporting.record import SIZES, VALUES_IN_FLOAT64
from . import surgery, verify_outputs
from .undo_log import UndoLog
from .verify_outputs import Refused
from .verify_sizes import verify_sizes

PERTURBATION = 1e-6
"""Relative change of the input, of the size of float32's rounding."""

SENSITIVE = 0.01
"""A network whose output such a change moves by this share of the tolerance may differ by rounding: what is rounded in
a later layer was seen to do 500 times as much as the input, where two numbers of a softmax are nearly alike."""

FINEST = 1e-15
"""The same, of the size of float64's rounding."""

PRECISE = 1e-6
"""Largest difference between pruned and masked in float64, relative to the largest output; 1e-9 is usual."""


def verify_in_float64(
    channel_map: ChannelMap, planned: PlannedCut, doubt: Refused, masked: Mapping[bool, list[Array]]
) -> str:
    """Verify a cut whose values differ by more than the tolerance in float32; the network is left as before the cut.

    Args:
        channel_map: the network, not cut.
        planned: the cut.
        doubt: the difference found in float32, raised if rounding cannot be the reason.
        masked: what the masked network returned in float32, in evaluation (False) or training mode (True), or both.

    Returns:
        What it was verified by: ``"values in float64"``, or ``"sizes"`` where the network does not run in float64 or
        is too ill-conditioned for that too.

    Raises:
        Refused: the cut is wrong.
    """
    log, modes = UndoLog(), tuple(masked)
    try:
        with surgery.masked(channel_map.tensors, planned.cut):
            noise = max(noise_of(channel_map, training, masked[training]) for training in modes)
            if noise <= SENSITIVE:
                raise doubt
            theirs = outputs_in_float64(channel_map, modes)
            again = outputs_in_float64(channel_map, modes, FINEST) if theirs is not None else None
        depthwise = channel_map.traced.constraints.depthwise
        held = channel_map.inventory()
        surgery.shrink(held, planned.cut, depthwise, log)
        surgery.set_counts(held, planned.counts, log)
        with surgery.widths_follow(held, log):
            ours = outputs_in_float64(channel_map, modes) if theirs is not None else None
        if theirs is None or ours is None or again is None or not all(map(agrees, again, theirs)):
            if noise <= 1:
                raise doubt
            verify_sizes(channel_map, planned.propagation)
            return SIZES
        for one, other in zip(ours, theirs):
            verify_outputs.compare(one, other, exact=True, most=PRECISE)
        return VALUES_IN_FLOAT64
    finally:
        log.undo()


def noise_of(channel_map: ChannelMap, training: bool, plain: list[Array]) -> float:
    """How far a change of the input by float32's rounding moves the outputs ``plain``, in units of the tolerance."""
    held, given = channel_map.inventory(), channel_map.tried_on
    floats = [leaf.is_floating_point() for leaf in given.leaves]
    leaves = [nudged(leaf, PERTURBATION) if real else leaf for leaf, real in zip(given.leaves, floats)]
    perturbed = verify_outputs.outputs(held, replace(given, leaves=leaves), training)
    casts = verify_outputs.casts(channel_map, training)
    most = verify_outputs.tolerance(held.tensors.values(), casts, training)
    return max((verify_outputs.distance(one, other) / most for one, other in zip(perturbed, plain)), default=0.0)


def nudged(leaf: paddle.Tensor, perturbation: float) -> paddle.Tensor:
    """A tensor with each number changed by this share of itself, up or down without a pattern, as rounding does.

    One factor for all would pass unseen through whatever does not depend on the scale of its input: normalisations, and
    the largest of some numbers, which is all that a softmax of large numbers tells.
    """
    ways = np.sign(np.sin(np.arange(1, leaf.size + 1))).reshape(leaf.shape)  # no multiple of pi is a whole number
    return leaf * paddle.to_tensor(1 + perturbation * ways, dtype=leaf.dtype, place=leaf.place)


def agrees(ours: Sequence[Array], theirs: Sequence[Array]) -> bool:
    """Whether what was computed in float64 is the same but for rounding."""
    return all(verify_outputs.distance(one, other) <= PRECISE for one, other in zip(ours, theirs))


def outputs_in_float64(
    channel_map: ChannelMap, modes: Sequence[bool], perturbation: float = 0.0
) -> list[list[Array]] | None:
    """What the network returns in each mode, computed in float64; None if it does not run in float64.

    ``perturbation``: relative change of the input.
    """
    held, given = channel_map.inventory(), channel_map.tried_on
    if any(verify_outputs.casts(channel_map, training) for training in modes):
        return None  # it would compute in lower precision all the same
    try:
        with in_float64(held, given, perturbation) as precise:
            return [verify_outputs.outputs(held, precise, training) for training in modes]
    except Exception:  # casts, custom ops, tensors in closures: the user's forward may raise anything
        return None


@contextmanager
def in_float64(held: Inventory, given: Example, perturbation: float) -> Iterator[Example]:
    """The network's tensors in float64 for the length of a block; gives the example, `nudged`, in float64."""
    log, default = UndoLog(), paddle.get_default_dtype()
    try:
        for tensor in held.tensors.values():
            if tensor.is_floating_point():
                log.resize(tensor, tensor.astype("float64").numpy())
        for layer in held.layers.values():  # tensors that are plain attributes
            for name, value in list(vars(layer).items()):
                if isinstance(value, paddle.Tensor) and value.is_floating_point():
                    log.assign(layer, name, value.astype("float64"))
        paddle.set_default_dtype("float64")
        floats = [leaf.is_floating_point() for leaf in given.leaves]
        exact = [leaf.astype("float64") if real else leaf for leaf, real in zip(given.leaves, floats)]
        leaves = [nudged(leaf, perturbation) if real else leaf for leaf, real in zip(exact, floats)]
        yield replace(given, leaves=leaves)
    finally:
        paddle.set_default_dtype(default)
        log.undo()
