"""One side of `peers.py`, in its own process and environment: it is told networks, and answers with seconds.

It runs without the rest of this folder, with Python 3.10 as well.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

SHAPE, SHARE = (1, 3, 224, 224), 0.3
Call = Callable[[], object]


def hapi_prune(name: str, criterion: str) -> tuple[Any, Call]:
    """A network, and what prunes it with this library, all proofs included."""
    import paddle

    from hapi_prune import prune

    network = getattr(paddle.vision.models, name)()
    return network, lambda: prune(network, list(SHAPE), SHARE, {"l1": "l1_norm", "fpgm": "fpgm"}[criterion])


def torch_pruning(name: str, criterion: str) -> tuple[Any, Call]:
    """The same with Torch-Pruning: its graph, the scores and the cut; only convolutions lose filters."""
    import torch
    import torch_pruning as tp
    import torchvision

    network, example = getattr(torchvision.models, name)().eval(), torch.randn(SHAPE)
    last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]

    def call() -> None:
        tp.pruner.BasePruner(
            network,
            example,
            tp.importance.MagnitudeImportance(p=1),
            pruning_ratio=SHARE,
            ignored_layers=[last],
            root_module_types=[tp.ops.TORCH_CONV],
        ).step()

    return network, call


def paddleslim(name: str, criterion: str) -> tuple[Any, Call]:
    """The same with PaddleSlim: its graph, the scores and the cut of all convolutions that it can cut."""
    import paddle
    from paddleslim.dygraph import FPGMFilterPruner, L1NormFilterPruner

    network = getattr(paddle.vision.models, name)()
    layers = [layer for layer in network.sublayers() if isinstance(layer, paddle.nn.Conv2D)]
    ratios = {layer.weight.name: SHARE for layer in layers}
    kind = {"l1": L1NormFilterPruner, "fpgm": FPGMFilterPruner}[criterion]
    return network, lambda: kind(network, list(SHAPE)).prune_vars(ratios, 0)


def count(network: Any) -> int:
    """How many numbers the parameters of a network have."""
    return sum(int(p.numel()) for p in network.parameters())


def answer(build: Callable[[str, str], tuple[Any, Call]], name: str, criterion: str) -> dict[str, Any]:
    """One call on a new network."""
    try:
        network, call = build(name, criterion)
        before = count(network)
        gc.collect()
        start = time.perf_counter()
        call()
        took = time.perf_counter() - start
    except Exception as error:  # the library of the side may raise anything
        return {"failed": f"{type(error).__name__}: {error}"[:300]}
    return {"seconds": took, "removed": 1 - count(network) / before}


def versions(side: str) -> dict[str, str]:
    """Of Python and what the side stands on."""
    from importlib.metadata import version

    stands_on = {
        "hapi_prune": ["paddlepaddle", "numpy"],
        "torch_pruning": ["torch", "torchvision", "torch-pruning", "numpy"],
        "paddleslim": ["paddlepaddle", "paddleslim", "numpy"],
    }
    return {"python": sys.version.split()[0], **{name: version(name) for name in stands_on[side]}}


def main(side: str, root: str) -> None:
    """Answer until there are no more questions; whatever else is printed goes elsewhere."""
    if side == "hapi_prune":
        sys.path.insert(0, root)
    build, told = globals()[side], sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        answer(build, "resnet18", "l1")  # what is done once in a process is no part of a call
        print(json.dumps(versions(side)), file=told, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(build, *line.split())), file=told, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
