"""What can be pruned and what cannot, layer by layer and with the reason: tried out, and nothing changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import paddle
from paddle import nn

from . import _paddle, drawing, look
from .conformance import settled, untouched
from .inputs import example
from .names import layer_name
from .plan import ChannelGroup
from .pruning import Options
from .rules.joining import flat
from .survey import Survey
from .transaction import Network

LEGEND = (("prunable", "can shrink"), ("approximate", "can shrink, but a norm mixes channels"), ("stays", "stays"))
COLUMNS, FEW = 100, "below the minimum"
STATUS = {"is an output": "feeds an output", "is protected": "protected", "has a single": FEW, "has no more": FEW}
UNUSED, COMPUTED = "is not used in the forward pass", "its weight is computed in a way that cannot be followed"
SPLITS, LESS = "fits its splits", "shrinks only by less than half, in steps that its splits allow"
LINEAR = "A Linear shrinks with a convolution, or where a ratio names it."
PLACE = re.compile(r"'([\w.]+)' \(([^()]+:\d+)\)|other sizes: ([^()]+:\d+)")
LAYERS = (nn.Conv1D, nn.Conv2D, nn.Conv3D, nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose, nn.Linear)


@dataclass(frozen=True)
class Row:
    """What becomes of the filters of one layer.

    Attributes:
        layer, kind, filters: its structured name, its class, and how many filters it has.
        status: ``"prunable"``; ``"approximate"``: prunable, but removing is not quite zeroing; ``"follows X"``: its
            filters are the channels of layer X; ``"feeds an output"``, ``"protected"``, ``"below the minimum"``
            or ``"frozen"``.
        group: number of the group in the picture, from 1, in the order of the forward pass.
        keys: the group as a plan names it; several where the filters come in blocks.
        units: how many units can be chosen from; 0 where none can be removed.
        partners: the layers whose filters go with them.
        readers: all other layers that lose slices with them.
        follows: the layer whose channels its filters are.
        reason: why; empty for what is simply prunable.
        op: the operation to blame, if there is one.
        where: its place in the user's code, ``file:line``.
    """

    layer: str
    kind: str
    filters: int
    status: str
    group: int
    keys: tuple[str, ...] = ()
    units: int = 0
    partners: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    follows: str = ""
    reason: str = ""
    op: str = ""
    where: str = ""


@dataclass(frozen=True)
class Explanation:
    """What `explain` found out.

    Attributes:
        network: class name of the network.
        rows: one for each convolution and Linear, in the order in which the network holds them.
        arrows: the data's way from group to group, by number; 0 is the input, -1 the output.
        opaque: operations that channels reach and that cannot be followed: name, place and why.
    """

    network: str
    rows: tuple[Row, ...]
    arrows: tuple[tuple[int, int], ...] = ()
    opaque: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The whole in a line."""
        able = [row.group for row in self.rows if row.units]
        return f"{self.network}: {len(able)} of {len(self.rows)} layers can shrink; groups: {len(set(able))}"

    def groups(self) -> dict[int, list[Row]]:
        """The layers of each group, by number, in the order of the forward pass."""
        return {n: [row for row in self.rows if row.group == n] for n in sorted({row.group for row in self.rows})}

    def table(self) -> str:
        """A line for each layer, at most 100 columns wide; below it who shrinks together, and the reasons."""
        notes = list(dict.fromkeys(shortened(row.reason) for row in self.rows if row.reason))
        status = ["status", *(look.clip(row.status, 30) for row in self.rows)]
        columns: list[look.Column] = [
            ("", "kind", *(look.clip(row.kind, 15) for row in self.rows)),
            ("", "filters", *(look.filters(row.filters) for row in self.rows)),
            ("", "units", *(look.filters(row.units) for row in self.rows)),
            ("", "group", *(str(row.group) for row in self.rows)),
            ("", *(look.pad(cell, max(map(look.wide, status))) for cell in status)),
            ("", "note", *(str(notes.index(shortened(row.reason)) + 1) if row.reason else "" for row in self.rows)),
        ]
        room = COLUMNS - sum(2 + max(map(look.wide, cells)) for cells in columns)
        columns.insert(0, ("", "layer", *(look.clip(row.layer, room) for row in self.rows)))
        joint = {n: [r.layer for r in rows if r.units] for n, rows in self.groups().items()}
        below = [f"Group {n}, together: {', '.join(names)}." for n, names in joint.items() if names[1:]]
        below += [f"Note {n}: {note}." for n, note in enumerate(notes, 1)]
        below += [f"Not followed: {shortened(op)}." for op in self.opaque]
        below += [LINEAR] if any(row.units and row.kind == "Linear" for row in self.rows) else []
        return look.table(columns, [self.title], below, names=5)

    def to_json(self) -> str:
        """All of it as a JSON object, with the names of the attributes."""
        return json.dumps(asdict(self))

    def svg(self) -> str:
        """The groups as boxes, and arrows from the layers that make channels to the layers that read them."""
        boxes = [drawing.Box("input"), *map(boxed, self.groups().values()), drawing.Box("output")]
        arrows = [(a, b % len(boxes)) for a, b in self.arrows]
        return drawing.picture(boxes, arrows, self.title, LEGEND)

    def save(self, path: str | Path) -> None:
        """Write the picture to ``path``."""
        Path(path).write_text(self.svg(), encoding="utf-8")


