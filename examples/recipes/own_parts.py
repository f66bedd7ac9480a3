"""A criterion, a schedule, a scope and a rule for an operation, all of one's own.

python examples/recipes/own_parts.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import common
import numpy as np
import numpy.typing as npt

from hapi_prune import ChannelGroup, GroupSlices, PruneCallback, register_rule
from hapi_prune.analysis.rules import free
from hapi_prune.analysis.rules.elementwise import unary


class LeastRead:
    """A filter matters as much as the layers behind it make of it."""

    name = "least_read"

    def of_group(self, group: GroupSlices) -> npt.NDArray[np.float64]:
        return group.sums(group.consumers, np.abs)


def every_other_epoch(epoch: int) -> float:
    """A schedule is a function of the epoch: the share that is gone by then."""
    return min(0.1 * (epoch // 2), 0.5)


def deep_layers_first(groups: Mapping[str, ChannelGroup], scores: Any, costs: Any) -> dict[str, float]:
    """A scope gives each group a share, relative to the others."""
    return {key: 1.0 + number for number, key in enumerate(groups)}


def main() -> None:
    args = common.arguments(__doc__)
    train, val = common.data(args)
    register_rule("my_activation", unary, flops=free)
    callback = PruneCallback(every_other_epoch, LeastRead(), target="flops", scope=deep_layers_first)
    model = common.model(args)
    model.fit(train, val, epochs=args.epochs, batch_size=64, callbacks=[callback], verbose=0)
    print({layer: now for layer, (_, now) in callback.history[-1].widths.items()})


if __name__ == "__main__":
    main()
