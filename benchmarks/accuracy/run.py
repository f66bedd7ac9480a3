"""How much accuracy pruning costs: the same network, images, epochs and seeds, pruned in different ways.

    python benchmarks/accuracy/run.py --data-file cifar-10-python.tar.gz

Each run is a JSON file in ``--out``; those that are there are not made again, so that it can be stopped and started.
The table and the plot of all runs so far: ``python benchmarks/accuracy/show.py``.

All ways share their first epochs, which are trained once a seed: dense training up to the first cut is the same in all
of them, bitwise. Only the two-program way has a first program of its own, whose learning rate falls to zero.
"""

from __future__ import annotations

import argparse
import json
import pickle
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from fading import Fading
from images import Epochs, cifar10
from paddle import nn
from ways import WAYS, Way

import hapi_prune
from hapi_prune import BySensitivity, PruneCallback, sensitivity

SETTINGS = ("blocks", "images", "test_images", "epochs", "batch_size", "rate", "weight_decay")
HERE = Path(__file__).resolve().parent


class Block(nn.Layer):
    """Two convolutions and a shortcut."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(channels, filters, 3, stride, 1, bias_attr=False)
        self.bn1 = nn.BatchNorm2D(filters)
        self.conv2 = nn.Conv2D(filters, filters, 3, 1, 1, bias_attr=False)
        self.bn2 = nn.BatchNorm2D(filters)
        self.shortcut = (
            nn.Sequential(nn.Conv2D(channels, filters, 1, stride, bias_attr=False), nn.BatchNorm2D(filters))
            if stride != 1 or channels != filters
            else nn.Identity()
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = nn.functional.relu(self.bn1(self.conv1(x)))
        return nn.functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def resnet(blocks: int) -> nn.Layer:
    """A residual network for 32 x 32 images, of three stages with 16, 32 and 64 filters; 1 block a stage: ResNet-8."""
    layers: list[nn.Layer] = [nn.Conv2D(3, 16, 3, 1, 1, bias_attr=False), nn.BatchNorm2D(16), nn.ReLU()]
    channels = 16
    for stage, filters in enumerate((16, 32, 64)):
        for number in range(blocks):
            layers.append(Block(channels, filters, 2 if stage and not number else 1))
            channels = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(64, 10))


def prepared(network: nn.Layer, optimizer: paddle.optimizer.Optimizer) -> paddle.Model:
    """A model to train and to judge by top-1 and top-5."""
    model = paddle.Model(
        network,
        [paddle.static.InputSpec([None, 3, 32, 32], "float32", "image")],
        [paddle.static.InputSpec([None, 1], "int64", "label")],
    )
    model.prepare(optimizer, nn.CrossEntropyLoss(), paddle.metric.Accuracy(topk=(1, 5)))
    return model


class Experiment:
    """What all runs of a seed have in common."""

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        self.args, self.seed = args, seed
        self.train, self.test = cifar10(args.data_file, args.images, args.test_images)
        self.steps = -(-args.images // args.batch_size)

    def model(self, network: nn.Layer, epochs: int, rate: float, done: int = 0) -> paddle.Model:
        """A model to be trained for ``epochs``, of which ``done`` are over; the rate falls to zero as a cosine."""
        schedule = paddle.optimizer.lr.CosineAnnealingDecay(rate, T_max=epochs * self.steps)
        for _ in range(done * self.steps):
            schedule.step()
        optimizer = paddle.optimizer.Momentum(
            schedule, 0.9, parameters=network.parameters(), weight_decay=self.args.weight_decay
        )
        return prepared(network, optimizer)

    def dense(self, epochs: int, last: int, rate: float) -> tuple[nn.Layer, Any]:
        """The network trained for ``last`` of ``epochs`` epochs, and its optimizer's state; kept for the next run."""
        what = (self.args.blocks, self.args.images, epochs, last, rate, self.seed)
        path = Path(self.args.out) / f"dense-{'-'.join(map(str, what))}.pkl"
        paddle.seed(self.seed)
        network = resnet(self.args.blocks)
        model = self.model(network, epochs, rate)
        if not last:
            return network, []
        if not path.exists():
            self.fit(model, 0, last, [])
            state = [tensor.numpy() for tensor in network.state_dict().values()]
            momentum = [tensor.numpy() for tensor in velocities(model)]
            path.write_bytes(pickle.dumps((state, momentum)))
        state, momentum = pickle.loads(path.read_bytes())
        for tensor, value in zip(network.state_dict().values(), state):
            tensor.set_value(value)
        return network, momentum

    def fit(self, model: paddle.Model, first: int, epochs: int, callbacks: list[Any]) -> None:
        """Train with the images of epochs ``first`` and on, the same for every run of a seed."""
        data = Epochs(self.train, self.args.batch_size, self.seed)
        count = Count(data, first)
        model.fit(data, epochs=epochs - first, callbacks=[count, *callbacks], verbose=0)

    def top1(self, model: paddle.Model, count: int | None = None) -> float:
        """Accuracy on the first ``count`` test images."""
        images, labels = self.test
        data = [(images[i : i + 500], labels[i : i + 500]) for i in range(0, count or len(images), 500)]
        return float(model.evaluate(data, verbose=0)["acc_top1"])

    def sensitive(self, model: paddle.Model) -> BySensitivity:
        """By what accuracy each layer costs on 1,000 training images."""
        images, labels = (part[:1000] for part in self.train)
        found = sensitivity(model, [(images[:500], labels[:500]), (images[500:], labels[500:])], monitor="acc_top1")
        return BySensitivity(found)

    def run(self, way: Way, goal: float) -> dict[str, Any]:
        """One run from the first epoch to the last."""
        args, start = self.args, time.time()
        first = args.first if way.first is None else way.first
        if way.two_programs:
            network, _ = self.dense(first, first, args.rate)
            model = self.model(network, args.epochs - first, way.rate or args.rate)
        else:
            network, momentum = self.dense(args.epochs, first, args.rate)
            model = self.model(network, args.epochs, args.rate, first)
            if first:
                restore(model, momentum)
        before = self.top1(model, 2000)
        seen: list[float] = []
        callback = None
        if way.schedule is not None:
            watch = Watch(lambda: seen.append(self.top1(model, 2000)))
            schedule = way.schedule(goal, args.epochs - first)
            options = {"scope": self.sensitive(model)} if way.by_sensitivity else way.options()
            callback = PruneCallback(schedule, verbose=0, eval_data=False, target="flops", **options)
            fading = [Fading(schedule, [1, 3, 32, 32])] if way.fading else []
            self.fit(model, first, args.epochs, [callback, watch, *fading])
        else:
            self.fit(model, first, args.epochs, [])
        records = list(callback.history) if callback else []
        return {
            "way": way.name,
            "goal": goal,
            "seed": self.seed,
            "top1": self.top1(model),
            "top1_before_the_first_cut": before,
            "top1_after_each_cut": seen[: len(records)],
            "flops_removed": 1 - records[-1].flops_kept if records else 0.0,
            "params_removed": 1 - records[-1].params_kept if records else 0.0,
            "widths": records[-1].widths if records else {},
            "seconds": time.time() - start,
            "settings": {**{name: getattr(args, name) for name in SETTINGS}, "first": first},
            "versions": {"paddle": paddle.__version__, "hapi_prune": hapi_prune.__version__, "numpy": np.__version__,
                         "python": platform.python_version()},
        }  # fmt: skip


