"""The channel map of a network: its graph and its channel groups, at the traced sizes and at those of now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import paddle

from ..errors import PruneError
from ..internals.layers import Inventory
from ..plan import Array, Axis, ChannelGroup, Cut, Index, PruningPlan
from .after_cut import Survivors, keeps_order
from .cut_state import CutState, Findings, PlannedCut
from .example_input import Example, example
from .graph import Graph, trace
from .groups import Grouping, group
from .labels import Mismatch
from .numbering import ascending_pairs, not_among
from .partitions import Partition, partitions_of
from .picks import Picks, keep_order
from .propagation import Propagation, propagate
from .runnable import runnable
from .smaller_input import smaller, works_at_any_size
from .units import Units


class ChannelMap:
    """A network, its graph and its groups. One map serves all cuts of a run: a cut only moves its state on.

    Args:
        network: any ``paddle.nn.Layer``; it is left as it was.
        inputs: an example input, see `example_input.example`.

    Attributes:
        network, example: the user's network, and the arguments that it is run with.
        graph: the traced network.
        traced, origin: labels and groups at the sizes that it was traced at: ratios are shares of their units.
        state: as it is now.
        scales_suffice: whether zeros for the scales of normalisations may be all that masks channels behind them.
        agreed: whether `tried_on` has refused a cut that the user's own example refuses too, so that it can be trusted.
    """

    def __init__(self, network: paddle.nn.Layer, inputs: Any) -> None:
        self.network, self.example = network, example(network, inputs)
        self.graph: Graph = trace(network, self.example)
        self.traced: Propagation = runnable(propagate(self.graph, self.graph.sizes))
        self.origin: Grouping = group(self.traced)
        self.state = CutState(self.traced, self.origin, Findings(self.origin.families))
        self.agreed, self.scales_suffice = False, True
        self._held: Inventory | None = None

    @cached_property
    def tried_on(self) -> Example:
        """The example that cuts are verified on: a smaller one than the user's, if the network does the same with it.

        If that turns out to be of no use, the verification sets it to the user's own.
        """
        now, any_size = self.state.propagation, self.works_at_any_size
        return smaller(self.network, self.example, self.graph, now, any_size) or self.example

    @cached_property
    def works_at_any_size(self) -> bool:
        """Whether the network is the same for images and batches of any size."""
        return works_at_any_size(self.graph, self.traced)

    @cached_property
    def _keeps_order(self) -> bool:
        """Whether the state after a cut is what is left of the one before, see `after_cut`."""
        return self.works_at_any_size and keeps_order(self.traced)

    @property
    def tensors(self) -> dict[str, paddle.Tensor]:
        """Parameters and buffers by structured name."""
        return self.inventory().tensors

    def inventory(self) -> Inventory:
        """The layers and tensors that the network has now; read anew each time, as the user may replace some."""
        return self._held or Inventory.of(self.network)

    @contextmanager
    def read_once(self) -> Iterator[None]:
        """Within the block, in which nobody replaces layers or tensors, read them only once."""
        self._held = self.inventory()
        try:
            yield
        finally:
            self._held = None

    @property
    def groups(self) -> dict[str, ChannelGroup]:
        """The channel groups as they are now, by key."""
        return self.state.grouping.groups

    @property
    def sizes(self) -> dict[Axis, int]:
        """The size of every axis that can shrink, as it is now."""
        return self.state.propagation.sizes

    @cached_property
    def partitions(self) -> tuple[Partition, ...]:
        """All partitions, see `partitions`, at the sizes that the network was traced at."""
        return partitions_of(self.traced.constraints, self.origin.groups)

    @cached_property
    def _units(self) -> Units:
        return Units(self.origin.number, self.origin.groups, self.traced.sizes)

    @property
    def findings(self) -> Findings:
        """What trying cuts has shown so far."""
        return self.state.findings

    def at(
        self,
        sizes: dict[Axis, int],
        strict: bool = True,
        picks: Mapping[str, Picks] | None = None,
        exact: bool = False,
    ) -> tuple[Propagation, Grouping]:
        """The labels and the groups at other sizes.

        Args:
            sizes, strict, exact: see `propagation.propagate`.
            picks: the index buffers at these sizes; None: as `picks_after` gives them for any plan.

        Raises:
            Mismatch: such a network would not run, or its channels would be wired in another way.
        """
        picks = self.picks_after() if picks is None else picks
        propagation = propagate(self.graph, sizes, self.traced, strict, picks, exact, self._units)
        grouping = group(propagation, self.origin.keys_by_footprint)
        for key, found in grouping.groups.items():
            if key not in self.groups:
                name = next(iter(found.index))[0]
                raise Mismatch(f"channels of {name!r} would be wired in another way", found.index.keys())
            now = self.groups[key]
            if found.size > now.size or (found.size < now.size and now.frozen):
                raise Mismatch(f"{key!r} has {now.size} units, not {found.size}", found.index.keys())
        return propagation, grouping

    def sizes_after(self, plan: PruningPlan) -> dict[Axis, int]:
        """The size of every axis after ``plan``."""
        sizes = dict(self.sizes)
        for key, kept in plan.kept.items():
            group = self.groups[key]
            for axis, index in group.index.items():
                sizes[axis] -= (group.size - len(kept)) * index.shape[1]
        return sizes

    def picks_after(self, plan: PruningPlan | None = None) -> dict[str, Picks]:
        """The buffers that pick channels, after ``plan``; without one, after whatever plan comes next."""
        now: dict[str, Picks] = {}
        for name, was in self.state.propagation.constraints.picks.items():
            size = self.sizes[name, 0]
            now[name] = was.after(size, keep_order(self.groups.values(), (name, 0), size, plan))
        return now

    def picks_in(self, arrays: Mapping[str, Array]) -> tuple[dict[str, Picks], bool]:
        """The buffers that pick channels with the numbers in ``arrays``, and whether these are their numbers now.

        Buffers that cannot shrink are not compared.

        Raises:
            Mismatch: they cannot be those of this network, cut or not.
        """
        live, found, as_now = [g.index for g in self.groups.values() if not g.frozen], self.picks_after(), True
        for name in [name for name in found if any((name, 0) in index for index in live)]:
            now = found[name].numbers
            try:
                found[name] = found[name].holding(arrays[name].astype(np.int64))
            except ValueError as error:
                raise Mismatch(f"{name!r}: {error}") from error
            as_now &= np.array_equal(now, found[name].numbers)
        return found, as_now

    def require_own(self, plan: PruningPlan) -> None:
        """Raise a PruneError if ``plan`` does not belong to this network as it is now."""
        for key, kept in plan.kept.items():
            group = self.groups.get(key)
            if group is None:
                raise PruneError("plan", f"an unknown group {key!r}", "groups of this network", "make a new plan")
            if not kept or kept[-1] >= group.size:
                raise PruneError(
                    f"plan, group {key!r}", f"units {kept[:5]}...", f"1 to {group.size} units of {group.size}"
                )

    def plan_cut(self, plan: PruningPlan) -> PlannedCut:
        """What ``plan`` removes, and the network after it. Nothing is changed.

        Raises:
            Mismatch: a network of these sizes would not run, or not as this one does.
        """
        self.require_own(plan)
        axes = sorted({axis for key in plan.kept for axis in self.groups[key].index})
        if self._keeps_order:
            left = Survivors(self.state.propagation, self.state.grouping, plan)
            (propagation, grouping), positions = left.state(), left.positions
        else:
            propagation, grouping, positions = self._propagated(plan)
        kept_axes: dict[str, dict[int, Index]] = {}
        for name, slot in axes:
            kept_axes.setdefault(name, {})[slot] = positions[name, slot]
        before = {name: self.graph.shape(name, self.sizes) for name in kept_axes}
        picks = propagation.constraints.picks
        numbers = {name: picks[name].at(propagation.sizes[name, 0]) for name in kept_axes if name in picks}
        return PlannedCut(Cut(before, kept_axes, numbers), propagation, grouping)

    def _propagated(self, plan: PruningPlan) -> tuple[Propagation, Grouping, dict[Axis, Index]]:
        """The labels and the groups after ``plan``, propagated at the new sizes, and which positions stay on each axis.

        Units of the smaller network are matched with the kept units of the same group, in order, so that slices end up
        where the smaller network expects them, even behind a channel shuffle or a split.
        """
        propagation, grouping = self.at(self.sizes_after(plan), picks=self.picks_after(plan))
        positions: dict[Axis, Index] = {axis: np.full(size, -1) for axis, size in propagation.sizes.items()}
        for key, now in self.groups.items():
            kept = np.array(plan.kept.get(key, range(now.size)), dtype=np.int64)
            after = grouping.groups.get(key)
            if (after.size if after else 0) != len(kept):
                raise Mismatch(f"{key!r} would have {after.size if after else 0} units, not {len(kept)}")
            for axis, index in after.index.items() if after is not None else ():
                positions[axis][index.ravel()] = now.index[axis][kept].ravel()
        self._require_same_wiring(propagation, grouping, positions)
        return propagation, grouping, positions

    def _require_same_wiring(self, after: Propagation, grouping: Grouping, positions: dict[Axis, Index]) -> None:
        """Slices that are tied in the smaller network must have been tied in this one.

        A unit may have several slices on one axis. They are matched in order, which is wrong for some wirings.
        """
        new, old = grouping.number, self.state.grouping.number
        moved = np.concatenate([old.starts[n] + positions[axis] for n, axis in enumerate(old.axes)] or [np.zeros(0)])
        moved = moved.astype(np.int64)
        pins, were = new.pinned(after.constraints.pins, moved), old.pinned(self.state.propagation.constraints.pins)
        slots, ranks = np.unique(np.concatenate([pins[1], were[1]]), return_inverse=True)
        pins[1], were[1] = np.split(ranks, [pins.shape[1]])
        for theirs, ours, ends in (
            (ascending_pairs(moved[grouping.ties]), ascending_pairs(self.state.grouping.ties), old.count),
            (pins, were, len(slots)),
        ):
            strange = not_among(theirs[0] * ends + theirs[1], ours[0] * ends + ours[1])
            if strange.size:
                axis = old.axes[old.axis_of[strange[0] // ends]]
                raise Mismatch(f"channels of {axis[0]!r} would be wired in another way")

    def catch_up(self) -> None:
        """Adopt the sizes that the network has, if something else made it smaller, such as loading a checkpoint.

        Raises:
            PruneError: they are not those of a smaller network that works, or tensors are gone.
        """
        tensors = self.tensors
        gone = next((name for name in self.graph.shapes if name not in tensors), None)
        shapes = {} if gone else {name: tensors[name].shape for name in self.graph.shapes}
        sizes = {} if gone else {(name, axis): int(shapes[name][axis]) for name, axis in self.graph.sizes}
        try:
            if gone:
                raise Mismatch(f"{gone!r} is gone")
            picks, as_now = self.picks_in({name: tensors[name].numpy() for name in self.graph.picks})
            if sizes != self.sizes or not as_now:
                self.advance(*self.at(sizes, picks=picks))
        except Mismatch as error:
            got = f"it was changed since it was last looked at, and no longer fits ({error})"
            allowed = "the network as it was, or one that was made smaller as a whole"
            raise PruneError(
                "network", got, allowed, "look at it anew: begin another fit, or make a new pruner"
            ) from error

    def advance(self, propagation: Propagation, grouping: Grouping) -> None:
        """Move on to the state after a cut."""
        self.state.propagation, self.state.grouping = propagation, grouping
        self.state.fits.clear()
        self.state.known.clear()
