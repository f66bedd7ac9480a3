"""The layers that are not pruned, and the reasons, as text."""

from __future__ import annotations

from ..analysis.channel_map import ChannelMap
from ..analysis.layer_names import layer_name
from .goals import Goal

MOST_REASONS = 5
"""An error names no more reasons than this."""


def why_nothing(channel_map: ChannelMap, wanted: Goal) -> str:
    """Why nothing can be pruned: how many groups there are, how many of them were tried, and each reason once."""
    layers, count = layers_by_reason(channel_map, wanted), len(wanted.stays)
    if count < 2:
        return next((f"{names[0]!r} {why}" for why, names in layers.items()), "it has no convolution")
    tried = len(wanted.stays.keys() & channel_map.findings.refused.keys())
    told = [
        f"{', '.join(map(repr, names[:3]))}{f' and {len(names) - 3} more' if names[3:] else ''}: {why}"
        for why, names in layers.items()
    ]
    told[MOST_REASONS:] = [f"{len(told) - MOST_REASONS} reasons more"] if told[MOST_REASONS:] else []
    return f"{count} groups stay, {tried or 'none'} of them after being tried. {'; '.join(told)}"


def layers_by_reason(channel_map: ChannelMap, wanted: Goal) -> dict[str, list[str]]:
    """For each reason the layers that stay for it, in the order of the network."""
    layers: dict[str, set[str]] = {}
    for key, why in wanted.stays.items():
        layers.setdefault(str(why), set()).update(layers_of(channel_map, key))
    order = {name: place for place, name in enumerate([*channel_map.graph.kinds, *channel_map.graph.shapes])}
    return {text: sorted(names, key=order.__getitem__) for text, names in layers.items()}


def layers_of(channel_map: ChannelMap, key: str) -> list[str]:
    """The layers by which a group is named: its convolutions, or else the first layer that it touches."""
    axes, convolutions = channel_map.origin.groups[key].index, channel_map.traced.constraints.convolutions
    names = [layer_name(axis[0]) for axis in axes if axis in convolutions]
    return names or [layer_name(next(iter(axes))[0])]
