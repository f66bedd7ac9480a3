"""What pruning buys: the share of the time of a training step and of inference that is saved, beside that of the FLOPs.

    python benchmarks/speed/gains.py

Each network is pruned by 30, 50 and 70 % of its FLOPs, with widths rounded to multiples of `--round-to`. Training step
and inference run eagerly, and inference also as exported, by Paddle Inference. The dense network and all that come of
it take turns. If time went with FLOPs alone, as many per cent would be saved of the one as of the other: the ideal.

About 11 minutes with all roundings; 5 with `--round-to 1 8 --limit 15`.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import paddle
from measuring import in_turn, save, seconds
from narrow import inference, small_networks, training_step
from networks import zoo
from paddle import inference as serving

from hapi_prune import prune
from hapi_prune.analysis.example_input import example
from hapi_prune.exporting.program import program_file, save_program, specs_of


def served(network: paddle.nn.Layer, images: paddle.Tensor, folder: str) -> Callable[[], object]:
    """A network as exported, run by Paddle Inference on some images."""
    network.eval()
    path = os.path.join(folder, str(id(network)))
    given = example(network, images)
    save_program(network, given, path, specs_of(images, given)[0])
    config = serving.Config(program_file(path), f"{path}.pdiparams")
    config.disable_glog_info()
    predictor = serving.create_predictor(config)
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    target = predictor.get_output_handle(predictor.get_output_names()[0])
    array = images.numpy()

    def run() -> None:
        source.copy_from_cpu(array)
        predictor.run()
        target.copy_to_cpu()

    return run


def variants(name: str, shape: list[int], args: Any) -> tuple[dict[str, paddle.nn.Layer], dict[str, dict[str, Any]]]:
    """The dense network and the pruned ones, and what was asked of them and reached."""
    found, told = {"dense": zoo(name)}, {}
    for goal in args.goals:
        for multiple in args.round_to:
            key = f"-{goal:.0%}, {multiple}"
            found[key] = zoo(name)
            record = prune(found[key], shape, goal, target="flops", round_to=multiple)
            told[key] = {"goal": goal, "round_to": multiple, "flops_removed": 1 - record.flops_kept}
    return found, told


def measured(name: str, args: Any) -> dict[str, Any]:
    """One network: the share of the time that each variant saves, and that of its FLOPs that is gone."""
    shape = [args.batch, 3, args.image, args.image]
    networks, told = variants(name, shape, args)
    images, labels = paddle.randn(shape), paddle.randint(0, 1000, [args.batch])
    dense = {}
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "training": {key: training_step(network, images, labels) for key, network in networks.items()},
            "inference": {key: partial(inference, network, images) for key, network in networks.items()},
            "exported": {key: served(network, images, folder) for key, network in networks.items()},
        }
        for way, sides in ways.items():
            times = in_turn({key: seconds(run) for key, run in sides.items()}, args.repeats, args.limit)
            dense[way] = {"seconds": median(times["dense"]), "rounds": len(times["dense"])}
            for key in told:
                told[key][way] = 1 - median(times[key]) / dense[way]["seconds"]
    for key, one in told.items():
        saved = ", ".join(f"{way} {one[way]:.0%}" for way in ways)
        print(f"{name} {key}: {one['flops_removed']:.0%} of the FLOPs; {saved}", flush=True)
    return {"dense": dense, "variants": list(told.values())}


def main() -> None:
    """Measure all networks, and write the results."""
    parser = small_networks(__doc__, repeats=9, limit=30.0)
    parser.add_argument("--goals", nargs="*", type=float, default=[0.3, 0.5, 0.7], help="shares of the FLOPs")
    parser.add_argument("--round-to", nargs="*", type=int, default=[1, 4, 8, 16])
    args = parser.parse_args()
    start = time.time()
    found = {name: measured(name, args) for name in args.networks}
    save(args.out, "gains", {"networks": found}, start, settings={"image": args.image, "batch": args.batch})


if __name__ == "__main__":
    main()
