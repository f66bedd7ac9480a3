"""The runs so far: a table of each way's accuracy, and a plot of it.

python benchmarks/accuracy/show.py [--results FOLDER] [--plot accuracy.png]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent


def runs_in(folder: Path) -> dict[tuple[str, float], list[dict[str, Any]]]:
    """The runs of each way and goal, the best mean first."""
    found: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        found.setdefault((run["way"], run["goal"]), []).append(run)
    return dict(sorted(found.items(), key=lambda item: -float(np.mean([run["top1"] for run in item[1]]))))


def table(runs: dict[tuple[str, float], list[dict[str, Any]]]) -> str:
    """In Markdown: mean and spread over the seeds; the differences are to the dense network of the same seeds."""
    dense = {run["seed"]: run["top1"] for (way, _), made in runs.items() for run in made if way == "dense"}
    lines = [
        "| way | FLOPs removed | runs | top-1 | spread | to dense | right after the cuts |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for (way, _), made in runs.items():
        top1 = [run["top1"] for run in made]
        removed = np.mean([run["flops_removed"] for run in made])
        apart = [run["top1"] - dense[run["seed"]] for run in made if run["seed"] in dense]
        to_dense = f"{100 * np.mean(apart):+.1f}" if apart else "-"
        cuts = zip(*(run["top1_after_each_cut"] for run in made))
        after = ", ".join(f"{100 * np.mean(cut):.1f}" for cut in cuts)
        spread = f"{100 * (max(top1) - min(top1)):.1f}" if len(top1) > 1 else "-"
        lines.append(
            f"| {way} | {removed:.1%} | {len(made)} | {100 * np.mean(top1):.1f} | {spread} | {to_dense} | {after} |"
        )
    return "\n".join(lines)


def plot(runs: dict[tuple[str, float], list[dict[str, Any]]], path: str) -> None:
    """A dot for each run, a line at each way's mean."""
    figure = Figure((9, 0.9 + 0.32 * len(runs)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for place, made in enumerate(reversed(runs.values())):
        top1 = [100 * run["top1"] for run in made]
        axes.plot(top1, [place] * len(top1), "o", color="#9ec3e6", markersize=6)
        axes.plot([np.mean(top1)] * 2, [place - 0.3, place + 0.3], color="#1c5d99", linewidth=2.5)
    names = [f"{way}, -{goal:.0%} FLOPs" if goal else way for way, goal in runs]
    axes.set_yticks(range(len(runs)), names[::-1])
    axes.set_xlabel("top-1 accuracy, %; a dot for each seed, a bar at the mean")
    axes.grid(axis="x", alpha=0.4)
    axes.spines[["top", "right", "left"]].set_visible(False)
    FigureCanvasAgg(figure).print_png(path)


def main() -> None:
    """Print the table, and draw the plot where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="(default: %(default)s)")
    parser.add_argument("--plot", metavar="FILE", help="a picture to write")
    args = parser.parse_args()
    runs = runs_in(args.results)
    print(table(runs))
    if args.plot:
        plot(runs, args.plot)


if __name__ == "__main__":
    main()
