"""PaddleSlim's dygraph filter pruners, by name and arguments, over this library.

A program that was written for ``paddleslim.dygraph`` runs on Paddle 3 with one line changed. There is no second engine
behind it: groups, cuts, proofs and optimizer state are those of `hapi_prune.prune`. See docs/paddleslim.md.

Example:
    >>> import paddle
    >>> from hapi_prune.paddleslim import L1NormFilterPruner, flops
    >>> with paddle.utils.unique_name.guard():
    ...     network = paddle.vision.models.mobilenet_v1()
    >>> pruner = L1NormFilterPruner(network, [1, 3, 32, 32])
    >>> plan = pruner.prune_vars({"conv2d_22.w_0": 0.5, "conv2d_20.w_0": 0.6}, axis=0)
    >>> flops(network, [1, 3, 32, 32])
    11067556
"""

from . import analysis, dygraph
from .filter_pruner import FILTER_DIM, FilterPruner
from .flops import dygraph_flops, flops
from .plan import PruningMask, PruningPlan
from .pruners import FPGMFilterPruner, L1NormFilterPruner, L2NormFilterPruner

__all__ = [
    "FILTER_DIM",
    "FPGMFilterPruner",
    "FilterPruner",
    "L1NormFilterPruner",
    "L2NormFilterPruner",
    "PruningMask",
    "PruningPlan",
    "analysis",
    "dygraph",
    "dygraph_flops",
    "flops",
]
