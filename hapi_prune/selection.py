"""Which units go: groups, scores and a goal in, a PruningPlan out. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import paddle

from . import criteria
from .errors import PruneError
from .labels import Mismatch
from .names import exact, layer_name, resolve
from .plan import Axis, ChannelGroup, PruningPlan, ascending
from .survey import Survey


@dataclass
class Goal:
    """How much of each group goes, and which layers speak for it.

    Attributes:
        ratios: for each group that may shrink, the share removed of the units that it was traced with.
        voices: for each group, the filter axes that are scored.
        stays: for each group with filters of a convolution that may not shrink, why.
    """

    ratios: dict[str, float] = field(default_factory=dict)
    voices: dict[str, list[Axis]] = field(default_factory=dict)
    stays: dict[str, str] = field(default_factory=dict)


def goal(survey: Survey, ratio: float | Mapping[str, float], skip: Sequence[str] = ()) -> Goal:
    """Turn what the user asked for into a ratio for each group.

    Args:
        survey: the network.
        ratio: one share for all groups that hold filters of a convolution, or ``{layer: share}``.
        skip: names of layers that stay as they are, and with them all that depends on them.

    Raises:
        PruneError: an unknown name, or layers of one group with different ratios.
    """
    wanted = Goal()
    groups = survey.grouping.groups
    protected = {axis for name in skip for axis in resolve(survey, name, "skip")}
    if isinstance(ratio, Mapping):
        asked = by_layer(survey, ratio)
    else:
        asked = {axis: float(ratio) for axis in survey.traced.record.convolutions}
    for key, group in groups.items():
        voices = [axis for axis in group.index if axis in asked]
        if not voices:
            continue
        why = stays(survey, group, protected)
        if why:
            wanted.stays[key] = why
            continue
        shares = {asked[axis] for axis in voices}
        if len(shares) > 1:
            names = ", ".join(f"{layer_name(axis[0])!r}: {asked[axis]}" for axis in voices)
            raise PruneError(
                "ratio", f"different ratios for layers that can only shrink together ({names})", "one ratio for them"
            )
        wanted.ratios[key], wanted.voices[key] = shares.pop(), voices
    return wanted


def by_layer(survey: Survey, ratio: Mapping[str, float]) -> dict[Axis, float]:
    """The ratio of each filter axis named; a layer's own name counts for more than a glob or a block."""
    asked: dict[Axis, float] = {}
    for name in sorted(ratio, key=lambda name: exact(survey, name)):
        # "*" is what a schedule makes of a plain number that came before: all convolutions.
        axes = survey.traced.record.convolutions if name == "*" else resolve(survey, name, "ratio")
        asked.update(dict.fromkeys(axes, float(ratio[name])))
    return asked


def stays(survey: Survey, group: ChannelGroup, protected: set[Axis]) -> str:
    """Why a group cannot shrink; empty if it can."""
    if group.frozen:
        return group.frozen
    if group.key in survey.graph.refused:
        return survey.graph.refused[group.key]
    if protected & group.index.keys():
        return "is protected by skip"
    if group.size < 2 and not any(group.key in members for members, _ in survey.origin.families):
        return "has a single unit"
    return ""


def select(
    survey: Survey,
    tensors: Mapping[str, paddle.Tensor],
    wanted: Goal,
    criterion: criteria.Criterion,
    min_filters: int = 1,
    round_to: int = 1,
) -> PruningPlan:
    """Choose the units that stay: in each group those with the highest scores.

    Args:
        survey: the network.
        tensors: its tensors, by structured name; the weights are scored as they are now.
        wanted: what is asked of each group.
        criterion: weight -> scores.
        min_filters: no group gets smaller than this.
        round_to: the units kept are rounded up to a multiple of this, where there are as many.

    Raises:
        PruneError: weights that are not finite, or a criterion that does not do what it should.
    """
    counts = {
        key: target(survey.origin.groups[key].size, share, min_filters, round_to)
        for key, share in wanted.ratios.items()
    }
    now = survey.grouping.groups
    counts = {key: count for key, count in counts.items() if count < now[key].size}
    counts = balanced(survey, wanted, counts)
    scores = Scores(tensors, criterion)
    kept = {}
    for key in sorted(counts, key=list(now).index):
        if counts[key] < now[key].size:
            voices = wanted.voices.get(key) or [axis for axis in now[key].index if axis in survey.traced.record.filters]
            kept[key] = best(scores.of(now[key], voices), counts[key])
    return PruningPlan(kept)


