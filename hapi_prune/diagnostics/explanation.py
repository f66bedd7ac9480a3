"""What can be pruned and what cannot, as a table, as JSON and as a picture."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..reporting import tables
from . import group_picture

LEGEND = (
    ("prunable", "can shrink"),
    ("approximate", "can shrink, but a norm mixes channels"),
    ("stays", "stays"),
    ("back", "back into a group above"),
)
COLUMNS = 100
LINEAR = "A Linear shrinks with a convolution, or where a ratio names it."


@dataclass(frozen=True)
class ExplanationRow:
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
        consumers: all other layers that lose slices with them.
        follows: the layer whose channels its filters are.
        reason: why; empty for what is simply prunable.
        op: the operation to blame, if there is one.
        where: its place in the user's code, ``file:line``.

    Example:
        >>> from hapi_prune import ExplanationRow
        >>> row = ExplanationRow("conv1", "Conv2D", 64, "prunable", group=1, units=64, consumers=("bn1", "conv2"))
        >>> f"{row.layer} is {row.status}, and takes slices of {', '.join(row.consumers)} with it"
        'conv1 is prunable, and takes slices of bn1, conv2 with it'
    """

    layer: str
    kind: str
    filters: int
    status: str
    group: int
    keys: tuple[str, ...] = ()
    units: int = 0
    partners: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    follows: str = ""
    reason: str = ""
    op: str = ""
    where: str = ""


@dataclass(frozen=True)
class Explanation:
    """The result of `explain`: ``table()`` for people, ``to_json()`` for programs, ``save(path)`` for a picture.

    Attributes:
        network: class name of the network.
        rows: one for each convolution and Linear, in the order in which the network holds them.
        arrows: the data's way from group to group, by number; 0 is the input, -1 the output.
        opaque: operations that channels reach and that cannot be followed: name, place and why.
        counts: the attributes of layers that hold numbers of channels and are set with a cut: ``'splits' of 'mix'``.

    Example:
        >>> import paddle
        >>> from hapi_prune import explain
        >>> explanation = explain(paddle.vision.models.LeNet(), [1, 1, 28, 28])
        >>> explanation.title
        'LeNet: 4 of 5 layers can shrink; groups: 4'
        >>> [row.layer for row in explanation.groups()[1]]
        ['features.0']
    """

    network: str
    rows: tuple[ExplanationRow, ...]
    arrows: tuple[tuple[int, int], ...] = ()
    opaque: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """How many layers can shrink, and in how many groups, in one line."""
        able = [row.group for row in self.rows if row.units]
        return f"{self.network}: {len(able)} of {len(self.rows)} layers can shrink; groups: {len(set(able))}"

    def groups(self) -> dict[int, list[ExplanationRow]]:
        """The layers of each group, by number, in the order of the forward pass."""
        return {n: [row for row in self.rows if row.group == n] for n in sorted({row.group for row in self.rows})}

    def __str__(self) -> str:
        """The table."""
        return self.table()

    def table(self) -> str:
        """A line for each layer, at most 100 columns wide; below it who shrinks together, and the reasons."""
        notes = list(dict.fromkeys(shortened(row.reason) for row in self.rows if row.reason))
        status = ["status", *(tables.clip(row.status, 30) for row in self.rows)]
        columns: list[tables.Column] = [
            ("", "kind", *(tables.clip(row.kind, 15) for row in self.rows)),
            ("", "filters", *(tables.filters(row.filters) for row in self.rows)),
            ("", "units", *(tables.filters(row.units) for row in self.rows)),
            ("", "group", *(str(row.group) for row in self.rows)),
            ("", *(tables.pad(cell, max(map(tables.wide, status))) for cell in status)),
            ("", "note", *(str(notes.index(shortened(row.reason)) + 1) if row.reason else "" for row in self.rows)),
        ]
        room = COLUMNS - sum(2 + max(map(tables.wide, cells)) for cells in columns)
        columns.insert(0, ("", "layer", *(tables.clip(row.layer, room) for row in self.rows)))
        joint = {n: [r.layer for r in rows if r.units] for n, rows in self.groups().items()}
        below = [f"Group {n}, together: {', '.join(names)}." for n, names in joint.items() if names[1:]]
        below += [f"Note {n}: {note}." for n, note in enumerate(notes, 1)]
        below += [f"Not followed: {shortened(op)}." for op in self.opaque]
        below += [f"Set with the channels: {', '.join(self.counts)}."] if self.counts else []
        below += [LINEAR] if any(row.units and row.kind == "Linear" for row in self.rows) else []
        return tables.table(columns, [self.title], below, names=5)

    def to_json(self) -> str:
        """All of it as a JSON object, with the names of the attributes."""
        return json.dumps(asdict(self))

    def svg(self) -> str:
        """The picture as SVG: the groups as boxes, and arrows from those that make channels to those that read them."""
        boxes = [group_picture.Box("input"), *map(boxed, self.groups().values()), group_picture.Box("output")]
        arrows = [(a, b % len(boxes)) for a, b in self.arrows]
        return group_picture.picture(boxes, arrows, self.title, LEGEND)

    def save(self, path: str | Path) -> None:
        """Write the picture to a file.

        Args:
            path: its name, as in ``"groups.svg"``; a file that is there is overwritten.
        """
        Path(path).write_text(self.svg(), encoding="utf-8")


def shortened(reason: str) -> str:
    """A reason with no more of each path than the last folder and the file."""
    return re.sub(r"/(?:[^/:()\n]+/)*([^/:()\n]+/[^/:()\n]+:\d+)", r"\1", reason)


def boxed(rows: Sequence[ExplanationRow]) -> group_picture.Box:
    """A group as a box of the picture."""
    first, more, able = rows[0], len(rows) - 1, [row for row in rows if row.units]
    lines = [f"{first.kind}, {first.filters} filters"]
    lines += [f"+ {rows[1].layer}" if more == 1 else f"+ {more} layers"] if more else []
    lines += [] if able else [f"{first.status} {Path(first.where).name}"]
    paint = "stays" if not able else "approximate" if any(row.status == "approximate" for row in able) else "prunable"
    tip = [f"{row.layer}: {row.kind}, {row.filters} filters, {row.status}" for row in rows]
    return group_picture.Box(
        first.layer, tuple(lines), paint, "\n".join([*tip, *dict.fromkeys(row.reason for row in rows)])
    )
