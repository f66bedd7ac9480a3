"""A run that may be killed at any time, and goes on where it was: start this script again and again.

python examples/recipes/go_on.py
"""

from __future__ import annotations

import os

import common

from hapi_prune import Linear, PruneCallback, resume

FOLDER = "go_on"


def main() -> None:
    args = common.arguments(__doc__)
    train, val = common.data(args)
    model, callback = common.model(args), PruneCallback(Linear(0.5, start=1, end=4), target="flops")
    done = resume(model, callback, FOLDER) if os.path.isdir(FOLDER) else 0
    print(f"{done} of {args.epochs} epochs are done.")
    model.fit(train, val, epochs=args.epochs - done, batch_size=64, save_dir=FOLDER, callbacks=[callback], verbose=0)


if __name__ == "__main__":
    main()
