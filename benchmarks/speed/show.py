"""The page of all speed results so far, and its plots.

python benchmarks/speed/show.py [--results FOLDER] [--page docs/speed.md]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from measuring import RESULTS, ROOT

BENCHMARKS = ("peers", "growth", "narrow", "between", "gains", "memory", "search")
Found = dict[str, Any]
PEERS = {"torch_pruning": "Torch-Pruning", "paddleslim": "PaddleSlim"}
BLUE, LIGHT, DARK, GREY = "#2a78d6", "#9ec3e6", "#1c5d99", "#999999"


def table(head: str, rows: list[list[str]]) -> str:
    """In Markdown; columns but the first stand to the right."""
    columns = head.split(" | ")
    lines = [f"| {head} |", "|" + "|".join(["---", *["---:"] * (len(columns) - 1)]) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def peers(found: Found) -> str:
    """How many times as fast we are."""
    rows = []
    for network, each in found["networks"].items():
        cells = []
        for side in PEERS:
            times = each["times_as_fast"].get(side)
            why = each["failed"].get(side, "")
            shown = "-" if times is None else f"{times:.2f}" if times < 2 else f"{times:.1f}"
            cells.append(f"fails ({why.partition(':')[0]})" if why and times is None else shown)
        ours = each["seconds"].get("hapi_prune", [])
        gone = [
            f"{each['params_removed'][s]:.0%}" if s in each["params_removed"] else "-" for s in ("hapi_prune", *PEERS)
        ]
        rows.append([network, *cells, f"{median(ours):.2f} s" if ours else "-", str(len(ours)), " / ".join(gone)])
    missing = "".join(f"\n\n{PEERS.get(side, side)} was left out: {why}." for side, why in found["missing"].items())
    sides = ", ".join(f"{PEERS.get(s, 'hapi_prune')} on {said(v)}" for s, v in found["sides"].items())
    head = (
        "network | times as fast as Torch-Pruning | as PaddleSlim | our call | rounds | parameters gone: ours / TP / PS"
    )
    return f"""## Against Torch-Pruning and PaddleSlim

A whole call of `prune` at 224 x 224, a share of 0.3, L1 norm unless said, on networks of the same name: medians of
calls in turn, each on a new network. Ours proves that the smaller network computes what the masked one computed; theirs
do not. Above 1.0 we are faster. {sides}.

{table(head, rows)}

![How many times as fast](speed-peers.png){missing}
"""


def growth(found: Found) -> str:
    """Exponents, and the largest of each kind."""
    rows = []
    for kind, each in found["kinds"].items():
        last, exponents = each["runs"][-1], each["exponents"]
        per_op = 1000 * last["seconds"]["all"] / last["ops"]
        rows.append([kind.replace("_", " "), str(last["size"]), str(last["ops"]), f"{last['seconds']['all']:.1f} s",
                     f"{per_op:.1f} ms", *(f"{exponents[key]:.2f}" if key in exponents else "-"
                                           for key in ("trace", "plan", "cut", "all", "bytes", "pass"))])  # fmt: skip
    head = "network | layers | ops | whole call | per op | exponents: trace | plan | cut | whole call | memory"
    head += " | its own forward pass"
    return f"""## Growth with the number of operations

The exponents with which time and memory grow with the number of operations, over the four largest networks of a kind:
1.00 is in proportion. In the one dense block each layer reads all before it, so that the channels which its layers read
together, and the numbers in its weights, grow with the square of their number: what its own forward pass takes grows
faster than a prune.

{table(head, rows)}

![Growth](speed-growth.png)
"""


def narrow(found: Found) -> str:
    """Pruned to narrow, and narrow to narrow."""
    rows = [
        [name, *(f"{each[way][key]:.3f}" for way in each for key in ("pruned_to_narrow", "control_to_narrow"))]
        for name, each in found["networks"].items()
    ]
    head = "network | training: pruned / narrow | narrow / narrow | inference: pruned / narrow | narrow / narrow"
    size = found["settings"]
    return f"""## Pruned and narrow

The time of a pruned network ({size["share"]:.0%} of the filters gone) divided by that of one built from scratch with
the same widths; {size["image"]} x {size["image"]}, batches of {size["batch"]}, eager. Two narrow ones, both built from
scratch, say how far equal networks are apart here.

