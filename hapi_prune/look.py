"""Numbers, tables and pictures for people: plain data in, text and images out. Knows nothing of pruning."""

from __future__ import annotations

import math
import textwrap
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from numbers import Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

Column = tuple[str, ...]
"""Group, head and cells of one column of a table."""
Metrics = dict[str, float]
Point = tuple[float, float]
Step = tuple[float, float, float]
Widths = Mapping[str, tuple[int, int]]
BOOKKEEPING = {"step", "steps", "batch_size", "epoch", "epochs", "verbose"}
LAYERS_SHOWN = 10
DARK, LIGHT, ACCENT = "#1c5d99", "#cfe2f3", "#e8590c"
STYLE = """axes.edgecolor=#868e96 xtick.color=#868e96 ytick.color=#868e96 grid.color=#e9ecef font.size=9
axes.grid=True axes.grid.axis=y axes.axisbelow=True axes.spines.top=False axes.spines.right=False text.parse_math=False
axes.titlelocation=left axes.titleweight=bold figure.constrained_layout.h_pad=0.1 figure.constrained_layout.w_pad=0.1"""


def scalar_metrics(logs: Mapping[str, object]) -> Metrics:
    """The metrics in hapi's ``logs``: numbers, and lists of one as ``loss`` is, but no counters. Always a copy."""
    values = {name: log[0] if isinstance(log, (list, tuple)) and len(log) == 1 else log for name, log in logs.items()}
    return {name: float(log) for name, log in values.items() if isinstance(log, Real) and name not in BOOKKEEPING}


def is_loss(metric: str) -> bool:
    """Whether ``metric`` is a loss, by its name."""
    return "loss" in metric.lower()


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
    while wide(text) > size - 2:
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


def event_rows(counts: Mapping[str, Sequence[int]], before: Metrics, after: Metrics, widths: Widths) -> list[Column]:
    """Heads and rows of a table of one cut; of the layers, those that lost the largest share.

    Args:
        counts: for each kind of cost, ``(dense, before, after)``.
        before: the metrics before the cut.
        after: the metrics after it.
        widths: for each layer, ``(original filters, filters now)``.
    """
    rows: list[Column] = [("", "dense", "before", "after", "kept")]
    rows += [(name, *map(count, cost), percent(share(cost[-1], cost[0]))) for name, cost in counts.items()]
    for name in dict.fromkeys((*before, *after)):
        rows.append((clip(name, 50), "", number(before.get(name)), number(after.get(name)), ""))
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


def widths_picture(widths: Widths, title: str = "") -> Image:
    """Each layer's filters, original in light and kept in dark, in as many columns as it takes to read the names."""
    columns = min(4, 1 + len(widths) // 21)
    rows = max(3, -(-len(widths) // columns))
    most = max((old for old, _ in widths.values()), default=1)

    def draw(figure: Any) -> None:
        for index, axes in enumerate(figure.subplots(1, columns, squeeze=False)[0]):
            _bars(axes, list(widths.items())[index * rows : (index + 1) * rows], rows, most)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")

    return _drawn(draw, 5.6 * columns, 0.9 + 0.2 * rows)


def run_picture(metric: str, curve: Sequence[Point], cuts: Sequence[Step], widths: Widths) -> Image:
    """A run at a glance: the metric, the cost left, and the layers' filters.

    Args:
        metric: name of the metric.
        curve: the metric as ``(epochs trained, value)``; without points its panel is left out.
        cuts: ``(epochs trained, share of FLOPs kept, share of params kept)``.
        widths: for each layer, ``(original filters, filters now)``; without layers their panel is left out.
    """
    end = max([1.0, *(x for x, *_ in (*curve, *cuts))])

    def draw(figure: Any) -> None:
        top, bottom = figure.subfigures(2, 1, height_ratios=(1, 0.9 if widths else 0.01))
        panels = top.subplots(1, 2 if curve else 1, squeeze=False)[0]
        _steps(panels[-1], [(0.0, 1.0, 1.0), *cuts, (end, *cuts[-1][1:]) if cuts else (end, 1.0, 1.0)])
        if curve:
            panels[0].plot(*zip(*curve), color=ACCENT, marker="o", markersize=3.5, linewidth=1.8)
            panels[0].set_title(metric)
        if widths:
            _skyline(bottom.subplots(), widths)
        for panel in panels:
            panel.vlines(
                [x for x, *_ in cuts], 0, 1, DARK, linewidth=0.8, linestyle=":", transform=panel.get_xaxis_transform()
            )
            panel.set(xlim=(0, end * 1.02), xlabel="epochs trained (dotted: filters are cut)")
            panel.xaxis.get_major_locator().set_params(integer=True)

    return _drawn(draw, 12.0, 6.6)


def _drawn(draw: Callable[[Any], None], width: float, height: float) -> Image:
    """What ``draw`` puts on a figure of so many inches; the user's matplotlib settings neither matter nor change."""
    import matplotlib
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL.Image import fromarray

    style = dict(item.split("=") for item in STYLE.split())
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **style}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name in a script that the font lacks is drawn as boxes
        figure = Figure((width, height), dpi=120, layout="constrained", facecolor="white")
        draw(figure)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())


def _bars(axes: Any, layers: Sequence[tuple[str, tuple[int, int]]], rows: int, most: int) -> None:
    """Horizontal bars with the names to the left and the numbers to the right."""
    places = range(len(layers))
    for part, color in ((0, LIGHT), (1, DARK)):
        axes.barh(places, [pair[part] for _, pair in layers], color=color, height=0.74)
    for place, (_, (old, now)) in zip(places, layers):
        axes.text(old + most * 0.015, place, str(old) if now == old else f"{now} of {old}", va="center", fontsize=7)
    axes.set(xlim=(0, most * 1.2), ylim=(rows - 0.4, -0.6), xticks=[])
    axes.set_yticks(places, [clip(name, 36) for name, _ in layers], fontsize=8, color="black")
    axes.tick_params(length=0)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.grid(visible=False)


def _steps(axes: Any, cuts: Sequence[Step]) -> None:
    """The shares of the dense cost over time."""
    xs, flops, params = zip(*cuts)
    axes.fill_between(xs, flops, step="post", color=LIGHT, alpha=0.6, linewidth=0)
    axes.step(xs, params, "--", where="post", color=ACCENT, linewidth=1.5, label=f"params, {params[-1]:.1%} kept")
    axes.step(xs, flops, where="post", color=DARK, linewidth=2, label=f"FLOPs, {flops[-1]:.1%} kept")
    axes.set(title="Cost kept", ylim=(0, 1.08))
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.legend(edgecolor="none", loc="lower left", reverse=True)


def _skyline(axes: Any, widths: Widths) -> None:
    """Vertical bars in the order of the network, with names as long as they can be read."""
    places = range(len(widths))
    axes.bar(places, [old for old, _ in widths.values()], color=LIGHT, width=0.8, label="original")
    axes.bar(places, [now for _, now in widths.values()], color=DARK, width=0.8, label="kept")
    axes.set(title="Filters by layer", xticks=[], xlim=(-0.7, len(widths) - 0.3))
    axes.legend(frameon=False, ncols=2, loc="upper left")
    axes.tick_params(axis="x", length=0)
    if len(widths) <= 40:
        axes.set_xticks(
            places, [clip(name, 30) for name in widths], rotation=40, ha="right", rotation_mode="anchor", fontsize=7
        )
    else:
        axes.set_xlabel(f"{len(widths)} layers, from input to output")
