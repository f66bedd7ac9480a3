"""How much each unit of a group matters: its filters' scores, brought together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import paddle

from .. import criteria
from ..analysis.layer_names import layer_name
from ..plan import Axis, ChannelGroup, ascending


class Scores:
    """Scores of units, each layer's weight scored once."""

    def __init__(self, tensors: Mapping[str, paddle.Tensor], criterion: criteria.Criterion) -> None:
        self._tensors, self._criterion = tensors, criterion
        self._layers: dict[Axis, npt.NDArray[np.float64]] = {}

    def of(self, group: ChannelGroup, scored: Sequence[Axis]) -> npt.NDArray[np.float64]:
        """Score of each unit of ``group``, shape ``[size]``.

        A unit with several filters in a layer scores their mean. With several layers each is first divided by
        its own mean score, so that the layer with the larger weights does not decide alone.
        """
        scored = scored or list(group.index)[:1]
        total = np.zeros(group.size)
        for axis in scored:
            layer = self.layer(axis)
            unit = layer[group.index[axis]].mean(axis=1)
            total += unit if len(scored) == 1 else unit / (layer.mean() or 1.0)
        return total

    def layer(self, axis: Axis) -> npt.NDArray[np.float64]:
        """Score of each filter of a layer."""
        if axis not in self._layers:
            name, slot = axis
            weight = np.moveaxis(self._tensors[name].astype("float32").numpy(), slot, 0)
            found = criteria.score(self._criterion, weight, f"layer {layer_name(name)!r}")
            self._layers[axis] = np.asarray(found, dtype=np.float64)
        return self._layers[axis]


def best(scores: npt.NDArray[np.float64], count: int) -> tuple[int, ...]:
    """The ``count`` units with the highest scores; of equal ones those that come last."""
    return ascending(np.argsort(scores, kind="stable")[len(scores) - count :])
