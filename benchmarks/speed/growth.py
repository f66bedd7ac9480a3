"""How the time and the memory of a prune grow with the number of operations.

    python benchmarks/speed/growth.py

Residual networks of the zoo (64 x 64), and generated ones of up to `--layers` convolutions (16 x 16): a chain, dense
blocks in a row, and one dense block. Each size is measured in a process of its own, quick ones `--repeats` times;
what is told are medians of the time, and of the most memory beyond what was there before; beside them the time of a
forward pass of the network as it was. A kind is not taken further where the next size would need more than `--limit`
seconds by the growth seen so far.

About 5 minutes.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from measuring import arguments, fresh, now, peak, save, settle

RESNETS = {18: "resnet18", 34: "resnet34", 50: "resnet50", 101: "resnet101", 152: "resnet152"}
SIZES = (64, 128, 256, 512, 1024, 2000)
STAGES = ("trace", "propagate", "group")


@contextmanager
def clocks(module: Any, names: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """The seconds spent in functions of a module, by name, for the length of a block."""
    spent = {name: 0.0 for name in names if hasattr(module, name)}
    originals = {name: getattr(module, name) for name in spent}

    def timed(name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return originals[name](*args, **kwargs)
            finally:
                spent[name] += time.perf_counter() - start

        return call

    for name in spent:
        setattr(module, name, timed(name))
    try:
        yield spent
    finally:
        for name, original in originals.items():
            setattr(module, name, original)


def one(kind: str, size: int) -> dict[str, Any]:
    """One network in this process: its operations, the seconds of each stage, and the memory."""
    import networks
    import paddle

    from hapi_prune.analysis import channel_map
    from hapi_prune.cutting.pruning import Pruner, prune
    from hapi_prune.selection.options import Options

    prune(paddle.vision.models.LeNet(), [1, 1, 28, 28], 0.5)  # what is done once in a process
    network = networks.zoo(RESNETS[size]) if kind == "resnet" else getattr(networks, kind)(size)
    image = 64 if kind == "resnet" else 16
    own = forward_pass(network, image)
    settle()
    before, start = now(), time.perf_counter()
    with clocks(channel_map, STAGES) as spent:
        pruner = Pruner(network, [1, 3, image, image], Options())
        looked = time.perf_counter()
        looking = dict(spent)
        pruner.plan(pruner.goal(0.3))
        planned = time.perf_counter()
        pruner.cut(0.3)
    end = time.perf_counter()
    stages = {**looking, "plan": planned - looked, "cut": end - planned, "all": end - start, "pass": own}
    ops = len(pruner.channel_map.traced.passes[0].program.ops)
    channels = sum(pruner.channel_map.traced.sizes.values())
    return {"ops": ops, "channels": channels, "seconds": stages, "bytes": peak() - before}


def forward_pass(network: Any, image: int) -> float:
    """The seconds of a forward pass of a network in evaluation mode: the median of five, after one that is not told."""
    import paddle

    images, found = paddle.randn([1, 3, image, image]), list[float]()
    network.eval()
    with paddle.no_grad():
        for _ in range(6):
            start = time.perf_counter()
            network(images)
            found.append(time.perf_counter() - start)
    network.train()
    return median(found[1:])


def kind_of(kind: str, sizes: list[int], args: Any) -> list[dict[str, Any]]:
    """A kind at all sizes, the smallest first."""
    found: list[dict[str, Any]] = []
    for size in sizes:
        if len(found) > 1:
            expected = found[-1]["seconds"]["all"] * (size / found[-1]["size"]) ** max(1.0, slope(found[-2:], "all"))
            if expected > args.limit:
                print(f"{kind} {size}: left out, about {expected:.0f} s", flush=True)
                break
        runs = [fresh(__file__, "--one", kind, size)]
        while len(runs) < args.repeats and runs[0]["seconds"]["all"] < args.quick:
            runs.append(fresh(__file__, "--one", kind, size))
        stages = {stage: median(run["seconds"][stage] for run in runs) for stage in runs[0]["seconds"]}
        found.append({**runs[0], "size": size, "seconds": stages, "bytes": median(run["bytes"] for run in runs)})
        print(f"{kind} {size}: {found[-1]['ops']} ops, {stages['all']:.1f} s", flush=True)
    return found


def slope(runs: list[dict[str, Any]], of: str) -> float:
    """The exponent with which the seconds of a stage, or the bytes, grow with the number of operations."""
    xs = [math.log(run["ops"]) for run in runs]
    ys = [math.log(max(run["bytes"] if of == "bytes" else run["seconds"][of], 1e-9)) for run in runs]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / (sum((x - mean_x) ** 2 for x in xs) or 1.0)


def main() -> None:
    """Measure all sizes, and write the results."""
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--layers", type=int, default=2000, help="at most (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds of one prune (default: %(default)g)")
    parser.add_argument("--quick", type=float, default=3.0, help="seconds below which it is repeated")
    kinds = ("resnet", "chain", "dense_blocks", "dense_block")
    parser.add_argument("--kinds", nargs="*", default=kinds, choices=kinds, metavar="KIND", help=", ".join(kinds))
    args = parser.parse_args()
    start, found = time.time(), {}
    for kind in args.kinds:
        sizes = list(RESNETS) if kind == "resnet" else [size for size in SIZES if size <= args.layers]
        runs = kind_of(kind, sizes, args)
        stages = [*runs[0]["seconds"], "bytes"]
        large = runs[-4:]  # small ones are mostly what every call costs
        found[kind] = {"runs": runs, "exponents": {stage: round(slope(large, stage), 2) for stage in stages}}
        print(f"{kind}: {found[kind]['exponents']}", flush=True)
    save(args.out, "growth", {"kinds": found}, start)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(sys.argv[2], int(sys.argv[3]))))
    else:
        main()
