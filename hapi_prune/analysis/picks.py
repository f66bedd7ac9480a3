"""Index buffers: tensors whose values are numbers of channels, as the argument of ``index_select``.

A buffer ``[3, 1, 0, 2]`` picks from four channels. If channel 1 is removed, so is the entry that picks it, and the
other entries are renumbered: ``[2, 0, 1]``. Each entry is tied to the channel that it picks, so that both go together.
Since every channel is picked, the new numbers are the ranks of the numbers that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import paddle

from ..plan import Axis, ChannelGroup, Index, PruningPlan
from .op import Op

RESHAPING = {"reshape", "flatten", "squeeze", "unsqueeze", "cast", "assign", "share_data"}
"""Ops that leave the numbers of a buffer, and their order, as they are."""

PICKING = {"gather", "index_select", "gather_nd"}
"""Ops whose second operand is such numbers."""


@dataclass(frozen=True)
class Picks:
    """The numbers in an index buffer, and which of them are kept when it shrinks.

    Attributes:
        numbers: the number in each entry; all from 0 to the largest occur.
        keep_order: the entries in the order in which they are kept: the last one goes first.
        reach: how many channels the numbers picked from when the network was traced.
    """

    numbers: Index
    keep_order: Index
    reach: int

    def at(self, size: int) -> Index:
        """The numbers of the ``size`` entries that are kept longest, renumbered."""
        left = self.numbers[np.sort(self.keep_order[:size])]
        ranks: Index = np.unique(left, return_inverse=True)[1].reshape(-1)
        return ranks

    def holding(self, numbers: Index) -> Picks:
        """The same buffer with other numbers in it.

        Raises:
            ValueError: not all numbers from 0 to the largest occur, so it is not known which channels these are.
        """
        found = Picks(numbers, np.arange(len(numbers)), self.reach)
        if not np.array_equal(found.at(len(numbers)), numbers):
            raise ValueError("its numbers leave some out")
        return found

    def after(self, size: int, keep_order: Index) -> Picks:
        """The same buffer once it has ``size`` entries, with another ``keep_order`` from then on."""
        return Picks(self.at(size), keep_order, self.reach)


def picks_of(
    tensors: Mapping[str, paddle.Tensor],
    saved: Callable[[], Mapping[str, paddle.Tensor]],
    programs: Sequence[tuple[Sequence[Op], dict[int, str]]],
) -> dict[str, Picks]:
    """The index buffers of a network: in its checkpoint, picking from all slices of an axis, and used for nothing else.

    Args:
        tensors: the network's tensors, by structured name.
        saved: its ``state_dict``, which is asked for only if there may be such buffers.
        programs: the operations of each forward pass, and which of its values are tensors of the network.
    """
    used = {name for _, own in programs for name in own.values()}
    only = sorted(used - {other for ops, own in programs for other in used_otherwise(ops, own)})
    kept, found = {id(tensor) for tensor in saved().values()} if only else set(), {}
    for name in only:
        tensor = tensors[name]
        if len(tensor.shape) == 1 and tensor.shape[0] > 1 and "int" in str(tensor.dtype) and id(tensor) in kept:
            numbers = tensor.numpy().astype(np.int64)
            reach = int(numbers.max()) + 1
            if np.array_equal(np.unique(numbers), np.arange(reach)):
                found[name] = Picks(numbers, np.arange(len(numbers)), reach)
    return found


def used_otherwise(ops: Sequence[Op], tensors: Mapping[int, str]) -> set[str]:
    """The tensors that are used for anything but picking."""
    holds, found = dict(tensors), set()
    for op in ops:
        for number, operand in enumerate(op.operands):
            name = holds.get(operand) if operand is not None else None
            if name is None:
                continue
            if op.name in RESHAPING and number == 0:
                holds.update(dict.fromkeys(op.results[:1], name))
            elif op.name not in PICKING or number != 1:
                found.add(name)
    return found


def keep_order(groups: Iterable[ChannelGroup], axis: Axis, size: int, plan: PruningPlan | None) -> Index:
    """The positions along an axis in the order in which they are kept: first what a plan keeps, or the first units.

    Without a plan the groups alternate, so that each of them keeps about the same share at any size, as behind a group
    convolution.
    """
    late = np.zeros(size)
    for group in groups:
        if axis in group.index and not group.frozen:
            units = np.arange(group.size)
            stays = None if plan is None else np.isin(units, plan.kept.get(group.key, units))
            late[group.index[axis]] = ((units + 0.5) / group.size if stays is None else ~stays)[:, None]
    return np.argsort(late, kind="stable")
