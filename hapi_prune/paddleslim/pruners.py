"""PaddleSlim's three pruners: one for each criterion."""

from __future__ import annotations

from .filter_pruner import FilterPruner


class L1NormFilterPruner(FilterPruner):
    """Removes the filters with the smallest sum of magnitudes; see `FilterPruner` for the arguments.

    Example:
        >>> import paddle
        >>> with paddle.utils.unique_name.guard():
        ...     network = paddle.vision.models.LeNet()
        >>> pruner = L1NormFilterPruner(network, [1, 1, 28, 28])
        >>> plan = pruner.prune_vars({"conv2d_0.w_0": 0.5, "conv2d_1.w_0": 0.25}, axis=0)
        >>> [network.features[n].weight.shape[0] for n in (0, 3)]
        [3, 12]
    """

    criterion = "l1_norm"


class L2NormFilterPruner(FilterPruner):
    """Removes the filters of the smallest Euclidean length; see `FilterPruner` for the arguments.

    Example:
        >>> import paddle
        >>> network = paddle.vision.models.LeNet()
        >>> pruner = L2NormFilterPruner(network, [1, 1, 28, 28])
        >>> plan = pruner.prune_vars({"features.0.weight": 0.5, "features.3.weight": 0.25}, axis=0)
        >>> [network.features[n].weight.shape[0] for n in (0, 3)]
        [3, 12]
    """

    criterion = "l2_norm"


class FPGMFilterPruner(FilterPruner):
    """Removes the filters nearest the geometric median of their layer; see `FilterPruner` for the arguments.

    Example:
        >>> import paddle
        >>> network = paddle.vision.models.LeNet()
        >>> pruner = FPGMFilterPruner(network, [1, 1, 28, 28])
        >>> plan = pruner.prune_vars({"features.0.weight": 0.5, "features.3.weight": 0.25}, axis=0)
        >>> [network.features[n].weight.shape[0] for n in (0, 3)]
        [3, 12]
    """

    criterion = "fpgm"
