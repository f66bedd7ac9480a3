"""Criteria that see a whole group: a unit's slices in all tensors, and what training's gradients say of them.

A criterion of `filters` sees the weight of one layer. What is removed is more: the slices of the layers that read the
channel, its BatchNorm, and the filters of all layers that only shrink together.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..plan import Array
from .filters import Scores

Slices = Mapping[str, Array]
"""Structured name of a tensor -> the slices of each unit, shape ``[units, slices of a unit, ...]``."""


@dataclass(frozen=True)
class GroupSlices:
    """The units of one channel group in all tensors that they touch, as they are now.

    Attributes:
        key: the group's name.
        size: how many units there are.
        filters: the filters of convolutions (and columns of Linears) that make the channels, ``[units, m, in, ...]``.
        consumers: the slices of the weights that read the channels, ``[units, m, out, ...]``.
        scales, shifts: of normalisations and biases, ``[units, m]``.
        gathered: what the criterion's ``gather`` gave for the filters, averaged over the batches, ``[units, m]``; empty
            for one without.

    Example:
        >>> import numpy as np
        >>> from hapi_prune import GroupSlices
        >>> group = GroupSlices("conv.weight", 2, {"conv.weight": np.ones([2, 1, 3, 3, 3])})
        >>> group.sums(group.filters, abs).tolist()
        [27.0, 27.0]
    """

    key: str
    size: int
    filters: Slices
    consumers: Slices = field(default_factory=dict)
    scales: Slices = field(default_factory=dict)
    shifts: Slices = field(default_factory=dict)
    gathered: Slices = field(default_factory=dict)

    def sums(self, slices: Slices, function: Callable[[Array], Array]) -> Scores:
        """The sum over all elements of each unit.

        Args:
            slices: `filters`, `consumers`, `scales`, `shifts` or `gathered`.
            function: what is summed, from an array to one of the same shape.

        Returns:
            float64, shape ``[units]``; zeros where there are no slices.
        """
        total = np.zeros(self.size)
        for array in slices.values():
            total += function(array.astype(np.float64)).reshape(self.size, -1).sum(axis=1)
        return total


class GroupCriterion(Protocol):
    """How much each unit of a group matters: the protocol of criteria that see the whole group. Higher scores are kept.

    To write your own, write a class with a ``name`` and the method ``of_group``, as below; there is nothing to inherit
    from. It must be pure, and treat all units alike, whatever their order.

    With a method ``gather(weight, gradient)`` it also hears of the gradients: in the epoch before each cut it is called
    with the weight of each layer and its gradient in each batch (Tensors, filters on axis 0), and returns a number
    for each filter, shape ``[filters]``. The averages are in ``group.gathered``; nothing but them is kept.

    Attributes:
        name: what it is called in records, on the dashboard and in errors.

    Example:
        >>> import numpy as np, paddle
        >>> from hapi_prune import prune
        >>> class ReadLeast:
        ...     name = "read_least"
        ...     def of_group(self, group):
        ...         return group.sums(group.consumers, np.abs)
        >>> record = prune(paddle.vision.models.LeNet(), [1, 1, 28, 28], 0.5, criterion=ReadLeast())
        >>> record.widths
        {'features.0': (6, 3), 'features.3': (16, 8)}
    """

    @property
    def name(self) -> str:
        """What it is called in records, on the dashboard and in errors."""

    def of_group(self, group: GroupSlices) -> Scores:
        """One score for each unit.

        Args:
            group: the units' slices in all tensors; copies, to be left as they are.

        Returns:
            Finite numbers, shape ``[units]``; the units with the highest ones are kept.
        """


@dataclass(frozen=True)
class GroupL2Norm:
    """The criterion ``"group_l2_norm"``: the length of all that goes with a unit, ``score_i = sqrt(sum_k w_ik ** 2)``.

    The sum is over the unit's filters, the slices that read it, and its scales, in all layers of the group.

    Attributes:
        name: ``"group_l2_norm"``.

    Example:
        >>> import numpy as np
        >>> from hapi_prune import GroupL2Norm, GroupSlices
        >>> filters, consumers = np.array([[[3.0]], [[1.0]]]), np.array([[[4.0]], [[0.0]]])
        >>> GroupL2Norm().of_group(GroupSlices("a", 2, {"a": filters}, {"b": consumers})).tolist()
        [5.0, 1.0]

    Source: Fang, Ma, Song, Mi, Wang, "DepGraph: Towards Any Structural Pruning" (2023).
    """

    name = "group_l2_norm"

    def of_group(self, group: GroupSlices) -> Scores:
        """The length of each unit.

        Args:
            group: the units' slices.

        Returns:
            float64, shape ``[units]``, at least 0.
        """
        parts = (group.filters, group.consumers, group.scales)
        return np.asarray(np.sqrt(sum(group.sums(slices, np.square) for slices in parts)))


@dataclass(frozen=True)
class BatchNormScale:
    """The criterion ``"bn_scale"``, the magnitude of a channel's normalisation scale: ``score_i = mean |gamma_i|``.

    Works best where training pulls the scales to zero, as an L1 penalty on them does. A group without any
    normalisation is scored by the L1 norm of its filters.

    Attributes:
        name: ``"bn_scale"``.

    Example:
        >>> import numpy as np
        >>> from hapi_prune import BatchNormScale, GroupSlices
        >>> group = GroupSlices("a", 2, {}, scales={"bn.weight": np.array([[-2.0], [0.5]])})
        >>> BatchNormScale().of_group(group).tolist()
        [2.0, 0.5]

    Source: Liu, Li, Shen, Huang, Yan, Zhang, "Learning Efficient Convolutional Networks through Network Slimming"
    (2017).
    """

    name = "bn_scale"

    def of_group(self, group: GroupSlices) -> Scores:
        """The mean magnitude of each unit's scales.

        Args:
            group: the units' slices.

        Returns:
            float64, shape ``[units]``, at least 0.
        """
        if not group.scales:
            return group.sums(group.filters, np.abs)
        count = sum(array.shape[1] for array in group.scales.values())
        return np.asarray(group.sums(group.scales, np.abs) / count)


@dataclass(frozen=True)
class Taylor:
    """The criterion ``"taylor"``, how much the loss would change: ``score_i = mean (sum_k g_ik w_ik) ** 2``.

    The gradients ``g`` are those of training itself, in the epoch before a cut; `prune` takes those that the parameters
    hold. The mean is over the batches; the filters of a unit count together.

    Attributes:
        name: ``"taylor"``.

    Example:
        >>> import paddle
        >>> from hapi_prune import Taylor
        >>> weight, gradient = paddle.to_tensor([[1.0, 2.0], [3.0, 0.0]]), paddle.to_tensor([[1.0, 1.0], [0.0, 5.0]])
        >>> Taylor().gather(weight, gradient).tolist()
        [9.0, 0.0]

    Source: Molchanov, Mallya, Tyree, Frosio, Kautz, "Importance Estimation for Neural Network Pruning" (2019).
    """

    name = "taylor"

    def gather(self, weight: Any, gradient: Any) -> Any:
        """What one batch says of each filter of a layer.

        Args:
            weight: a Tensor, shape ``[filters, ...]``.
            gradient: a Tensor of the same shape.

        Returns:
            A Tensor of shape ``[filters]``, at least 0.
        """
        return (weight * gradient).reshape([weight.shape[0], -1]).sum(axis=1) ** 2

    def of_group(self, group: GroupSlices) -> Scores:
        """The sum of what was gathered for each unit's filters.

        Args:
            group: the units' slices.

        Returns:
            float64, shape ``[units]``, at least 0.
        """
        return group.sums(group.gathered, np.asarray)


@dataclass(frozen=True)
class Random:
    """The criterion ``"random"``: numbers drawn anew for each group, the same for the same seed. To compare with.

    Attributes:
        seed: of the numbers; the generators of Paddle, NumPy and Python are left alone.
        name: ``"random"``.

    Example:
        >>> from hapi_prune import GroupSlices, Random
        >>> group = GroupSlices("conv.weight", 4, {})
        >>> bool((Random(seed=1).of_group(group) == Random(seed=1).of_group(group)).all())
        True
    """

    seed: int = 0
    name = "random"

    def of_group(self, group: GroupSlices) -> Scores:
        """A number in [0, 1) for each unit.

        Args:
            group: its key and its size count.

        Returns:
            float64, shape ``[units]``.
        """
        return np.random.default_rng([self.seed, zlib.crc32(group.key.encode())]).random(group.size)
