"""Tiny images, networks and runs of ``paddle.Model.fit`` for the tests of the callback."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

SHAPE, CLASSES, BATCH = [3, 8, 8], 4, 4
CONVS = {"conv1": 8, "conv2": 12}

# Of hapi and Paddle's own layers in a plain run, with or without us; for ``pytestmark``.
HARMLESS = [
    # hapi copies the labels in this way, at the first batch of a process.
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning"),
    # BatchNorm says so at every step of training.
    pytest.mark.filterwarnings("ignore:When training, we now always track global mean and variance:UserWarning"),
    # paddle.jit.to_static runs its own full_like in a program.
    pytest.mark.filterwarnings("ignore:Tensor do not have 'place' interface for pir graph mode:UserWarning"),
]


class Images(paddle.io.Dataset):
    """Random images, the same for the same number; their labels go round."""

    def __init__(self, size: int = 16, seed: int = 0) -> None:
        self.size, self.seed = size, seed

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        draw = np.random.RandomState(1000 * self.seed + index)
        return draw.standard_normal(SHAPE).astype("float32"), np.array([index % CLASSES])


class Pairs(Images):
    """Two inputs: an image, and a number without an axis of its own."""

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        image, label = super().__getitem__(index)
        return image, np.float32(1 + index % 3), label


class Noisy(Images):
    """Augmented with the help of every random generator that there is."""

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        image, label = super().__getitem__(index)
        noise = np.float32(np.random.rand() + random.random()) + paddle.rand([1]).numpy()
        return image * noise, label


class Stream(paddle.io.IterableDataset):
    """Images one after the other; nobody knows how many."""

    def __init__(self, size: int = 8) -> None:
        self.size, self.touched = size, False

    def __iter__(self) -> Iterator[Any]:
        self.touched = True
        return iter([Images()[number] for number in range(self.size)])


class Net(nn.Layer):
    """Two convolutions that can be pruned, BatchNorm, and a Linear behind a flatten."""

    def __init__(self, drop: float = 0.0) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2D(3, 8, 3, padding=1), nn.BatchNorm2D(8)
        self.conv2 = nn.Conv2D(8, 12, 3, padding=1)
        self.relu, self.pool, self.drop = nn.ReLU(), nn.AdaptiveAvgPool2D(2), nn.Dropout(drop)
        self.fc = nn.Linear(48, CLASSES)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        features = self.relu(self.conv2(self.relu(self.bn1(self.conv1(image)))))
        return self.fc(self.drop(self.pool(features).flatten(1)))


class Scaled(Net):
    """Two inputs."""

    def forward(self, image: paddle.Tensor, scale: paddle.Tensor) -> paddle.Tensor:
        return super().forward(image) * scale.unsqueeze(-1)


class At(paddle.callbacks.Callback):
    """Calls ``function(model, number)`` at one hook; the number is that of the epoch or step, None at others."""

    def __init__(self, hook: str, function: Callable[[paddle.Model, Any], Any]) -> None:
        super().__init__()
        self.found: list[Any] = []

        def called(*args: Any) -> None:
            number = args[0] if args and not isinstance(args[0], dict) else None
            self.found.append(function(self.model, number))

        setattr(self, hook, called)


def momentum(parameters: Sequence[Any]) -> Any:
    return paddle.optimizer.Momentum(0.1, 0.9, parameters=list(parameters))


def build(
    network: Callable[[], nn.Layer] = Net,
    optimizer: Callable[[Sequence[Any]], Any] = momentum,
    *,
    spec: Any = "images",
    loss: Any = None,
    metrics: Any = "accuracy",
    **prepare: Any,
) -> paddle.Model:
    """A prepared model, the same each time, names included.

    Args:
        network: makes the network.
        optimizer: makes the optimizer, from the parameters.
        spec: InputSpecs; None for none.
        loss: None for cross entropy.
        metrics: as ``prepare`` takes them; ``"accuracy"`` for top-1.
        prepare: more arguments of ``prepare``.
    """
    paddle.seed(0)
    np.random.seed(0)
    if spec == "images":
        spec = [paddle.static.InputSpec([None, *SHAPE], "float32", "image")]
    with paddle.utils.unique_name.guard():
        model = paddle.Model(network(), spec)
        made = optimizer(model.network.parameters())
    metrics = paddle.metric.Accuracy() if metrics == "accuracy" else metrics
    model.prepare(made, loss or nn.CrossEntropyLoss(), metrics, **prepare)
    return model


def fit(model: paddle.Model, callbacks: Any = None, data: Any = None, eval_data: Any = None, **options: Any) -> None:
    """``model.fit`` without a word, on few images for few epochs."""
    options = {"batch_size": BATCH, "epochs": 3, "verbose": 0, **options}
    model.fit(Images() if data is None else data, eval_data, callbacks=callbacks, **options)


def weights(model: paddle.Model) -> dict[str, Any]:
    """Parameters and buffers, as arrays."""
    return {name: tensor.numpy().copy() for name, tensor in model.network.state_dict().items()}


def trainable(model: paddle.Model) -> dict[str, Any]:
    """The parameters that training changes, as arrays."""
    found = {name: p.numpy().copy() for name, p in model.network.named_parameters() if not p.stop_gradient}
    return dict(sorted(found.items()))


def state(model: paddle.Model) -> dict[str, Any]:
    """The optimizer's state, as arrays and numbers, without the numbers that Paddle gives to equal names."""
    found = model._optimizer.state_dict()
    found = {**found, **found.get("master_weights", {}), "master_weights": None}
    arrays = {key: value.numpy().copy() if isinstance(value, paddle.Tensor) else value for key, value in found.items()}
    return {re.sub(r"_\d+$", "", key): value for key, value in arrays.items()}


def widths(model: paddle.Model) -> dict[str, int]:
    """Filters of each convolution of `Net`."""
    return {name: getattr(model.network, name).weight.shape[0] for name in CONVS}


def same(left: Any, right: Any) -> bool:
    """Whether nested dicts, lists and arrays are equal, bit by bit."""
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return isinstance(right, (list, tuple)) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and left.shape == right.shape and left.tobytes() == right.tobytes()
    return bool(left == right)


def end(model: paddle.Model) -> dict[str, Any]:
    """What a run leaves in network and optimizer."""
    return {"weights": weights(model), "state": state(model)}


def generators() -> list[Any]:
    """The state of each random generator."""
    kind, keys, *rest = np.random.get_state()
    engines = [list(engine.__getstate__()) for engine in paddle.get_rng_state()]
    return [list(random.getstate()[1]), kind, keys, rest, engines]
