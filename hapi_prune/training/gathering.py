"""Gradient statistics for a criterion, gathered while training runs, in the epoch before a cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..cutting.pruning import Pruner
from ..plan import Array, Axis
from ..plan.json_reader import each, number, text, whole
from ..selection.scores import gathered_by


class Gathering:
    """Hooks on the parameters that pass each gradient to the criterion, and sum up one number for each filter.

    Args:
        pruner: knows the network and the criterion.
    """

    def __init__(self, pruner: Pruner) -> None:
        self._pruner = pruner
        self._sums: dict[Axis, Array] = {}
        self._batches: dict[Axis, int] = {}
        tensors = pruner.channel_map.tensors
        axes = [axis for axis in pruner.channel_map.traced.constraints.filters if not tensors[axis[0]].stop_gradient]
        self._hooks = [tensors[axis[0]].register_hook(self._hook(axis)) for axis in axes]

    def _hook(self, axis: Axis) -> Callable[[Any], None]:
        tensors, criterion = self._pruner.channel_map.tensors, self._pruner.criterion

        def accumulate(gradient: Any) -> None:
            found = gathered_by(criterion, tensors, axis, gradient)
            self._sums[axis] = self._sums.get(axis, 0.0) + found
            self._batches[axis] = self._batches.get(axis, 0) + 1

        return accumulate

    def averages(self) -> dict[Axis, Array]:
        """What was gathered so far, averaged over the batches."""
        return {axis: total / self._batches[axis] for axis, total in self._sums.items()}

    def close(self) -> None:
        """Remove the hooks, and hand the averages to the pruner."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._pruner.gathered = self.averages()


def written(gathered: Mapping[Axis, Array]) -> list[list[Any]]:
    """What was gathered, as plain data for JSON."""
    return [[name, slot, array.tolist()] for (name, slot), array in gathered.items()]


READER = each(each(text, whole, each(number)))
"""Reads what `written` wrote."""


def gathered_from(rows: Sequence[tuple[str, int, Sequence[float]]]) -> dict[Axis, Array]:
    """What was gathered, from what `READER` read."""
    return {(name, slot): np.array(numbers, dtype=np.float64) for name, slot, numbers in rows}
