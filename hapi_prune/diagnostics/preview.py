"""`preview`: what the cuts of a schedule will leave, before training. Tried once; the network is restored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import paddle

from ..analysis.cost import cost_at
from ..analysis.layer_names import layer_name
from ..criteria.named import as_criterion, wants_gradients
from ..cutting.pruning import Pruner
from ..internals.preserve import everything
from ..plan import Cost
from ..reporting import tables
from ..reporting.record import NOUNS
from ..schedules import Schedule
from ..selection.kept_groups import layers_of
from ..selection.options import Options
from ..selection.ratios import Ratio, check_ratio, rising
from .check import cuttable


@dataclass(frozen=True)
class PreviewRow:
    """One cut of a schedule, as predicted.

    Attributes:
        epoch: when, counted from 0.
        ratio: what is asked for by then.
        reached: the share of it (of the filters, FLOPs, parameters or latency) that will be removed, in [0, 1).
        cost: what the network will cost.
        latency: milliseconds of a forward pass, as predicted; None where that is not the target.
        narrowest: the layer that will keep the smallest share of its filters, and ``(filters now, filters then)``.

    Example:
        >>> import paddle
        >>> from hapi_prune import PruneCallback
        >>> callback = PruneCallback({2: 0.5})
        >>> callback.preview(paddle.vision.models.LeNet(), [1, 1, 28, 28]).rows[0].narrowest
        ('features.0', (6, 3))
    """

    epoch: int
    ratio: Ratio
    reached: float
    cost: Cost
    narrowest: tuple[str, tuple[int, int]]
    latency: float | None = None


@dataclass(frozen=True)
class Preview:
    """What the cuts of a schedule will leave; ``print`` shows a table.

    Attributes:
        target: what the ratios are shares of.
        dense: what the network costs now.
        rows: one for each cut.
        stays: the layers that stay as they are, and why.
        latency: milliseconds of a forward pass now; None where that is not the target.

    Example:
        >>> import paddle
        >>> from hapi_prune import PruneCallback
        >>> callback = PruneCallback({2: 0.25, 4: 0.5}, target="flops")
        >>> found = callback.preview(paddle.vision.models.LeNet(), [1, 1, 28, 28], epochs=6)
        >>> [(row.epoch, row.narrowest[0]) for row in found.rows]
        [(2, 'features.0'), (4, 'features.0')]
    """

    target: str
    dense: Cost
    rows: tuple[PreviewRow, ...]
    stays: dict[str, str]
    latency: float | None = None

    def __str__(self) -> str:
        """The table, and below it what stays."""
        costs = [self.dense, *(row.cost for row in self.rows)]
        asked = ["by layer" if isinstance(row.ratio, dict) else tables.percent(row.ratio) for row in self.rows]
        narrowest = [
            f"{tables.clip(row.narrowest[0], 24)} {row.narrowest[1][0]} -> {row.narrowest[1][1]}" for row in self.rows
        ]
        columns: list[tables.Column] = [
            ("", "epoch", "dense", *(str(row.epoch + 1) for row in self.rows)),
            (NOUNS[self.target], "asked", "-", *asked),
            (NOUNS[self.target], "removed", "-", *(tables.percent(row.reached) for row in self.rows)),
            ("", "FLOPs", *(tables.count(cost.flops) for cost in costs)),
            ("", "params", *(tables.count(cost.params) for cost in costs)),
            *self._latencies(),
            ("", "narrowest layer", "", *narrowest),
        ]
        reasons: dict[str, list[str]] = {}
        for layer, why in self.stays.items():
            reasons.setdefault(why, []).append(layer)
        verb = {True: "stays", False: "stay"}
        below = [f"{', '.join(names)} {verb[len(names) == 1]}: {why}" for why, names in reasons.items()]
        return tables.table(columns, below=below)

    def _latencies(self) -> list[tables.Column]:
        if self.latency is None:
            return []
        return [("", "latency, ms", *map(tables.number, (self.latency, *(row.latency for row in self.rows))))]


def preview(network: paddle.nn.Layer, inputs: Any, schedule: Schedule, options: Options, epochs: int) -> Preview:
    """What the cuts of a run will leave.

    Args:
        network: as it is before training; it is left as it was.
        inputs: an example input, as for `prune`.
        schedule: when how much is due.
        options: how to choose.
        epochs: how long the run is.

    Raises:
        PruneError: a goal that cannot be reached, with the nearest that can; anything that `prune` would raise.
    """
    events = rising([(e, check_ratio(r, f"schedule, epoch {e}")) for e, r in schedule.preview(epochs)], "schedule")
    if wants_gradients(as_criterion(options.criterion)):
        options = replace(options, criterion="l1_norm")  # there are no gradients yet; how many stay is the same
    with everything(network):
        pruner = Pruner(network, inputs, options)
        pruner.require_goals(events)
        stays = cuttable(pruner.channel_map, events[-1][1], options, pruner.aim)[0].stays if events else {}
        rows = tuple(_row(pruner, epoch, ratio) for epoch, ratio in events)
        reasons = {name: str(why) for key, why in stays.items() for name in layers_of(pruner.channel_map, key)}
        return Preview(options.target, pruner.original, rows, reasons, pruner.predicted({}))


def _row(pruner: Pruner, epoch: int, ratio: Ratio) -> PreviewRow:
    channel_map = pruner.channel_map
    wanted = pruner.goal(ratio)
    plan = pruner.plan(wanted)
    sizes, latency = (
        channel_map.sizes_after(plan),
        pruner.predicted({key: len(kept) for key, kept in plan.kept.items()}),
    )
    after = cost_at(channel_map.graph, channel_map.at(sizes)[0])
    constraints, now = channel_map.traced.constraints, channel_map.sizes
    widths = {axis: (now[axis], size) for axis, size in sizes.items() if axis in constraints.filters}
    counted = [pair for axis, pair in widths.items() if axis in constraints.convolutions]
    left = {
        "filters": sum(then for _, then in counted) / max(sum(was for was, _ in counted), 1),
        "flops": after.flops / max(pruner.original.flops, 1),
        "params": after.params / max(pruner.original.params, 1),
        "latency": (latency or 0.0) / (pruner.predicted({}) or 1.0),
    }
    axis, pair = min(widths.items(), key=lambda item: item[1][1] / item[1][0])
    reached = 1 - left[pruner.options.target]
    return PreviewRow(epoch, ratio, reached, after, (layer_name(axis[0]), pair), latency)
