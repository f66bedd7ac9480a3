"""After a cut: does the network still run, and does it compute what the masked network computed?"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from . import _paddle, interrupts
from .errors import gist
from .inputs import Example
from .state import buffers, mode, quiet, rng

TOLERANCE = 1e-3
"""Largest difference between pruned and masked, relative to the largest output."""

TRAINING_TOLERANCE = 3e-3
"""The same in training mode: each BatchNorm divides by what it sees, so rounding grows with the layers."""

LOW = {"bfloat16": 2.0**-5, "float16": 2.0**-8}
"""The same where a network computes with 8 or 11 binary digits: eight roundings of the largest output. Sums come in
another order where channels are gone, so each layer rounds otherwise; up to 7e-3 was seen in bfloat16 (DenseNet121)."""


def tolerance(network: paddle.nn.Layer, casts: Iterable[str], training: bool) -> float:
    """How far pruned and masked may be apart in the lowest precision that a network stores or casts to."""
    stored = {str(tensor.dtype) for tensor in [*network.parameters(), *network.buffers()]}
    lowest = max((LOW[low] for low in LOW if any(low in name.lower() for name in {*stored, *casts})), default=0.0)
    ratio = TRAINING_TOLERANCE / TOLERANCE if training else 1.0
    return max(TOLERANCE, lowest) * ratio


ELSEWHERE = "does not hold on another rank"


class Refused(Exception):
    """The cut network does not run, or computes something else; the text says where.

    Attributes:
        place: ``file:line`` of the user's code at which it stopped; empty if it ran to the end.
    """

    place = ""


def outputs(network: paddle.nn.Layer, given: Example, training: bool) -> list[npt.NDArray[Any]]:
    """What the network returns, flattened to arrays. Its mode, generators and statistics stay as they were."""
    still = {name: t for name, t in network.state_dict().items() if t.stop_gradient}
    kept = {name: t.numpy().copy() for name, t in still.items()}
    args, kwargs = given.rebuilt(given.leaves)
    with mode(network, training), rng(), quiet(), paddle.no_grad():
        try:
            with buffers(network), interrupts.let_through():
                tree = network(*args, **kwargs)
        finally:
            for name, tensor in still.items():
                if not np.array_equal(tensor.numpy(), kept[name]):
                    tensor.set_value(kept[name])
    return [leaf.astype("float32").numpy() for leaf in paddle.utils.flatten(tree) if isinstance(leaf, paddle.Tensor)]


def attempt(network: paddle.nn.Layer, given: Example, training: bool) -> list[npt.NDArray[Any]]:
    """As `outputs`, with whatever the network raises turned into where and why.

    Raises:
        Refused: the network does not run.
    """
    try:
        return outputs(network, given, training)
    except Exception as error:  # the user's forward may raise anything
        frames = [f for f in traceback.extract_tb(error.__traceback__) if _paddle.is_user_code(f.filename)]
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        refused = Refused(f"does not run at other sizes: {place or 'an unknown place'} ({gist(error)[:160]})")
        refused.place = place
        raise refused from error


def compare(
    pruned: list[npt.NDArray[Any]], masked: list[npt.NDArray[Any]], exact: bool, most: float = TOLERANCE
) -> None:
    """Shapes must be equal; values too, as far as the precision goes, where the cut is exact.

    Raises:
        Refused: they are not.
    """
    for number, (ours, theirs) in enumerate(zip(pruned, masked)):
        if ours.shape != theirs.shape:
            raise Refused(f"changes output {number} from shape {list(theirs.shape)} to {list(ours.shape)}")
        finite = np.isfinite(theirs)
        if exact and finite.any():
            largest = float(np.abs(theirs[finite]).max()) or 1.0
            off = float(np.abs(ours - theirs)[finite].max()) / largest
            if not off <= most:
                raise Refused(f"changes output {number} by {off:.1e} of its largest value")
