"""The latency of a forward pass by a table of times of its ops: measured before the first cut, then predicted."""

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

    An op takes longer in a network than by itself: caches are cold, and Python takes time. One factor stands for that,
    the same for all ops, chosen such that the table is right for the dense network.

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
    """Milliseconds of a forward pass if each group keeps so many units; groups that are not named keep all."""
    return CostModel(channel_map, "latency", times=times).at(counts) / MILLISECOND


def now(channel_map: ChannelMap, times: Times, before: float | None) -> Latency:
    """The latency after a cut, predicted and measured; ``before``: what was predicted before it."""
    return Latency(
        original=times.original / MILLISECOND,
        before=times.original / MILLISECOND if before is None else before,
        after=predicted(channel_map, times, {}),
        measured_original=times.of_network(channel_map) / MILLISECOND,
        measured=replay.seconds_of_network(channel_map) * 1000,
    )
