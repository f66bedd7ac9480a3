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


ENOUGH = 3
"""So many runs with beginnings of their own replace those that all began alike."""

Runs = dict[tuple[str, str, float], list[dict[str, Any]]]
"""The runs of each network, way and goal."""


def runs_in(folder: Path) -> Runs:
    """The runs so far, network by network, the nearest to dense ones first."""
    found: Runs = {}
    for path in [*sorted(folder.glob("*.json")), *sorted(folder.glob("one_beginning/*.json"))]:
        run = json.loads(path.read_text(encoding="utf-8"))
        run["one_beginning"] = path.parent != folder
        replaced = found.get((network_of({**run, "one_beginning": False}), run["way"], run["goal"]), [])
        if not run["one_beginning"] or run["way"] == "dense" or len(replaced) < ENOUGH:
            found.setdefault((network_of(run), run["way"], run["goal"]), []).append(run)
    dense = dense_of(found)
    below = {key: float(np.mean([to_dense(run, dense) for run in made])) for key, made in found.items()}
    first = list(dict.fromkeys(network for network, *_ in found))  # in the order of the files: smaller ones first
    return {key: found[key] for key in sorted(found, key=lambda key: (first.index(key[0]), -below[key]))}


def dense_of(runs: Runs) -> dict[Any, float]:
    """The mean accuracy of dense runs of each beginning, see `judged`, and of each network."""
    found: dict[Any, list[float]] = {}
    for run in (run for made in runs.values() for run in made if run["way"] == "dense"):
        for key in (judged(run), network_of(run)):
            found.setdefault(key, []).append(run["top1"])
    return {key: float(np.mean(top1)) for key, top1 in found.items()}


def to_dense(run: dict[str, Any], dense: dict[Any, float]) -> float:
    """How far a run is above a dense one of the same beginning; where there is none, above the network's mean."""
    return float(run["top1"]) - dense.get(judged(run), dense.get(network_of(run), 0.0))


def network_of(run: dict[str, Any]) -> str:
    """What the network is called, how long it was trained if not for 10 epochs, and whether all seeds began alike."""
    epochs = run["settings"]["epochs"]
    name = f"ResNet-{6 * run['settings']['blocks'] + 2}" + (f", {epochs} epochs" if epochs != 10 else "")
    return name + (", one beginning" if run["one_beginning"] else "")


def table(runs: Runs) -> str:
    """In Markdown: mean and spread over the seeds; differences are to dense runs of the same beginning and images."""
    dense = dense_of(runs)
    lines = [
        "| network | way | FLOPs removed | runs | test images | top-1 | spread | to dense | right after the cuts |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for (name, way, _), made in runs.items():
        top1 = [100 * run["top1"] for run in made]
        removed = np.mean([run["flops_removed"] for run in made])
        images = " or ".join(f"{count:,}" for count in sorted({run["settings"]["test_images"] for run in made}))
        apart = [100 * to_dense(run, dense) for run in made if judged(run) in dense]
        cuts = zip(*(run["top1_after_each_cut"] for run in made))
        cells = [
            *(name, way, f"{removed:.1%}", str(len(made)), images, f"{np.mean(top1):.1f}"),
            f"{max(top1) - min(top1):.1f}" if len(top1) > 1 else "-",
            f"{np.mean(apart):+.1f}" if apart else "-",
            ", ".join(f"{100 * np.mean(cut):.1f}" for cut in cuts),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def judged(run: dict[str, Any]) -> tuple[str, float, int]:
    """What has to be the same for two runs to be compared: the network, the beginning, and the images it is judged by.

    The beginning is told by the seed; where all seeds began alike, by the accuracy before the first cut.
    """
    began = run["top1_before_the_first_cut"] if run["one_beginning"] else run["seed"]
    return network_of(run), began, run["settings"]["test_images"]


def plot(runs: Runs, path: str) -> None:
    """How far each run ends from a dense one, a dot each, and a line at each way's mean; see `to_dense`."""
    dense = dense_of(runs)
    figure = Figure((9, 0.9 + 0.32 * len(runs)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for place, made in enumerate(reversed(runs.values())):
        apart = [100 * to_dense(run, dense) for run in made]
        axes.plot(apart, [place] * len(apart), "o", color="#9ec3e6", markersize=6)
        axes.plot([np.mean(apart)] * 2, [place - 0.3, place + 0.3], color="#1c5d99", linewidth=2.5)
    names = [f"{name}, {way}" + (f", -{goal:.0%} FLOPs" if goal else "") for name, way, goal in runs]
    axes.set_yticks(range(len(runs)), names[::-1])
    axes.set_xlabel("points of top-1 to dense")
    axes.margins(y=0.01)
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
