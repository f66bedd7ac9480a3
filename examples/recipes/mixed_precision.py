"""Mixed precision in `fit`: master weights decide which filters go, and are cut along. On a CPU it trains in float32.

python examples/recipes/mixed_precision.py
"""

from __future__ import annotations

import common
import paddle
from paddle import nn

from hapi_prune import PruneCallback


def main() -> None:
    args = common.arguments(__doc__)
    train, val = common.data(args)
    model = paddle.Model(common.network(args), [paddle.static.InputSpec([None, *args.shape], "float32", "image")])
    optimizer = paddle.optimizer.Momentum(0.05, 0.9, parameters=model.parameters(), multi_precision=True)
    amp = {"level": "O2", "init_loss_scaling": 1024.0} if paddle.is_compiled_with_cuda() else None
    model.prepare(optimizer, nn.CrossEntropyLoss(), paddle.metric.Accuracy(), amp_configs=amp)

    callback = PruneCallback({1: 0.3, 2: 0.5}, target="flops")
    model.fit(train, val, epochs=args.epochs, batch_size=64, verbose=0, callbacks=[callback])
    kinds = sorted({str(parameter.dtype) for parameter in model.parameters()})
    print(f"{len(callback.history)} cuts; the parameters are {', '.join(kinds)}")


if __name__ == "__main__":
    main()
