"""Small relatives of known backbones and heads, in the words of Paddle's model repositories.

Each is written from the idea of its paper, as small as its structure allows, and says in its decorator how many
convolutions shrink at a ratio of one half, and which ones stay and why: the text after the colon is a piece of the
reason that the library has to give. `backbones_*.py` hold the networks, this file what they have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import ParamAttr, nn
from paddle.nn import functional as F  # noqa: N812
from paddle.nn.initializer import Constant, KaimingNormal, Normal, TruncatedNormal

IMAGE = [2, 3, 32, 32]
WRITTEN = "does not run at other sizes"
OUTPUT = "an output"


@dataclass(frozen=True)
class Backbone:
    """A network, and what is to become of it.

    Attributes:
        build: makes the network.
        shrinks: how many of its convolutions shrink at a ratio of one half.
        stays: the others by name (a glob), and a piece of the reason.
        inputs: its example input, as ``prune`` takes it.
        random: whether training draws random numbers.
    """

    build: Callable[[], nn.Layer]
    shrinks: int
    stays: dict[str, str]
    inputs: Any
    random: bool = False


BACKBONES: dict[str, Backbone] = {}


def backbone(
    shrinks: int, stays: dict[str, str] | None = None, *, inputs: Any = None, random: bool = False
) -> Callable[[type[nn.Layer]], type[nn.Layer]]:
    """Enter a network."""

    def enter(build: type[nn.Layer]) -> type[nn.Layer]:
        assert build.__name__ not in BACKBONES
        BACKBONES[build.__name__] = Backbone(build, shrinks, stays or {}, inputs or IMAGE, random)
        return build

    return enter


class ConvBNLayer(nn.Layer):
    """Convolution, BatchNorm and an activation, with names for the parameters."""

    def __init__(self, ins, outs, kernel=3, stride=1, groups=1, act="relu", name=None, dilation=1) -> None:
        super().__init__()
        self.conv = nn.Conv2D(
            ins,
            outs,
            kernel,
            stride=stride,
            padding=(kernel - 1) // 2 * dilation,
            dilation=dilation,
            groups=groups,
            weight_attr=ParamAttr(initializer=KaimingNormal(), name=name and f"{name}_weights"),
            bias_attr=False,
        )
        self.bn = nn.BatchNorm2D(
            outs,
            weight_attr=ParamAttr(initializer=Constant(1.0), name=name and f"{name}_bn_scale"),
            bias_attr=ParamAttr(initializer=Constant(0.0), name=name and f"{name}_bn_offset"),
        )
        self.act = getattr(F, act) if act else None

    def forward(self, x):
        x = self.bn(self.conv(x))
        return self.act(x) if self.act else x


class SEModule(nn.Layer):
    """Squeeze and excitation with 1x1 convolutions."""

    def __init__(self, channel, reduction=4) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.conv1 = nn.Conv2D(channel, channel // reduction, 1)
        self.conv2 = nn.Conv2D(channel // reduction, channel, 1)

    def forward(self, inputs):
        x = self.avg_pool(inputs)
        x = F.hardsigmoid(self.conv2(F.relu(self.conv1(x))), slope=0.2, offset=0.5)
        return paddle.multiply(x=inputs, y=x)


class Head(nn.Layer):
    """Global pooling and a Linear."""

    def __init__(self, ins, classes=5) -> None:
        super().__init__()
        self.pool, self.flatten = nn.AdaptiveAvgPool2D(1), nn.Flatten(start_axis=1)
        self.fc = nn.Linear(ins, classes, weight_attr=ParamAttr(initializer=Normal(0.0, 0.1)))

    def forward(self, x):
        return self.fc(self.flatten(self.pool(x)))


class DropPath(nn.Layer):
    """Stochastic depth per sample."""

    def __init__(self, drop_prob=0.1) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        if self.drop_prob == 0.0 or not self.training:
            return x
        keep = paddle.to_tensor(1 - self.drop_prob, dtype=x.dtype)
        shape = (paddle.shape(x)[0],) + (1,) * (x.ndim - 1)
        mask = paddle.floor(keep + paddle.rand(shape).astype(x.dtype))
        return x.divide(keep) * mask


class Mlp(nn.Layer):
    """Two Linears."""

    def __init__(self, dim, hidden, act=nn.GELU, drop=0.0) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2, self.drop = (
            nn.Linear(dim, hidden),
            act(),
            nn.Linear(hidden, dim),
            nn.Dropout(drop),
        )

    def forward(self, x):
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


trunc_normal_ = TruncatedNormal(std=0.02)
zeros_, ones_ = Constant(0.0), Constant(1.0)
