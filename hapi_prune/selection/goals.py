"""The goal of a cut: the ratio of each channel group, and the groups that may not shrink."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..analysis.channel_map import ChannelMap
from ..analysis.layer_names import layer_name, names_of, resolve
from ..errors import PruneError
from ..plan import Axis, ChannelGroup, Reason, ReasonKind
from .ratios import ratio_of


@dataclass
class Goal:
    """The goal of a cut: how much of each group goes, and which filters score its units.

    Attributes:
        ratios: for each group that may shrink, the share removed of the units that it was traced with.
        scored: for each group, the filter axes that are scored.
        stays: for each group with filters of a convolution that may not shrink, why.
        overall: the ratio asked of the whole network; nan if each layer has its own.
    """

    ratios: dict[str, float] = field(default_factory=dict)
    scored: dict[str, list[Axis]] = field(default_factory=dict)
    stays: dict[str, Reason] = field(default_factory=dict)
    overall: float = math.nan


def goal(
    channel_map: ChannelMap, ratio: float | Mapping[str, float], skip: Sequence[str] = (), linears: bool = False
) -> Goal:
    """Turn what the user asked for into a ratio for each group.

    Args:
        channel_map: the network.
        ratio: one share for all groups that hold filters of a convolution, or ``{layer: share}``.
        skip: names of layers that stay as they are, with everything that depends on them.
        linears: whether a plain number also applies to the columns of Linears, or only to filters of convolutions.

    Raises:
        PruneError: an unknown name, or layers of one group with different ratios.
    """
    wanted = Goal(overall=math.nan if isinstance(ratio, Mapping) else float(ratio))
    asked = asked_of_axes(channel_map, ratio, linears)
    protected = protected_axes(channel_map, skip)
    for key, group in channel_map.groups.items():
        scored = [axis for axis in group.index if axis in asked]
        if not scored:
            continue
        why = stays(channel_map, group, protected)
        if why:
            wanted.stays[key] = why
            continue
        shares = {asked[axis] for axis in scored}
        if len(shares) > 1:
            names = ", ".join(f"{layer_name(axis[0])!r}: {asked[axis]}" for axis in scored)
            got = f"different ratios for layers that can only shrink together ({names})"
            raise PruneError("ratio", got, "one ratio for them", "name one of them; the others follow")
        wanted.ratios[key], wanted.scored[key] = shares.pop(), scored
    return wanted


def asked_of_axes(
    channel_map: ChannelMap, ratio: float | Mapping[str, float], linears: bool = False
) -> dict[Axis, float]:
    """The ratio of each filter axis that is asked to shrink.

    A plain number applies to convolutions, and to Linears if ``linears``. So does ``"*"``, by which a schedule writes a
    number that was due before layers were named.
    """
    constraints = channel_map.traced.constraints
    if not isinstance(ratio, Mapping):
        return dict.fromkeys(constraints.filters if linears else constraints.convolutions, float(ratio))
    by_name = {name: float(share) for name, share in ratio.items()}
    for name in by_name.keys() - {"*"}:
        resolve(channel_map, name, "ratio")
    for_linear = {name: share for name, share in by_name.items() if name != "*"}
    shares = {
        axis: ratio_of(by_name if axis in constraints.convolutions else for_linear, *names_of(channel_map, axis))
        for axis in constraints.filters
    }
    return {axis: share for axis, share in shares.items() if share is not None}


def protected_axes(channel_map: ChannelMap, skip: Sequence[str]) -> set[Axis]:
    """The filter axes of the layers that ``skip`` names."""
    return {axis for name in skip for axis in resolve(channel_map, name, "skip")}


def stays(channel_map: ChannelMap, group: ChannelGroup, protected: set[Axis]) -> Reason | None:
    """Why a group cannot shrink; None if it can."""
    if group.frozen:
        return group.frozen
    if group.key in channel_map.findings.refused:
        return channel_map.findings.refused[group.key]
    if protected & group.index.keys():
        return Reason(ReasonKind.PROTECTED, "is protected by skip")
    if group.size < 2 and not channel_map.findings.family_of(group.key):
        return Reason(ReasonKind.SINGLE_UNIT, "has a single unit")
    return None
