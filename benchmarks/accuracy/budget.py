"""As small as it gets within a point of accuracy: what `max_drop` ends at, on the network and images of `run.py`.

    python benchmarks/accuracy/budget.py --data-file cifar-10-python.tar.gz

The dense network is trained to its end first (that of `run.py`'s dense runs, bitwise). Then one run with a budget
prunes it, and another one of as many epochs trains it on without pruning, so that it is seen what the epochs alone
bring. One JSON file a seed; those that are there are not made again.
"""

from __future__ import annotations

import json
import platform
import time
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from images import Epochs
from run import HERE, SETTINGS, Count, Experiment, options, prepared, restore

import hapi_prune
from hapi_prune import Linear, PruneCallback


class Trained:
    """A dense network, trained, and what its optimizer remembers: to go on from."""

    def __init__(self, experiment: Experiment) -> None:
        args = experiment.args
        self.experiment = experiment
        network, momentum = experiment.dense(args.epochs, args.epochs, args.rate)
        steps = args.phase * experiment.steps
        rate = paddle.optimizer.lr.LambdaDecay(args.on_rate, lambda step: (1 + cos(pi * (step % steps) / steps)) / 2)
        optimizer = paddle.optimizer.Momentum(
            rate, 0.9, parameters=network.parameters(), weight_decay=args.weight_decay
        )
        self.model = prepared(network, optimizer)
        restore(self.model, momentum)

    def go_on(self, callbacks: list[Any]) -> None:
        """Train for ``--more`` epochs, with an evaluation after each."""
        args = self.experiment.args
        data = Epochs(self.experiment.train, args.batch_size, self.experiment.seed)
        images, labels = self.experiment.test
        test = [(images[i : i + 500], labels[i : i + 500]) for i in range(0, len(images), 500)]
        count = Count(data, args.epochs)
        self.model.fit(data, test, epochs=args.more, callbacks=[count, *callbacks], verbose=0)


def run(experiment: Experiment) -> dict[str, Any]:
    """Both runs of a seed."""
    args, start = experiment.args, time.time()
    alone = Trained(experiment)
    before = experiment.top1(alone.model)
    alone.go_on([])
    schedule = Linear(0.8, start=0, end=args.more - args.phase, every=args.phase, initial=0.5)
    callback = PruneCallback(schedule, target="flops", max_drop=args.max_drop, verbose=0)
    budget = Trained(experiment)
    budget.go_on([callback])
    cuts = [
        {"epoch": record.epoch, "flops_removed": 1 - record.flops_kept, "taken_back": record.taken_back,
         "top1_after": record.metrics_begun.get("acc_top1"), "top1_recovered": record.metrics_recovered.get("acc_top1")}
        for record in callback.history
    ]  # fmt: skip
    now = callback.history.now
    return {
        "seed": experiment.seed,
        "max_drop": args.max_drop,
        "top1_dense": before,
        "top1_dense_trained_on": experiment.top1(alone.model),
        "top1": experiment.top1(budget.model),
        "flops_removed": 1 - now.flops_kept if now else 0.0,
        "params_removed": 1 - now.params_kept if now else 0.0,
        "cuts": cuts,
        "seconds": time.time() - start,
        "settings": {name: getattr(args, name) for name in (*SETTINGS, "more", "phase", "on_rate")},
        "versions": {"paddle": paddle.__version__, "hapi_prune": hapi_prune.__version__, "numpy": np.__version__,
                     "python": platform.python_version()},
    }  # fmt: skip


def main() -> None:
    """Make the runs that are not there yet."""
    parser = options(__doc__)
    parser.add_argument("--max-drop", type=float, default=0.01)
    parser.add_argument("--more", type=int, default=20, help="epochs after the dense ones (default: %(default)s)")
    parser.add_argument("--phase", type=int, default=5, help="epochs from a cut to the next (default: %(default)s)")
    parser.add_argument("--on-rate", type=float, default=0.05, help="falls to zero in each (default: %(default)s)")
    parser.set_defaults(out=str(HERE / "budget"))
    args = parser.parse_args()
    Path(args.out).mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        path = Path(args.out) / f"{args.max_drop:g}-{args.blocks}-{args.images}-{args.epochs}-{args.more}-{seed}.json"
        if not path.exists():
            found = run(Experiment(args, seed))
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(
                f"{path.stem}: {found['flops_removed']:.1%} of the FLOPs removed, top-1 {found['top1']:.4f}", flush=True
            )


if __name__ == "__main__":
    main()
