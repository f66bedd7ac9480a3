"""Half of the FLOPs, to the last filter, gradually and in one run.

python examples/recipes/flops_goal.py
"""

from __future__ import annotations

import common

from hapi_prune import Polynomial, PruneCallback


def main() -> None:
    args = common.arguments(__doc__)
    train, val = common.data(args)
    model = common.model(args)
    schedule = Polynomial(ratio=0.5, start=1, end=max(args.epochs // 2, 2))  # AGP: most of it early
    callback = PruneCallback(schedule, target="flops", recalibrate=10)
    print(callback.preview(model, epochs=args.epochs))  # before anything is trained
    model.fit(train, val, epochs=args.epochs, batch_size=64, callbacks=[callback], verbose=0)
    print(f"{callback.history[-1].reached:.1%} of the FLOPs are gone.")


if __name__ == "__main__":
    main()
