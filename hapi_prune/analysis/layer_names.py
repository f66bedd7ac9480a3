"""Layers by name: structured names, globs, and Paddle's own parameter names."""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ..errors import PruneError, nearest
from ..plan import Axis

if TYPE_CHECKING:
    from .channel_map import ChannelMap

PADDLES = re.compile(r"\.[wb]_\d+$")
"""How Paddle's own names of parameters end."""


class Match(enum.IntEnum):
    """How well a user's name fits; the higher counts for more."""

    NONE = 0
    GLOB = 1
    BLOCK = 2
    OWN = 3


def match(pattern: str, names: Collection[str]) -> Match:
    """How ``pattern`` fits a layer that goes by ``names``: as its own name, as that of a block around it, as a glob.

    Example:
        >>> [match(pattern, ["features.3"]).name for pattern in ("features.3", "features", "*.3", "classifier")]
        ['OWN', 'BLOCK', 'GLOB', 'NONE']
    """
    if pattern in names:
        return Match.OWN
    if any(name.startswith(f"{pattern}.") for name in names):
        return Match.BLOCK
    return Match.GLOB if any(fnmatchcase(name, pattern) for name in names) else Match.NONE


def layer_name(tensor: str) -> str:
    """The layer that owns a tensor; a bare parameter of the network stands for itself."""
    return tensor.rpartition(".")[0] or tensor


def names_of(channel_map: ChannelMap, axis: Axis) -> tuple[str, ...]:
    """What a filter axis goes by: its layer's name, its tensor's, and Paddle's own for that."""
    return layer_name(axis[0]), axis[0], channel_map.graph.paddle_names[axis[0]]


def resolve(channel_map: ChannelMap, name: str, where: str) -> list[Axis]:
    """The filter axes that ``name`` means.

    Args:
        channel_map: the network.
        name: a structured layer name (``"features.3.conv"``; a block means all layers in it), a glob over these
            (``"layer4.*"``), or a parameter's name, structured (``"conv1.weight"``) or Paddle's (``"conv2d_22.w_0"``).
        where: the argument that an error names.

    Raises:
        PruneError: nothing of that name holds filters.
    """
    graph = channel_map.graph
    filters = sorted(channel_map.traced.constraints.filters, key=lambda axis: graph.numbers[axis])
    fits = {axis: match(name, names_of(channel_map, axis)) for axis in filters}
    best = max(fits.values(), default=Match.NONE)
    if best is not Match.NONE:
        return [axis for axis in filters if fits[axis] is best]
    known = [layer_name(axis[0]) for axis in filters]
    tensor = graph.aliases.get(name, name)
    if tensor in graph.shapes or tensor in graph.kinds:
        raise PruneError(where, f"{name!r}, which holds no filters", "a convolution or Linear", near(name, known))
    paddles = [alias for alias, own in graph.aliases.items() if own in {axis[0] for axis in filters}]
    raise PruneError(
        where,
        f"an unknown layer {name!r}",
        "a layer's name, a glob over names, or a parameter's name",
        near(name, paddles if PADDLES.search(name) else known),
    )


def near(name: str, known: Iterable[str]) -> str:
    """What an error tells the user to do about a wrong name."""
    return f"use a name such as {nearest(name, known)}"
