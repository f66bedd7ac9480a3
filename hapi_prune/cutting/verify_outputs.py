"""After a cut: does the network still run, and does it compute what the masked network computed?"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from ..analysis.channel_map import ChannelMap
from ..analysis.example_input import Example
from ..errors import gist
from ..internals.layers import Inventory
from ..internals.preserve import forward_pass
from ..internals.program import CAST_FROM
from ..internals.stacks import is_user_code, layer_at_work
from ..plan import Reason, ReasonKind
from . import interrupts

TOLERANCE = 1e-3
"""Largest difference between pruned and masked, relative to the largest output."""

TRAINING_TOLERANCE = 3e-3
"""The same in training mode: each BatchNorm divides by what it sees, so rounding grows with the layers."""

LOW = {"bfloat16": 2.0**-5, "float16": 2.0**-8}
"""The same where a network computes with 8 or 11 binary digits: eight roundings of the largest output. Sums come in
another order where channels are gone, so each layer rounds otherwise; up to 7e-3 was seen in bfloat16 (DenseNet121)."""

RANDOM = {"dropout", "rrelu", "gaussian", "uniform", "bernoulli", "randint", "randperm", "truncated_gaussian_random"}
"""Ops that draw as many numbers as they have elements, so that a smaller network draws others."""


def tolerance(tensors: Iterable[paddle.Tensor], casts: Iterable[str], training: bool) -> float:
    """How far pruned and masked may be apart in the lowest precision that is stored or cast to."""
    stored = {str(dtype) for dtype in {tensor.dtype for tensor in tensors}}
    lowest = max((LOW[low] for low in LOW if any(low in name.lower() for name in {*stored, *casts})), default=0.0)
    ratio = TRAINING_TOLERANCE / TOLERANCE if training else 1.0
    return max(TOLERANCE, lowest) * ratio


class Refused(Exception):
    """The cut network does not run, or computes something else.

    Attributes:
        reason: why, and where in the user's code.
        owner: the layer in whose code the network stopped; None where it ran to the end, or no layer is known.
    """

    def __init__(self, reason: Reason, owner: str | None = None) -> None:
        self.reason, self.owner = reason, owner
        super().__init__(str(reason))

    @property
    def place(self) -> tuple[str, str | None]:
        """The line at which the network stopped, and the layer."""
        return self.stopped_at, self.owner

    @property
    def stopped_at(self) -> str:
        """The line of the user's code at which the network stopped; empty if it ran to the end."""
        return self.reason.where if self.reason.kind is ReasonKind.DOES_NOT_RUN else ""


def outputs(held: Inventory, given: Example, training: bool) -> list[npt.NDArray[Any]]:
    """What the network returns, flattened to arrays. Its mode, generators and statistics stay as they were."""
    args, kwargs = given.rebuilt(given.leaves)
    with forward_pass(held.layers.values(), training), paddle.no_grad(), interrupts.let_through():
        tree = held.network(*args, **kwargs)
    return [leaf.astype("float32").numpy() for leaf in paddle.utils.flatten(tree) if isinstance(leaf, paddle.Tensor)]


def trains_otherwise(channel_map: ChannelMap) -> bool:
    """Whether training computes something else than evaluation, and nothing that is drawn at random."""
    graph = channel_map.graph
    training, evaluation = ([op.name for op in one.ops] for one in (graph.training, graph.evaluation))
    return training != evaluation and not RANDOM & set(training)


def attempt(held: Inventory, given: Example, training: bool) -> list[npt.NDArray[Any]]:
    """As `outputs`, with whatever the network raises turned into where and why.

    Raises:
        Refused: the network does not run.
    """
    try:
        return outputs(held, given, training)
    except Exception as error:  # the user's forward may raise anything
        steps = [step for step in traceback.walk_tb(error.__traceback__) if is_user_code(step[0].f_code.co_filename)]
        frame, line = steps[-1] if steps else (None, 0)
        where = f"{frame.f_code.co_filename}:{line}" if frame else ""
        owner = layer_at_work(frame, {id(layer): name for name, layer in held.layers.items()})
        text = f"does not run at other sizes: {where or 'an unknown place'} ({gist(error)[:160]})"
        raise Refused(Reason(ReasonKind.DOES_NOT_RUN, text, where=where), owner) from error


def compare(
    pruned: list[npt.NDArray[Any]], masked: list[npt.NDArray[Any]], exact: bool, most: float = TOLERANCE
) -> None:
    """Shapes must be equal; values too, as far as the precision goes, where the cut is exact.

    Raises:
        Refused: they are not.
    """
    for number, (ours, theirs) in enumerate(zip(pruned, masked)):
        if ours.shape != theirs.shape:
            text = f"changes output {number} from shape {list(theirs.shape)} to {list(ours.shape)}"
            raise Refused(Reason(ReasonKind.OTHER_SIZES, text))
        if exact and not (off := distance(ours, theirs)) <= most:
            text = f"changes output {number} by {off:.1e} of its largest value"
            raise Refused(Reason(ReasonKind.OTHER_VALUES, text))


def comparable(masked: Mapping[bool, list[npt.NDArray[Any]]]) -> bool:
    """Whether the outputs of the masked network can be compared: in each mode some number of them is finite."""
    return all(any(np.isfinite(output).any() for output in outputs) for outputs in masked.values())


def distance(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> float:
    """The largest difference between two outputs of one shape, relative to the largest of ``theirs`` that is finite."""
    finite = np.isfinite(theirs)
    if not finite.any():
        return 0.0
    return float(np.abs(ours - theirs)[finite].max()) / (float(np.abs(theirs[finite]).max()) or 1.0)


def casts(channel_map: ChannelMap, training: bool) -> set[str]:
    """The types that the network rounds real numbers to on its way in a mode, as in mixed precision."""
    graph = channel_map.graph
    ops = (graph.training if training else graph.evaluation).ops
    types = {(op.attrs[CAST_FROM].lower(), str(op.attrs.get("dtype")).lower()) for op in ops if op.name == "cast"}
    return {to for before, to in types if "float" in before and "float" in to}