def shortened(reason: str) -> str:
    """A reason with no more of each path than the last folder and the file."""
    return re.sub(r"/(?:[^/:()\n]+/)*([^/:()\n]+/[^/:()\n]+:\d+)", r"\1", reason)


def boxed(rows: Sequence[Row]) -> drawing.Box:
    """A group as a box of the picture."""
    first, more, able = rows[0], len(rows) - 1, [row for row in rows if row.units]
    lines = [f"{first.kind}, {first.filters} filters"]
    lines += [f"+ {rows[1].layer}" if more == 1 else f"+ {more} layers"] if more else []
    lines += [] if able else [f"{first.status} {Path(first.where).name}"]
    paint = "stays" if not able else "approximate" if any(row.status == "approximate" for row in able) else "prunable"
    tip = [f"{row.layer}: {row.kind}, {row.filters} filters, {row.status}" for row in rows]
    return drawing.Box(first.layer, tuple(lines), paint, "\n".join([*tip, *dict.fromkeys(row.reason for row in rows)]))


def explain(network: paddle.nn.Layer, inputs: Any, *, skip: Sequence[str] = (), min_filters: int = 1) -> Explanation:
    """Say of every convolution and Linear whether it can be pruned, and if not why.

    Sizes that are written into the user's code are found only by trying: half of the units of all groups are
    removed, the network is run, and everything is put back. A Linear is tried as well, though a ratio that is a
    plain number touches it only where a convolution's filters go with its own.

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
        >>> found = explain(paddle.vision.models.LeNet(), [1, 1, 28, 28])
        >>> [(row.layer, row.status) for row in found.rows][:2]
        [('features.0', 'prunable'), ('features.3', 'prunable')]
        >>> found.rows[-1].reason
        'is an output of the network'
    """
    options = Options(skip=skip, min_filters=min_filters)
    with untouched(network):
        patient = Network(network, example(network, inputs), Survey(network, inputs))
        fates, parts = tried(patient, options), parts_of(patient)
    order = sorted(parts, key=lambda part: part.place)
    number = numbered(order)
    owner = {tensor: number[part.name] for part in reversed(parts) for tensor in part.tensors}
    graph = patient.survey.graph
    arrows = drawing.arrows(graph.training, owner) | drawing.arrows(graph.evaluation, owner)
    rows = tuple(row_of(part, order, fates, number[part.name]) for part in parts)
    opaque = tuple(dict.fromkeys(not_followed(patient.survey)))
    return Explanation(type(network).__name__, rows, tuple(sorted(arrows)), opaque)


def tried(patient: Network, options: Options) -> dict[str, str]:
    """For each group that holds filters why it stays; empty if it shrinks.

    First all convolutions, as a plain ratio asks for, whatever becomes of Linears. Splits may allow a cut below half.
    """
    filters = sorted({name for name, _ in patient.survey.traced.record.filters})
    few = f"has no more than {options.min_filters} units, which is the minimum"
    fates: dict[str, str] = {}
    for ratio in (0.5, dict.fromkeys(filters, 0.5), 0.25, 0.1) if filters else ():
        split = {key for key, why in fates.items() if SPLITS in why}
        if split or ratio not in (0.25, 0.1):
            wanted, plan = settled(patient, ratio, options)
            fits = dict.fromkeys(plan.kept, LESS if ratio in (0.25, 0.1) else "")
            found = {**dict.fromkeys(wanted.ratios, few), **wanted.stays, **fits}
            fates = {**found, **fates, **{key: fits[key] for key in split & fits.keys()}}
    return fates


@dataclass(frozen=True)
class Part:
    """A convolution or Linear, or a bare parameter that is used as one: its tensors, and the groups of its filters.

    It is used first at a `place` in the forward pass (-1: never). `led`: its filters are another's channels.
    """

    name: str
    kind: str
    filters: int
    tensors: frozenset[str]
    groups: dict[str, ChannelGroup]
    place: int
    led: bool


