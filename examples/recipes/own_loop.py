"""A training loop of your own: `prune` between two epochs, the optimizer carried along.

python examples/recipes/own_loop.py
"""

from __future__ import annotations

import common
import paddle
from paddle.nn.functional import cross_entropy

from hapi_prune import prune


def main() -> None:
    args = common.arguments(__doc__)
    train, val = common.data(args)
    network = common.network(args)
    optimizer = paddle.optimizer.Momentum(0.05, 0.9, parameters=network.parameters())
    loader = paddle.io.DataLoader(train, batch_size=64, shuffle=True)
    for epoch in range(args.epochs):
        if epoch == 1:  # the ratio counts from the network as it was at the first look
            print(prune(network, [1, *args.shape], 0.4, "fpgm", target="flops", optimizer=optimizer))
        network.train()
        for image, label in loader:
            cross_entropy(network(image), label).backward()
            optimizer.step()
            optimizer.clear_grad()
        network.eval()
        image, label = val[:]
        right = (network(image).argmax(axis=1) == label.squeeze(1)).astype("float32").mean()
        print(f"epoch {epoch + 1}: {float(right):.1%} right")


if __name__ == "__main__":
    main()
