"""What it takes to find out which layers have to stay, beside a cut that knows it.

    python benchmarks/speed/search.py

Networks whose own code refuses some of the cut, at 224 x 224, a share of 0.3: a whole call that has to find the groups
to blame, and one on a new network with what stayed left out by `skip`; in turn, medians. A hybrid is a generated
network of so many blocks of seven convolutions with attention, the channels of a head written into its code.

About 2 minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import networks
import paddle
from measuring import arguments, in_turn, save, seconds

from hapi_prune import prune

IMAGE = [1, 3, 224, 224]
CASES: dict[str, Callable[[], paddle.nn.Layer]] = {
    "hybrid, 4 blocks": lambda: networks.hybrid(4),
    "hybrid, 28 blocks": lambda: networks.hybrid(28),
    "InceptionV3": paddle.vision.models.inception_v3,
    "GoogLeNet": paddle.vision.models.googlenet,
    "ShuffleNetV2": paddle.vision.models.shufflenet_v2_x1_0,
}


def measured(build: Callable[[], paddle.nn.Layer], repeats: int) -> dict[str, Any]:
    """Both ways."""
    network = build()
    widths = prune(network, IMAGE, 0.3).widths
    stay = [layer for layer, (was, now) in widths.items() if was == now]
    fresh: list[paddle.nn.Layer] = []

    def way(skip: list[str]) -> Callable[[], float]:
        timed = seconds(lambda: prune(fresh[0], IMAGE, 0.3, skip=skip))

        def once() -> float:
            fresh[:] = [build()]
            return timed()

        return once

    found = in_turn({"searched": way([]), "known": way(stay)}, repeats)
    return {
        "convolutions": len(widths),
        "stay": len(stay),
        "seconds": found,
        "searched_to_known": median(found["searched"]) / median(found["known"]),
    }


def main() -> None:
    """Measure all, and write the results."""
    args = arguments(__doc__).parse_args()
    start, found = time.time(), {}
    for name, build in CASES.items():
        found[name] = measured(build, args.repeats)
        print(f"{name}: {found[name]['searched_to_known']:.1f}", flush=True)
    save(args.out, "search", {"networks": found}, start)


if __name__ == "__main__":
    main()
