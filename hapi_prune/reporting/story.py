"""A whole run as one picture, and as one page of HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import page, plots, tables
from .record import PruneRecord, mark_text
from .run_table import columns, left
from .tables import Column

if TYPE_CHECKING:
    from PIL.Image import Image

    from .history import History


REASON = 9
"""The number of the column with the reason why a layer stays."""


def picture(history: History) -> Image:
    """The picture of a run: the metric over the epochs, around each cut and against the cost; the cost; the filters.

    Args:
        history: any, also one without records.
    """
    metric = history.metric or next((name for _, log in history.evaluations for name in log), "")
    points = [(epoch + 1, 0, log) for epoch, log in history.evaluations]
    for record in history:
        points += [(record.epoch or 0, 1, record.metrics_before), (record.epoch or 0, 2, record.metrics_begun)]
    curve = [(x, log[metric]) for x, _, log in sorted(points, key=lambda point: point[:2]) if metric in log]
    kept = [record for record in history if not record.taken_back]
    cuts = [(record.epoch or 0, record.flops_kept, record.params_kept) for record in kept]
    widths = left(history.records).widths if history else {}
    return plots.run_picture(metric, curve, cuts, widths, around(history, metric), front(history, metric))


def around(history: History, metric: str) -> list[plots.Around]:
    """The metric before each cut, right after it and recovered from it, where it is known."""
    found = []
    for record in history:
        logs = (record.metrics_before, record.metrics_begun, record.metrics_recovered)
        if any(metric in log for log in logs):
            before, after, recovered = (log.get(metric) for log in logs)
            found.append(plots.Around(mark_text(record), before, after, recovered))
    return found


def front(history: History, metric: str) -> list[plots.Reached]:
    """The metric reached at each cost: of the dense network, and after each cut, recovered if there was training."""
    dense = history.metrics_dense.get(metric)
    found = [] if dense is None or not history else [plots.Reached("dense", 1.0, dense)]
    for record in history:
        value = record.metrics_recovered.get(metric, record.metrics_begun.get(metric))
        if value is not None:
            found.append(plots.Reached(mark_text(record), record.flops_kept, value))
    return found


def story(history: History) -> str:
    """A run as a page of HTML.

    Args:
        history: any, also one without records.
    """
    shown = page.picture(picture(history), "The metric and the cost over the epochs, and the filters of each layer")
    if not history:
        return page.page("Pruning run", "Nothing was pruned.", [("The run", shown)] if history.evaluations else [])
    last = left(history.records)
    sections = [
        ("Each cut", page.table(columns(history.records, history.metric, history.metrics_dense))),
        ("The run", shown),
        ("Layers", page.table(layers(last), left=(0, 1), long=(REASON,))),
        ("What was said", "\n".join(map(told, history))),
    ]
    return page.page(f"Pruning run: {len(history)} cut{'s' if len(history) > 1 else ''}", lead(history), sections)


def lead(history: History) -> str:
    """The run in a sentence."""
    last, metric = left(history.records), history.metric
    dense, now = last.cost_original, last.cost_after
    parts = [
        f"FLOPs {tables.count(dense.flops)} -> {tables.count(now.flops)} ({tables.percent(last.flops_kept)} kept)",
        f"params {tables.count(dense.params)} -> {tables.count(now.params)} ({tables.percent(last.params_kept)} kept)",
    ]
    ends = (history.metrics_dense.get(metric or ""), last.metrics_recovered.get(metric or ""))
    if metric and None not in ends:
        parts.append(f"{metric} {tables.number(ends[0])} -> {tables.number(ends[1])}")
    return f"{', '.join(parts)}. Epochs count from 1."


def layers(record: PruneRecord) -> list[Column]:
    """A line for each layer: its filters, what it costs, and why it stays if it does."""
    now = {row.name: row for row in record.cost_after.layers}
    kinds = {row.name: row.kind for row in record.cost_original.layers}
    dense = {row.name: row for row in record.cost_original.layers}
    names = list(dict.fromkeys([*record.widths, *record.stays]))
    pairs = [record.widths.get(name) for name in names]
    costs = [(dense[name], now[name]) if name in dense and name in now else None for name in names]
    found: list[Column] = [
        ("", "layer", *names),
        ("", "kind", *(kinds.get(name, "") for name in names)),
        ("filters", "dense", *(str(pair[0]) if pair else "" for pair in pairs)),
        ("filters", "now", *(str(pair[1]) if pair else "" for pair in pairs)),
        ("filters", "kept", *(page.bar(tables.share(pair[1], pair[0])) if pair else "" for pair in pairs)),
        ("FLOPs", "dense", *(tables.count(pair[0].flops) if pair else "" for pair in costs)),
        ("FLOPs", "now", *(tables.count(pair[1].flops) if pair else "" for pair in costs)),
        ("params", "dense", *(tables.count(pair[0].params) if pair else "" for pair in costs)),
        ("params", "now", *(tables.count(pair[1].params) if pair else "" for pair in costs)),
    ]
    reasons = [record.stays.get(name, "") for name in names]
    return [*found, ("", "why it stays", *reasons)] if any(reasons) else found


def told(record: PruneRecord) -> str:
    """What is to be read about one cut."""
    asked, texts = record.ratio_asked, [f"Verified by {record.verified}, in {tables.seconds(record.seconds)} s."]
    if isinstance(asked, dict):
        texts.append(f"Asked: {', '.join(f'{name} {tables.percent(share)}' for name, share in asked.items())}.")
    if record.taken_back:
        texts.append(f"It was taken back: {record.taken_back}.")
    return page.part(record.title, page.paragraphs([*texts, *record.notes]))