def parts_of(patient: Network) -> list[Part]:
    """All of them, in the order in which the network holds them; bare parameters come last."""
    graph, record = patient.survey.graph, patient.survey.traced.record
    axes = {(name, 0 if name in record.depthwise else slot) for name, slot in record.filters}
    axes |= {(name, 0) for name in record.depthwise}
    sizes = {name: graph.shape(name)[slot] for name, slot in axes}
    groups: dict[str, dict[str, ChannelGroup]] = {}
    for key, group in patient.survey.grouping.groups.items():
        for name, _ in group.index.keys() & axes:
            groups.setdefault(name, {})[key] = group
    places = drawing.places(graph.training, graph.evaluation)

    def part(name: str, kind: str, tensors: set[str], count: int = 1) -> Part:
        own = {key: group for tensor in sorted(tensors) for key, group in groups.get(tensor, {}).items()}
        count = max([count, *(size for tensor, size in sizes.items() if tensor in tensors)])
        place = min((places[tensor] for tensor in tensors if tensor in places), default=-1)
        return Part(name, kind, count, frozenset(tensors), own, place, bool(tensors & record.depthwise))

    names = {id(tensor): name for name, tensor in patient.tensors.items()}
    found = []
    for name, layer in patient.layer.named_sublayers(include_self=True):
        if isinstance(layer, LAYERS):
            own = {names[id(t)] for t in _paddle.own_tensors(layer).values() if id(t) in names}
            told = _paddle.sizes(layer, bool(own & record.depthwise)).get("_out_channels", 1)
            told = layer.weight.shape[1] if isinstance(layer, nn.Linear) else told
            found.append(part(name, graph.kinds[name], own, told))
    known = {tensor for one in found for tensor in one.tensors}
    return found + [part(name, "parameter", {name}) for name in sorted(sizes.keys() - known)]


def numbered(order: Sequence[Part]) -> dict[str, int]:
    """The number of each part, from 1 in the order of the forward pass: the same for those with a group in common."""
    owner: dict[str, str] = {}
    root: dict[str, str] = {}

    def top(name: str) -> str:
        return name if root[name] == name else top(root[name])

    for part in order:
        root[part.name] = part.name
        for key in part.groups:
            root[top(part.name)] = top(owner.setdefault(key, part.name))
    heads = list(dict.fromkeys(top(part.name) for part in order))
    return {part.name: heads.index(top(part.name)) + 1 for part in order}


def row_of(part: Part, order: Sequence[Part], fates: dict[str, str], number: int) -> Row:
    """What becomes of a part; all parts in the order of the forward pass."""
    able = {key: group for key, group in part.groups.items() if fates.get(key) in ("", LESS)}
    units = sum(group.size for group in able.values())
    together = [other for other in order if other is part or other.groups.keys() & part.groups.keys()]
    first = next((other for other in together if (not other.led if part.led else other.tensors & part.tensors)), part)
    follows = first.name if first is not part else ""
    partners = tuple(other.name for other in together if other is not part)
    touched = {layer_name(name) for group in part.groups.values() for name, _ in group.index}
    stuck = [fates.get(key) or group.frozen for key, group in part.groups.items() if key not in able]
    reason = next(filter(None, stuck), COMPUTED if stuck else "")
    if able:
        mixed = next((group.approximate for group in able.values() if group.approximate), "")
        status = f"follows {follows}" if follows else "approximate" if mixed else "prunable"
        some = f"some of its filters stay: one of them {reason}" if reason else ""
        reason = "; ".join(filter(None, [mixed, some, LESS if LESS in map(fates.get, able) else ""]))
    else:
        reason = reason or (UNUSED if part.place < 0 else "has a single filter" if part.filters == 1 else COMPUTED)
        status = next((status for start, status in STATUS.items() if reason.startswith(start)), "frozen")
    found = PLACE.search(reason)
    op, *where = found.groups() if found else ("", "", "")
    readers = tuple(sorted(touched - {part.name, *partners}))
    told = (partners, readers, follows, reason, op or "", next(filter(None, where), ""))
    return Row(part.name, part.kind, part.filters, status, number, tuple(part.groups), units, *told)


def not_followed(survey: Survey) -> Iterator[str]:
    """The operations that have no rule, or do not fit their rule, if channels reach them."""
    for (name, place), why in survey.traced.opaque.items():
        args = survey.traced.operands[name][place]
        if any(signal.labels for signal in flat(args)):
            yield f"{getattr(survey.graph, name).ops[place]} {why}"