{table(head, rows)}
"""


def between(found: Found) -> str:
    """Epochs, imports and events."""
    rows = []
    if "steps" in found:
        each = found["steps"]
        low, high = each["more_95"]
        what = "how much longer a step takes with the callback and no event"
        rows.append([f"{what}, over {each['pairs']} pairs", f"{each['more']:+.2%} (95%: {low:+.2%} to {high:+.2%})"])
        rows.append(["time in the callback's hooks, of an epoch, VisualDL included", f"{each['hooks_share']:.2%}"])
    for name, more in found.get("imports", {}).get("beyond_ms", {}).items():
        rows.append([f"`{name}`, beyond `import paddle`", f"{more:.0f} ms"])
    for name, each in found.get("event", {}).items():
        passes = f"in passes over {each['images']} images, evaluations left out"
        rows.append([f"the first event on {name}, tracing included, {passes}", f"{each['first_in_passes']:.2f}"])
        rows.append([f"the next event on {name}, {passes}", f"{each['next_in_passes']:.2f}"])
    return f"## Between events, and an event\n\n{table('what | measured', rows)}\n"


def gains(found: Found) -> str:
    """Shares of the time saved."""
    rows = []
    for name, each in found["networks"].items():
        for one in each["variants"]:
            saved = [f"{one[way]:.0%}" for way in ("training", "inference", "exported")]
            rows.append([name, f"{one['flops_removed']:.0%}", str(one["round_to"]), *saved])
    size = found["settings"]
    return f"""## What pruning buys

The share of the time that is saved, beside that of the FLOPs, which would be the ideal; {size["image"]} x
{size["image"]}, batches of {size["batch"]}. Exported: run by Paddle Inference.

{table("network | FLOPs gone | `round_to` | training step | inference | exported", rows)}

![What pruning buys](speed-gains.png)
"""


def memory(found: Found) -> str:
    """Rises in units of network and state."""
    rows = [
        [name, f"{each['rise'] / 2**20:.0f} MiB", f"{each['rise_in_units']:.2f}", f"{each['allowed_in_units']:.2f}"]
        for name, each in found["networks"].items()
    ]
    head = "network | at its peak beyond before | in units of network and state | tensors touched and two passes"
    return f"""## Memory during a cut

With a Momentum optimizer that has made a step, at 224 x 224, each in a process of its own: the most memory beyond what
was there before. Beside it what there is to reach: the tensors that the cut touches once, and two forward passes at
batch 1.

{table(head, rows)}
"""


def search(found: Found) -> str:
    """What the search for what has to stay adds."""
    rows = [
        [name, str(each["convolutions"]), str(each["stay"]), f"{median(each['seconds']['searched']):.1f} s",
         f"{each['searched_to_known']:.1f}"]
        for name, each in found["networks"].items()
    ]  # fmt: skip
    return f"""## The search for what has to stay

Some networks refuse a part of a cut, as their own code holds sizes. Which groups are to blame is found by trying; here
beside a call that is told by `skip`, on a new network each, at 224 x 224. A hybrid has attention in each block, the
channels of a head written into its code.

{table("network | convolutions | stay | whole call | times as long as one that knows", rows)}
"""


def said(versions: Found) -> str:
    """Versions in one line."""
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def how(results: dict[str, Found]) -> str:
    """By what commands and where all this was measured."""
    lines = "\n".join(
        f"    {each['command']}  # {each['minutes']:g} minutes, {each['machine']['cpu']}, {each['versions']['commit']}"
        for each in results.values()
    )
    one = next(iter(results.values()))
    load = max(max(each["machine"]["load"]) for each in results.values())
    versions = said({name: version for name, version in one["versions"].items() if name != "commit"})
    return f"""English | [简体中文](zh/speed.md)

# Speed

All numbers are ratios of what was measured in turn in one run on one machine; none is a promise for another one.

{lines}
    python benchmarks/speed/show.py

