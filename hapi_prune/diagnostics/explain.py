"""What can be pruned and what cannot, layer by layer and with the reason: found by trying, and nothing is changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ..analysis.channel_map import ChannelMap
from ..analysis.labels import signals_of
from ..analysis.layer_names import layer_name
from ..analysis.numbering import components
from ..internals import layers
from ..internals.preserve import everything
from ..internals.tensors import own_tensors
from ..plan import ChannelGroup, Reason, ReasonKind
from ..selection.options import Options
from . import group_picture
from .check import cuttable
from .explanation import Explanation, ExplanationRow

STATUS = {
    ReasonKind.OUTPUT: "feeds an output",
    ReasonKind.PROTECTED: "protected",
    ReasonKind.SINGLE_UNIT: "below the minimum",
    ReasonKind.MINIMUM: "below the minimum",
}
"""What the table says of a layer that stays; of any other, that it is frozen."""

COMPUTED = Reason(ReasonKind.NOT_FOLLOWED, "its weight is computed in a way that cannot be followed")
LESS = "shrinks only by less than half, in steps that its splits allow"
LAYERS = (nn.Conv1D, nn.Conv2D, nn.Conv3D, nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose, nn.Linear)


def explain(network: paddle.nn.Layer, inputs: Any, *, skip: Sequence[str] = (), min_filters: int = 1) -> Explanation:
    """Say of every convolution and Linear whether it can be pruned, and if not why.

    Sizes that are written into the user's code are found only by trying: half of the units of all groups are
    removed, the network is run, and everything is put back. Linears are tried as well, though a ratio that is a
    plain number touches one only if a convolution shrinks with it.

    Args:
        network: any ``paddle.nn.Layer``; it is left as it was, bitwise.
        inputs: an example input, as for `prune`.
        skip: names of layers to leave as they are.
        min_filters: no group gets smaller than this.

    Returns:
        A line for each layer, the data's way between the groups, and the operations that could not be followed.

    Raises:
        PruneError: bad arguments, or a network that cannot be traced.

    Example:
        >>> import paddle
        >>> from hapi_prune import explain
        >>> found = explain(paddle.vision.models.LeNet(), [1, 1, 28, 28])
        >>> [(row.layer, row.status) for row in found.rows][:2]
        [('features.0', 'prunable'), ('features.3', 'prunable')]
        >>> found.rows[-1].reason
        'is an output of the network'
    """
    options = Options(skip=skip, min_filters=min_filters)
    with everything(network):
        channel_map = ChannelMap(network, inputs)
        (outcomes, counts), layers_found = outcomes_of(channel_map, options), filter_layers(channel_map)
    order = sorted(layers_found, key=lambda layer: layer.first_use)
    number = numbered(order)
    owner = {tensor: number[layer.name] for layer in reversed(layers_found) for tensor in layer.tensors}
    graph = channel_map.graph
    arrows = group_picture.arrows(graph.training, owner) | group_picture.arrows(graph.evaluation, owner)
    rows = tuple(row_of(layer, order, outcomes, number[layer.name]) for layer in layers_found)
    return Explanation(type(network).__name__, rows, tuple(sorted(arrows)), not_followed(channel_map), counts)


@dataclass(frozen=True)
class Outcome:
    """What becomes of a group: it stays for a reason, or shrinks; ``less``: by less than half, due to its splits."""

    stays: Reason | None = None
    less: bool = False


Outcomes = dict[str, Outcome]
"""What becomes of each group, by its key."""


def outcomes_of(channel_map: ChannelMap, options: Options) -> tuple[Outcomes, tuple[str, ...]]:
    """What becomes of each group that holds filters, and the attributes that are set with them.

    First convolutions are tried alone, as by a plain ratio, then with Linears. Splits may only allow less than half.
    """
    filters = sorted({name for name, _ in channel_map.traced.constraints.filters})
    few = Outcome(Reason(ReasonKind.MINIMUM, f"has no more than {options.min_filters} units, which is the minimum"))
    outcomes: Outcomes = {}
    counts: dict[str, None] = {}
    for ratio in (0.5, dict.fromkeys(filters, 0.5), 0.25, 0.1) if filters else ():
        split = {key for key, outcome in outcomes.items() if outcome.stays and outcome.stays.kind is ReasonKind.NO_FIT}
        if split or ratio not in (0.25, 0.1):
            wanted, plan, proven = cuttable(channel_map, ratio, options)
            counts.update(dict.fromkeys(count.name for count in (proven.planned.counts if proven else ())))
            fits = dict.fromkeys(plan.kept, Outcome(less=ratio in (0.25, 0.1)))
            stay = {key: Outcome(why) for key, why in wanted.stays.items()}
            found = {**dict.fromkeys(wanted.ratios, few), **stay, **fits}
            outcomes = {**found, **outcomes, **{key: fits[key] for key in split & fits.keys()}}
    return outcomes, tuple(counts)


@dataclass(frozen=True)
class FilterLayer:
    """A convolution or Linear, or a bare parameter that is used as one: its tensors, and the groups of its filters.

    Attributes:
        name, kind, filters: structured name, class, and number of filters.
        tensors: structured names of its tensors.
        groups: the channel groups of its filters, by key.
        first_use: the number of the first op that uses it (-1: none does).
        led: whether it is depthwise: its filters follow the channels of another layer.
    """

    name: str
    kind: str
    filters: int
    tensors: frozenset[str]
    groups: dict[str, ChannelGroup]
    first_use: int
    led: bool


def filter_layers(channel_map: ChannelMap) -> list[FilterLayer]:
    """All layers with filters in the order of the network, then the bare parameters."""
    graph, constraints = channel_map.graph, channel_map.traced.constraints
    depthwise = constraints.depthwise
    axes = {(name, 0 if name in depthwise else slot) for name, slot in constraints.filters}
    axes |= {(name, 0) for name in depthwise}
    sizes = {name: graph.shape(name, channel_map.sizes)[slot] for name, slot in axes}
    groups: dict[str, dict[str, ChannelGroup]] = {}
    for key, group in channel_map.groups.items():
        for name, _ in group.index.keys() & axes:
            groups.setdefault(name, {})[key] = group
    first_use = group_picture.first_uses(graph.training, graph.evaluation)

    def entry(name: str, kind: str, tensors: set[str], count: int = 1) -> FilterLayer:
        own = {key: group for tensor in sorted(tensors) for key, group in groups.get(tensor, {}).items()}
        count = max([count, *(size for tensor, size in sizes.items() if tensor in tensors)])
        first = min((first_use[tensor] for tensor in tensors if tensor in first_use), default=-1)
        return FilterLayer(name, kind, count, frozenset(tensors), own, first, bool(tensors & depthwise))

    names = {id(tensor): name for name, tensor in channel_map.tensors.items()}
    found = []
    for name, layer in layers.named_layers(channel_map.network).items():
        if isinstance(layer, LAYERS):
            own = {names[id(t)] for t in own_tensors(layer).values() if id(t) in names}
            told = layers.sizes(layer, bool(own & depthwise)).get("_out_channels", 1)
            told = layer.weight.shape[1] if isinstance(layer, nn.Linear) else told
            found.append(entry(name, graph.kinds[name], own, told))
    known = {tensor for one in found for tensor in one.tensors}
    return found + [entry(name, "parameter", {name}) for name in sorted(sizes.keys() - known)]


def numbered(order: Sequence[FilterLayer]) -> dict[str, int]:
    """The number of each layer, from 1 in the order of the forward pass: the same for those with a group in common."""
    first: dict[str, int] = {}
    pairs = [(place, first.setdefault(key, place)) for place, layer in enumerate(order) for key in layer.groups]
    one, other = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    root = components(len(order), one, other).tolist()
    heads = list(dict.fromkeys(root))
    return {layer.name: heads.index(head) + 1 for layer, head in zip(order, root)}


def row_of(layer: FilterLayer, order: Sequence[FilterLayer], outcomes: Outcomes, number: int) -> ExplanationRow:
    """What becomes of a layer; ``order``: all layers in the order of the forward pass."""
    able = {key: group for key, group in layer.groups.items() if key in outcomes and not outcomes[key].stays}
    together = [other for other in order if other is layer or other.groups.keys() & layer.groups.keys()]
    first = next(
        (other for other in together if (not other.led if layer.led else other.tensors & layer.tensors)), layer
    )
    follows = first.name if first is not layer else ""
    partners = tuple(other.name for other in together if other is not layer)
    touched = {layer_name(name) for group in layer.groups.values() for name, _ in group.index}
    why = why_it_stays(layer, outcomes, able)
    if able:
        mixed = next((group.approximate for group in able.values() if group.approximate), None)
        status = f"follows {follows}" if follows else "approximate" if mixed else "prunable"
        some = f"some of its filters stay: one of them {why}" if why else ""
        less = LESS if any(outcomes[key].less for key in able) else ""
        reason, why = "; ".join(filter(None, [str(mixed or ""), some, less])), mixed or why
    else:
        why = why or unused(layer)
        status, reason = STATUS.get(why.kind, "frozen"), str(why)
    return ExplanationRow(
        layer=layer.name,
        kind=layer.kind,
        filters=layer.filters,
        status=status,
        group=number,
        keys=tuple(layer.groups),
        units=sum(group.size for group in able.values()),
        partners=partners,
        consumers=tuple(sorted(touched - {layer.name, *partners})),
        follows=follows,
        reason=reason,
        op=why.op if why else "",
        where=why.where if why else "",
    )


def why_it_stays(layer: FilterLayer, outcomes: Outcomes, able: Collection[str]) -> Reason | None:
    """Why those of its groups that are not ``able`` to shrink stay; None if there are none."""
    stuck = [key for key in layer.groups if key not in able]
    known = [outcomes[key].stays if key in outcomes else layer.groups[key].frozen for key in stuck]
    return next(filter(None, known), COMPUTED if stuck else None)


def unused(layer: FilterLayer) -> Reason:
    """Why a layer without any group stays."""
    if layer.first_use < 0:
        return Reason(ReasonKind.UNUSED, "is not used in the forward pass")
    return Reason(ReasonKind.SINGLE_UNIT, "has a single filter") if layer.filters == 1 else COMPUTED


def not_followed(channel_map: ChannelMap) -> tuple[str, ...]:
    """The operations that have no rule, or do not fit their rule, if channels reach them; a mode that does not run."""
    found = [
        f"{one.program.ops[number]} {why}"
        for one in channel_map.traced.passes
        for number, why in one.not_followed.items()
        if any(signal.labels for signal in signals_of(one.operands[number]))
    ]
    untraced = channel_map.graph.untraced
    return tuple(dict.fromkeys([*found, *([f"training mode: {untraced}"] if untraced else [])]))
