"""Layers by name: structured names, globs, and Paddle's own parameter names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from .errors import PruneError, nearest
from .plan import Axis
from .survey import Survey

PADDLES = re.compile(r"\.[wb]_\d+$")
"""How Paddle's own names of parameters end."""


def layer_name(tensor: str) -> str:
    """The layer that owns a tensor; a bare parameter of the network stands for itself."""
    return tensor.rpartition(".")[0] or tensor


def resolve(survey: Survey, name: str, where: str) -> list[Axis]:
    """The filter axes that ``name`` means.

    Args:
        survey: the network.
        name: a structured layer name (``"features.3.conv"``; a block means all layers in it), a glob over these
            (``"layer4.*"``), or a parameter's name, structured (``"conv1.weight"``) or Paddle's (``"conv2d_22.w_0"``).
        where: the place that an error names.

    Raises:
        PruneError: nothing of that name holds filters.
    """
    filters = sorted(survey.traced.record.filters, key=survey.graph.numbers.get)  # type: ignore[arg-type]
    tensor = survey.graph.aliases.get(name, name)
    found = [axis for axis in filters if tensor in (axis[0], layer_name(axis[0]))]
    found = found or [axis for axis in filters if axis[0].startswith(f"{name}.")]
    found = found or [axis for axis in filters if fnmatchcase(layer_name(axis[0]), name)]
    if found:
        return found
    known = [layer_name(axis[0]) for axis in filters]
    if tensor in survey.graph.shapes or tensor in survey.graph.kinds:
        raise PruneError(where, f"{name!r}, which holds no filters", "a convolution or Linear", near(name, known))
    paddles = [alias for alias, own in survey.graph.aliases.items() if own in {axis[0] for axis in filters}]
    raise PruneError(
        where,
        f"an unknown layer {name!r}",
        "a layer's name, a glob over names, or a parameter's name",
        near(name, paddles if PADDLES.search(name) else known),
    )


def near(name: str, known: Iterable[str]) -> str:
    """What to do about a wrong name."""
    return f"use a name such as {nearest(name, known)}"


def exact(survey: Survey, name: str) -> bool:
    """Whether ``name`` names one tensor or layer, and is not a glob or a block."""
    tensor = survey.graph.aliases.get(name, name)
    return any(tensor in (axis[0], layer_name(axis[0])) for axis in survey.traced.record.filters)
