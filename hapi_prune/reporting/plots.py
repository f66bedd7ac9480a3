"""Plots from plain data: images for people. Knows nothing of pruning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from ..internals.preserve import quiet
from . import tables
from .tables import Widths

if TYPE_CHECKING:
    from PIL.Image import Image

Point = tuple[float, float]
Step = tuple[float, float, float]


class Around(NamedTuple):
    """A metric before an event, right after it and later; None where it is not known."""

    name: str
    before: float | None
    after: float | None
    later: float | None


class Reached(NamedTuple):
    """A metric that was reached at a share of the cost."""

    name: str
    share: float
    value: float


DARK, LIGHT, ACCENT = "#1c5d99", "#cfe2f3", "#e8590c"
NAMED, ROOMY = 16, 4
"""So many points can have their names beside them, and so many groups of bars the value of each bar."""

STYLE = """axes.edgecolor=#868e96 xtick.color=#868e96 ytick.color=#868e96 grid.color=#e9ecef font.size=9
axes.grid=True axes.grid.axis=y axes.axisbelow=True axes.spines.top=False axes.spines.right=False text.parse_math=False
axes.titlelocation=left axes.titleweight=bold figure.constrained_layout.h_pad=0.1 figure.constrained_layout.w_pad=0.1"""


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


def run_picture(
    metric: str,
    curve: Sequence[Point],
    cuts: Sequence[Step],
    widths: Widths,
    around: Sequence[Around] = (),
    front: Sequence[Reached] = (),
) -> Image:
    """A whole run in one picture: the metric, the cost left, what each cut did to the metric, and the layers' filters.

    Args:
        metric: name of the metric.
        curve: the metric as ``(epochs trained, value)``; without points its panel is left out.
        cuts: ``(epochs trained, share of FLOPs kept, share of params kept)``.
        widths: for each layer, ``(original filters, filters now)``; without layers their panel is left out.
        around: the metric around each cut; without any its panel is left out.
        front: the metric at each cost; without two its panel is left out.
    """
    end = max([1.0, *(x for x, *_ in (*curve, *cuts))])
    front = [point for point in front if isfinite(point.value)]
    beside: list[Callable[[Any], None]] = [lambda axes: _around(axes, metric, around)] if around else []
    beside += [lambda axes: _front(axes, metric, front)] if len(front) > 1 else []
    heights = [3.4, 3.2 if beside else 0.05, 3.1 if widths else 0.05]

    def draw(figure: Any) -> None:
        top, middle, bottom = figure.subfigures(3, 1, height_ratios=heights)
        panels = top.subplots(1, 2 if curve else 1, squeeze=False)[0]
        _steps(panels[-1], [(0.0, 1.0, 1.0), *cuts, (end, *cuts[-1][1:]) if cuts else (end, 1.0, 1.0)])
        if curve:
            panels[0].plot(*zip(*curve), color=ACCENT, marker="o", markersize=3.5, linewidth=1.8)
            panels[0].set_title(metric)
        for axes, panel in zip(middle.subplots(1, len(beside), squeeze=False)[0] if beside else (), beside):
            panel(axes)
        if widths:
            _skyline(bottom.subplots(), widths)
        for panel in panels:
            panel.vlines(
                [x for x, *_ in cuts], 0, 1, DARK, linewidth=0.8, linestyle=":", transform=panel.get_xaxis_transform()
            )
            panel.set(xlim=(0, end * 1.02), xlabel="epochs trained (dotted: filters are cut)")
            panel.xaxis.get_major_locator().set_params(integer=True)

    return _drawn(draw, 12.0, sum(heights))


def heat_picture(title: str, names: Sequence[str], shares: Sequence[float], values: Sequence[Sequence[float]]) -> Image:
    """A heat map: the larger a value, the darker.

    Args:
        title: what the values are.
        names: of the lines.
        shares: of the columns, each in (0, 1).
        values: for each line, one for each share.
    """

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        most = max((value for line in values for value in line), default=0.0) or 1.0
        axes.imshow([list(line) for line in values], cmap="Blues", aspect="auto", vmin=0, vmax=most * 1.25)
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                axes.text(x, y, f"{value:.3g}", ha="center", va="center", fontsize=7, color=_on(value / most))
        axes.set_yticks(range(len(names)), [tables.clip(name, 48) for name in names], fontsize=8)
        axes.set_xticks(range(len(shares)), [f"{share:.0%}" for share in shares])
        axes.set_xlabel("share of the filters removed")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        axes.grid(visible=False)
        axes.tick_params(length=0)

    return _drawn(draw, 4.5 + 0.7 * len(shares), 1.2 + 0.24 * len(names))


def _on(share: float) -> str:
    """The colour of text on a cell so dark."""
    return "white" if share > 0.7 else "black"


def _drawn(draw: Callable[[Any], None], width: float, height: float) -> Image:
    """The image of what ``draw`` draws on a figure of this size; independent of the user's matplotlib settings."""
    import matplotlib
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL.Image import fromarray

    style = dict(item.split("=") for item in STYLE.split())
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **style}), quiet():  # a font may lack a script
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
    axes.set_yticks(places, [tables.clip(name, 36) for name, _ in layers], fontsize=8, color="black")
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
    _keys_above(axes, 2)
    axes.tick_params(axis="x", length=0)
    if len(widths) <= 40:
        axes.set_xticks(
            places,
            [tables.clip(name, 30) for name in widths],
            rotation=40,
            ha="right",
            rotation_mode="anchor",
            fontsize=7,
        )
    else:
        axes.set_xlabel(f"{len(widths)} layers, from input to output")


