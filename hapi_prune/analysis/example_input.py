"""The user's example input, turned into arguments for the network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle.static import InputSpec

from ..errors import PruneError

ALLOWED = "a shape such as [1, 3, 32, 32], an InputSpec, a Tensor, or a list, tuple or dict of these"

DRAWN = 32_771
"""So many numbers are drawn for an example, and then come again: all those of an image take longer than finding groups.
A prime number, so that lines and images of common sizes differ."""


@dataclass(frozen=True)
class Slot:
    """Stands for a tensor in the arguments, by its number among the leaves."""

    number: int


@dataclass(frozen=True)
class Example:
    """Arguments of the network's forward: nested containers with slots, and an example tensor for each slot."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    leaves: list[paddle.Tensor]

    def rebuilt(self, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with ``leaves`` in place of the slots."""
        return filled(self.args, leaves), filled(self.kwargs, leaves)


@paddle.jit.not_to_static  # plain Python at trace time; Paddle's rewriting of it would lose the slots
def filled(tree: Any, leaves: Sequence[Any]) -> Any:
    """``tree`` with ``leaves`` in place of the slots."""
    if isinstance(tree, Slot):
        return leaves[tree.number]
    if isinstance(tree, dict):
        return {key: filled(value, leaves) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)([filled(value, leaves) for value in tree])
    return tree


def example(network: paddle.nn.Layer, inputs: Any) -> Example:
    """Arguments for ``network`` from what the user gave.

    Args:
        network: the network; the names of its forward's arguments say what a dict means.
        inputs: a shape, an InputSpec, a Tensor, or a list / tuple / dict of these. A dict is passed as keyword
            arguments if the forward has all of its keys as arguments, and else as one argument.

    Raises:
        PruneError: anything else, or a shape with an open axis other than the batch.
    """
    leaves: list[paddle.Tensor] = []
    if is_leaf(inputs):
        return Example((tree_of(inputs, leaves),), {}, leaves)
    if isinstance(inputs, Mapping) and inputs:
        tree = tree_of(inputs, leaves)
        known = inspect.signature(network.forward).parameters
        named = all(key in known for key in tree)
        return Example((), tree, leaves) if named else Example((tree,), {}, leaves)
    if isinstance(inputs, (list, tuple)) and inputs:
        return Example(tuple(tree_of(value, leaves) for value in inputs), {}, leaves)
    raise PruneError("inputs", f"{inputs!r:.80}", ALLOWED)


def is_leaf(value: Any) -> bool:
    """Whether ``value`` stands for one tensor."""
    if isinstance(value, (paddle.Tensor, InputSpec, np.ndarray)):
        return True
    return isinstance(value, (list, tuple)) and bool(value) and all(is_size(v) for v in value)


def is_size(value: Any) -> bool:
    """Whether ``value`` can be one entry of a shape."""
    return value is None or (isinstance(value, (int, np.integer)) and not isinstance(value, bool))


def tree_of(value: Any, leaves: list[paddle.Tensor]) -> Any:
    """A user's value with slots for its tensors; None and plain numbers are arguments as they are."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if is_leaf(value):
        leaves.append(leaf(value))
        return Slot(len(leaves) - 1)
    if isinstance(value, Mapping):
        return {key: tree_of(part, leaves) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([tree_of(part, leaves) for part in value])
    raise PruneError("inputs", f"{value!r:.80}", ALLOWED)


def leaf(value: Any) -> paddle.Tensor:
    """One example tensor: the user's own, or standard normal numbers (zeros for whole numbers)."""
    if isinstance(value, paddle.Tensor):
        return value.detach()
    if isinstance(value, np.ndarray):
        return paddle.to_tensor(value)
    shape = list(value.shape if isinstance(value, InputSpec) else value)
    dtype = str(value.dtype).replace("paddle.", "") if isinstance(value, InputSpec) else "float32"
    sizes = [1 if axis == 0 and size in (None, -1) else size for axis, size in enumerate(shape)]
    if any(size is None or size < 1 for size in sizes):
        raise PruneError("inputs", f"shape {shape}", "sizes of at least 1; only the batch may be open", ALLOWED)
    if "float" not in dtype:
        return paddle.zeros(sizes, dtype=dtype)
    return paddle.to_tensor(np.resize(drawn()[: prod(sizes)], sizes)).astype(dtype)


@cache
def drawn() -> npt.NDArray[np.float32]:
    """Standard normal numbers, always the same."""
    return np.random.default_rng(0).standard_normal(DRAWN, dtype=np.float32)