class Count(paddle.callbacks.Callback):
    """Tells the images which epoch it is, before anybody else hears of it."""

    def __init__(self, data: Epochs, first: int) -> None:
        super().__init__()
        self.data, self.first = data, first

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.data.epoch = self.first + epoch


class Watch(paddle.callbacks.Callback):
    """Looks at the network at the beginning of each epoch at which there was a cut: it stands behind PruneCallback."""

    def __init__(self, look: Any) -> None:
        super().__init__()
        self.look, self.widths = look, None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        widths = [list(parameter.shape) for parameter in self.model.network.parameters()]
        if (self.widths is not None and widths != self.widths) or (self.widths is None and len(widths) and epoch == 0):
            self.look()
        self.widths = widths


def velocities(model: paddle.Model) -> list[paddle.Tensor]:
    """The momentum of each parameter, in order."""
    held = model._optimizer._accumulators["velocity"]
    return [held[p.name] for p in model.network.parameters() if not p.stop_gradient]


def restore(model: paddle.Model, momentum: list[Any]) -> None:
    """The optimizer's state of an earlier process; a step without gradients makes the tensors that it lies in."""
    state = [tensor.numpy() for tensor in model.network.state_dict().values()]
    for parameter in (p for p in model.network.parameters() if not p.stop_gradient):
        parameter.grad = paddle.zeros_like(parameter)
    model._optimizer.step()
    model._optimizer.clear_grad()
    for tensor, value in zip([*model.network.state_dict().values(), *velocities(model)], [*state, *momentum]):
        tensor.set_value(value)


def options(what: str | None) -> argparse.ArgumentParser:
    """The arguments that all commands share."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-file", required=True, help="the official cifar-10-python.tar.gz")
    parser.add_argument("--out", default=str(HERE / "results"), help="where the runs are kept (default: %(default)s)")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--blocks", type=int, default=1, help="a stage; 1 is ResNet-8, 3 is ResNet-20 (default: 1)")
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--test-images", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=10, help="in total (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    return parser


def main() -> None:
    """Make the runs that are not there yet."""
    parser = options(__doc__)
    parser.add_argument(
        "--ways", nargs="*", default=list(WAYS), choices=list(WAYS), metavar="WAY", help=", ".join(WAYS)
    )
    parser.add_argument("--goals", nargs="*", type=float, default=[0.5], help="shares of the FLOPs (default: 0.5)")
    parser.add_argument("--first", type=int, default=4, help="of these dense (default: %(default)s)")
    args = parser.parse_args()
    Path(args.out).mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        experiment = Experiment(args, seed)
        for name in args.ways:
            for goal in args.goals if WAYS[name].schedule else [0.0]:
                size = f"{args.blocks}-{args.images}-{args.epochs}"
                path = Path(args.out) / f"{name}-{goal:g}-{size}-{seed}.json"
                if not path.exists():
                    found = experiment.run(WAYS[name], goal)
                    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
                    print(f"{path.stem}: {found['top1']:.4f} in {found['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
