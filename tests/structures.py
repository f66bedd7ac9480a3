"""The zoo: one small network for each structure that a convolutional network may hold, and what is to become of it.

Each class says in its decorator which convolutions shrink, and which stay and why: the text after the colon is a
piece of the reason that the library has to give. Every convolution of the network is named in one or the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

IMAGE = [2, 3, 8, 8]


@dataclass(frozen=True)
class Structure:
    """A network of the zoo, and what is to become of it.

    Attributes:
        build: makes the network.
        inputs: its example input, as ``prune`` takes it.
        shrinks: the layers that shrink, and the filters left of each after a cut of `ratio` (None: the plain share).
        stays: the convolutions that do not, and a piece of the reason.
        approximate: whether channels are mixed, so that removing is not the same as zeroing.
        ratio: the share removed.
    """

    build: Callable[[], nn.Layer]
    inputs: Any
    shrinks: dict[str, int | None]
    stays: dict[str, str] = field(default_factory=dict)
    approximate: bool = False
    ratio: float = 0.5


ZOO: dict[str, Structure] = {}


def structure(
    shrinks: str = "",
    stays: dict[str, str] | None = None,
    *,
    inputs: Any = None,
    approximate: bool = False,
    ratio: float = 0.5,
) -> Callable[[type[nn.Layer]], type[nn.Layer]]:
    """Enter a network into the zoo. ``shrinks``: names, ``name:7`` where 7 filters are to be left."""
    pairs = (name.partition(":") for name in shrinks.split())
    wanted = {name: int(count) if count else None for name, _, count in pairs}

    def enter(build: type[nn.Layer]) -> type[nn.Layer]:
        ZOO[build.__name__] = Structure(build, inputs or IMAGE, wanted, stays or {}, approximate, ratio)
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
        return F.relu(x)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.head(pooled(F.relu(self.b(self.middle(self.a(x))))))


# Branches that meet


@structure("stem a b c")
class Residual(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.c = conv_bn(3, 8), conv_bn(8, 6), conv_bn(6, 8), conv_bn(8, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.stem(x)
        x = F.relu(x + self.b(self.a(x)))
        return self.head(pooled(self.c(x)))


@structure("a b c d")
class NestedConcat(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv_bn(3, 8), conv_bn(8, 6), conv_bn(14, 4)
        self.d = conv(18 + 8, 6, 1)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        a = self.a(x)
        one = paddle.concat([a, self.b(a)], axis=1)
        two = paddle.concat([one, self.c(one)], axis=1)
        return self.head(pooled(F.relu(self.d(paddle.concat([two, a], axis=1)))))


@structure("a b")
class ConcatWithItself(Chain):
    def __init__(self) -> None:
        super().__init__(8, 16)

    def middle(self, x):
        return paddle.concat([x, F.relu(x)], axis=1)


@structure("a b c")
class SplitAndConcat(nn.Layer):
    """The two halves of a split go different ways."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv_bn(3, 16), conv_bn(8, 8), conv(16, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        left, right = paddle.split(self.a(x), 2, axis=1)
        return self.head(pooled(self.c(paddle.concat([self.b(left), right], axis=1))))


@structure("a b")
class ChunkAndSwap(Chain):
    def middle(self, x):
        one, two = paddle.chunk(x, 2, axis=1)
        return paddle.concat([F.relu(two), one], axis=1)


@structure("a b")
class SliceAndBack(Chain):
    def middle(self, x):
        half = x.shape[1] // 2
        return paddle.concat([F.relu(x[:, :half]), F.sigmoid(x[:, half:])], axis=1)


@structure("a b")
class StridedSliceAndBack(Chain):
    """Even and odd channels go different ways."""

    def middle(self, x):
        return paddle.concat([F.relu(x[:, ::2]), F.tanh(x[:, 1::2])], axis=1)


