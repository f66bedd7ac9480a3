"""What pruning costs where nothing is pruned: between events, at an import; and an event beside an evaluation.

    python benchmarks/speed/between.py

Three parts. *Steps*: a small residual network is trained with the callback, VisualDL's curves included; no event is
due. Of each two steps one, which is drawn, goes without the callback: the steps of a pair are so near to each other
that what else the machine does is the same for both. Two numbers: how much longer a step takes with the callback, as
the median over the pairs, and where 95 % of the medians lie if pairs are drawn anew; and the time spent in the
callback's hooks as a share of the epochs, with those at the beginning and the end of epochs and evaluations. *Import*:
fresh processes, in turn. *Event*: the time of `on_epoch_begin` at a cut less that of its evaluations, in units of one
evaluation pass over so many images as a small test set has; the passes that are timed have fewer.

About 4 minutes. Each part is written when it is measured: what was broken off is completed with `--parts`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import paddle
from measuring import ROOT, arguments, commit, in_turn, save
from networks import zoo
from paddle import nn

from hapi_prune import PruneCallback

IMPORTS = ("import hapi_prune", "from hapi_prune import PruneCallback")
PARTS = ("steps", "imports", "event")


class Residual(nn.Layer):
    """Two convolutions around which the input goes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2D(width, width, 3, padding=1), nn.Conv2D(width, width, 3, padding=1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return nn.functional.relu(x + self.second(nn.functional.relu(self.first(x))))


def small() -> nn.Layer:
    """Of the size of the quick start's network, for 28 x 28 images."""

    def down(channels: int, filters: int) -> nn.Layer:
        return nn.Sequential(nn.Conv2D(channels, filters, 3, 2, 1), nn.BatchNorm2D(filters), nn.ReLU())

    parts = [down(1, 16), Residual(16), down(16, 32), Residual(32), down(32, 64), nn.AdaptiveAvgPool2D(1)]
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(64, 10))


def model_of(network: nn.Layer, shape: list[int]) -> paddle.Model:
    """Ready to be trained."""
    model = paddle.Model(network, [paddle.static.InputSpec([None, *shape], "float32", "image")],
                         [paddle.static.InputSpec([None, 1], "int64", "label")])  # fmt: skip
    optimizer = paddle.optimizer.Momentum(1e-3, 0.9, parameters=network.parameters())
    model.prepare(optimizer, nn.CrossEntropyLoss(), paddle.metric.Accuracy())
    return model


def batches(count: int, size: int, shape: list[int]) -> list[Any]:
    """Images and labels, in memory."""
    return [(paddle.randn([size, *shape]), paddle.randint(0, 10, [size, 1])) for _ in range(count)]


