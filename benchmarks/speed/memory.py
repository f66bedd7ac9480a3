"""The most memory that a prune takes beyond what was there before, in units of the network and its optimizer's state.

    python benchmarks/speed/memory.py

Each network is in a process of its own, with a Momentum optimizer that has made a step. Beside it: the tensors that the
cut touches, once, and what a forward pass at batch 1 takes; the tensors and two passes are what there is to reach.
Linux only. About 2 minutes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from measuring import arguments, fresh, now, peak, save, settle

NETWORKS = ("vgg16", "resnet152")


def rise(function: Callable[[], object]) -> int:
    """Most bytes beyond those of before while a function runs."""
    settle()
    before = now()
    function()
    return peak() - before


def one(name: str, image: int) -> dict[str, Any]:
    """One network in this process."""
    import paddle
    from networks import zoo

    from hapi_prune import prune

    prune(paddle.vision.models.LeNet(), [1, 1, 28, 28], 0.5)  # what is done once in a process
    network = zoo(name)
    optimizer = paddle.optimizer.Momentum(0.1, 0.9, parameters=network.parameters())
    for parameter in network.parameters():
        parameter.grad = paddle.zeros_like(parameter)
    optimizer.step()
    optimizer.clear_grad(set_to_zero=False)
    tensors = network.state_dict()
    before = {key: tensor.size * 4 for key, tensor in tensors.items()}
    trained = {key for key, tensor in tensors.items() if not tensor.stop_gradient}
    images = paddle.randn([1, 3, image, image])

    def passes() -> None:
        with paddle.no_grad():
            network(images)

    network.eval()
    passes()
    forward = rise(passes)
    taken = rise(lambda: prune(network, [1, 3, image, image], 0.3, optimizer=optimizer))
    touched = {key for key, tensor in network.state_dict().items() if tensor.size * 4 != before[key]}
    state = sum(before[key] for key in trained)
    return {
        "rise": taken,
        "network": sum(before.values()),
        "state": state,
        "touched": sum(before[key] * (2 if key in trained else 1) for key in touched),
        "forward": forward,
    }


def main() -> None:
    """Measure all networks, and write the results."""
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--image", type=int, default=224)
    args = parser.parse_args()
    start, found = time.time(), {}
    for name in args.networks:
        runs = [fresh(__file__, "--one", name, args.image) for _ in range(args.repeats)]
        each = {key: median(run[key] for run in runs) for key in runs[0]}
        each["rise_in_units"] = each["rise"] / (each["network"] + each["state"])
        each["allowed_in_units"] = (each["touched"] + 2 * each["forward"]) / (each["network"] + each["state"])
        found[name] = each
        print(f"{name}: {each['rise_in_units']:.2f}, to reach: {each['allowed_in_units']:.2f}", flush=True)
    save(args.out, "memory", {"networks": found}, start)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(sys.argv[2], int(sys.argv[3]))))
    else:
        main()