@structure("a b")
class SplitAndAdd(Chain):
    def __init__(self) -> None:
        super().__init__(8, 4)

    def middle(self, x):
        one, two = x.split(2, axis=1)
        return one + two


@structure("a b")
class UnbindAndStack(Chain):
    """[N, 2, C / 2, H, W], taken apart and put together the other way round."""

    def middle(self, x):
        n, c, h, w = x.shape
        one, two = paddle.unbind(x.reshape([n, 2, c // 2, h, w]), axis=1)
        return paddle.stack([two, one], axis=2).flatten(1, 2)


@structure("a b")
class RollAndFlip(Chain):
    def middle(self, x):
        return paddle.flip(paddle.roll(x, 1, axis=1), axis=[1]) + x.roll([1, 2], axis=[2, 3])


@structure("a b", ratio=0.25)
class ShuffleByReshape(Chain):
    """Channel shuffle in two groups, written out, and used by a group convolution."""

    def __init__(self) -> None:
        super().__init__(8)
        self.b = conv(8, 8, groups=2)
        self.head = nn.Linear(8, 5)

    def middle(self, x):
        n, c, h, w = x.shape
        return x.reshape([n, 2, c // 2, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w])


@structure("a b", ratio=0.25)
class ShuffleByOperator(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.b = conv(8, 8, groups=2)
        self.head = nn.Linear(8, 5)

    def middle(self, x):
        return F.channel_shuffle(x, 2) + x


# Kinds of convolution


@structure("a middle b")
class Depthwise(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.middle = nn.Sequential(conv(8, 8, groups=8), nn.BatchNorm2D(8))


@structure("a middle:8 b")
class DepthwiseTwice(Chain):
    """Each channel makes two."""

    def __init__(self) -> None:
        super().__init__(8, 16)
        self.middle = conv(8, 16, groups=8)


@structure("a middle b")
class GroupConvolution(Chain):
    def __init__(self) -> None:
        super().__init__(8, 12)
        self.middle = conv_bn(8, 12, groups=2)


@structure("a b c")
class GroupResidual(nn.Layer):
    """ResNeXt's block: 1x1, grouped 3x3, 1x1 and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv_bn(3, 8), conv_bn(8, 8, groups=4), conv_bn(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.a(x)
        return self.head(pooled(F.relu(x + self.c(self.b(x)))))


@structure("a b")
class Convolution1D(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv1D(3, 8, 3), nn.BatchNorm1D(8), nn.Conv1D(8, 6, 3)
        self.head = nn.Linear(6 * 12, 5)

    def forward(self, x):
        return self.head(F.relu(self.b(F.relu(self.norm(self.a(x))))).flatten(1))


ZOO["Convolution1D"] = Structure(Convolution1D, [2, 3, 16], {"a": None, "b": None})


@structure("a b", inputs=[2, 3, 4, 6, 6])
class Convolution3D(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv3D(3, 8, 3, padding=1), nn.BatchNorm3D(8), nn.Conv3D(8, 6, 3)
        self.pool = nn.MaxPool3D(2)
        self.head = nn.Linear(6 * 4, 5)

    def forward(self, x):
        return self.head(self.pool(F.relu(self.b(F.relu(self.norm(self.a(x)))))).flatten(1))


@structure("a up b")
class Transposed(Chain):
    def __init__(self) -> None:
        super().__init__(8, 6)
        self.up, self.norm = nn.Conv2DTranspose(8, 6, 2, stride=2), nn.BatchNorm2D(6)

    def middle(self, x):
        return F.relu(self.norm(self.up(x)))


@structure("a up b")
class TransposedInGroups(Chain):
    def __init__(self) -> None:
        super().__init__(8, 12)
        self.up = nn.Conv2DTranspose(8, 12, 4, stride=2, padding=1, groups=2)

    def middle(self, x):
        return F.relu(self.up(x))


@structure("a b")
class TransposedDepthwise(Chain):
    """Its filters are its channels: nothing of its own to shrink."""

    def __init__(self) -> None:
        super().__init__(8)
        self.up = nn.Conv2DTranspose(8, 8, 4, stride=2, padding=1, groups=8)

    def middle(self, x):
        return F.relu(self.up(x))


@structure("a b")
class TransposedDepthwiseTwice(Chain):
    """Each channel makes two."""

    def __init__(self) -> None:
        super().__init__(8, 16)
        self.up = nn.Conv2DTranspose(8, 16, 2, stride=2, groups=8)

    def middle(self, x):
        return F.relu(self.up(x))


@structure("a up b", inputs=[2, 3, 16])
class Transposed1D(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.up, self.b = nn.Conv1D(3, 8, 3), nn.Conv1DTranspose(8, 6, 2, stride=2), nn.Conv1D(6, 4, 3)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(F.relu(self.b(F.relu(self.up(self.a(x))))).mean(-1))


@structure("a up b", inputs=[2, 3, 4, 4, 4])
class Transposed3D(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv3D(3, 8, 3, padding=1), nn.Conv3D(6, 4, 3)
        self.up = nn.Conv3DTranspose(8, 6, 2, stride=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(F.relu(self.b(F.relu(self.up(self.a(x))))).mean([2, 3, 4]))


@structure("a b c", inputs=[2, 8, 8, 3])
class ChannelsLast(nn.Layer):
    """NHWC throughout."""

    def __init__(self) -> None:
        super().__init__()
        more = {"padding": 1, "data_format": "NHWC"}
        self.a, self.b = nn.Conv2D(3, 8, 3, **more), nn.Conv2D(8, 8, 3, groups=8, **more)
        self.norm, self.c = nn.BatchNorm2D(8, data_format="NHWC"), nn.Conv2D(8, 4, 1, data_format="NHWC")
        self.pool, self.slope = nn.MaxPool2D(2, data_format="NHWC"), nn.PReLU(8, data_format="NHWC")
        self.head = nn.Linear(4 * 16, 5)

    def forward(self, x):
        x = self.slope(self.norm(self.b(self.a(x))))
        return self.head(F.relu(self.c(self.pool(x))).flatten(1))


@structure("a weight b")
class FunctionalConvolution(Chain):
    """F.conv2d and F.linear with parameters of the network's own."""

    def __init__(self) -> None:
        super().__init__(8, 6)
        self.weight, self.bias = self.create_parameter([6, 8, 3, 3]), self.create_parameter([6], is_bias=True)
        self.first, self.second = self.create_parameter([6, 7]), self.create_parameter([7, 5])
        self.head = lambda x: F.linear(F.relu(F.linear(x, self.first)), self.second)

    def middle(self, x):
        return F.relu(F.conv2d(x, self.weight, self.bias, padding=1))


# Gates, masks and per-channel numbers


@structure("a squeeze excite b")
class SqueezeExcite(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.squeeze, self.excite = conv(8, 4, 1), conv(4, 8, 1)

    def middle(self, x):
        gate = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(gate))))


@structure("a b")
class SqueezeExciteLinear(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)

    def middle(self, x):
        gate = F.sigmoid(self.excite(F.relu(self.squeeze(x.mean([2, 3])))))
        return x * gate.unsqueeze([2, 3])


@structure("a b", {"gate": "single"})
class OneChannelMask(Chain):
    """A spatial mask of one channel, multiplied to all: it must not tie them together."""

    def __init__(self) -> None:
        super().__init__(8)
        self.gate = conv(8, 1)

    def middle(self, x):
        return x * F.sigmoid(self.gate(x))


@structure("a b")
class PerChannelNumbers(Chain):
    """LayerScale, a shift, and a temperature for all."""

    def __init__(self) -> None:
        super().__init__(8)
        self.gamma = self.create_parameter([8])
        self.beta = self.create_parameter([1, 8, 1, 1])
        self.tau = self.create_parameter([1])

    def middle(self, x):
        return (x * self.gamma.reshape([1, -1, 1, 1]) + self.beta) * self.tau


@structure("a b")
class BufferOfChannels(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.register_buffer("mask", paddle.rand([1, 8, 1, 1]))
        self.register_buffer("scale", paddle.rand([8]), persistable=False)

    def middle(self, x):
        return x * self.mask * self.scale.unsqueeze([1, 2])


@structure("a b")
class FrozenParameters(Chain):
    """What is not trained shrinks all the same."""

    def __init__(self) -> None:
        super().__init__(8)
        self.norm = nn.BatchNorm2D(8)
        for parameter in (*self.a.parameters(), *self.norm.parameters()):
            parameter.stop_gradient = True

    def middle(self, x):
        return F.relu(self.norm(x))


# From an image to a vector


@structure("a b")
class FlattenLinear(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.hidden, self.head = nn.Linear(6 * 64, 7), nn.Linear(7, 5)

    def forward(self, x):
        return self.head(F.relu(self.hidden(paddle.flatten(F.relu(self.b(self.a(x))), 1))))


@structure("a b")
class ReshapeLinear(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.head = nn.Linear(6 * 64, 5)

    def forward(self, x):
        x = F.relu(self.b(self.a(x)))
        return self.head(x.reshape([x.shape[0], -1]))


@structure("a b")
class MeanLinear(Chain):
    def forward(self, x):
        return self.head(F.relu(self.b(self.a(x))).mean([2, 3]))


@structure("a b")
class MeanAndMax(Chain):
    """Two ways of pooling, side by side."""

    def __init__(self) -> None:
        super().__init__(8)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = F.relu(self.b(self.a(x)))
        return self.head(paddle.concat([x.mean([2, 3]), x.amax([2, 3])], axis=-1))


@structure("a b")
class ChannelsLastLinear(Chain):
    """NCHW -> NHWC -> Linear on every place -> back."""

    def __init__(self) -> None:
        super().__init__(8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def middle(self, x):
        return x + self.mlp(x.transpose([0, 2, 3, 1])).transpose([0, 3, 1, 2])


# Sizes of the image


@structure("a b c")
class PixelShuffles(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 16), conv(4, 6), conv(24, 4)
        self.up, self.down = nn.PixelShuffle(2), nn.PixelUnshuffle(2)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = F.relu(self.b(self.up(F.relu(self.a(x)))))
        return self.head(pooled(F.relu(self.c(self.down(x)))))


@structure("a b")
class Interpolations(Chain):
    def middle(self, x):
        up = F.interpolate(x, scale_factor=2, mode="nearest") + F.interpolate(x, size=[16, 16], mode="bilinear")
        return F.interpolate(up, size=[8, 8], mode="bicubic") + F.upsample(x, [8, 8], mode="area")


@structure("a b")
class SpatialPads(Chain):
    def middle(self, x):
        x = F.pad(x, [1, 2, 0, 1], mode="reflect") + F.pad(x, [1, 2, 0, 1], value=0.5)
        return F.pad(nn.ZeroPad2D([0, 1, 1, 0])(x), [1, 1, 1, 1], mode="replicate")


@structure("b c", {"a": "fixed size"})
class PaddedShortcut(nn.Layer):
    """ResNet's shortcut of type A: what is added to a channel of zeros is tied to nothing that could go."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv_bn(3, 4), conv_bn(4, 6), conv_bn(8, 6)
        self.last = conv_bn(6, 8)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        shortcut = F.pad(x, [0, 0, 0, 0, 2, 2], mode="constant", data_format="NCHW") if False else paddle.concat(
            [paddle.zeros_like(x[:, :2]), x, paddle.zeros_like(x[:, :2])], axis=1
        )
        return self.head(pooled(self.c(F.relu(shortcut + self.last(self.b(x))))))
