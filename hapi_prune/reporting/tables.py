"""Numbers and tables for people: plain data in, text out. Knows nothing of pruning."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from numbers import Real

Column = tuple[str, ...]
"""Group, head and cells of one column of a table."""
Metrics = dict[str, float]
Widths = Mapping[str, tuple[int, int]]
BOOKKEEPING = {"step", "steps", "batch_size", "epoch", "epochs", "verbose"}
LAYERS_SHOWN = 10


def scalar_metrics(logs: Mapping[str, object]) -> Metrics:
    """The metrics in hapi's ``logs``: numbers, and lists of one as ``loss`` is, but no counters. Always a copy."""
    values = {name: log[0] if isinstance(log, (list, tuple)) and len(log) == 1 else log for name, log in logs.items()}
    return {name: float(log) for name, log in values.items() if isinstance(log, Real) and name not in BOOKKEEPING}


def is_loss(metric: str) -> bool:
    """Whether ``metric`` is a loss, by its name."""
    return "loss" in metric.lower()


def best(evaluations: Iterable[tuple[int, Metrics]]) -> Metrics:
    """The best value of each metric: the highest, of losses the lowest; nan counts as none."""
    values: dict[str, list[float]] = {}
    for _, log in evaluations:
        for name, value in log.items():
            values.setdefault(name, []).extend([] if math.isnan(value) else [value])
    return {name: (min if is_loss(name) else max)(found) for name, found in values.items() if found}


def share(part: float, whole: float) -> float:
    """``part / whole``; all of it where there is nothing."""
    return part / whole if whole else 1.0


def count(number: int) -> str:
    """A count in at most seven characters, in powers of 1000: 12817920 as ``12.82M``."""
    if abs(number) < 1000:
        return str(number)
    for power, unit in enumerate("KMGTP", 1):
        text = f"{Decimal(number) / 1000**power:.2f}"
        if len(text.lstrip("-")) <= len("999.99"):
            return text + unit
    return f"{Decimal(number):.0e}"


def percent(part: float) -> str:
    """A share in at most six characters: 0.863 as ``86.3%``."""
    if math.isnan(part):
        return "nan"
    return f"{part:.1%}" if abs(part) < 9.99 else ">999%" if part > 0 else "<-999%"


def number(value: float | None) -> str:
    """A metric or a duration in at most eight characters; ``-`` where there is none."""
    if value is None:
        return "-"
    size = abs(value)
    if not size or 1e-3 <= size < 99.9999:
        return f"{value:.4f}"
    return f"{value:.1f}" if 99 <= size < 99999 else f"{value:.0e}"


def seconds(value: float) -> str:
    """A duration in at most seven characters."""
    return f"{value:.2f}" if abs(value) < 1000 else f"{value:.0f}" if abs(value) < 99999 else f"{value:.0e}"


def filters(value: int) -> str:
    """A layer's filters, to the last one."""
    return str(value) if value < 10**7 else count(value)


def wide(text: str) -> int:
    """Columns that ``text`` takes in a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def pad(text: str, size: int) -> str:
    """``text`` in ``size`` columns, to the left; to the right where ``size`` is negative."""
    room = " " * (abs(size) - wide(text))
    return room + text if size < 0 else text + room


def clip(text: str, size: int) -> str:
    """``text`` on one line in at most ``size`` columns, the middle left out."""
    text = "".join(char if char.isprintable() and not unicodedata.combining(char) else "?" for char in text)
    if wide(text) <= size:
        return text
    while text and wide(text) > size - 2:
        text = text[: len(text) // 2] + text[len(text) // 2 + 1 :]
    return f"{text[: len(text) // 2]}..{text[len(text) // 2 :]}"


def table(columns: Sequence[Column], above: Iterable[str] = (), below: Iterable[str] = (), names: int = 0) -> str:
    """A table whose lines are all equally wide, without a border.

    Args:
        columns: group, head and cells of each column; columns of one group stand side by side.
        above: text to stand above, folded to the table's width.
        below: text to stand below.
        names: where not 0, the first column is set to the left, at least so many columns wide.
    """
    sizes = [max(map(wide, cells)) for _, *cells in columns]
    sides = [max(names, sizes[0]) if names else -sizes[0], *(-size for size in sizes[1:])]
    heads, *rows = ["  ".join(map(pad, row, sides)) for row in list(zip(*columns))[1:]]
    runs = [
        (name, [abs(side) for _, side in run]) for name, run in groupby(zip(columns, sides), lambda pair: pair[0][0])
    ]
    groups = "  ".join(_over(name, sum(run) + 2 * len(run) - 2) for name, run in runs)
    rule = "-" * wide(heads)
    lines = [*_fold(above, len(rule)), rule, groups, heads, rule, *rows, rule, *_fold(below, len(rule))]
    return "\n".join(line for line in lines if line.strip())


def markdown(columns: Sequence[Column]) -> str:
    """The same table in Markdown, with group and head in one."""
    cells = [(clip(f"{group} {head}".strip(), 60).replace("|", r"\|"), "---:", *rest) for group, head, *rest in columns]
    return "\n".join(f"| {' | '.join(row)} |" for row in zip(*cells))


def event_rows(
    counts: Mapping[str, Sequence[int]], before: Metrics, after: Metrics, widths: Widths, healed: Metrics
) -> list[Column]:
    """Heads and rows of a table of one cut; of the layers, those that lost the largest share.

    Args:
        counts: for each kind of cost, ``(dense, before, after)``.
        before: the metrics before the cut.
        after: the metrics after it.
        widths: for each layer, ``(original filters, filters now)``.
        healed: the metrics after `recalibrate` and `compensate`, before any training.
    """
    rows: list[Column] = [("", "dense", "before", "after", "kept")]
    rows += [(name, *map(count, cost), percent(share(cost[-1], cost[0]))) for name, cost in counts.items()]
    for name in dict.fromkeys((*before, *after)):
        rows.append((clip(name, 50), "", number(before.get(name)), number(after.get(name)), ""))
    rows += [("  healed at once", "", "", number(value), "") for name, value in healed.items() if not is_loss(name)][:1]
    cut = sorted((share(now, old), name, old, now) for name, (old, now) in widths.items() if now != old)
    rows += [
        (clip(name, 50), filters(old), "", filters(now), percent(kept)) for kept, name, old, now in cut[:LAYERS_SHOWN]
    ]
    return [*rows, (f"and {len(cut) - LAYERS_SHOWN} more layers", *[""] * 4)] if len(cut) > LAYERS_SHOWN else rows


def _over(name: str, size: int) -> str:
    """A group's name over the middle of its columns, with a line to both sides."""
    if not name:
        return " " * size
    name = f" {clip(name, size - 4)} "
    left = (size - wide(name)) // 2
    return "-" * left + name + "-" * (size - wide(name) - left)


def _fold(texts: Iterable[str], size: int) -> list[str]:
    """Lines of ``size`` columns; a text with wide characters is folded at half of that, which always fits."""
    lines = []
    for text in (clip(text, 2 * len(text)) for text in texts):
        lines += textwrap.wrap(text, size if wide(text) == len(text) else size // 2)
    return [pad(line, size) for line in lines]
