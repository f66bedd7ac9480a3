"""What is known of a network's channels: when it was traced, and as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import paddle

from ..errors import PruneError
from ..plan import Array, Axis, ChannelGroup, Cut, Index, PruningPlan, Reason
from .example_input import Example, example
from .graph import Graph, tensors_of, trace
from .groups import Family, Grouping, Numbering, ascending_pairs, group
from .held_counts import Count
from .labels import Mismatch
from .picks import Picks, turn
from .places import Place, places_of
from .propagation import Propagation, propagate
from .smaller_input import smaller
from .units import Units


@dataclass(frozen=True)
class Findings:
    """What trying cuts has shown, beyond what the rules can see.

    Attributes:
        families: groups whose sizes depend on each other, by the rules or by the user's code.
        coupled: groups that are tried together with others, and why they cannot shrink without them.
        refused: groups that cannot be cut, and why.
    """

    families: tuple[Family, ...]
    coupled: Mapping[str, Reason] = field(default_factory=dict)
    refused: Mapping[str, Reason] = field(default_factory=dict)

    def family_of(self, key: str) -> frozenset[str]:
        """The groups that a group depends on, itself among them; empty where it depends on none."""
        return next((members for members, _ in self.families if key in members), frozenset())


@dataclass
class CutState:
    """What moves on from cut to cut.

    Attributes:
        propagation, grouping: the labels and the groups at the sizes of now.
        findings: what trials have shown.
        fits: how many units each group has at sizes that were tried for families; or the groups that do not fit.
    """

    propagation: Propagation
    grouping: Grouping
    findings: Findings
    fits: dict[tuple[frozenset[tuple[Axis, int]], bool], dict[str, int] | frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedCut:
    """What a plan removes, and the network after it.

    Attributes:
        cut, propagation, grouping: what is removed; the labels and the groups that are left.
        counts: the attributes of layers that have to be set with it; empty as long as it is not known that any do.
    """

    cut: Cut
    propagation: Propagation
    grouping: Grouping
    counts: tuple[Count, ...] = ()


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
        agreed: whether the example that cuts are tried on is known to refuse what the user's own refuses.
    """

    def __init__(self, network: paddle.nn.Layer, inputs: Any) -> None:
        self.network, self.example = network, example(network, inputs)
        self.graph: Graph = trace(network, self.example)
        self.traced: Propagation = propagate(self.graph, self.graph.sizes)
        self.origin: Grouping = group(self.traced)
        self.state = CutState(self.traced, self.origin, Findings(self.origin.families))
        self.agreed = False

    @cached_property
    def tried_on(self) -> Example:
        """What cuts are tried on: a smaller example, if there is one with which the network does just the same.

        Whoever finds that it is of no use sets it to the user's own.
        """
        return smaller(self.network, self.example, self.graph, self.state.propagation) or self.example

    @property
    def tensors(self) -> dict[str, paddle.Tensor]:
        """Parameters and buffers, by structured name: those that it has now, as a forward may replace buffers."""
        return tensors_of(self.network)

    @property
    def groups(self) -> dict[str, ChannelGroup]:
        """The channel groups as they are now, by key."""
        return self.state.grouping.groups

    @property
    def sizes(self) -> dict[Axis, int]:
        """The size of every axis that can shrink, as it is now."""
        return self.state.propagation.sizes

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where slices are parted and every part keeps its share, when the network was traced."""
        return places_of(self.traced.constraints, self.origin.groups)

    @cached_property
    def _units(self) -> Units:
        return Units(Numbering(self.traced.constraints), self.origin.groups, self.traced.sizes)

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
        """The labels and the groups at other sizes; ``picks``: as `picks_after` says, if that is known.

        Args are those of `propagate`.

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
        """The buffers that pick channels, and which of their entries a plan, or any plan, will leave."""
        now: dict[str, Picks] = {}
        for name, was in self.state.propagation.constraints.picks.items():
            size = self.sizes[name, 0]
            now[name] = was.after(size, turn(self.groups.values(), (name, 0), size, plan))
        return now

    def picks_in(self, arrays: Mapping[str, Array]) -> tuple[dict[str, Picks], bool]:
        """The buffers that pick channels with the numbers that ``arrays`` hold, and whether they hold these now.

        What stands in those that cannot shrink is of no concern.

        Raises:
            Mismatch: they cannot be those of this network, cut or not.
        """
        live = {axis for group in self.groups.values() if not group.frozen for axis in group.index}
        found, as_now = self.picks_after(), True
        for name in [name for name in found if (name, 0) in live]:
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

        The labels run once more at the new sizes. Each unit of the smaller network takes the place of a kept
        unit of the same group, in order, so slices end up where the smaller network expects them, also behind
        a channel shuffle or a split.

        Raises:
            Mismatch: a network of these sizes would not run, or not as this one does.
        """
        self.require_own(plan)
        propagation, grouping = self.at(self.sizes_after(plan), picks=self.picks_after(plan))
        positions: dict[Axis, Index] = {axis: np.full(size, -1) for axis, size in propagation.sizes.items()}
        for key, now in self.groups.items():
            kept = np.array(plan.kept.get(key, range(now.size)), dtype=np.int64)
            after = grouping.groups.get(key)
            if (after.size if after else 0) != len(kept):
                raise Mismatch(f"{key!r} would have {after.size if after else 0} units, not {len(kept)}")
            for axis, index in after.index.items() if after is not None else ():
                positions[axis][index.ravel()] = now.index[axis][kept].ravel()
        self._require_same_wiring(propagation, positions)
        kept_axes: dict[str, dict[int, Index]] = {}
        for name, slot in sorted({axis for key in plan.kept for axis in self.groups[key].index}):
            kept_axes.setdefault(name, {})[slot] = positions[name, slot]
        before = {name: self.graph.shape(name, self.sizes) for name in kept_axes}
        picks = propagation.constraints.picks
        numbers = {name: picks[name].at(propagation.sizes[name, 0]) for name in kept_axes if name in picks}
        return PlannedCut(Cut(before, kept_axes, numbers), propagation, grouping)

    def _require_same_wiring(self, after: Propagation, positions: dict[Axis, Index]) -> None:
        """Whatever meets in the smaller network must have met in this one.

        A unit may have several slices on one axis; they are matched in order, which is not right for every wiring.
        """
        now = self.state.propagation.constraints
        new, old = Numbering(after.constraints), Numbering(now)
        moved = np.concatenate([old.starts[n] + positions[axis] for n, axis in enumerate(old.axes)] or [np.zeros(0)])
        moved = moved.astype(np.int64)
        pins, were = new.pinned(after.constraints.pins, moved), old.pinned(now.pins)
        slots, ranks = np.unique(np.concatenate([pins[1], were[1]]), return_inverse=True)
        pins[1], were[1] = np.split(ranks, [pins.shape[1]])
        ties, tied = moved[new.pairs(after.constraints.ties)], old.pairs(now.ties)
        for theirs, ours, ends in (
            (ascending_pairs(ties), ascending_pairs(tied), old.count),
            (pins, were, len(slots)),
        ):
            strange = strangers(theirs[0] * ends + theirs[1], ours[0] * ends + ours[1])
            if strange.size:
                axis = old.axes[old.axis_of[strange[0] // ends]]
                raise Mismatch(f"channels of {axis[0]!r} would be wired in another way")

    def catch_up(self) -> None:
        """Take on the sizes that the network has, if it was made smaller by other hands, as by loading a checkpoint.

        Raises:
            PruneError: they are not those of a smaller network that works, or tensors are gone.
        """
        tensors = self.tensors
        gone = next((name for name in self.graph.shapes if name not in tensors), None)
        sizes = {} if gone else {(name, axis): int(tensors[name].shape[axis]) for name, axis in self.graph.sizes}
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
        """Take note that the network has been cut, and has the sizes of ``propagation`` now."""
        self.state.propagation, self.state.grouping = propagation, grouping
        self.state.fits.clear()


def strangers(numbers: Index, known: Index) -> Index:
    """Those of ``numbers`` that are not ``known``, ascending; by sorting, which is faster than NumPy's sets."""
    numbers, known = np.sort(numbers), np.append(np.sort(known), -1)  # the last is no number's place
    found: Index = numbers[known[np.searchsorted(known[:-1], numbers)] != numbers]
    return found
