"""The table of a run: a line for the dense network and one for each cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..plan import PruningPlan
from . import tables
from .record import NOUNS, PruneRecord, asked_text, mark_text
from .tables import Metrics


def standing(records: Sequence[PruneRecord]) -> PruneRecord | None:
    """The record of the last cut that was not taken back; None where the network is dense."""
    return next((record for record in reversed(records) if not record.taken_back), None)


def left(records: Sequence[PruneRecord]) -> PruneRecord:
    """A record of the network as it is now, dense or not; there must be at least one record."""
    last, now = records[-1], standing(records)
    if now is not None:
        return now
    nothing: dict[str, Any] = {"metrics_before": {}, "metrics_after": {}, "recovered": (), "taken_back": ""}
    nothing |= {"ratio_asked": 0.0, "ratio": 0.0, "plan": PruningPlan({}), "seconds": 0.0}
    was = last.latency
    again = was and replace(was, before=was.original, after=was.original, measured=was.measured_original)
    nothing |= {"latency": again, "rank_correlation": {}}
    dense = {layer: (size, size) for layer, (size, _) in last.widths.items()}
    return replace(last, cost_before=last.cost_original, cost_after=last.cost_original, widths=dense, **nothing)


def columns(records: Sequence[PruneRecord], metric: str | None, metrics_dense: Metrics) -> list[tables.Column]:
    """The columns of the table of a run's cuts; the first cell of each is the dense network's."""
    marks = [mark_text(record) for record in records]
    if records[-1].taken_back:
        records, marks = [*records, left(records)], [*marks, "now"]
    dense = records[0].cost_original
    costs = [dense, *(record.cost_after for record in records)]
    asked: tables.Column = (NOUNS[records[-1].target], "asked", "-", *map(asked_text, records))
    made: list[tables.Column] = [
        ("", "epoch", "dense", *marks),
        ("filters", "removed", "-", *(tables.percent(record.ratio) for record in records)),
        ("FLOPs", "", *(tables.count(cost.flops) for cost in costs)),
        ("FLOPs", "kept", *(tables.percent(tables.share(cost.flops, dense.flops)) for cost in costs)),
        ("params", "", *(tables.count(cost.params) for cost in costs)),
        ("params", "kept", *(tables.percent(tables.share(cost.params, dense.params)) for cost in costs)),
    ]
    if records[-1].latency is not None:
        made += latency_columns(records)
    made.insert([group for group, *_ in made].index(asked[0]), asked)
    if asked[0] != "filters":
        del made[1]  # what was asked for is told by what is kept of it
    logs: dict[str, list[Metrics]] = {
        "before": [{}, *(record.metrics_before for record in records)],
        "after": [{}, *(record.metrics_after for record in records)],
        "healed": [{}, *(record.metrics_healed for record in records)],
        "recovered": [metrics_dense, *(record.metrics_recovered for record in records)],
    }
    if not any(record.metrics_healed for record in records):
        del logs["healed"]
    if metric:
        made += [(metric, head, *(tables.number(log.get(metric)) for log in part)) for head, part in logs.items()]
    return [*made, ("", "seconds", "-", *(tables.seconds(record.seconds) for record in records))]


def latency_columns(records: Sequence[PruneRecord]) -> list[tables.Column]:
    """The columns of predicted and measured milliseconds, and of the predicted share that is kept."""
    known = [record.latency for record in records]
    dense = next(latency for latency in known if latency is not None)
    times = {
        "ms": [dense.original, *(one.after if one else None for one in known)],
        "measured": [dense.measured_original, *(one.measured if one else None for one in known)],
    }
    kept = ("latency", "kept", "100.0%", *("-" if one is None else tables.percent(one.kept) for one in known))
    text: list[tables.Column] = [("latency", head, *map(tables.number, part)) for head, part in times.items()]
    return [text[0], kept, text[1]]
