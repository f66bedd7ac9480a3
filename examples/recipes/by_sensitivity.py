"""Measure what accuracy each layer costs, and prune most where it costs least.

python examples/recipes/by_sensitivity.py
"""

from __future__ import annotations

import common

from hapi_prune import BySensitivity, OneShot, PruneCallback, sensitivity


def main() -> None:
    args = common.arguments(__doc__)
    train, val = common.data(args)
    model = common.model(args)
    model.fit(train, epochs=max(args.epochs // 2, 1), batch_size=64, verbose=0)
    table = sensitivity(model, val, ratios=[0.25, 0.5, 0.75], path="sensitivity.json")  # killed? start it again
    print(table)
    callback = PruneCallback(OneShot(0, 0.5), target="flops", scope=BySensitivity(table))
    model.fit(train, val, epochs=max(args.epochs // 2, 1), batch_size=64, callbacks=[callback], verbose=0)


if __name__ == "__main__":
    main()
