"""A program that was written for PaddleSlim, with one import changed.

python examples/recipes/from_paddleslim.py
"""

from __future__ import annotations

import common

from hapi_prune.paddleslim import FPGMFilterPruner  # was: from paddleslim import FPGMFilterPruner


def main() -> None:
    args = common.arguments(__doc__)
    train, val = common.data(args)
    model = common.model(args)
    model.fit(train, epochs=max(args.epochs // 2, 1), batch_size=64, verbose=0)
    pruner = FPGMFilterPruner(model.network, [1, *args.shape])
    names = [parameter.name for parameter in model.network.parameters() if len(parameter.shape) == 4]
    pruner.prune_vars({names[1]: 0.5, names[3]: 0.4}, 0)
    model = common.model(args, model.network)
    model.fit(train, val, epochs=max(args.epochs // 2, 1), batch_size=64, verbose=1)


if __name__ == "__main__":
    main()
