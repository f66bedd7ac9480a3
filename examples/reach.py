"""Prune the networks of paddle.vision.models and say how far it reaches, beside what PaddleSlim reached.

    python examples/reach.py                          # all 39
    python examples/reach.py resnet50 densenet121 --ratio 0.5 --markdown
    python examples/reach.py --ratios 0.1 0.3 0.5 0.7 0.9 --criteria l1_norm l2_norm fpgm    # an hour or more

For each network: how many of its convolutions lose filters of their own, how many are touched at all (filters, or the
slices that read other layers' filters), how many of the checks at the ``--ratios`` by the ``--criteria`` came out
right and the largest difference to the masked network in them, the share of the FLOPs that is left at ``--ratio``,
and how long it took to trace, choose, cut and try.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import time
from collections.abc import Iterator
from functools import partial

import paddle
from paddle import nn
from paddle.vision import models

from hapi_prune import PruneError, check, prune

NAMES = ["LeNet", *(name for name in models.__all__ if name.islower())]
SIDES = {"LeNet": 28, "alexnet": 224, "googlenet": 224, "inception_v3": 96}
"""Heights and widths of those images that cannot be 64 x 64."""

HEADS = ("network", "convolutions", "shrink", "touched", "checks right", "FLOPs kept", "seconds", "PaddleSlim")
SLIM = {"densenet121": "58 of 120", "inception_v3": "50 of 94"}
FAMILIES = {"squeezenet": "9 of 26*", "shufflenet": "18 of 56*"}
"""What PaddleSlim 2.6.0 reached on Paddle 2.6.2 (all convolutions at 0.3, L1), where it was written down."""

NOTES = (
    "checks right: compared with the masked network, trained a step, pruned again, exported; the largest difference, "
    "relative to the largest output.",
    "shrink: lose filters of their own; touched: any part of the weight is gone.",
    "PaddleSlim 2.6.0 on Paddle 2.6.2, all convolutions at 0.3 by the L1 norm: 33 of 39 right, the six ResNeXt crash. "
    "How many convolutions it reached is known where it stands here.",
    "*: one network of the family was measured, and which one was not written down.",
)


def slim(name: str) -> str:
    """What is known of PaddleSlim on a network."""
    family = next((reach for start, reach in FAMILIES.items() if name.startswith(start)), "")
    return "crash" if name.startswith("resnext") else f"right {SLIM.get(name, family)}".strip()


def shape(name: str) -> list[int]:
    """An example input."""
    side = SIDES.get(name, 64)
    return [1, 1 if name == "LeNet" else 3, side, side]


def sizes(network: nn.Layer) -> dict[str, list[int]]:
    """The shape of each convolution's weight."""
    return {name: layer.weight.shape for name, layer in network.named_sublayers() if isinstance(layer, nn.Conv2D)}


def row(name: str, ratio: float, ratios: list[float], criteria: list[str]) -> tuple[str, ...]:
    """The line of one network."""
    with paddle.utils.unique_name.guard():
        network = getattr(models, name)()
    before = sizes(network)
    tested = check(network, shape(name), ratios, criteria)
    start = time.perf_counter()
    try:
        record = prune(network, shape(name), ratio)
    except PruneError as error:
        return name, str(len(before)), "0", "0", str(error), "", "", slim(name)
    seconds = time.perf_counter() - start
    after = sizes(network)
    shrunk = sum(before[layer][0] != after[layer][0] for layer in before)
    touched = sum(before[layer] != after[layer] for layer in before)
    wrong = [f"{r.criterion} {r.ratio:g}: {r.problem}" for r in tested.rows if r.problem]
    worst = max((r.difference for r in tested.rows if r.difference is not None), default=0.0)
    right = f"{len(tested.rows) - len(wrong)} of {len(tested.rows)} ({worst:.0e})"
    right = "; ".join([right, *wrong, *([] if tested.untouched else ["the network was touched"])])
    kept = f"{record.flops_kept:.1%}"
    return name, str(len(before)), str(shrunk), str(touched), right, kept, f"{seconds:.2f}", slim(name)


def lines(rows: Iterator[tuple[str, ...]], markdown: bool) -> Iterator[str]:
    """The table, line by line as the rows come."""
    widths = [max(len(head), 11) for head in HEADS]
    widths[0] = max(map(len, NAMES))
    rules = ("---", *["---:"] * (len(HEADS) - 1)) if markdown else tuple("-" * width for width in widths)
    for cells in (HEADS, rules):
        yield line(cells, widths, markdown)
    for cells in rows:
        yield line(cells, widths, markdown)


def line(cells: tuple[str, ...], widths: list[int], markdown: bool) -> str:
    """One line of the table."""
    if markdown:
        return f"| {' | '.join(cells)} |"
    return "  ".join([cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help="networks of paddle.vision.models; default: all 39")
    parser.add_argument("--ratio", type=float, default=0.3, help="share of the filters to remove (default: 0.3)")
    parser.add_argument("--ratios", type=float, nargs="+", help="ratios to check at (default: that of --ratio)")
    parser.add_argument("--criteria", nargs="+", default=["l1_norm"], help="criteria to check by (default: l1_norm)")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    wanted = parser.parse_args()
    unknown = set(wanted.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")

    ask = partial(row, ratio=wanted.ratio, ratios=wanted.ratios or [wanted.ratio], criteria=wanted.criteria)
    # A process for each network: what its traces and copies leave behind in memory ends with it.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for text in lines(pool.imap(ask, wanted.names or NAMES), wanted.markdown):
            print(text, flush=True)
        pool.close()
        pool.join()  # not ended by a signal, which Paddle would print a page about
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    machine = f"{os.cpu_count()} cores ({threads} used), {platform.machine()}, Python {platform.python_version()}"
    print()
    for note in (*NOTES, f"{machine}, Paddle {paddle.__version__}, ratio {wanted.ratio}."):
        print(f"- {note}" if wanted.markdown else note)


if __name__ == "__main__":
    main()