class Steps(paddle.callbacks.Callback):
    """Passes all hooks on to a callback; those of a step only in one of each two steps, which one is drawn.

    Args:
        callback: the callback.
        steps: of an epoch, an even number.

    Attributes:
        seconds: of each step that was not of the first epoch, and whether the hooks were passed on.
        of_steps, of_epochs: the seconds of the hooks that were passed on, those of steps and all others.
        epochs: the seconds of the epochs; of none of these three the first one.
    """

    def __init__(self, callback: PruneCallback, steps: int) -> None:
        super().__init__()
        self.callback, self.seconds, self.epochs = callback, list[tuple[float, bool]](), list[float]()
        self.of_steps, self.of_epochs = list[float](), list[float]()
        self.drawn = np.random.default_rng(0).permuted(np.tile([True, False], (steps // 2, 1)), axis=1).ravel().tolist()
        for name in (name for name in dir(paddle.callbacks.Callback) if name.startswith("on_")):
            if name not in vars(Steps):
                setattr(self, name, timed(getattr(callback, name), self.of_epochs))
        self.on_train_end = callback.on_train_end  # once in a run, and no part of an epoch

    def set_params(self, params: Any) -> None:
        self.callback.set_params(params)

    def set_model(self, model: paddle.Model) -> None:
        self.callback.set_model(model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            self.of_epochs.clear()
            self.of_steps.clear()
        self.epoch, self.begun = epoch, time.perf_counter()
        timed(self.callback.on_epoch_begin, self.of_epochs)(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        timed(self.callback.on_epoch_end, self.of_epochs)(epoch, logs)
        if epoch:
            self.epochs.append(time.perf_counter() - self.begun)

    def on_train_batch_begin(self, step: int, logs: Any = None) -> None:
        self.step = time.perf_counter()
        if self.drawn[step]:
            timed(self.callback.on_train_batch_begin, self.of_steps)(step, logs)

    def on_train_batch_end(self, step: int, logs: Any = None) -> None:
        if self.drawn[step]:
            timed(self.callback.on_train_batch_end, self.of_steps)(step, logs)
        if self.epoch:
            self.seconds.append((time.perf_counter() - self.step, self.drawn[step]))


def steps(args: Any) -> dict[str, Any]:
    """Steps with the callback and without it, in turn, in one run; and the time of all hooks, those of epochs too."""
    data = batches(args.steps, 64, [1, 28, 28])
    with tempfile.TemporaryDirectory() as folder:
        told = Steps(PruneCallback({args.epochs: 0.5}, verbose=0, log_dir=folder), args.steps)  # after the last epoch
        model_of(small(), [1, 28, 28]).fit(data, data[:4], epochs=args.epochs, verbose=0, callbacks=[told])
    ours = np.array([took for took, passed in told.seconds if passed])
    others = np.array([took for took, passed in told.seconds if not passed])
    more = (ours - others) / np.median(others)
    low, high = (float(each) for each in np.quantile(drawn_medians(more), [0.025, 0.975]))
    share = (2 * sum(told.of_steps) + sum(told.of_epochs)) / sum(told.epochs)  # half of the steps have no hooks
    found = {"pairs": len(more), "step_seconds": float(np.median(others)), "steps": args.steps}
    found |= {"more": float(np.median(more)), "more_95": [low, high], "hooks_share": share}
    print(f"steps: {found['more']:+.3%} ({low:+.3%} to {high:+.3%}); hooks {share:.4%} of an epoch", flush=True)
    return found


def drawn_medians(values: Any, times: int = 2000) -> Any:
    """Medians of samples of so many values, drawn from them with replacement: how far their median may be off."""
    generator = np.random.default_rng(1)
    return [np.median(generator.choice(values, len(values))) for _ in range(times)]


def imports(args: Any) -> dict[str, Any]:
    """Imports in fresh processes: milliseconds after ``import paddle``."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as installed

    def run(before: str, code: str) -> float:
        timed = f"import sys, time; sys.path.insert(0, {str(ROOT)!r}); {before}; start = time.perf_counter(); {code}"
        command = [sys.executable, "-W", "ignore", "-c", f"{timed}; print(time.perf_counter() - start)"]
        return float(subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.split()[-1])

    sides = {code: lambda code=code: run("import paddle", code) for code in IMPORTS}
    times = in_turn({"import paddle": lambda: run("pass", "import paddle"), **sides}, args.imports, args.limit)
    found = {"seconds": times, "beyond_ms": {code: 1000 * median(times[code]) for code in IMPORTS}}
    print(f"imports: {found['beyond_ms']}", flush=True)
    return found


def event(name: str, args: Any) -> dict[str, Any]:
    """A cut in a fit, in units of one evaluation pass; the first, at which it is traced, and the second."""
    shape = [1, 28, 28] if name == "quick start" else [3, 32, 32]
    data, held_out = batches(1, 64, shape), batches(args.batches, 64, shape)
    images = 64 * args.batches
    sets = args.images / images  # of what is timed, in a pass of what is told
    first, following = [], []

    def fit() -> float:
        model = model_of(small() if name == "quick start" else zoo(name, classes=10), shape)
        passes: list[float] = []
        beyond: list[float] = []
        model.evaluate = timed(model.evaluate, passes)
        callback = PruneCallback({0: 0.1, 1: 0.3}, verbose=0, eval_data=held_out)
        for hook in ("on_train_begin", "on_epoch_begin"):
            setattr(callback, hook, without_passes(getattr(callback, hook), passes, beyond))
        model.fit(data, epochs=2, verbose=0, callbacks=[callback])
        first.append((beyond[0] + beyond[1]) / (median(passes) * sets))
        following.append(beyond[2] / (median(passes) * sets))
        return first[-1]

    in_turn({name: fit}, args.events, args.limit, warm=False)
    found = {
        "images": args.images,
        "timed_images": images,
        "fits": len(first),
        "first_in_passes": median(first),
        "next_in_passes": median(following),
    }
    print(f"event, {name}: {found['first_in_passes']:.2f} and {found['next_in_passes']:.2f} passes", flush=True)
    return found


def timed(function: Any, spent: list[float]) -> Any:
    """A function whose calls add their seconds to ``spent``."""

    def call(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **options)
        finally:
            spent.append(time.perf_counter() - start)

    return call


def without_passes(hook: Any, passes: list[float], beyond: list[float]) -> Any:
    """A hook whose time, less that of the evaluations in it, is added to ``beyond``."""

    def call(*args: Any) -> None:
        known, start = len(passes), time.perf_counter()
        hook(*args)
        beyond.append(time.perf_counter() - start - sum(passes[known:]))

    return call


def known(path: Path) -> dict[str, Any]:
    """The parts that were measured at this commit."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    alike = found.get("versions", {}).get("commit") == commit().get("commit")
    return {part: found[part] for part in PARTS if part in found} if alike else {}


def main() -> None:
    """Measure all parts, and write the results."""
    parser = arguments(__doc__)
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--networks", nargs="*", default=["quick start", "resnet50"], metavar="NETWORK")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a part and network (default: %(default)g)")
    parser.add_argument("--epochs", type=int, default=41, help="of the fit; the first does not count")
    parser.add_argument("--steps", type=int, default=60, help="of an epoch, 64 images each (default: %(default)s)")
    parser.add_argument("--imports", type=int, default=7, help="rounds of imports (default: %(default)s)")
    parser.add_argument("--events", type=int, default=3, help="fits with two events each (default: %(default)s)")
    parser.add_argument("--images", type=int, default=1000, help="of an evaluation pass (default: %(default)s)")
    parser.add_argument("--batches", type=int, default=2, help="of 64 images, in the passes that are timed")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    start, found = time.time(), known(args.out / "between.json")
    for part in args.parts:
        if part == "event":
            for name in args.networks:
                found["event"] = {**found.get("event", {}), name: event(name, args)}
                save(args.out, "between", found, start)
        else:
            found[part] = {"steps": steps, "imports": imports}[part](args)
            save(args.out, "between", found, start)


if __name__ == "__main__":
    main()