def _around(axes: Any, metric: str, events: Sequence[Around]) -> None:
    """Three bars for each event, with their values as far as there is room."""
    marked = {0, 1, 2} if len(events) <= ROOMY else {2} if len(events) <= NAMED else set()
    for number, (what, color) in enumerate((("before", LIGHT), ("right after", ACCENT), ("recovered", DARK))):
        known = [(place, (event.before, event.after, event.later)[number]) for place, event in enumerate(events)]
        bars = [(place + (number - 1) * 0.27, value) for place, value in known if value is not None and isfinite(value)]
        axes.bar([x for x, _ in bars], [value for _, value in bars], width=0.25, color=color, label=what)
        for x, value in bars if number in marked else ():
            axes.annotate(f"{value:.3g}", (x, value), (0, 2), textcoords="offset points", ha="center", fontsize=7)
    axes.set(title=f"{metric} around each cut", xlabel="cut in epoch")
    axes.set_xticks(range(len(events)), [event.name for event in events])
    axes.margins(y=0.1)
    _keys_above(axes, 3)


def _keys_above(axes: Any, columns: int) -> None:
    """A legend beside the title, where no bar can be behind it."""
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
    axes.legend(frameon=False, ncols=columns, fontsize=8, **place)


def _front(axes: Any, metric: str, reached: Sequence[Reached]) -> None:
    """The metric against the cost: a pale line in the order of the run, a dark one along the Pareto front."""
    best = unbeaten(metric, reached)
    axes.plot(*zip(*((one.share, one.value) for one in reached)), color=LIGHT, linewidth=1.6, zorder=1)
    axes.plot(*zip(*sorted((one.share, one.value) for one in best)), color=DARK, linewidth=1.6, zorder=1)
    for one in reached:
        color = DARK if one in best else "white"
        axes.plot([one.share], [one.value], "o", color=color, markeredgecolor=DARK, markersize=6, zorder=2)
        if len(reached) <= NAMED or one in (reached[0], *best):
            place = (one.share, one.value)
            near = min((other for other in reached if other is not one), key=lambda other: abs(other.share - one.share))
            beside = (0, -15 if one.value < near.value else 8)  # cuts that follow each other may lie close together
            axes.annotate(one.name, place, beside, textcoords="offset points", ha="center", fontsize=8)
    told = "FLOPs kept; with the epoch of the cut (filled: none is better at this cost)"
    axes.set(title=f"{metric} against FLOPs", xlabel=told, xlim=(0, 1.08))
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.margins(y=0.2)


def unbeaten(metric: str, reached: Sequence[Reached]) -> list[Reached]:
    """The Pareto front: points with a better metric than all others of this cost or less; of equal points all.

    Example:
        >>> dense, cut, deep = Reached("dense", 1.0, 0.9), Reached("2", 0.5, 0.8), Reached("4", 0.4, 0.85)
        >>> [one.name for one in unbeaten("acc", [dense, cut, deep])]
        ['dense', '4']
    """
    sign = -1 if tables.is_loss(metric) else 1
    return [
        one
        for one in reached
        if all(
            sign * (one.value - other.value) > 0 or other[1:] == one[1:]
            for other in reached
            if other is not one and other.share <= one.share
        )
    ]
