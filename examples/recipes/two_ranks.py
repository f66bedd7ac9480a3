"""Two processes train and prune together.

python -m paddle.distributed.launch --nproc_per_node=2 --backend=gloo examples/recipes/two_ranks.py
"""

from __future__ import annotations

import common
import paddle

from hapi_prune import OneShot, PruneCallback


def main() -> None:
    args = common.arguments(__doc__)
    paddle.set_device("cpu")  # leave this line out with GPUs
    paddle.distributed.init_parallel_env()
    train, val = common.data(args)
    callback = PruneCallback(OneShot(1, 0.5), target="flops")  # rank 0 decides, all ranks cut alike
    common.model(args).fit(train, val, epochs=args.epochs, batch_size=64, callbacks=[callback], verbose=0)


if __name__ == "__main__":
    main()