def target(size: int, share: float, min_filters: int, round_to: int) -> int:
    """How many of ``size`` units stay when ``share`` of them is removed."""
    count = max(size - round(size * share), min_filters, 1)
    return min(size, -(-count // round_to) * round_to)


def best(scores: npt.NDArray[np.float64], count: int) -> tuple[int, ...]:
    """The ``count`` units with the highest scores; of equal ones those that come last."""
    return ascending(np.argsort(scores, kind="stable")[len(scores) - count :])


class Scores:
    """Scores of units, each layer's weight scored once."""

    def __init__(self, tensors: Mapping[str, paddle.Tensor], criterion: criteria.Criterion) -> None:
        self._tensors, self._criterion = tensors, criterion
        self._layers: dict[Axis, npt.NDArray[np.float64]] = {}

    def of(self, group: ChannelGroup, voices: Sequence[Axis]) -> npt.NDArray[np.float64]:
        """Score of each unit of ``group``, shape ``[size]``.

        A unit with several filters in a layer scores their mean. With several layers each is first divided by
        its own mean score, so that the layer with the larger weights does not decide alone.
        """
        voices = voices or list(group.index)[:1]
        total = np.zeros(group.size)
        for axis in voices:
            layer = self.layer(axis)
            unit = layer[group.index[axis]].mean(axis=1)
            total += unit if len(voices) == 1 else unit / (layer.mean() or 1.0)
        return total

    def layer(self, axis: Axis) -> npt.NDArray[np.float64]:
        """Score of each filter of a layer."""
        if axis not in self._layers:
            name, slot = axis
            tensor = self._tensors[name]
            weight = np.moveaxis(tensor.astype("float32").numpy(), slot, 0)
            self._layers[axis] = np.asarray(
                criteria.score(self._criterion, weight, f"layer {layer_name(name)!r}"), dtype=np.float64
            )
        return self._layers[axis]


def balanced(survey: Survey, wanted: Goal, counts: dict[str, int]) -> dict[str, int]:
    """Counts that fit together, for groups whose sizes depend on each other (splits, shuffles, group convolutions).

    The labels are run at smaller sizes, the nearest to what was asked first, until the network is wired as
    before; how many units each group has there is how many it keeps.
    """
    result = {key: count for key, count in counts.items() if not any(key in f for f, _ in survey.origin.families)}
    options: dict[frozenset[str], list[dict[Axis, int]]] = {}
    for members, blocks in survey.origin.families:
        touched = [key for key in members if key in counts]
        if touched:
            share = max(wanted.ratios[key] for key in touched)
            options[members] = [] if stuck(survey, wanted, members) else candidates(survey, members, blocks, share)
    # The first choice of all families at once is nearly always right, and saves a journey for each.
    first = {axis: size for sizes in options.values() for axis, size in (sizes[0] if sizes else {}).items()}
    joint = fitted(survey, frozenset().union(*options), [first]) if all(options.values()) and options else None
    for members, sizes in options.items() if joint is None else ():
        found = fitted(survey, members, sizes)
        if found is None:
            other = stuck(survey, wanted, members)
            reason = f"its size depends on {other!r}, which stays" if other else "no smaller size fits its splits"
            wanted.stays.update(dict.fromkeys((key for key in members if key in counts), reason))
            for key in members & wanted.ratios.keys():
                del wanted.ratios[key]
        result.update(found or {})
    result.update(joint or {})
    return result


def stuck(survey: Survey, wanted: Goal, members: frozenset[str]) -> str:
    """A group of a family that could shrink and must not; empty if there is none."""
    now = survey.grouping.groups
    return next((key for key in sorted(members) if key in wanted.stays and key in now and not now[key].frozen), "")


def fitted(survey: Survey, members: frozenset[str], options: Sequence[dict[Axis, int]]) -> dict[str, int] | None:
    """How many units each of ``members`` has at the first sizes that fit; None if none do."""
    now = survey.grouping.groups
    for option in options:
        try:
            _, there = survey.at({**survey.graph.sizes, **option}, strict=False)
        except Mismatch:
            continue
        found = {key: there.groups[key].size if key in there.groups else 0 for key in members if key in now}
        others = [key for key in now if key not in members]
        same = all(key in there.groups and there.groups[key].size == now[key].size for key in others)
        if same and all(found.values()):
            return {key: count for key, count in found.items() if not now[key].frozen}
    return None


def candidates(survey: Survey, members: frozenset[str], blocks: int, share: float) -> list[dict[Axis, int]]:
    """Sizes of the axes of a family, the nearest to removing ``share`` first; at most 64.

    Each axis keeps the same share of what it was traced with.
    """
    now, origin = survey.grouping.groups, survey.origin.groups
    free = [key for key in members if key in now and not now[key].frozen]
    was: dict[Axis, int] = {}
    has: dict[Axis, int] = {}
    for key in free:
        for axis, index in origin[key].index.items():
            was[axis] = was.get(axis, 0) + index.size
        for axis, index in now[key].index.items():
            has[axis] = has.get(axis, 0) + index.size
    widest = max((was[axis] for axis in was if axis in survey.traced.record.filters), default=max(was.values()))
    wish = widest * (1 - share)
    steps = sorted(range(1, widest), key=lambda step: (step % blocks != 0, abs(step - wish), -step))
    found = []
    for step in steps[:64]:
        sizes = {axis: survey.graph.sizes[axis] - has[axis] + max(1, round(was[axis] * step / widest)) for axis in was}
        if all(sizes[axis] <= survey.graph.sizes[axis] for axis in sizes):
            found.append(sizes)
    return found
