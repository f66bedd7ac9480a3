"""As small as it gets within two points of accuracy: a cut that does not heal is taken back, and half of it tried.

python examples/recipes/accuracy_budget.py
"""

from __future__ import annotations

import common

from hapi_prune import Linear, PruneCallback


def main() -> None:
    args = common.arguments(__doc__)
    train, val = common.data(args)
    start = max(args.epochs // 2 - 1, 1)
    schedule = Linear(0.94, start=start, end=max(args.epochs - 2, start), initial=0.5)  # more than it will bear
    callback = PruneCallback(schedule, target="flops", max_drop=0.02, recalibrate=10)
    model = common.model(args)
    model.fit(train, val, epochs=args.epochs, batch_size=64, callbacks=[callback], verbose=0)
    for record in callback.history:
        print(f"epoch {(record.epoch or 0) + 1}: {record.reached:.1%}", record.taken_back or "held")


if __name__ == "__main__":
    main()
