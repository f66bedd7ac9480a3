"""A pruned network against a narrow one built from scratch: same widths, same numbers, training step and inference.

    python benchmarks/speed/narrow.py

Both run eagerly, in turn, after each other's outputs were compared. One would be as fast as the other if a cut left
nothing behind: layouts, flags, paths that are taken for other sizes. The control is a second narrow network, made as
the first: how far two equal ones are apart on this machine.

About 3 minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import paddle
from measuring import arguments, in_turn, ratio, save, seconds
from networks import SMALL, narrow, zoo

from hapi_prune import prune


def training_step(network: paddle.nn.Layer, images: paddle.Tensor, labels: paddle.Tensor) -> Callable[[], object]:
    """Forward, backward and an update of the weights; a rate of nearly nothing leaves them what they are."""
    optimizer = paddle.optimizer.SGD(1e-9, parameters=network.parameters())

    def step() -> None:
        network.train()
        paddle.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)

    return step


def inference(network: paddle.nn.Layer, images: paddle.Tensor) -> paddle.Tensor:
    """A forward pass in evaluation mode."""
    network.eval()
    with paddle.no_grad():
        return network(images)


def trio(name: str, shape: list[int], share: float) -> dict[str, paddle.nn.Layer]:
    """A pruned network, and two narrow ones."""
    paddle.seed(0)
    pruned = zoo(name)
    step = training_step(pruned, paddle.randn(shape), paddle.zeros([shape[0]], "int64"))
    step()  # it has been trained, as those have that are pruned in a run
    prune(pruned, shape, share)
    return {"pruned": pruned, "narrow": narrow(pruned, zoo(name)), "control": narrow(pruned, zoo(name))}


def measured(name: str, args: Any) -> dict[str, Any]:
    """One network: medians of what the three need for each kind of step."""
    shape = [args.batch, 3, args.image, args.image]
    three = trio(name, shape, args.share)
    images, labels = paddle.randn(shape), paddle.randint(0, 1000, [args.batch])
    outputs = [inference(network, images).numpy() for network in three.values()]
    if not np.allclose(outputs[0], outputs[1], rtol=1e-4, atol=1e-5 * float(np.abs(outputs[0]).max())):
        raise RuntimeError(f"{name}: the narrow network computes something else")
    ways = {
        "training": {key: training_step(network, images, labels) for key, network in three.items()},
        "inference": {key: partial(inference, network, images) for key, network in three.items()},
    }
    found: dict[str, Any] = {}
    for way, sides in ways.items():
        times = in_turn({key: seconds(step) for key, step in sides.items()}, args.repeats, args.limit)
        found[way] = {
            "seconds": {key: median(all_of) for key, all_of in times.items()},
            "rounds": len(times["pruned"]),
            "pruned_to_narrow": ratio(times["narrow"], times["pruned"]),
            "control_to_narrow": ratio(times["narrow"], times["control"]),
        }
        print(f"{name} {way}: {found[way]['pruned_to_narrow']:.3f} (control {found[way]['control_to_narrow']:.3f})")
    return found


def small_networks(text: str | None, repeats: int, limit: float) -> argparse.ArgumentParser:
    """A parser with what a benchmark of the small networks takes, by several ways each; ``text``: its docstring."""
    parser = arguments(text, repeats)
    parser.add_argument("--networks", nargs="*", default=SMALL, choices=SMALL, metavar="NETWORK")
    parser.add_argument("--image", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--limit", type=float, default=limit, help="seconds a network and way (default: %(default)g)")
    return parser


def main() -> None:
    """Measure all networks, and write the results."""
    parser = small_networks(__doc__, repeats=25, limit=15.0)
    parser.add_argument("--share", type=float, default=0.3, help="of the filters (default: %(default)s)")
    args = parser.parse_args()
    start = time.time()
    found = {name: measured(name, args) for name in args.networks}
    settings = {name: getattr(args, name) for name in ("share", "image", "batch")}
    save(args.out, "narrow", {"networks": found}, start, settings=settings)


if __name__ == "__main__":
    main()
