"""The pruners where ``paddleslim.dygraph`` has them: trainers write ``paddleslim.dygraph.FPGMFilterPruner(...)``.

Example:
    >>> from hapi_prune import paddleslim
    >>> paddleslim.dygraph.FPGMFilterPruner is paddleslim.FPGMFilterPruner
    True
"""

from . import filter_pruner
from .filter_pruner import FilterPruner
from .flops import flops
from .plan import PruningMask, PruningPlan
from .pruners import FPGMFilterPruner, L1NormFilterPruner, L2NormFilterPruner

__all__ = [
    "FPGMFilterPruner",
    "FilterPruner",
    "L1NormFilterPruner",
    "L2NormFilterPruner",
    "PruningMask",
    "PruningPlan",
    "filter_pruner",
    "flops",
]
