"""The PaddleSlim tutorial as one run: MobileNetV1 on CIFAR-10, trained, pruned and fine-tuned by one `fit`.

    python examples/cifar10_mobilenet_v1.py --samples 5000 --epochs 6

By default the tutorial's two layers are cut, half-way through the training: `conv2d_22.w_0` by 0.5 and
`conv2d_20.w_0` by 0.6, which takes the network from 12,817,920 FLOPs to 11,067,556.
"""

from __future__ import annotations

import argparse

import numpy as np
import paddle
import paddle.vision.transforms as T  # noqa: N812 - as in the tutorial
from paddle.io import Subset
from paddle.static import InputSpec
from paddle.vision.datasets import Cifar10

from hapi_prune import PruneCallback

# Paddle numbers parameters as they are made, so these names are right for the first network of the process.
TUTORIAL = {"conv2d_22.w_0": 0.5, "conv2d_20.w_0": 0.6}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="MobileNetV1 on CIFAR-10: train, prune and fine-tune in one run.")
    parser.add_argument("--data-file", help="cifar-10-python.tar.gz; without it, Paddle downloads one")
    parser.add_argument("--epochs", type=int, default=10, help="the cut comes half-way (default: %(default)s)")
    parser.add_argument("--samples", type=int, help="train on the first N images, test on N/5 (default: all)")
    parser.add_argument("--batch-size", type=int, default=128, help="(default: %(default)s)")
    parser.add_argument("--ratio", type=float, help="remove this share of every layer, not only of the tutorial's two")
    parser.add_argument("--criterion", default="l1_norm", help="l1_norm, l2_norm or fpgm (default: %(default)s)")
    parser.add_argument("--log-dir", default="output/cifar10", help="for VisualDL (default: %(default)s)")
    return parser.parse_args()


def images(mode: str, data_file: str | None, samples: int | None) -> paddle.io.Dataset:
    """The first ``samples`` images of the training or the test set, scaled to [-1, 1]."""
    transform = T.Compose([T.Transpose(), T.Normalize([127.5], [127.5])])
    dataset = Cifar10(data_file=data_file, mode=mode, transform=transform, backend="pil")
    return Subset(dataset, range(min(samples or len(dataset), len(dataset))))


def main() -> None:
    args = arguments()
    paddle.seed(0)
    np.random.seed(0)  # shuffles
    train = images("train", args.data_file, args.samples)
    val = images("test", args.data_file, args.samples and max(1, args.samples // 5))

    inputs = [InputSpec([None, 3, 32, 32], "float32", name="image")]
    labels = [InputSpec([None, 1], "int64", name="label")]
    model = paddle.Model(paddle.vision.models.mobilenet_v1(pretrained=False), inputs, labels)
    rate = paddle.optimizer.lr.CosineAnnealingDecay(0.05, T_max=args.epochs * -(-len(train) // args.batch_size))
    optimizer = paddle.optimizer.Momentum(rate, parameters=model.parameters())
    model.prepare(optimizer, paddle.nn.CrossEntropyLoss(), paddle.metric.Accuracy(topk=(1, 5)))

    schedule = {args.epochs // 2: TUTORIAL if args.ratio is None else args.ratio}
    callback = PruneCallback(schedule, criterion=args.criterion, log_dir=args.log_dir)
    model.fit(train, val, epochs=args.epochs, batch_size=args.batch_size, callbacks=[callback], verbose=1)

    print(f"The curves: visualdl --logdir {args.log_dir}")


if __name__ == "__main__":
    main()
