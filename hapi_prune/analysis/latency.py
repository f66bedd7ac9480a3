"""How long a forward pass takes, by a table of its ops: measured before the first cut, predicted for every other."""

from __future__ import annotations

from collections.abc import Mapping

from ..plan import Latency
from . import replay
from .channel_map import ChannelMap
from .cost_model import CostModel
from .times import Times

MILLISECOND = 1e6
"""In nanoseconds."""


def measured(channel_map: ChannelMap, known: Mapping[str, int] | None = None) -> Times:
    """The times of all ops of a network that is not cut yet, at the widths that they may have.

    In a network an op takes longer than by itself: caches are cold, and Python has its share. All are taken to do so by
    the same factor, such that the table is right for the network as it is.

    Args:
        channel_map: the network.
        known: the times that a run began with; None to use those that this machine has kept, and keep what is new.
    """
    times = Times(known)
    ops = CostModel(channel_map, "latency", times=times).at({})
    times.scale = times.of_network(channel_map) / ops if ops else 1.0
    times.original = CostModel(channel_map, "latency", times=times).at({})
    if known is None:
        times.save()
    return times


def predicted(channel_map: ChannelMap, times: Times, counts: Mapping[str, int]) -> float:
    """Milliseconds of a forward pass where each group keeps so many units; all of those of now where none are given."""
    return CostModel(channel_map, "latency", times=times).at(counts) / MILLISECOND


def now(channel_map: ChannelMap, times: Times, before: float | None) -> Latency:
    """Predicted beside measured, after a cut; ``before``: what was predicted before it."""
    return Latency(
        original=times.original / MILLISECOND,
        before=times.original / MILLISECOND if before is None else before,
        after=predicted(channel_map, times, {}),
        measured_original=times.of_network(channel_map) / MILLISECOND,
        measured=replay.seconds_of_network(channel_map) * 1000,
    )
