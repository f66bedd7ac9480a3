"""What a user's ratios ask of the convolutions of a network, and what has to be said of the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from ..plan import Axis
from .engine import Engine
from .said import say, some

Axes = Mapping[str, frozenset[Axis]]


def asked_of(engine: Engine, ratios: Mapping[str, float], skip: Collection[str] = ()) -> dict[str, float]:
    """What is asked of convolutions; what else was named is left out, and said where nothing stands for it.

    Args:
        engine: the network.
        ratios: the share that goes of each variable.
        skip: variables to leave out.

    Raises:
        PruneError: the network has no such variable.
    """
    axes = {name: engine.axes(name) for name in ratios}
    asked = {name: ratio for name, ratio in ratios.items() if axes[name] and name not in skip}
    say([*strays(engine, axes), *left_out(ratios, skip), *late(engine, asked, axes)])
    return asked


def strays(engine: Engine, axes: Axes) -> Iterator[str]:
    """Of what holds no filters of a convolution, what is not the bias of one that is named itself."""
    aliases = engine.channel_map.graph.aliases
    layers = {name: aliases.get(name, name).rpartition(".")[0] for name in axes}
    named = {layers[name] for name, own in axes.items() if own}
    found = [name for name, own in axes.items() if not own and layers[name] not in named]
    if found:
        yield f"{some(found)}: not the weight of a convolution, so left out; it shrinks with those around it"


def left_out(ratios: Mapping[str, float], skip: Collection[str]) -> Iterator[str]:
    """What the user has told to skip."""
    found = [name for name in ratios if name in skip]
    if found:
        yield f"{some(found)}: left out, as in skip_vars"


def late(engine: Engine, asked: Mapping[str, float], axes: Axes) -> Iterator[str]:
    """Of the variables that follow another, those that were asked to shrink by another ratio."""
    told: dict[str, list[str]] = {}
    for group in engine.channel_map.groups.values():
        first, *others = [name for name in asked if axes[name] & group.index.keys()] or [""]
        for name in others:
            if not np.isclose(asked[name], asked[first]) and name not in told.setdefault(first, []):
                told[first].append(name)
    for first, names in told.items():
        if names:
            yield f"{some(names)}: shrinks together with {first!r}, so by {asked[first]:g} as well"


def convolutions(engine: Engine) -> list[str]:
    """Paddle's names of the weights of all convolutions, in the order of the network."""
    graph = engine.channel_map.graph
    return [alias for alias, name in graph.aliases.items() if engine.axes(name)]


def aligned(engine: Engine, ratios: Mapping[str, float], align: int) -> dict[str, float]:
    """The ratios that leave the nearest multiple of ``align`` filters, and at least so many."""
    found = {}
    for name, ratio in ratios.items():
        tensor, slot = min(engine.axes(name))
        size = engine.channel_map.graph.shapes[tensor][slot]
        found[name] = max(0.0, 1 - max(1, round((1 - ratio) * size / align)) * align / size)
    return found