Behind each stand the processor, of which {one["machine"]["cores"]} cores, and the commit; load at most {load} at the
end of a benchmark; {versions}.
The results are in `benchmarks/speed/results`; what profiles have shown, in `benchmarks/NOTES.md`.
"""


def plot_peers(found: Found, path: Path) -> None:
    """A bar for each network and peer, on a logarithmic axis; the line is where both are as fast."""
    networks = list(found["networks"])[::-1]
    figure = Figure((8, 0.8 + 0.5 * len(networks)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for side, shift, color in zip(PEERS, (0.2, -0.2), (DARK, LIGHT)):
        known = [(n, found["networks"][name]["times_as_fast"].get(side)) for n, name in enumerate(networks)]
        known = [(place, times) for place, times in known if times]
        bars = axes.barh(
            [p + shift for p, _ in known], [t - 1 for _, t in known], 0.36, left=1, color=color, label=PEERS[side]
        )
        for bar, (_, times) in zip(bars, known):
            axes.annotate(f"{times:.1f}", (times, bar.get_y() + 0.18), (4 if times >= 1 else -4, 0),
                          textcoords="offset points", va="center", ha="left" if times >= 1 else "right")  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.axvline(1, color=GREY)
    axes.set_yticks(range(len(networks)), networks)
    axes.set_xlabel("times as fast, our proof included")
    finish(figure, path)


def plot_growth(found: Found, path: Path) -> None:
    """Seconds and memory by number of operations, on logarithmic axes; dotted: in proportion."""
    figure = Figure((9, 4), dpi=120, layout="constrained")
    for axes, what, label in zip(figure.subplots(1, 2), ("seconds", "bytes"), ("seconds", "MiB beyond before")):
        for (kind, each), color in zip(found["kinds"].items(), (DARK, BLUE, "#d67a2a", GREY)):
            runs = each["runs"]
            ops = [run["ops"] for run in runs]
            ys = [run["seconds"]["all"] if what == "seconds" else run["bytes"] / 2**20 for run in runs]
            axes.plot(ops, ys, "o-", color=color, label=kind.replace("_", " "), markersize=4)
            axes.plot(ops, [ys[0] * op / ops[0] for op in ops], ":", color=color, linewidth=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("operations")
        axes.set_ylabel(label)
    finish(figure, path)


def plot_gains(found: Found, path: Path) -> None:
    """The share of the time saved by the share of the FLOPs, a panel for each way; the line is the ideal."""
    figure = Figure((10, 3.6), dpi=120, layout="constrained")
    for axes, way in zip(figure.subplots(1, 3, sharey=True), ("training", "inference", "exported")):
        axes.plot([0, 80], [0, 80], color=GREY, linewidth=1)
        for (name, each), mark in zip(found["networks"].items(), "os^Dv"):
            first = each["variants"][0]["round_to"]
            for multiple, color in {1: LIGHT, 4: BLUE, 8: DARK, 16: "#0b2d4e"}.items():
                chosen = [one for one in each["variants"] if one["round_to"] == multiple]
                axes.plot([100 * one["flops_removed"] for one in chosen], [100 * one[way] for one in chosen], mark,
                          color=color, markersize=5, label=name if multiple == first else None)  # fmt: skip
        axes.set_title(way)
        axes.set_xlabel("FLOPs gone, %")
    figure.axes[0].set_ylabel("time saved, %; darker: coarser")
    finish(figure, path)


def finish(figure: Figure, path: Path) -> None:
    """The look of all plots."""
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles = figure.axes[0].get_legend_handles_labels()[0]
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False)
    FigureCanvasAgg(figure).print_png(str(path))


PARTS = {
    "peers": peers,
    "growth": growth,
    "narrow": narrow,
    "between": between,
    "gains": gains,
    "memory": memory,
    "search": search,
}
PLOTS = {"peers": plot_peers, "growth": plot_growth, "gains": plot_gains}


def main() -> None:
    """Write the page, and the plots beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="(default: %(default)s)")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "speed.md", help="(default: %(default)s)")
    args = parser.parse_args()
    files = {name: args.results / f"{name}.json" for name in BENCHMARKS}
    results = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items() if path.exists()}
    if not results:
        raise SystemExit(f"no results in {args.results}")
    args.page.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([how(results), *(PARTS[name](found) for name, found in results.items())])
    args.page.write_text(text, encoding="utf-8")
    for name in PLOTS.keys() & results.keys():
        PLOTS[name](results[name], args.page.with_name(f"speed-{name}.png"))
    print(text)


if __name__ == "__main__":
    main()
