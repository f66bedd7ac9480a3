"""Groups, plans, cuts and costs as frozen data, and no decisions."""

from .costs import Cost, Latency, LayerCost
from .plan import Array, Axis, ChannelGroup, Cut, Index, PruningPlan, Reason, ReasonKind, ascending

__all__ = [
    "Array",
    "Axis",
    "ChannelGroup",
    "Cost",
    "Cut",
    "Index",
    "Latency",
    "LayerCost",
    "PruningPlan",
    "Reason",
    "ReasonKind",
    "ascending",
]
