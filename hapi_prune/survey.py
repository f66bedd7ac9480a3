"""What is known of a network: its graph, its channel groups when it was traced, and as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle

from .errors import PruneError
from .flow import Flow, flow
from .graph import Graph, trace
from .groups import Grouping, Numbering, group
from .labels import Mismatch
from .plan import Axis, Cut, Index, PruningPlan


class Survey:
    """A network's graph and groups. One survey serves all cuts of a run: a cut only moves it on.

    Attributes:
        graph: the traced network.
        traced: the labels' journey at the sizes that it was traced at.
        origin: the channel groups at those sizes: ratios are shares of their units.
        flow, grouping: the journey and the groups as they are now.
    """

    def __init__(self, network: paddle.nn.Layer, inputs: Any) -> None:
        self.graph: Graph = trace(network, inputs)
        self.traced: Flow = flow(self.graph, self.graph.sizes)
        self.origin: Grouping = group(self.traced)
        self.flow, self.grouping = self.traced, self.origin

    def at(self, sizes: dict[Axis, int], strict: bool = True) -> tuple[Flow, Grouping]:
        """The journey and the groups at other sizes.

        Raises:
            Mismatch: such a network would not run, or its channels would be wired in another way.
        """
        there = flow(self.graph, sizes, self.traced, strict)
        grouping = group(there, self.origin.prints)
        for key, found in grouping.groups.items():
            if key not in self.grouping.groups:
                name = next(iter(found.index))[0]
                raise Mismatch(f"channels of {name!r} would be wired in another way")
            now = self.grouping.groups[key]
            if found.size > now.size or (found.size < now.size and now.frozen):
                raise Mismatch(f"{key!r} has {now.size} units, not {found.size}")
        return there, grouping

    def sizes(self, plan: PruningPlan) -> dict[Axis, int]:
        """The size of every axis after ``plan``."""
        sizes = dict(self.graph.sizes)
        for key, kept in plan.kept.items():
            group = self.grouping.groups[key]
            for axis, index in group.index.items():
                sizes[axis] -= (group.size - len(kept)) * index.shape[1]
        return sizes

    def check(self, plan: PruningPlan) -> None:
        """Raise a PruneError if ``plan`` does not belong to this network as it is now."""
        for key, kept in plan.kept.items():
            group = self.grouping.groups.get(key)
            if group is None:
                raise PruneError("plan", f"an unknown group {key!r}", "groups of this network", "make a new plan")
            if not kept or kept[-1] >= group.size:
                raise PruneError(
                    f"plan, group {key!r}", f"units {kept[:5]}...", f"1 to {group.size} units of {group.size}"
                )

    def cut(self, plan: PruningPlan) -> tuple[Cut, Flow, Grouping]:
        """What ``plan`` removes, and the network after it. Nothing is changed.

        The labels run once more at the new sizes. Each unit of the smaller network takes the place of a kept
        unit of the same group, in order, so slices end up where the smaller network expects them, also behind
        a channel shuffle or a split.

        Raises:
            Mismatch: a network of these sizes would not run, or not as this one does.
        """
        self.check(plan)
        there, grouping = self.at(self.sizes(plan))
        positions: dict[Axis, Index] = {axis: np.full(size, -1) for axis, size in there.record.sizes.items()}
        for key, now in self.grouping.groups.items():
            kept = np.array(plan.kept.get(key, range(now.size)), dtype=np.int64)
            then = grouping.groups.get(key)
            if (then.size if then else 0) != len(kept):
                raise Mismatch(f"{key!r} would have {then.size if then else 0} units, not {len(kept)}")
            for axis, index in then.index.items() if then is not None else ():
                positions[axis][index.ravel()] = now.index[axis][kept].ravel()
        self._check_wiring(there, positions)
        touched = {axis for key in plan.kept for axis in self.grouping.groups[key].index}
        kept_axes: dict[str, dict[int, Index]] = {}
        for name, slot in sorted(touched):
            kept_axes.setdefault(name, {})[slot] = positions[name, slot]
        before = {name: self.graph.shape(name) for name in kept_axes}
        return Cut(before, kept_axes), there, grouping

    def _check_wiring(self, there: Flow, positions: dict[Axis, Index]) -> None:
        """Whatever meets in the smaller network must have met in this one.

        A unit may have several slices on one axis; they are matched in order, which is not right for every wiring.
        """
        new, old = Numbering(there.record), Numbering(self.flow.record)
        moved = np.concatenate([old.starts[n] + positions[axis] for n, axis in enumerate(old.axes)] or [np.zeros(0)])
        moved = moved.astype(np.int64)
        for after, before in (
            (np.sort(moved[new.pairs(there.record.ties)], axis=0), np.sort(old.pairs(self.flow.record.ties), axis=0)),
            (new.pinned(there.record.pins, moved), old.pinned(self.flow.record.pins)),
        ):
            ends, rank = np.unique(np.concatenate([before[1], after[1]]), return_inverse=True)
            met = np.concatenate([before[0], after[0]]) * len(ends) + rank
            strange = np.setdiff1d(met[before.shape[1] :], met[: before.shape[1]])
            if strange.size:
                axis = old.axes[old.axis_of[strange[0] // len(ends)]]
                raise Mismatch(f"channels of {axis[0]!r} would be wired in another way")

    def follow(self, tensors: Mapping[str, paddle.Tensor]) -> None:
        """Take on the sizes that the network has, if it was made smaller by other hands, as by loading a checkpoint.

        Raises:
            PruneError: they are not those of a smaller network that works, or tensors are gone.
        """
        gone = next((name for name in self.graph.shapes if name not in tensors), None)
        sizes = {} if gone else {(name, axis): int(tensors[name].shape[axis]) for name, axis in self.graph.sizes}
        if sizes == self.graph.sizes:
            return
        try:
            if gone:
                raise Mismatch(f"{gone!r} is gone")
            self.advance(*self.at(sizes))
        except Mismatch as error:
            got = f"it was changed since it was last looked at, and no longer fits ({error})"
            allowed = "the network as it was, or one that was made smaller as a whole"
            raise PruneError(
                "network", got, allowed, "look at it anew: begin another fit, or make a new pruner"
            ) from error

    def advance(self, there: Flow, grouping: Grouping) -> None:
        """The cut that led there was made."""
        self.graph.sizes = dict(there.record.sizes)
        self.flow, self.grouping = there, grouping
