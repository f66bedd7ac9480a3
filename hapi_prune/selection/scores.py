"""The score of each unit of a group: combined from the scores of its filters, or by a criterion of whole groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from ..analysis.layer_names import layer_name
from ..criteria import filters
from ..criteria.groups import GroupCriterion, GroupSlices
from ..criteria.named import AnyCriterion, wants_gradients
from ..errors import PruneError
from ..internals.tensors import view
from ..plan import Array, Axis, ChannelGroup, ascending
from .goals import Goal

Gathered = Mapping[Axis, Array]
"""What a criterion gathered from gradients: for each filter axis one number for each filter."""


def gathered_by(criterion: Any, tensors: Mapping[str, paddle.Tensor], axis: Axis, gradient: Any) -> Array:
    """What a criterion gathers from one gradient of a layer's weight, for each of its filters.

    Raises:
        PruneError: it fails, or gathers anything but one number a filter.
    """
    name, slot = axis
    where = f"layer {layer_name(name)!r}"
    weight = tensors[name]
    order = [slot, *(n for n in range(weight.ndim) if n != slot)]
    with paddle.no_grad():
        parts = [tensor.detach().astype("float32").transpose(order) for tensor in (weight, gradient)]
        try:
            found: Array = np.asarray(criterion.gather(*parts))
        except Exception as error:
            got = f"criterion {criterion.name!r} raised {type(error).__name__} in gather: {error}"
            raise PruneError(where, got, f"{weight.shape[slot]} numbers, one a filter") from error
    if found.shape != (weight.shape[slot],):
        got = f"criterion {criterion.name!r} gathered shape {list(found.shape)}"
        raise PruneError(where, got, f"{weight.shape[slot]} numbers, one a filter")
    return found.astype(np.float64)


def gathered_now(criterion: AnyCriterion, tensors: Mapping[str, paddle.Tensor], wanted: Goal) -> dict[Axis, Array]:
    """What a criterion gathers from the gradients that the parameters hold; empty if it needs no gradients.

    Raises:
        PruneError: a layer that is to be scored has no gradient.
    """
    found: dict[Axis, Array] = {}
    for axis in {axis for scored in wanted.scored.values() for axis in scored} if wants_gradients(criterion) else ():
        gradient = tensors[axis[0]].grad
        if gradient is None:
            got = f"{criterion.name!r}, and no gradient for layer {layer_name(axis[0])!r}"
            todo = "call loss.backward() first, or cut in a run, after an epoch of training"
            raise PruneError("criterion", got, "gradients to gather from", todo)
        found[axis] = gathered_by(criterion, tensors, axis, gradient)
    return found


class Scores:
    """Scores of units; each layer's weight is scored once.

    Args:
        tensors: the network's tensors, by structured name.
        criterion: the criterion.
        filters: the axes that hold filters.
        gathered: what the criterion gathered from gradients.
    """

    def __init__(
        self,
        tensors: Mapping[str, paddle.Tensor],
        criterion: AnyCriterion,
        filters: frozenset[Axis] = frozenset(),
        gathered: Gathered | None = None,
    ) -> None:
        self._tensors, self._criterion = tensors, criterion
        self._filters, self._gathered = filters, gathered or {}
        self._layers: dict[Axis, npt.NDArray[np.float64]] = {}

    def of(self, group: ChannelGroup, scored: Sequence[Axis]) -> npt.NDArray[np.float64]:
        """Score of each unit of ``group``, shape ``[size]``.

        Several filters of a unit in one layer score their mean. The scores of several layers are added, each divided by
        the mean of its layer, so that the layer with the largest weights does not decide alone. A criterion of whole
        groups is called with the group instead.
        """
        scored = scored or list(group.index)[:1]
        criterion: Any = self._criterion
        if hasattr(criterion, "of_group"):
            return self._of_group(criterion, group, f"layer {layer_name(scored[0][0])!r}")
        total = np.zeros(group.size)
        for axis in scored:
            layer = self.layer(axis, criterion)
            index = group.index[axis]
            unit = layer[index[:, 0]] if index.shape[1] == 1 else layer[index].mean(axis=1)
            total += unit if len(scored) == 1 else unit / (layer.mean() or 1.0)
        return total

    def layer(self, axis: Axis, criterion: filters.Criterion) -> npt.NDArray[np.float64]:
        """Score of each filter of a layer."""
        if axis not in self._layers:
            found = filters.score(criterion, self._weight(axis), f"layer {layer_name(axis[0])!r}")
            self._layers[axis] = np.asarray(found, dtype=np.float64)
        return self._layers[axis]

    def _weight(self, axis: Axis) -> Array:
        """The numbers of a tensor with one of its axes moved to the front."""
        tensor = self._tensors[axis[0]]
        array = view(tensor) if tensor.dtype == paddle.float32 else tensor.astype("float32").numpy()
        return np.moveaxis(array, axis[1], 0) if axis[1] else array

    def _of_group(self, criterion: GroupCriterion, group: ChannelGroup, where: str) -> npt.NDArray[np.float64]:
        try:
            scores = np.asarray(criterion.of_group(self._slices(group, where)))
        except PruneError:
            raise
        except Exception as error:
            got = f"criterion {criterion.name!r} raised {type(error).__name__}: {error}"
            raise PruneError(where, got, f"{group.size} scores") from error
        filters.check_scores(scores, group.size, criterion.name, where)
        return scores.astype(np.float64)

    def _slices(self, group: ChannelGroup, where: str) -> GroupSlices:
        parts: dict[str, dict[str, Array]] = {
            name: {} for name in ("filters", "consumers", "scales", "shifts", "gathered")
        }
        for axis, index in group.index.items():
            array = self._weight(axis)
            kind = self._kind(axis, array.ndim)
            if kind:
                filters.check_finite(array, where)
                parts[kind][axis[0] if axis[0] not in parts[kind] else f"{axis[0]}[{axis[1]}]"] = array[index]
            if axis in self._gathered:
                parts["gathered"][axis[0]] = self._gathered[axis][index]
        return GroupSlices(group.key, group.size, **parts)

    def _kind(self, axis: Axis, rank: int) -> str:
        """What the slices along an axis are; empty for statistics and other buffers."""
        if rank == 1:
            return {"weight": "scales", "bias": "shifts"}.get(axis[0].rpartition(".")[2], "")
        return "filters" if axis in self._filters else "consumers"


def best(scores: npt.NDArray[np.float64], count: int) -> tuple[int, ...]:
    """The ``count`` units with the highest scores; among equal scores, the last ones."""
    return ascending(np.argsort(scores, kind="stable")[len(scores) - count :])
