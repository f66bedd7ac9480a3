"""The zoo: one small network for each structure that a convolutional network may hold, and what is to become of it.

Each class says in its decorator which convolutions shrink, and which stay and why: the text after the colon is a
piece of the reason that the library has to give. Every convolution of the network is named in one or the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812

IMAGE = [2, 3, 8, 8]


@dataclass(frozen=True)
class Structure:
    """A network of the zoo, and what is to become of it.

    Attributes:
        build: makes the network.
        inputs: its example input, as ``prune`` takes it.
        shrinks: the layers that shrink, and the filters left of each after a cut of `ratio` (None: the plain share).
        stays: the convolutions that do not, and a piece of the reason.
        approximate: whether channels are said to be mixed, so that removing need not be the same as zeroing.
        equal: whether it is the same all the same (by default, where the cut is not approximate).
        random: whether training draws random numbers, so that only evaluation can be compared.
        ratio: the share removed.
    """

    build: Callable[[], nn.Layer]
    inputs: Any
    shrinks: dict[str, int | None]
    stays: dict[str, str] = field(default_factory=dict)
    approximate: bool = False
    equal: bool = True
    random: bool = False
    ratio: float = 0.5


ZOO: dict[str, Structure] = {}


def structure(
    shrinks: str = "",
    stays: dict[str, str] | None = None,
    *,
    inputs: Any = None,
    approximate: bool = False,
    equal: bool | None = None,
    random: bool = False,
    ratio: float = 0.5,
) -> Callable[[type[nn.Layer]], type[nn.Layer]]:
    """Enter a network into the zoo. ``shrinks``: names, ``name:7`` where 7 filters are to be left."""
    pairs = (name.partition(":") for name in shrinks.split())
    wanted = {name: int(count) if count else None for name, _, count in pairs}

    def enter(build: type[nn.Layer]) -> type[nn.Layer]:
        same = not approximate if equal is None else equal
        ZOO[build.__name__] = Structure(build, inputs or IMAGE, wanted, stays or {}, approximate, same, random, ratio)
        return build

    return enter


def conv(inputs: int, filters: int, kernel: int = 3, **more: Any) -> nn.Conv2D:
    """A convolution that keeps the image's size."""
    more.setdefault("padding", kernel // 2)
    return nn.Conv2D(inputs, filters, kernel, **more)


def conv_bn(inputs: int, filters: int, kernel: int = 3, **more: Any) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU."""
    return nn.Sequential(conv(inputs, filters, kernel, bias_attr=False, **more), nn.BatchNorm2D(filters), nn.ReLU())


def pooled(x: paddle.Tensor) -> paddle.Tensor:
    """Each channel's mean, ``[N, C]``."""
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


class Chain(nn.Layer):
    """conv ``a`` -> `middle` -> conv ``b`` -> head: the frame around a structure that keeps the channels."""

    def __init__(self, width: int = 8, after: int | None = None) -> None:
        super().__init__()
        self.a, self.b = conv(3, width), conv(width if after is None else after, 6)
        self.head = nn.Linear(6, 5)

    def middle(self, x: paddle.Tensor) -> paddle.Tensor:
        return F.relu(self.mid(x) if hasattr(self, "mid") else x)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.head(pooled(F.relu(self.b(self.middle(self.a(x))))))
