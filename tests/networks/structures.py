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


@structure("a:3 b")
class RollAndFlip(Chain):
    def middle(self, x):
        return paddle.flip(paddle.roll(x, 1, axis=1), axis=[1]) + x.roll([1, 2], axis=[2, 3])


@structure("a b")
class ShuffleByReshape(Chain):
    """Channel shuffle in two groups, written out, and used by a group convolution."""

    def __init__(self) -> None:
        super().__init__(8)
        self.b = conv(8, 8, groups=2)
        self.head = nn.Linear(8, 5)

    def middle(self, x):
        n, c, h, w = x.shape
        return x.reshape([n, 2, c // 2, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w])


@structure("a b")
class ShuffleByOperator(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.b = conv(8, 8, groups=2)
        self.head = nn.Linear(8, 5)

    def middle(self, x):
        return F.channel_shuffle(x, 2)


# Kinds of convolution


@structure("a mid b")
class Depthwise(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.mid = nn.Sequential(conv(8, 8, groups=8), nn.BatchNorm2D(8))


@structure("a mid:8 b")
class DepthwiseTwice(Chain):
    """Each channel makes two."""

    def __init__(self) -> None:
        super().__init__(8, 16)
        self.mid = conv(8, 16, groups=8)


@structure("a mid b")
class GroupConvolution(Chain):
    def __init__(self) -> None:
        super().__init__(8, 12)
        self.mid = conv_bn(8, 12, groups=2)


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


@structure("a b", inputs=[2, 3, 16])
class Convolution1D(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv1D(3, 8, 3), nn.BatchNorm1D(8), nn.Conv1D(8, 6, 3)
        self.head = nn.Linear(6 * 12, 5)

    def forward(self, x):
        return self.head(F.relu(self.b(F.relu(self.norm(self.a(x))))).flatten(1))


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


@structure("a b", {"up": "one of several results"})
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

    def forward(self, x):
        x = F.relu(F.conv2d(self.a(x), self.weight, self.bias, padding=1))
        return F.linear(F.relu(F.linear(pooled(self.b(x)), self.first)), self.second)


# Gates, masks and per-channel numbers


@structure("a squeeze excite b")
class SqueezeExcite(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.squeeze, self.excite = conv(8, 4, 1), conv(4, 8, 1)

    def middle(self, x):
        gate = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(gate))))


@structure("a excite b")
class SqueezeExciteLinear(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)

    def middle(self, x):
        gate = F.sigmoid(self.excite(F.relu(self.squeeze(x.mean([2, 3])))))
        return x * gate.unsqueeze([2, 3])


@structure("a b")
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


@structure("a mlp.2 b")
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


@structure("a b c d e")
class StridesAndPaddings(nn.Layer):
    """Every way to place a window, at sizes that the program computes."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2D(3, 8, 3, stride=2, padding="SAME")
        self.b = nn.Conv2D(8, 6, (3, 1), padding=[1, 0, 0, 1], dilation=(2, 1))
        self.c = nn.Conv2D(6, 6, 2, padding="VALID")
        self.d = nn.Conv2DTranspose(6, 8, 3, stride=2, padding=1, output_padding=1, dilation=2)
        self.e = nn.Conv2DTranspose(8, 4, 3, stride=2, padding=1)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = F.interpolate(x, paddle.shape(x)[2:] * 2 + 1)
        x = F.max_pool2d(F.relu(self.a(x)), 3, 2, 1, ceil_mode=True)
        x = F.avg_pool2d(F.relu(self.b(x)), 2, 1, "SAME")
        x = F.pad(F.pad(F.relu(self.c(x)), [1, 0, 2, 1]), [0, 0, 0, 0, 1, 1, 0, 0])
        x = F.relu(self.e(F.relu(self.d(x)), output_size=[28, 27]))
        size = paddle.shape(x)
        x = F.adaptive_max_pool2d(x.flatten(2).unsqueeze(-1), [7, 1]).squeeze(-1).tile([1, 1, 2])
        return self.head(x.reshape([size[0], size[1], 2, -1]).expand([-1, -1, -1, 7]).mean([2, 3]))


@structure("a b c last:6")
class PaddedShortcut(nn.Layer):
    """ResNet's shortcut of type A: filters that are added to zeros stay, the others go with the shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv_bn(3, 4), conv_bn(4, 6), conv_bn(8, 6)
        self.last = conv_bn(6, 8)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        shortcut = F.pad(x, [0, 0, 2, 2, 0, 0, 0, 0])
        return self.head(pooled(self.c(F.relu(shortcut + self.last(self.b(x))))))


# Normalisation


@structure("a b", inputs=[2, 3, 12])
class BatchNorms1D(nn.Layer):
    """On [N, C, L] and on [N, C]."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1D(3, 8, 3), nn.Conv1D(8, 6, 3, padding=1)
        self.one, self.two = nn.BatchNorm1D(8), nn.BatchNorm1D(6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = F.relu(self.one(self.a(x)))
        return self.head(F.relu(self.two(F.adaptive_max_pool1d(self.b(x), 1).squeeze(-1))))


@structure("a b")
class OldBatchNorm(Chain):
    """paddle.nn.BatchNorm, with an activation of its own, and one without scale and shift."""

    def __init__(self) -> None:
        super().__init__(8)
        self.mid = nn.Sequential(nn.BatchNorm(8, act="relu"), nn.BatchNorm2D(8, weight_attr=False, bias_attr=False))


@structure("a b")
class InstanceNorms(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.mid = nn.Sequential(
            nn.InstanceNorm2D(8), nn.ReLU(), nn.InstanceNorm2D(8, weight_attr=False, bias_attr=False)
        )


@structure("a b", approximate=True)
class GroupNorms(Chain):
    """Equal channels in each group stay."""

    def __init__(self) -> None:
        super().__init__(16)
        self.mid = nn.GroupNorm(4, 16)


@structure("a b", approximate=True)
class GroupNormOfOne(Chain):
    """One group: a LayerNorm over the whole image."""

    def __init__(self) -> None:
        super().__init__(8)
        self.mid = nn.GroupNorm(1, 8)


@structure("a b", approximate=True)
class LayerNormLast(Chain):
    """Over the channels, at the end."""

    def __init__(self) -> None:
        super().__init__(8)
        self.norm = nn.LayerNorm(8)

    def middle(self, x):
        return self.norm(x.transpose([0, 2, 3, 1])).transpose([0, 3, 1, 2])


@structure("b", {"a": "fixed size"})
class LayerNormOfImage(Chain):
    """Over channels, height and width together: its size is written as [8, 8, 8]."""

    def __init__(self) -> None:
        super().__init__(8)
        self.mid = nn.LayerNorm([8, 8, 8])


@structure("a b", approximate=True)
class LayerNormByHand(Chain):
    """ConvNeXt's LayerNorm over channels in front: mean, variance, scale, shift."""

    def __init__(self) -> None:
        super().__init__(8)
        self.weight, self.bias = self.create_parameter([8]), self.create_parameter([8], is_bias=True)

    def middle(self, x):
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / paddle.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


@structure("a b", approximate=True)
class GlobalResponseNorm(Chain):
    """ConvNeXt V2's, channels last: each channel's norm, divided by the mean over the channels."""

    def __init__(self) -> None:
        super().__init__(8)
        self.gamma, self.beta = self.create_parameter([1, 1, 1, 8]), self.create_parameter([1, 1, 1, 8])

    def middle(self, x):
        x = x.transpose([0, 2, 3, 1])
        size = paddle.norm(x, p="fro", axis=[1, 2], keepdim=True)
        x = self.gamma * (x * (size / (size.mean(axis=-1, keepdim=True) + 1e-6))) + self.beta + x
        return x.transpose([0, 3, 1, 2])


@structure("a b", approximate=True)
class LocalResponseNorms(Chain):
    """Each channel is divided by its neighbours'."""

    def __init__(self) -> None:
        super().__init__(8)
        self.mid = nn.LocalResponseNorm(3)


@structure("a b")
class Normalised(Chain):
    """F.normalize over the channels, and statistics of each channel."""

    def middle(self, x):
        x = F.normalize(x, axis=1)
        return x * x.std([2, 3], keepdim=True) + x.var([2, 3], keepdim=True)


@structure("a mid b")
class WeightNorm(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.mid = nn.utils.weight_norm(conv(8, 8))


@structure("mid b", {"a": "a place in a kernel"})
class SpectralNorm(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.mid = nn.utils.spectral_norm(conv(8, 8))


@structure("a mid b", approximate=True)
class WeightStandardised(Chain):
    """A convolution that standardises its weight at each call."""

    class Mid(nn.Conv2D):
        def forward(self, x):
            weight = self.weight - self.weight.mean([1, 2, 3], keepdim=True)
            return F.conv2d(x, weight / (weight.std([1, 2, 3], keepdim=True) + 1e-5), self.bias, padding=1)

    def __init__(self) -> None:
        super().__init__(8)
        self.mid = self.Mid(8, 8, 3, padding=1)


# Activations


@structure("a b c")
class PReLUs(nn.Layer):
    """One slope for all, and one for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(8, 6), conv(6, 4)
        self.one, self.each = nn.PReLU(1), nn.PReLU(6)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(pooled(self.c(self.each(self.b(self.one(self.a(x)))))))


@structure("a b")
class GatedLinearUnit(Chain):
    def __init__(self) -> None:
        super().__init__(16, 8)

        self.mid = nn.GLU(axis=1)


@structure("a b")
class MaxOut(Chain):
    def __init__(self) -> None:
        super().__init__(16, 8)
        self.mid = nn.Maxout(2)


@structure("a b c")
class PooledChannels(Chain):
    """Means and maxima of each few channels in a row: the channels are places along an axis of their own."""

    def __init__(self) -> None:
        super().__init__(16, 12)
        self.c = conv(16, 12)

    def middle(self, x):
        deep = x.unsqueeze(1)
        one = F.avg_pool3d(deep, (2, 1, 1), (2, 1, 1)).squeeze(1)
        two = F.max_pool3d(self.c(x).unsqueeze(1), (3, 3, 3), (3, 1, 1), (0, 1, 1)).squeeze(1)
        return paddle.concat([one, two], axis=1)


@structure("a b")
class PooledChannelsLast(Chain):
    """The same over rows of channels, and as ``AvgPool1D`` does it; each channel's place by itself."""

    def __init__(self) -> None:
        super().__init__(16, 4)
        self.pool = nn.AvgPool1D(2, ceil_mode=True)

    def middle(self, x):
        n, _, h, w = x.shape
        x = F.max_pool2d(x.transpose([0, 2, 3, 1]), (1, 2), (1, 2))
        x = self.pool(x.flatten(1, 2)).reshape([n, h, w, -1])
        return F.avg_pool2d(x, (2, 1), (1, 1)).transpose([0, 3, 1, 2])


@structure("b", dict.fromkeys("acdef", "a place in an image"))
class PooledNeighbours(Chain):
    """Windows that overlap, are padded, leave channels out, are as many as written, or say where they found it."""

    def __init__(self) -> None:
        super().__init__(8, 7 + 5 + 2 + 1 + 8)
        self.c, self.d, self.e, self.f = (conv(3, 8) for _ in range(4))

    def forward(self, x):
        a, c, d, e, f = (layer(x).unsqueeze(1) for layer in (self.a, self.c, self.d, self.e, self.f))
        overlap, padded = F.avg_pool3d(a, (2, 1, 1), (1, 1, 1)), F.avg_pool3d(c, (2, 1, 1), (2, 1, 1), (1, 0, 0))
        short, adaptive = F.max_pool3d(d, (3, 1, 1), (3, 1, 1)), F.adaptive_avg_pool3d(e, (1, 8, 8))
        value, where = F.max_pool3d(f, (2, 1, 1), (2, 1, 1), return_mask=True)
        found = [overlap, padded, short, adaptive, value, where.astype("float32")]
        return self.head(pooled(self.b(paddle.concat(found, axis=2).squeeze(1))))


@structure("a b")
class MaxOutByHand(Chain):
    """The larger of two halves, as in LightCNN; and the largest of a pair."""

    def __init__(self) -> None:
        super().__init__(16, 4)

    def middle(self, x):
        one, two = paddle.split(x, 2, axis=1)
        x = paddle.maximum(one, two)
        n, c, h, w = x.shape
        return x.reshape([n, c // 2, 2, h, w]).max(axis=2)


@structure("a b", approximate=True)
class ChannelSoftmax(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.mid = nn.Softmax(axis=1)


@structure("a b", approximate=True)
class ChannelLogSoftmax(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.mid = nn.LogSoftmax(axis=1)


@structure("a b", approximate=True)
class ChannelSoftmax2D(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.mid = nn.Softmax2D()


def with_activation(name: str) -> type[nn.Layer]:
    """A network around an activation of ``paddle.nn``."""

    class Activation(Chain):
        def __init__(self) -> None:
            super().__init__(8)
            self.mid = getattr(nn, name)()

    Activation.__name__ = f"Activation{name}"
    return Activation


ELEMENTWISE = [
    "CELU",
    "ELU",
    "GELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "ReLU",
    "ReLU6",
    "RReLU",
    "SELU",
    "Sigmoid",
    "Silu",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Swish",
    "Tanh",
    "Tanhshrink",
    "ThresholdedReLU",
]
OVER_CHANNELS = {"GLU": "GatedLinearUnit", "Maxout": "MaxOut", "PReLU": "PReLUs", "Softmax": "ChannelSoftmax"}
OVER_CHANNELS |= {"LogSoftmax": "ChannelLogSoftmax", "Softmax2D": "ChannelSoftmax2D"}

for _name in ELEMENTWISE:
    structure("a b", random=_name == "RReLU")(with_activation(_name))


# How networks are written


@structure("a shared b")
class CalledTwice(Chain):
    """One layer, used twice in a row: its inputs are its outputs."""

    def __init__(self) -> None:
        super().__init__(8)
        self.shared = conv_bn(8, 8)

    def middle(self, x):
        return self.shared(self.shared(x))


@structure("a b shared")
class CalledInTwoPlaces(nn.Layer):
    """One layer behind two others: these shrink together."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.shared = conv(3, 8), conv(3, 8), conv(8, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        one, two = self.shared(F.relu(self.a(x))), self.shared(F.sigmoid(self.b(x)))
        return self.head(pooled(one * two))


@structure("a mid b")
class TiedWeights(Chain):
    """Two layers with one weight, and biases of their own."""

    def __init__(self) -> None:
        super().__init__(8)
        self.mid, self.other = conv(8, 8), conv(8, 8)
        self.other.weight = self.mid.weight

    def middle(self, x):
        return self.other(F.relu(self.mid(x)))


@structure("a weight b")
class TiedTransposed(Chain):
    """A Linear and its transpose, as in an autoencoder with one weight."""

    def __init__(self) -> None:
        super().__init__(8)
        self.weight = self.create_parameter([8, 12])

    def middle(self, x):
        x = x.transpose([0, 2, 3, 1])
        x = F.relu(paddle.matmul(x, self.weight))
        return paddle.matmul(x, self.weight, transpose_y=True).transpose([0, 3, 1, 2])


@structure("blocks.0 blocks.1 blocks.2 b")
class LayerLists(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.LayerList([conv_bn(3, 8), conv_bn(8, 8), conv_bn(8, 8)])
        self.b, self.head = conv(8, 4), nn.Linear(4, 5)

    def forward(self, x):
        x = self.blocks[0](x)
        for block in self.blocks[1:]:
            x = x + block(x)
        return self.head(pooled(self.b(x)))


@structure("a.0 a.2.0 b")
class Anonymous(nn.Layer):
    """Sequentials in Sequentials, functions in between, layers in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(
            conv(3, 8), nn.Sequential(nn.ReLU(), nn.Identity()), nn.Sequential(conv(8, 6), nn.Dropout(0.0))
        )
        self.b, self.head = conv(6, 4), nn.Linear(4, 5)
        self.plain = [self.b, F.relu, pooled, self.head]

    def forward(self, x):
        x = self.a(x)
        for step in self.plain:
            x = step(x)
        return x


@structure("a b c", inputs=[[2, 3, 8, 8], [2, 4, 8, 8]])
class SeveralInputs(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(4, 6), conv(14, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, image, depth):
        return self.head(pooled(self.c(F.relu(paddle.concat([self.a(image), self.b(depth)], axis=1)))))


@structure("a b c", inputs={"image": [2, 3, 8, 8], "depth": [2, 4, 8, 8]})
class DictInput(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(4, 8), conv(8, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, batch):
        return self.head(pooled(self.c(F.relu(self.a(batch["image"]) + self.b(batch["depth"])))))


@structure("a b c", inputs=[[[2, 3, 8, 8], [2, 3, 8, 8]]])
class ListInput(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(3, 8), conv(8, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, pair):
        one, two = pair
        return self.head(pooled(self.c(F.relu(self.a(one) + self.b(two)))))


@structure("a b", inputs={"image": [2, 3, 8, 8], "words": paddle.static.InputSpec([2, 7], "int64"), "mask": None})
class IntegerAndOptionalInputs(nn.Layer):
    """Words are looked up and gate the channels of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.a, self.b = nn.Embedding(10, 8), conv(3, 8), conv(8, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, image, words, mask=None):
        gate = self.table(words).mean(1)
        x = self.a(image) * gate.unsqueeze([2, 3])
        if mask is not None:
            x = x * mask
        return self.head(pooled(F.relu(self.b(x))))


@structure("a b", {"c": "an output"})
class NestedOutputs(nn.Layer):
    """A dict of a list of tensors, a tuple, None and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(8, 6), conv(6, 4)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = F.relu(self.b(F.relu(self.a(x))))
        return {"maps": [self.c(x), (self.head(pooled(x)),)], "nothing": None, "count": 3}


@structure("b", {"a": "an output", "c": "an output"})
class PyramidOutputs(nn.Layer):
    """What is handed out as a feature map stays."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(8, 6), conv(6, 4)

    def forward(self, x):
        a = F.relu(self.a(x))
        return a, [self.c(F.relu(self.b(a)))]


@structure("a b aux")
class TrainingHead(nn.Layer):
    """A second head, in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.aux = conv(3, 8), conv(8, 6), conv(8, 4)
        self.head, self.second = nn.Linear(6, 5), nn.Linear(4, 5)

    def forward(self, x):
        x = F.relu(self.a(x))
        out = self.head(pooled(F.relu(self.b(x))))
        if self.training:
            return out, self.second(pooled(F.relu(self.aux(x))))
        return out


@structure("a b")
class ToStatic(Chain):
    """A forward that the user has decorated."""

    @paddle.jit.to_static(full_graph=True)
    def forward(self, x):
        x = F.relu(self.a(x))
        return self.head(pooled(F.relu(self.b(x))))


@structure("a b")
class ComputedRange(Chain):
    """A loop of Python's over a number that is computed from a shape: no source of it can be converted."""

    def middle(self, x):
        rows = [x[:, :, row] for row in range(paddle.shape(x)[2])]
        batch, *_ = [int(size) for size in paddle.shape(x)]
        return paddle.stack(rows, 2).reshape([batch, *paddle.shape(x).numpy()[1:].tolist()])


@structure("b", {"a": "values of tensors decide"})
class ControlFlow(Chain):
    """A branch on the value of a tensor: what goes into it stays."""

    def middle(self, x):
        if x.mean() > 0:  # noqa: SIM108  # a branch is what it is about
            x = x * 2
        else:
            x = x - 1
        return x


@structure("a b")
class Loop(Chain):
    """How often it runs is the same whatever the data are."""

    def middle(self, x):
        count = paddle.zeros([1], "int32")
        while count < 2:
            x = F.relu(x) + 1
            count = count + 1
        return x


# Tokens


def tokens(x: paddle.Tensor) -> paddle.Tensor:
    """``[N, C, H, W]`` as ``[N, H W, C]``."""
    return x.flatten(2).transpose([0, 2, 1])


@structure("a channels.2 b", approximate=True)
class TokenMixer(nn.Layer):
    """MLP-Mixer's block behind a convolution: one Linear over the places, one over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 8, 2, stride=2, padding=0), conv(8, 6)
        self.norm, self.places = nn.LayerNorm(8), nn.Sequential(nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 16))
        self.channels = nn.Sequential(nn.Linear(8, 20), nn.GELU(), nn.Linear(20, 8))
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = tokens(self.a(x))
        x = x + self.places(self.norm(x).transpose([0, 2, 1])).transpose([0, 2, 1])
        x = (x + self.channels(x)).transpose([0, 2, 1]).reshape([x.shape[0], -1, 4, 4])
        return self.head(pooled(F.relu(self.b(x))))


class Attention(nn.Layer):
    """Multi-head attention as vision transformers write it, with its width kept in an attribute."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, places, width = x.shape
        qkv = self.qkv(x).reshape([n, places, 3, self.heads, width // self.heads]).transpose([2, 0, 3, 1, 4])
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = F.softmax(paddle.matmul(q, k, transpose_y=True) * self.scale, axis=-1)
        return self.proj(paddle.matmul(weights, v).transpose([0, 2, 1, 3]).reshape([n, places, width]))


@structure(
    "stem patch attention.0.qkv attention.1.qkv attention.0.proj attention.1.proj mlp.0.2 mlp.1.2", approximate=True
)
class VisionTransformer(nn.Layer):
    """A convolutional stem, a patch embedding, a class token, positions, two blocks.

    The heads' width is computed from the width of the tokens, and that of qkv's results has to be three times as
    much: they shrink together.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.patch = conv(8, 12, 2, stride=2, padding=0)
        self.token, self.places = self.create_parameter([1, 1, 12]), self.create_parameter([1, 17, 12])
        self.norms = nn.LayerList([nn.LayerNorm(12) for _ in range(4)])
        self.attention = nn.LayerList([Attention(12, 2) for _ in range(2)])
        self.mlp = nn.LayerList([nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 12)) for _ in range(2)])
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = tokens(self.patch(self.stem(x)))
        x = paddle.concat([self.token.expand([x.shape[0], -1, -1]), x], axis=1) + self.places
        for n in range(2):
            x = x + self.attention[n](self.norms[2 * n](x))
            x = x + self.mlp[n](self.norms[2 * n + 1](x))
        return self.head(x[:, 0])


@structure("a q k v out b")
class AttentionOverPlaces(Chain):
    """Non-local block: 1x1 convolutions for query, key and value, and a sum back."""

    def __init__(self) -> None:
        super().__init__(8)
        self.q, self.k, self.v, self.out = conv(8, 4, 1), conv(8, 4, 1), conv(8, 4, 1), conv(4, 8, 1)

    def middle(self, x):
        n, _, h, w = x.shape
        q, k, v = (layer(x).flatten(2) for layer in (self.q, self.k, self.v))
        weights = F.softmax(paddle.bmm(q.transpose([0, 2, 1]), k), axis=-1)
        return x + self.out(paddle.bmm(v, weights.transpose([0, 2, 1])).reshape([n, -1, h, w]))


@structure(
    "b",
    {"a": "does not run at other sizes", "qkv": "does not run at other sizes", "proj": "does not run at other sizes"},
)
class DotProductAttention(Chain):
    """F.scaled_dot_product_attention on a convolution's channels: its scale is computed from the width."""

    def __init__(self) -> None:
        super().__init__(8)
        self.qkv, self.proj = conv(8, 24, 1), conv(8, 8, 1)

    def middle(self, x):
        n, c, h, w = x.shape
        q, k, v = self.qkv(x).flatten(2).transpose([0, 2, 1]).reshape([n, h * w, 3, 2, c // 2]).unbind(2)
        out = F.scaled_dot_product_attention(q, k, v).flatten(2).transpose([0, 2, 1]).reshape([n, c, h, w])
        return x + self.proj(out)


@structure("a attention.out_proj b")
class MultiHead(Chain):
    """paddle.nn.MultiHeadAttention keeps its width in attributes."""

    def __init__(self) -> None:
        super().__init__(8)
        self.attention = nn.MultiHeadAttention(8, 2)

    def middle(self, x):
        y = self.attention(tokens(x))
        return x + y.transpose([0, 2, 1]).reshape(x.shape)


@structure("a b")
class Einsum(Chain):
    """A 1x1 convolution and a bilinear form, written as einsums."""

    def __init__(self) -> None:
        super().__init__(8)
        self.weight = self.create_parameter([8, 8])

    def middle(self, x):
        y = paddle.einsum("nchw,dc->ndhw", x, self.weight)
        places = paddle.einsum("nchw,nckl->nhwkl", x, y)
        return y + paddle.einsum("nhwkl,nckl->nchw", places, x) * 0.01


# Recurrent layers


@structure("a b", inputs=[2, 1, 8, 16])
class ConvRecurrent(nn.Layer):
    """CRNN: convolutions, height folded into the channels, width as time, two directions, two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(1, 8), conv_bn(8, 6)
        self.pool = nn.MaxPool2D(2)
        self.rnn = nn.LSTM(6 * 2, 7, num_layers=2, direction="bidirect")
        self.head = nn.Linear(14, 5)

    def forward(self, x):
        x = self.pool(self.b(self.pool(self.a(x))))
        x = x.flatten(1, 2).transpose([0, 2, 1])
        return self.head(self.rnn(x)[0])


@structure("a b", inputs=[2, 1, 8, 16])
class GatedRecurrent(nn.Layer):
    """A GRU over the width, time first, and a plain RNN over its results."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(1, 8), conv_bn(8, 6)
        self.gru, self.rnn = nn.GRU(6, 7, time_major=True), nn.SimpleRNN(7, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.b(self.a(x)).mean(2).transpose([2, 0, 1])
        return self.head(self.rnn(self.gru(x)[0].transpose([1, 0, 2]))[0][:, -1])


@structure("a", {"b": "step in time"}, inputs=[2, 1, 8, 16])
class ChannelsAsTime(nn.Layer):
    """The channels are the steps in time."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(1, 8), conv_bn(8, 6)
        self.rnn, self.head = nn.LSTM(8, 7), nn.Linear(7, 5)

    def forward(self, x):
        return self.head(self.rnn(self.b(self.a(x)).mean(3))[0][:, -1])


@structure("a", {"b": "values of tensors decide"}, inputs=[2, 1, 8, 16])
class CellByCell(nn.Layer):
    """paddle.nn.RNN around a cell is a loop in the program."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(1, 8), conv_bn(8, 6)
        self.rnn, self.head = nn.RNN(nn.GRUCell(6, 7)), nn.Linear(7, 5)

    def forward(self, x):
        return self.head(self.rnn(self.b(self.a(x)).mean(2).transpose([0, 2, 1]))[0].mean(1))


# Picking, writing, sorting


@structure("b", {"a": "which the code names"})
class PickedChannels(Chain):
    """A fixed permutation of the channels."""

    def middle(self, x):
        order = paddle.to_tensor([3, 1, 0, 2, 7, 6, 5, 4])
        return paddle.index_select(x, order, axis=1) + paddle.gather(x, order, axis=1)


@structure("b", {"a": "which the code names"})
class FancyIndex(Chain):
    def middle(self, x):
        return x[:, [3, 1, 0, 2, 7, 6, 5, 4]]


class Picking(Chain):
    """A buffer of the network says which channels are picked."""

    def __init__(self, *order: int) -> None:
        super().__init__(8, len(order))
        self.register_buffer("order", paddle.to_tensor(order))


@structure("a b")
class PermutationBuffer(Picking):
    def __init__(self) -> None:
        super().__init__(3, 1, 0, 2, 7, 6, 5, 4)

    def middle(self, x):
        return paddle.index_select(x, self.order, axis=1)


@structure("a b c")
class PermutationWritten(Picking):
    """As one writes it in Python, through a cast, and along another axis."""

    def __init__(self) -> None:
        super().__init__(2, 5, 7, 0, 6, 1, 4, 3)
        self.c = conv(8, 8)

    def middle(self, x):
        last = x.transpose([0, 2, 3, 1]).gather(self.order.astype("int32"), axis=3)
        return self.c(F.relu(x)[:, self.order]) + last.transpose([0, 3, 1, 2])


@structure("a:5 b")
class PermutationAdded(Picking):
    """DY-Shift-Max: each channel meets the one that is picked in its place, so all of a cycle stay or go.

    What is zeroed picks a zero still, or the places would not be alike in the same way.
    """

    def __init__(self) -> None:
        super().__init__(1, 2, 0, 4, 5, 3, 7, 6)

    def middle(self, x):
        x = x + F.relu(x.index_select(self.order, axis=1))
        places = x.flatten(2)
        return paddle.matmul(places, F.softmax(places.transpose([0, 2, 1]).matmul(places))).reshape(x.shape)


@structure("a:5 b")
class PickedAgain(Picking):
    """Some channels twice, one three times; picked in two places."""

    def __init__(self) -> None:
        super().__init__(4, 4, 6, 7, 1, 0, 6, 2, 2, 3, 2, 5)

    def middle(self, x):
        return x.index_select(self.order, axis=1) * F.sigmoid(x.mean([2, 3], keepdim=True))[:, self.order]


@structure("stem:8 a:16 b.0:16 dw.0:16 c:4 d", ratio=0.4)
class ShuffleByIndex(nn.Layer):
    """MicroNet: group convolution, shuffle by a buffer, group convolution; what is picked is put together of two."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = conv(3, 12), conv(12, 24, groups=2), conv_bn(24, 24, 1, groups=4)
        self.dw, self.c, self.d = conv_bn(24, 24, groups=24), conv(24, 8, groups=2), conv(20, 6)
        self.head = nn.Linear(6, 5)
        for name, groups in (("one", 2), ("two", 4), ("three", 5)):
            size = 20 if groups == 5 else 24
            self.register_buffer(name, paddle.arange(size).reshape([groups, -1]).t().flatten())

    def forward(self, x):
        stem = self.stem(x)
        x = self.b(paddle.index_select(self.a(stem), self.one, axis=1))
        x = self.c(paddle.index_select(self.dw(x), self.two, axis=1))
        x = paddle.concat([stem, F.relu(x)], axis=1).index_select(self.three, axis=1)
        return self.head(pooled(self.d(x)))


@structure("b", dict.fromkeys("acdef", "picked by its number"))
class PickedInPart(Picking):
    """Some channels are not picked, or the last; the buffer is not saved, or also counts itself, or is cut itself."""

    def __init__(self) -> None:
        super().__init__(*range(8))
        self.c, self.d, self.e, self.f = (conv(3, 8) for _ in range(4))
        self.b = conv(7 + 8 + 8 + 4 + 6, 6)
        self.register_buffer("first", paddle.to_tensor([5, 4, 3, 2, 1, 0]))
        self.register_buffer("part", paddle.to_tensor([0, 1, 2, 3, 4, 5, 7]))
        self.register_buffer("lost", paddle.to_tensor([1, 0, 3, 2, 5, 4, 7, 6]), persistable=False)
        self.register_buffer("some", paddle.arange(8))

    def forward(self, x):
        a, c, d, e = self.a(x)[:, self.part], self.c(x)[:, self.lost], self.d(x)[:, self.order], self.e(x)
        d = d * self.order.astype("float32").mean()
        e = e.index_select(self.some[:4], axis=1)
        return self.head(pooled(self.b(paddle.concat([a, c, d, e, self.f(x)[:, self.first]], axis=1))))


@structure("b", {"a": "told by its number"})
class TopChannels(Chain):
    def __init__(self) -> None:
        super().__init__(8, 3)

    def middle(self, x):
        return paddle.topk(x, 3, axis=1)[0]


@structure("a", {"b": "told by its number"})
class ClassMap(nn.Layer):
    """A segmentation network that returns the number of the best class at each place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 8), conv(8, 6)

    def forward(self, x):
        classes = self.b(F.relu(self.a(x)))
        return classes.mean([2, 3]).sum(1), classes.argmax(axis=1)


@structure("a b", approximate=True)
class CumulativeSum(Chain):
    def middle(self, x):
        return paddle.cumsum(x, axis=1) * 0.1


@structure("a b")
class WriteHalf(Chain):
    """One half of the channels is overwritten: with a number, and with the other half."""

    def middle(self, x):
        half = x.shape[1] // 2
        y = x * 1
        y[:, :half] = 0.0
        z = x * 1
        z[:, half:] = x[:, :half]
        return y + z


@structure("b", {"a": "changes output"})
class WriteTwo(Chain):
    """x[:, :2] = 0 with the 2 written into the code."""

    def middle(self, x):
        x = x * 1
        x[:, :2] = 1.0
        return x


@structure("a b")
class WherePositive(Chain):
    def middle(self, x):
        x = paddle.where(x > 0.1, x, 0.5 * x)
        return paddle.masked_fill(x, x > 1.0, 1.0)


@structure("a b")
class RepeatedChannels(Chain):
    """tile, repeat_interleave, expand over a new axis, squeeze and unsqueeze."""

    def __init__(self) -> None:
        super().__init__(8, 56)

    def middle(self, x):
        n, c, h, w = x.shape
        wide = x.unsqueeze(1).expand([n, 3, c, h, w]).reshape([n, 3 * c, h, w])
        x = paddle.concat([paddle.tile(x, [1, 2, 1, 1]), paddle.repeat_interleave(x, 2, axis=1), wide], axis=1)
        return x.unsqueeze(1).squeeze(1)


@structure("a theta c", {"b": "steers"})
class SpatialTransformer(nn.Layer):
    """grid_sample with a grid from a Linear and from a convolution; max pooling with places, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.theta, self.b, self.c = conv(3, 8), conv(8, 4), conv(4, 2), conv(8, 4)
        self.affine, self.head = nn.Linear(8, 6), nn.Linear(4, 5)

    def forward(self, x):
        x = F.relu(self.a(x))
        grid = F.affine_grid(self.affine(pooled(x)).reshape([-1, 2, 3]), x.shape)
        flow = self.b(F.relu(self.theta(x))).transpose([0, 2, 3, 1])
        x = F.grid_sample(F.grid_sample(x, grid), flow)
        small, places = F.max_pool2d(x, 2, return_mask=True)
        return self.head(pooled(self.c(F.max_unpool2d(small, places, 2))))


@structure("a b")
class UnfoldAndFold(Chain):
    """im2col, a matmul, and back."""

    def __init__(self) -> None:
        super().__init__(8)
        self.weight = self.create_parameter([32, 32])

    def middle(self, x):
        patches = F.unfold(x, 2, strides=2)
        return F.fold(paddle.matmul(self.weight, patches), [8, 8], 2, strides=2)


@structure("a b c", {"offset": "steers"})
class Deformable(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), paddle.vision.ops.DeformConv2D(8, 6, 3, padding=1), conv(6, 4)
        self.offset, self.head = conv(8, 18), nn.Linear(4, 5)

    def forward(self, x):
        x = F.relu(self.a(x))
        return self.head(pooled(self.c(F.relu(self.b(x, self.offset(x))))))


# Sizes written into the code, and sizes that are computed


@structure("b fb fa", {"a": "laid out in another way", "c": "is an output"}, approximate=True)
class TwoLayouts(nn.Layer):
    """Four channels as 2 x 2, for the largest of each row. In one of them there are fewer rows then, in the other rows
    of fewer, at the same line of the code; the labels take both for the other one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 4), conv(3, 4)
        self.fa, self.fb, self.c = conv(1, 4, 1), conv(2, 4, 1), conv(8, 3, 1)

    def largest(self, x, *shape):
        return x.reshape([x.shape[0], *shape, *x.shape[2:]]).max(2)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        a, b = self.largest(a, a.shape[1] // 2, 2)[:, :1], self.largest(b, 2, b.shape[1] // 2)
        return self.c(paddle.concat([self.fa(a), self.fb(b)], axis=1))


@structure("a c b")
class ComputedShapes(Chain):
    """paddle.shape: sizes that the program computes; dropout of whole channels does it too."""

    def __init__(self) -> None:
        super().__init__(8)
        self.drop, self.c = nn.Dropout2D(0.0), conv(8, 8)

    def middle(self, x):
        n, c, h, w = paddle.shape(x)
        x = self.drop(x).reshape([n, c, -1]).reshape([n, c, h, w])
        up = F.interpolate(x, paddle.shape(x)[2:] * 2)
        x = paddle.concat([F.max_pool2d(F.relu(self.c(up)), 2), x], axis=1)
        return paddle.split(x, 2, axis=1)[0] * paddle.ones(paddle.shape(x)[2:])


@structure("b", {"a": "does not run at other sizes"})
class WrittenReshape(Chain):
    def middle(self, x):
        return x.reshape([-1, 8, 8, 8])


@structure("a b")
class ReshapeByAnAttribute(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.width = 8

    def middle(self, x):
        return x.reshape([-1, self.width, 8, 8])


@structure("b", {"a": "does not run at other sizes"})
class WrittenSplit(Chain):
    def middle(self, x):
        one, two = paddle.split(x, [6, 2], axis=1)
        return paddle.concat([F.relu(one), two], axis=1)


@structure("b", {"a": "does not run at other sizes", "weight": "does not run at other sizes"})
class WrittenGroups(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.weight = self.create_parameter([8, 1, 3, 3])

    def middle(self, x):
        return F.conv2d(x, self.weight, groups=8, padding=1)


@structure("b", {"a": "does not run at other sizes"})
class WrittenNorm(Chain):
    """F.layer_norm with the width written down."""

    def middle(self, x):
        return F.layer_norm(x.transpose([0, 2, 3, 1]), 8).transpose([0, 3, 1, 2])


@structure("a b")
class PixelShuffleByHand(Chain):
    def __init__(self) -> None:
        super().__init__(16, 4)

    def middle(self, x):
        n, c, h, w = x.shape
        x = x.reshape([n, c // 4, 2, 2, h, w]).transpose([0, 1, 4, 2, 5, 3])
        return x.reshape([n, c // 4, h * 2, w * 2])


# Small relatives of known networks, written from the ideas of their papers


@structure("stem high.0 low.0 down fuse up high.1 low.1 b")
class HighResolution(nn.Layer):
    """HRNet: two resolutions side by side, exchanged by strided convolutions and by upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = conv_bn(3, 8), nn.Conv2D(8, 12, 3, stride=2, padding=1)
        self.high = nn.LayerList([conv_bn(8, 8), conv_bn(8, 8)])
        self.low = nn.LayerList([conv_bn(12, 12), conv_bn(12, 12)])
        self.up, self.fuse = conv(12, 8, 1), nn.Conv2D(8, 12, 3, stride=2, padding=1)
        self.b, self.head = conv(20, 6, 1), nn.Linear(6, 5)

    def forward(self, x):
        x = self.stem(x)
        high, low = self.high[0](x), self.low[0](F.relu(self.down(x)))
        up = F.interpolate(self.up(low), size=high.shape[2:], mode="bilinear")
        high, low = F.relu(high + up), F.relu(low + self.fuse(high))
        high, low = self.high[1](high) + high, self.low[1](low) + low
        low = F.interpolate(low, size=paddle.shape(high)[2:], mode="bilinear")
        return self.head(pooled(F.relu(self.b(paddle.concat([high, low], axis=1)))))


@structure("a expand convs.0 convs.1 convs.2 project")
class Res2(nn.Layer):
    """Res2Net: four parts of the channels, each convolved after the one before was added."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.expand = conv_bn(3, 8), conv_bn(8, 16, 1)
        self.convs = nn.LayerList([conv_bn(4, 4) for _ in range(3)])
        self.project, self.head = conv_bn(16, 8, 1), nn.Linear(8, 5)

    def forward(self, x):
        x = self.a(x)
        parts = paddle.split(self.expand(x), 4, axis=1)
        outs, y = [parts[0]], None
        for part, layer in zip(parts[1:], self.convs):
            y = layer(part if y is None else part + y)
            outs.append(y)
        return self.head(pooled(x + self.project(paddle.concat(outs, axis=1))))


@structure("a radix fc1 fc2 b")
class SplitAttention(nn.Layer):
    """ResNeSt: a group convolution makes two splits, a softmax over the splits weighs them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.radix = conv_bn(3, 8), conv_bn(8, 16, groups=2)
        self.fc1, self.fc2 = conv(8, 4, 1), conv(4, 16, 1)
        self.b, self.head = conv(8, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.radix(self.a(x))
        n, c, h, w = x.shape
        splits = x.reshape([n, 2, c // 2, h, w])
        gap = F.adaptive_avg_pool2d(splits.sum(1), 1)
        weights = self.fc2(F.relu(self.fc1(gap))).reshape([n, 1, 2, c // 2]).transpose([0, 2, 1, 3])
        weights = F.softmax(weights, axis=1).reshape([n, c, 1, 1])
        parts, gates = x.split(2, axis=1), weights.split(2, axis=1)
        return self.head(pooled(F.relu(self.b(parts[0] * gates[0] + parts[1] * gates[1]))))


@structure("a branches.0 branches.1 squeeze fcs.0 fcs.1 b")
class SelectiveKernel(nn.Layer):
    """SKNet: two branches, stacked, weighed by a softmax over the stack."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.branches = conv_bn(3, 8), nn.LayerList([conv_bn(8, 8), conv_bn(8, 8, 5)])
        self.squeeze, self.fcs = conv(8, 4, 1), nn.LayerList([conv(4, 8, 1), conv(4, 8, 1)])
        self.b, self.head = conv(8, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        feats = paddle.stack([branch(x) for branch in self.branches], axis=1)
        gap = F.relu(self.squeeze(F.adaptive_avg_pool2d(feats.sum(1), 1)))
        weights = F.softmax(paddle.stack([fc(gap) for fc in self.fcs], axis=1), axis=1)
        return self.head(pooled(F.relu(self.b((feats * weights).sum(1)))))


@structure("a primary cheap project b")
class Ghost(nn.Layer):
    """GhostNet: half of the features are made from the other half by a depthwise convolution, some thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.a = conv_bn(3, 8)
        self.primary, self.cheap = conv_bn(8, 8, 1), conv_bn(8, 8, groups=8)
        self.project, self.b, self.head = conv_bn(16, 8, 1), conv(8, 6), nn.Linear(6, 5)
        self.width = 16

    def forward(self, x):
        x = self.a(x)
        y = self.primary(x)
        y = paddle.concat([y, self.cheap(y)], axis=1)[:, : self.width]
        return self.head(pooled(F.relu(self.b(x + self.project(y)))))


@structure("inner.0 inner.1 b", dict.fromkeys(("a", "blocks.0", "blocks.1"), "does not run at other sizes"))
class DualPath(nn.Layer):
    """DPN: of each block's result the first 8 channels are added to the path, the others appended to it."""

    def __init__(self) -> None:
        super().__init__()
        self.a = conv_bn(3, 12)
        self.inner = nn.LayerList([conv_bn(12, 6, 1), conv_bn(16, 6, 1)])
        self.blocks = nn.LayerList([conv_bn(6, 12), conv_bn(6, 12)])
        self.b, self.head = conv(20, 6, 1), nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        keep, dense = x[:, :8], x[:, 8:]
        for inner, block in zip(self.inner, self.blocks):
            y = block(inner(paddle.concat([keep, dense], axis=1)))
            keep, dense = keep + y[:, :8], paddle.concat([dense, y[:, 8:]], axis=1)
        return self.head(pooled(F.relu(self.b(paddle.concat([keep, dense], axis=1)))))


@structure("a depthwise two b", approximate=True)
class ConvNext(nn.Layer):
    """A depthwise 7x7, LayerNorm and an MLP with the channels last, LayerScale, residual."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.depthwise = conv(3, 8, 2, stride=2, padding=0), conv(8, 8, 7, groups=8)
        self.norm, self.one, self.two = nn.LayerNorm(8, epsilon=1e-6), nn.Linear(8, 32), nn.Linear(32, 8)
        self.gamma = self.create_parameter([8], default_initializer=nn.initializer.Constant(0.5))
        self.b, self.head = conv(8, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        y = self.norm(self.depthwise(x).transpose([0, 2, 3, 1]))
        y = self.gamma * self.two(F.gelu(self.one(y)))
        return self.head(pooled(F.relu(self.b(x + y.transpose([0, 3, 1, 2])))))


@structure("a dense point b")
class RepVgg(nn.Layer):
    """3x3 + 1x1 + identity, each with its BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.a = conv_bn(3, 8)
        self.dense, self.point = conv(8, 8, bias_attr=False), conv(8, 8, 1, bias_attr=False)
        self.norms = nn.LayerList([nn.BatchNorm2D(8) for _ in range(3)])
        self.b, self.head = conv(8, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        x = F.relu(self.norms[0](self.dense(x)) + self.norms[1](self.point(x)) + self.norms[2](x))
        return self.head(pooled(F.relu(self.b(x))))


@structure("a partial expand project b")
class FasterNet(nn.Layer):
    """Partial convolution: a quarter of the channels is convolved, the rest passes by."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.partial = conv_bn(3, 16), conv(4, 4, bias_attr=False)
        self.expand, self.project = conv_bn(16, 24, 1), conv(24, 16, 1)
        self.b, self.head = conv(16, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        c = x.shape[1] // 4
        one, rest = paddle.split(x, [c, -1], axis=1)
        y = paddle.concat([self.partial(one), rest], axis=1)
        return self.head(pooled(F.relu(self.b(x + self.project(self.expand(y))))))


@structure("partial expand b", {"a": "does not run at other sizes", "project": "does not run at other sizes"})
class FasterNetWritten(nn.Layer):
    """The same with the widths of the parts kept in attributes, as it is published."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.partial, self.width = conv_bn(3, 16), conv(4, 4, bias_attr=False), 4
        self.expand, self.project = conv_bn(16, 24, 1), conv(24, 16, 1)
        self.b, self.head = conv(16, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        one, rest = paddle.split(x, [self.width, 16 - self.width], axis=1)
        y = paddle.concat([self.partial(one), rest], axis=1)
        return self.head(pooled(F.relu(self.b(x + self.project(self.expand(y))))))


@structure("a start expand middle project b")
class UniversalBottleneck(nn.Layer):
    """MobileNetV4: a depthwise convolution before, and one inside of an inverted bottleneck."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.start = conv_bn(3, 8), conv(8, 8, 5, groups=8)
        self.expand, self.middle, self.project = conv_bn(8, 16, 1), conv_bn(16, 16, groups=16), conv(16, 8, 1)
        self.scale = self.create_parameter([8, 1, 1])
        self.b, self.head = conv(8, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        x = x + self.scale * self.project(self.middle(self.expand(self.start(x))))
        return self.head(pooled(F.relu(self.b(x))))


@structure("a mlp.2 b", approximate=True)
class BlockAttention(nn.Layer):
    """CBAM: channel gates from means and maxima through one MLP, then spatial gates from the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(3, 8), conv(8, 6)
        self.mlp, self.spatial = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8)), conv(2, 1, 7)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        gate = F.sigmoid(self.mlp(x.mean([2, 3])) + self.mlp(F.adaptive_max_pool2d(x, 1).flatten(1)))
        x = x * gate.unsqueeze([2, 3])
        both = paddle.concat([x.mean(1, keepdim=True), x.max(1, keepdim=True)], axis=1)
        return self.head(pooled(F.relu(self.b(x * F.sigmoid(self.spatial(both))))))


@structure("a b", approximate=True)
class ChannelsAsPlaces(nn.Layer):
    """ECA: a Conv1D over the channels, each of which has its neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.over = conv_bn(3, 8), conv(8, 6), nn.Conv1D(1, 1, 3, padding=1, bias_attr=False)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        gate = self.over(F.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose([0, 2, 1]))
        x = x * F.sigmoid(gate.transpose([0, 2, 1]).unsqueeze(-1))
        return self.head(pooled(F.relu(self.b(x))))


@structure("a b", approximate=True)
class ChannelsAsRows(nn.Layer):
    """Triplet attention: channels change places with rows, and a wide kernel moves along them, padded before."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.over = conv_bn(3, 8), conv(8, 6), nn.Conv2D(2, 1, (5, 3), dilation=(1, 2))
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        y = x.transpose([0, 2, 1, 3])
        both = paddle.concat([y.mean(1, keepdim=True), y.max(1, keepdim=True)], axis=1)
        gate = self.over(F.pad(both, [2, 2, 2, 2]))
        return self.head(pooled(F.relu(self.b((y * F.sigmoid(gate)).transpose([0, 2, 1, 3])))))


@structure("b", {"a": "a place in an image"})
class ChannelsLeftOut(ChannelsAsPlaces):
    """Without padding the first and the last channel are the middle of no window."""

    def __init__(self) -> None:
        super().__init__()
        self.over = nn.Conv1D(1, 1, 3, bias_attr=False)
        self.b = conv(6, 6)

    def forward(self, x):
        x = self.a(x)
        gate = self.over(F.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose([0, 2, 1]))
        return self.head(pooled(F.relu(self.b(x[:, :6] * gate.transpose([0, 2, 1]).unsqueeze(-1)))))


@structure("d1 d2 bottom u2 m2 u1 m1", {"out": "an output"})
class UNet(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.d1, self.d2, self.bottom = conv_bn(3, 8), conv_bn(8, 12), conv_bn(12, 16)
        self.u2, self.m2 = nn.Conv2DTranspose(16, 12, 2, stride=2), conv_bn(24, 12)
        self.u1, self.m1 = nn.Conv2DTranspose(12, 8, 2, stride=2), conv_bn(16, 8)
        self.out = conv(8, 3, 1)

    def forward(self, x):
        one = self.d1(x)
        two = self.d2(F.max_pool2d(one, 2))
        x = self.bottom(F.max_pool2d(two, 2))
        x = self.m2(paddle.concat([two, self.u2(x)], axis=1))
        x = self.m1(paddle.concat([one, self.u1(x)], axis=1))
        return self.out(x)


@structure("c3 c4 lateral.0 lateral.1", {"smooth.0": "an output", "smooth.1": "an output"})
class FeaturePyramid(nn.Layer):
    """FPN: lateral 1x1 convolutions, sums from above, a list of maps."""

    def __init__(self) -> None:
        super().__init__()
        self.c3, self.c4 = conv_bn(3, 8, stride=2), conv_bn(8, 12, stride=2)
        self.lateral = nn.LayerList([conv(8, 8, 1), conv(12, 8, 1)])
        self.smooth = nn.LayerList([conv(8, 8), conv(8, 8)])

    def forward(self, x):
        c3 = self.c3(x)
        p4 = self.lateral[1](self.c4(c3))
        p3 = self.lateral[0](c3) + F.interpolate(p4, scale_factor=2.0, mode="nearest")
        return [self.smooth[0](p3), self.smooth[1](p4)]


@structure("a branches.0 branches.1 branches.2 image project", {"out": "an output"})
class AtrousPyramid(nn.Layer):
    """ASPP: dilated branches and the image's mean, resized to a size that the program computes."""

    def __init__(self) -> None:
        super().__init__()
        self.a = conv_bn(3, 8, stride=2)
        self.branches = nn.LayerList(
            [conv_bn(8, 6, 1), conv_bn(8, 6, padding=2, dilation=2), conv_bn(8, 6, padding=3, dilation=3)]
        )
        self.image, self.project, self.out = conv(8, 6, 1), conv_bn(24, 8, 1), conv(8, 3, 1)

    def forward(self, x):
        size = paddle.shape(x)[2:]
        x = self.a(x)
        image = F.relu(self.image(F.adaptive_avg_pool2d(x, 1)))
        parts = [branch(x) for branch in self.branches]
        parts.append(F.interpolate(image, paddle.shape(x)[2:], mode="bilinear", align_corners=True))
        x = self.out(self.project(paddle.concat(parts, axis=1)))
        return [F.interpolate(x, size, mode="bilinear", align_corners=True)]


@structure("a one two b last")
class CrossStage(nn.Layer):
    """CSPNet with a Focus stem and spatial pyramid pooling, as in YOLO."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.one, self.two = conv_bn(12, 8), conv_bn(8, 6, 1), conv_bn(8, 6, 1)
        self.b, self.last = conv_bn(6, 6), conv_bn(36, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = paddle.concat([x[:, :, ::2, ::2], x[:, :, 1::2, ::2], x[:, :, ::2, 1::2], x[:, :, 1::2, 1::2]], axis=1)
        x = self.a(x)
        one, two = self.one(x), self.two(x)
        one = one + self.b(one)
        pools = [F.max_pool2d(one, k, 1, k // 2) for k in (3, 5, 7, 9)]
        return self.head(pooled(self.last(paddle.concat([one, *pools, two], axis=1))))


@structure("a right.0.0 right.0.1 right.0.2 right.1.0 right.1.1 right.1.2 b")
class ShuffleUnits(nn.Layer):
    """ShuffleNetV2: split, one half through convolutions, concat, shuffle; twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a = conv_bn(3, 16)
        self.right = nn.LayerList(
            [nn.Sequential(conv(8, 8, 1), conv(8, 8, groups=8), conv(8, 8, 1), nn.ReLU()) for _ in range(2)]
        )
        self.b, self.head = conv(16, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        for right in self.right:
            one, two = paddle.chunk(x, 2, axis=1)
            x = paddle.concat([one, right(two)], axis=1)
            n, c, h, w = x.shape
            x = x.reshape([n, 2, c // 2, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w])
        return self.head(pooled(F.relu(self.b(x))))


@structure("a local patch proj fuse b", approximate=True)
class MobileVit(nn.Layer):
    """Convolutions, then attention over patches of pixels, then back."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.local, self.patch = conv_bn(3, 8), conv_bn(8, 8), conv(8, 12, 1)
        self.norm, self.q, self.k, self.v = nn.LayerNorm(12), *(nn.Linear(12, 8) for _ in range(3))
        self.proj, self.fuse, self.b = nn.Linear(8, 12), conv(12, 8, 1), conv(16, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        y = self.patch(self.local(x))
        n, c, h, w = y.shape
        y = y.reshape([n * c * h // 2, 2, w // 2, 2]).transpose([0, 2, 1, 3])
        y = y.reshape([n, c, h * w // 4, 4]).transpose([0, 3, 2, 1])
        z = self.norm(y)
        weights = F.softmax(paddle.matmul(self.q(z), self.k(z), transpose_y=True) * 0.35, axis=-1)
        y = (y + self.proj(paddle.matmul(weights, self.v(z)))).transpose([0, 3, 2, 1])
        y = y.reshape([n * c * h // 2, w // 2, 2, 2]).transpose([0, 2, 1, 3]).reshape([n, c, h, w])
        return self.head(pooled(F.relu(self.b(paddle.concat([x, self.fuse(y)], axis=1)))))


@structure("a proj b", approximate=True)
class WindowAttention(nn.Layer):
    """Swin's windows: shifted, cut, normalised, put together again; the heads have widths of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = conv(3, 8), nn.LayerNorm(8)
        self.q, self.k, self.v = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(8, 6)
        self.bias, self.proj = self.create_parameter([2, 16, 16]), nn.Linear(6, 8)
        self.b, self.head = conv(8, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        n, c, h, w = x.shape
        y = paddle.roll(self.norm(x.transpose([0, 2, 3, 1])), shifts=(-2, -2), axis=(1, 2))
        y = y.reshape([n, h // 4, 4, w // 4, 4, c]).transpose([0, 1, 3, 2, 4, 5]).reshape([-1, 16, c])
        q, k, v = (layer(y).reshape([-1, 16, 2, 3]).transpose([0, 2, 1, 3]) for layer in (self.q, self.k, self.v))
        weights = F.softmax(paddle.matmul(q, k, transpose_y=True) + self.bias.unsqueeze(0), axis=-1)
        y = self.proj(paddle.matmul(weights, v).transpose([0, 2, 1, 3]).reshape([-1, 16, 6]))
        y = y.reshape([n, h // 4, w // 4, 4, 4, c]).transpose([0, 1, 3, 2, 4, 5]).reshape([n, h, w, c])
        y = paddle.roll(y, shifts=(2, 2), axis=(1, 2)).transpose([0, 3, 1, 2])
        return self.head(pooled(F.relu(self.b(x + y))))


@structure("a b", approximate=True)
class ChannelGram(nn.Layer):
    """DANet's channel attention: every channel with every other."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = conv_bn(3, 8), conv(8, 6), nn.Linear(6, 5)
        self.gamma = self.create_parameter([1])

    def forward(self, x):
        x = self.a(x)
        flat = x.flatten(2)
        energy = paddle.matmul(flat, flat, transpose_y=True) * 0.01
        y = paddle.matmul(F.softmax(energy, axis=-1), flat).reshape(x.shape)
        return self.head(pooled(F.relu(self.b(self.gamma * y + x))))


class Similar(nn.Layer):
    """Places are compared by the products of two maps, summed up over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.q, self.k, self.b, self.head = (
            conv(3, 8),
            conv(8, 6, 1),
            conv(8, 6, 1),
            conv(8, 6),
            nn.Linear(6, 5),
        )

    def features(self, x):
        return x

    def similar(self, q, k):
        return (q * k).sum(axis=1, keepdim=True)

    def forward(self, x):
        x = F.relu(self.a(x))
        return self.head(pooled(F.relu(self.b(x * self.similar(self.features(self.q(x)), self.features(self.k(x)))))))


@structure("a q k b")
class SumOfProducts(Similar):
    """What goes is zero before the sum, so that the sum is the same without it."""

    def features(self, x):
        return F.gelu(F.tanh(x).pow(2) - 2 * x)


@structure("a q k b", approximate=True)
class SumOfGates(Similar):
    """Behind a sigmoid zero is one half."""

    def features(self, x):
        return F.sigmoid(x)


@structure("a q k b")
class SumOfGated(Similar):
    """The sum is of zeros again, as one of the two factors is."""

    def similar(self, q, k):
        return super().similar(F.sigmoid(q), k)


@structure("a q k b", approximate=True)
class LinearAttention(Similar):
    """Features that are positive everywhere, and a contraction over the channels: ``elu(x) + 1``."""

    def features(self, x):
        return F.elu(x) + 1

    def similar(self, q, k):
        n, _, h, w = q.shape
        weights = paddle.matmul(q.flatten(2), k.flatten(2), transpose_x=True) / 64
        return weights.sum(axis=2).reshape([n, 1, h, w])


@structure("a q k b", approximate=True)
class EinsumOfGates(Similar):
    def similar(self, q, k):
        return paddle.einsum("nchw,nchw->nhw", F.sigmoid(q), F.softplus(k)).unsqueeze(1)


@structure("a q k b")
class EinsumOfProducts(Similar):
    def similar(self, q, k):
        return paddle.einsum("nchw,nchw->nhw", F.sigmoid(q), k).unsqueeze(1)


@structure("a q k b", approximate=True)
class ShiftedByAConstant(Similar):
    """What is added to every channel is there too where a channel is zero."""

    def features(self, x):
        return paddle.maximum(x + self.shift, paddle.to_tensor(0.1)) - self.shift * 0.5

    def __init__(self) -> None:
        super().__init__()
        self.shift = self.create_parameter([1, 1, 1, 1], default_initializer=nn.initializer.Constant(0.3))


@structure("a key:1 query value b", approximate=True)
class GlobalContext(nn.Layer):
    """GCNet and OCRNet: a softmax over the places gathers a context of the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.key, self.query, self.value = conv_bn(3, 8), conv(8, 3, 1), conv(8, 6, 1), conv(6, 8, 1)
        self.b, self.head = conv(8, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        weights = F.softmax(self.key(x).flatten(2), axis=2)
        context = paddle.matmul(weights, self.query(x).flatten(2).transpose([0, 2, 1]))
        gate = self.value(context.transpose([0, 2, 1]).unsqueeze(-1).mean(2, keepdim=True))
        return self.head(pooled(F.relu(self.b(x + gate))))


@structure("b", {"a": "laid out in another way"})
class DynamicConvolution(nn.Layer):
    """CondConv: the weight is a mixture of experts, weighed by each image; the batch goes into the groups."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.route = conv_bn(3, 8), nn.Linear(8, 3)
        self.experts = self.create_parameter([3, 8 * 8 * 9])
        self.b, self.head = conv(8, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        n, c, h, w = x.shape
        weight = paddle.matmul(F.sigmoid(self.route(pooled(x))), self.experts).reshape([n * 8, c, 3, 3])
        x = F.conv2d(x.reshape([1, n * c, h, w]), weight, groups=n, padding=1).reshape([n, -1, h, w])
        return self.head(pooled(F.relu(self.b(x))))


@structure("a b", {"out": "fixed size"})
class SuperResolution(nn.Layer):
    """A global skip, weighted sums of maps, PixelShuffle to the output."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = conv(3, 8), conv(8, 8), conv(8, 12)
        self.weights = self.create_parameter([2])

    def forward(self, x):
        y = self.a(x)
        mix = F.relu(self.weights) / (F.relu(self.weights).sum() + 1e-4)
        y = mix[0] * y + mix[1] * self.b(F.relu(y))
        return F.pixel_shuffle(self.out(y), 2) + F.interpolate(x, scale_factor=2, mode="bilinear")


@structure("a expand depthwise reduce grow project b")
class InvertedResidual(nn.Layer):
    """MobileNetV3: inverted bottleneck with squeeze-and-excitation and a random drop of the branch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.expand, self.depthwise = conv_bn(3, 8), conv_bn(8, 16, 1), conv_bn(16, 16, groups=16)
        self.reduce, self.grow, self.project = conv(16, 4, 1), conv(4, 16, 1), conv_bn(16, 8, 1)
        self.b, self.head = conv(8, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.a(x)
        y = self.depthwise(self.expand(x))
        y = self.project(y * F.hardsigmoid(self.grow(F.relu(self.reduce(F.adaptive_avg_pool2d(y, 1))))))
        if self.training:
            keep = paddle.floor(1.0 + 0.0 * paddle.rand([paddle.shape(y)[0], 1, 1, 1]))
            y = y / 1.0 * keep
        return self.head(pooled(F.relu(self.b(x + y))))


# Less usual wiring


@structure("a g1:15 dw:15 g2 b")
class GroupShuffle(Chain):
    """ShuffleNetV1: grouped 1x1, shuffle in three, depthwise, grouped 1x1, beside the pooled input."""

    def __init__(self) -> None:
        super().__init__(24, 48)
        self.g1, self.g2 = conv_bn(24, 24, 1, groups=3), conv(24, 24, 1, groups=3)
        self.dw = nn.Sequential(conv(24, 24, groups=24, stride=2), nn.BatchNorm2D(24))

    def middle(self, x):
        y = self.g2(self.dw(F.channel_shuffle(self.g1(x), 3)))
        return F.relu(paddle.concat([F.avg_pool2d(x, 3, 2, 1), y], axis=1))


@structure("a g g2 b")
class ShuffleInFours(Chain):
    """Group convolutions of two and of four groups, with shuffles around."""

    def __init__(self) -> None:
        super().__init__(16, 16)
        self.g, self.g2 = conv(16, 16, groups=4), conv(16, 16, groups=2)

    def middle(self, x):
        return F.channel_shuffle(F.relu(self.g(F.channel_shuffle(self.g2(x), 2))), 4)


@structure("a a2 g:4 b")
class GroupsOfTwo(Chain):
    """Each group of a convolution reads another convolution: these shrink together."""

    def __init__(self) -> None:
        super().__init__(8, 6)
        self.a2, self.g = conv(3, 8), conv(16, 6, groups=2)

    def forward(self, x):
        return self.head(pooled(self.b(self.g(paddle.concat([F.relu(self.a(x)), self.a2(x)], axis=1)))))


@structure("a a2 c b")
class Interleaved(Chain):
    """Channels of two convolutions in turn, and halved again."""

    def __init__(self) -> None:
        super().__init__(8, 16)
        self.a2, self.c = conv(3, 8), conv(8, 8)

    def forward(self, x):
        x = paddle.stack([F.relu(self.a(x)), self.a2(x)], axis=2).flatten(1, 2)
        one, two = x.chunk(2, axis=1)
        return self.head(pooled(self.b(paddle.concat([self.c(one), two], axis=1))))


@structure("a a2 b b2")
class ConcatAndSliceBack(Chain):
    """A concat, cut again where it was put together."""

    def __init__(self) -> None:
        super().__init__(8)
        self.a2, self.b2 = conv(3, 6), conv(6, 6)

    def forward(self, x):
        a = self.a(x)
        x, c = F.relu(paddle.concat([a, self.a2(x)], axis=1)), a.shape[1]
        return self.head(pooled(self.b(x[:, :c]) + self.b2(x[:, c:])))


@structure("a b")
class SplitInSplit(Chain):
    """A quarter, a half and a quarter, in another order; then halves of a half."""

    def __init__(self) -> None:
        super().__init__(16)

    def middle(self, x):
        c = x.shape[1]
        one, two, three = paddle.split(x, [c // 4, c // 2, -1], axis=1)
        left, right = paddle.chunk(F.relu(two), 2, axis=1)
        return paddle.concat([F.relu(three), F.tanh(right), one * 2, left], axis=1)


@structure("a g b")
class ConvLstm(Chain):
    """A convolutional LSTM over two steps."""

    def __init__(self) -> None:
        super().__init__(8)
        self.g = conv(16, 32)

    def middle(self, x):
        h, c = paddle.zeros_like(x), paddle.zeros_like(x)
        for _ in range(2):
            i, f, o, g = paddle.split(self.g(paddle.concat([x, h], axis=1)), 4, axis=1)
            c = F.sigmoid(f) * c + F.sigmoid(i) * F.tanh(g)
            h = F.sigmoid(o) * F.tanh(c)
        return h


@structure("a b", {"k": "laid out in another way"})
class Involution(Chain):
    """Each place makes a kernel of its own for each of two groups of channels."""

    def __init__(self) -> None:
        super().__init__(8)
        self.k = conv(8, 18, 1)

    def middle(self, x):
        n, c, h, w = x.shape
        kernel = self.k(x).reshape([n, 2, 1, 9, h, w])
        places = F.unfold(x, 3, paddings=1).reshape([n, 2, c // 2, 9, h, w])
        return (kernel * places).sum(3).reshape([n, c, h, w])


@structure("a a2 q k v b")
class CrossAttention(Chain):
    """Query and key from two maps of different width."""

    def __init__(self) -> None:
        super().__init__(8)
        self.a2, self.q, self.k, self.v = conv(3, 10), conv(8, 6, 1), conv(10, 6, 1), conv(10, 8, 1)

    def forward(self, x):
        a, other = F.relu(self.a(x)), F.relu(self.a2(x))
        weights = F.softmax(paddle.einsum("bchw,bcij->bhwij", self.q(a), self.k(other)).flatten(3), -1)
        return self.head(pooled(self.b(a + paddle.einsum("bhwk,bck->bchw", weights, self.v(other).flatten(2)))))


@structure("a b")
class PyramidPooling(Chain):
    """Three grids of the image, flattened side by side."""

    def __init__(self) -> None:
        super().__init__(8)
        self.head = nn.Linear(6 * 21, 5)

    def forward(self, x):
        x = F.relu(self.b(self.a(x)))
        return self.head(paddle.concat([F.adaptive_max_pool2d(x, k).flatten(1) for k in (1, 2, 4)], axis=1))


@structure("a b", approximate=True)
class PatchMerging(Chain):
    """Swin's: four neighbours side by side, normalised, halved; without bias, and without scale."""

    def __init__(self) -> None:
        super().__init__(8, 16)
        self.norm, self.reduce = nn.LayerNorm(32, bias_attr=False), nn.Linear(32, 16, bias_attr=False)

    def middle(self, x):
        x = x.transpose([0, 2, 3, 1])
        parts = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        return self.reduce(self.norm(paddle.concat(parts, axis=-1))).transpose([0, 3, 1, 2])


@structure("a b")
class TemporalShift(Chain):
    """Parts of the channels move one step in time; the batch is the time."""

    def middle(self, x):
        n, c, h, w = x.shape
        y, part = x.reshape([1, n, c, h, w]), c // 4
        back = paddle.concat([y[:, 1:, :part], paddle.zeros_like(y[:, :1, :part])], axis=1)
        on = paddle.concat([paddle.zeros_like(y[:, :1, part : 2 * part]), y[:, :-1, part : 2 * part]], axis=1)
        return paddle.concat([back, on, y[:, :, 2 * part :]], axis=2).reshape([n, c, h, w])


@structure("a kernel b")
class BlurPool(Chain):
    """A fixed kernel for each channel, kept in a buffer; and the same with the channels moved into the batch."""

    def __init__(self) -> None:
        super().__init__(8)
        self.register_buffer("kernel", paddle.rand([8, 1, 3, 3]))
        self.register_buffer("one", paddle.rand([1, 1, 3, 3]))

    def middle(self, x):
        x = F.conv2d(x, self.kernel, padding=1, groups=x.shape[1])
        n, c, h, w = x.shape
        return F.conv2d(x.reshape([n * c, 1, h, w]), self.one, padding=1).reshape([n, c, h, w])


@structure("stem gen:11 red:11", {"tail": "an output"}, ratio=0.3)
class ComputedDepthwiseKernel(nn.Layer):
    """DMNet: a convolution computes a kernel for each channel of each image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gen, self.red, self.tail = conv(3, 8), conv(8, 16, 1), conv(8, 16, 1), conv(16, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        kernel, x = self.gen(F.adaptive_avg_pool2d(x, 3)), self.red(x)
        n, c, h, w = x.shape
        kernel = kernel.reshape([n * c, 1, 3, 3])
        y = F.conv2d(x.reshape([1, n * c, h, w]), weight=kernel, padding=1, groups=n * c)
        return self.tail(y.reshape([n, c, h, w]))


@structure("a gen.0 mid b")
class KernelFromDepthwise(Chain):
    """A kernel computed by a depthwise convolution, whose groups do go with its channels."""

    def __init__(self) -> None:
        super().__init__(8)
        self.gen, self.mid = conv_bn(8, 8, groups=8), nn.utils.weight_norm(conv(8, 8, groups=8))

    def middle(self, x):
        kernel = self.gen(self.mid(x))[:1, :, :3, :3].transpose([1, 0, 2, 3])
        return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


@structure("a p q r b")
class MadeWeights(Chain):
    """Weights that are put together, turned around and masked before they are used."""

    def __init__(self) -> None:
        super().__init__(8)
        self.p, self.q, self.r = (self.create_parameter([n, 8, 3, 3]) for n in (4, 6, 10))
        self.register_buffer("mask", (paddle.rand([10, 1, 1, 1]) > 0.3).astype("float32"))

    def middle(self, x):
        x = F.relu(F.conv2d(x, paddle.concat([self.p, self.q]), padding=1))
        return F.conv2d(x, (self.r * self.mask).transpose([1, 0, 2, 3]), padding=1)


@structure("a flat b")
class FlatWeight(Chain):
    """A convolution's weight, kept as a matrix."""

    def __init__(self) -> None:
        super().__init__(8, 10)
        self.flat = self.create_parameter([10, 8 * 9])

    def middle(self, x):
        return F.conv2d(x, self.flat.reshape([-1, x.shape[1], 3, 3]), padding=1)


@structure("a b", inputs=[[2, 3, 8, 8], [2, 3, 8, 8]])
class Siamese(Chain):
    """One branch for two images, compared."""

    def __init__(self) -> None:
        super().__init__(8)
        self.head = nn.Linear(18, 5)

    def forward(self, one, two):
        one, two = (pooled(self.b(F.relu(self.a(x)))) for x in (one, two))
        return self.head(paddle.concat([(one - two).abs(), one.detach(), two], axis=-1))


@structure("a b")
class Coordinates(Chain):
    """Two channels of coordinates before and behind, and the image once more."""

    def __init__(self) -> None:
        super().__init__(8, 13)

    def forward(self, x):
        n, _, h, w = x.shape
        across = paddle.linspace(-1, 1, w).reshape([1, 1, 1, w]).expand([n, 1, h, w])
        down = paddle.linspace(-1, 1, h).reshape([1, 1, h, 1]).expand([n, 1, h, w])
        return self.head(pooled(self.b(paddle.concat([across, F.relu(self.a(x)), down, x], axis=1))))


@structure("a b d")
class Decoder(Chain):
    """A vector becomes an image again."""

    def __init__(self) -> None:
        super().__init__(8)
        self.code, self.d = nn.Linear(6 * 64, 8 * 16), conv(8, 6)

    def forward(self, x):
        x = F.relu(self.code(F.relu(self.b(self.a(x))).flatten(1)))
        return self.head(pooled(self.d(x.reshape([x.shape[0], -1, 4, 4]))))


@structure("a b")
class ConvolvedAlongOneAxis(Chain):
    """A 3-D convolution whose kernel is 1 along the channels: each is seen by itself."""

    def __init__(self) -> None:
        super().__init__(8)
        self.across = nn.Conv3D(1, 1, (1, 3, 3), padding=(0, 1, 1))

    def middle(self, x):
        return x + self.across(x.unsqueeze(1)).squeeze(1)


@structure("a b")
class Widened(Chain):
    """One channel made as many as there are, by a size of the code's own; ones of the size of the image."""

    def __init__(self) -> None:
        super().__init__(8)
        self.gate = conv(8, 1, 1)

    def middle(self, x):
        n, c, h, w = x.shape
        gate = F.sigmoid(self.gate(x))
        return x * paddle.ones([n, c, h, w]) * gate.expand([n, c, h, w]) - gate.tile([1, c, 1, 1])


@structure("a", {"b": "single unit"})
class BilinearPooling(Chain):
    """Every channel times every other, flattened: no column of the Linear belongs to one channel alone."""

    def __init__(self) -> None:
        super().__init__(8)
        self.head = nn.Linear(36, 5)

    def forward(self, x):
        x = F.relu(self.b(self.a(x))).flatten(2)
        return self.head(paddle.bmm(x, x.transpose([0, 2, 1])).flatten(1))


class Twice(paddle.autograd.PyLayer):
    """A user's own operation with its own gradient."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


@structure("b", {"a": "cannot be followed"})
class OwnGradient(Chain):
    def middle(self, x):
        return Twice.apply(x)


class WholeHeads(nn.Layer):
    """Attention whose heads have a written width, and are as many as come out of it: whole heads go."""

    def __init__(self, dim=16, width=4) -> None:
        super().__init__()
        self.a, self.q, self.k, self.v = conv(3, dim), conv(dim, dim, 1), conv(dim, dim, 1), conv(dim, dim, 1)
        self.out, self.b, self.head, self.head_dim = conv(dim, dim, 1), conv(dim, 6), nn.Linear(6, 5), width
        self.scale = self.create_parameter([dim // width, 1, 1], default_initializer=nn.initializer.Constant(0.5))

    def heads(self, x):
        n, _, h, w = x.shape
        return [layer(x).reshape([n, -1, self.head_dim, h * w]) for layer in (self.q, self.k, self.v)]

    def attend(self, q, k, v):
        weights = F.softmax(paddle.matmul(q, k, transpose_x=True) * self.scale, axis=-1)
        return paddle.matmul(v, weights, transpose_y=True)

    def forward(self, x):
        x = F.relu(self.a(x))
        n, _, h, w = x.shape
        x = x + self.out(self.attend(*self.heads(x)).reshape([n, -1, h, w]))
        return self.head(pooled(F.relu(self.b(x))))


structure("a q k v out b")(WholeHeads)


@structure("a qkv out b")
class WholeHeadsOfOne(WholeHeads):
    """The same from one convolution, three parts of each head side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = conv(16, 48, 1)
        del self.q, self.k, self.v

    def heads(self, x):
        n, _, h, w = x.shape
        x = self.qkv(x).reshape([n, -1, 3 * self.head_dim, h * w])
        width = self.head_dim
        return [x[:, :, width * n : width * (n + 1)] for n in range(3)]


@structure("a qkv out b")
class LinearHeads(WholeHeadsOfOne):
    """Without a softmax: a row of ones beside the values sums up the weights, and is taken off again."""

    def attend(self, q, k, v):
        q, k, v = F.relu(q), F.relu(k), F.pad(v, [0, 0, 0, 1], value=1.0)
        out = paddle.matmul(paddle.matmul(v, k, transpose_y=True) * self.scale, q)
        return out[:, :, :-1] / (out[:, :, -1:] + 1e-3)


@structure("a qkv out b")
class LinearHeadsOfTheirNumber(LinearHeads):
    """The same with a written number of heads, which all lose as many channels."""

    def heads(self, x):
        n, c, h, w = x.shape
        return self.qkv(x).reshape([n, 4, 3 * c // 4, h * w]).chunk(3, axis=2)


@structure("a b")
class ShiftedInTime(Chain):
    """A quarter of the channels from the image before, a quarter from the one behind."""

    def middle(self, x):
        return F.relu(F.temporal_shift(x, 2, 0.25))


@structure("a b")
class RowsInALoop(Chain):
    """A loop over a number that is computed from the shape, which Paddle would make an op of."""

    def middle(self, x):
        rows = []
        for n in range(int(paddle.shape(x)[2]) // 4):
            rows.append(F.relu(x[:, :, 4 * n : 4 * n + 4]))  # noqa: PERF401  # as a loop, which can be converted
        return paddle.concat(rows, axis=2)


# Boxes


@structure("a c b", {"delta": "coordinate of a box"})
class RegionsOfInterest(nn.Layer):
    """Two maps are sampled inside of boxes that a convolution has made, one by averages and one by maxima."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.c, self.delta, self.b = conv_bn(3, 8), conv_bn(3, 6), conv(3, 4, 1), conv(14, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        boxes = F.sigmoid(self.delta(x)[:, :, 0].transpose([0, 2, 1])).reshape([-1, 4])
        boxes = paddle.concat([2 * boxes[:, :2], 4 + 3 * boxes[:, 2:]], axis=1)
        count = paddle.full([x.shape[0]], x.shape[3], dtype="int32")
        average = paddle.vision.ops.roi_align(self.a(x), boxes, count, 3)
        largest = paddle.vision.ops.roi_pool(self.c(x), boxes, count, 3)
        return self.head(pooled(F.relu(self.b(paddle.concat([average, largest], axis=1)))))


@structure("a", {"maps": "a coordinate or a score of a box"}, inputs=[[2, 3, 8, 8], [2, 2]])
class DecodedBoxes(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.maps = conv_bn(3, 8), conv(8, 2 * (5 + 3), 1)

    def forward(self, x, size):
        anchors = [10, 13, 16, 30]
        return paddle.vision.ops.yolo_box(self.maps(F.relu(self.a(x))), size.astype("int32"), anchors, 3, 0.0, 8)


# Numbers drawn at random: as many as there are channels, so that a smaller network draws others


@structure("a b", approximate=True)
class NoisyAlways(Chain):
    def middle(self, x):
        return x + 0.01 * (2 * paddle.rand(paddle.shape(x)) - 1)


@structure("a b", random=True)
class NoisyInTraining(Chain):
    """What is drawn in training alone leaves evaluation as it is."""

    def middle(self, x):
        return x + 0.01 * paddle.randn(x.shape) if self.training else x


@structure("a b", random=True)
class DroppedPlaces(Chain):
    """One number for each place of an image, drawn always: it does not depend on the channels."""

    def middle(self, x):
        n, _, h, w = x.shape
        return x * (paddle.rand([n, 1, h, w]) * 0 + 1)


@structure("a b", approximate=True)
class DroppedAlways(Chain):
    def middle(self, x):
        return F.dropout(x, 0.5, training=True)


@structure("a b", approximate=True)
class DrawnForEach(Chain):
    def middle(self, x):
        return x * paddle.bernoulli(F.sigmoid(x))


# Values as large as the code asks for


@structure("a b")
class OnesOfItsShape(Chain):
    def middle(self, x):
        n, c, h, w = paddle.shape(x)
        return x * paddle.ones((n, c, h, w)) + paddle.full([n, c, 1, 1], 2.0) * x


@structure("a mid b", approximate=True)
class Factorised(Chain):
    """Bases drawn at random, as many rows as there are channels, updated by products with the map."""

    def __init__(self) -> None:
        super().__init__(8)
        self.mid = conv(8, 6)
        self.b = conv(6, 6)

    def middle(self, x):
        x = F.relu(self.mid(x))
        n, c, h, w = paddle.shape(x)
        x = x.reshape([n, c, h * w])
        bases = F.normalize(paddle.rand((n, c, 3)), axis=1)
        coef = F.softmax(paddle.bmm(x.transpose([0, 2, 1]), bases), axis=-1)
        bases = bases * paddle.bmm(x, coef) / (bases.bmm(coef.transpose([0, 2, 1]).bmm(coef)) + 1e-6)
        return paddle.bmm(bases, coef.transpose([0, 2, 1])).reshape([n, c, h, w])


# What only the verification can see, and must see


@structure("b", {"a": "changes output"})
class ScaledByWidth(Chain):
    def middle(self, x):
        return x / x.shape[1]


@structure("b:4", {"a": "changes output"}, approximate=True)
class ScaledByWidthBehindNorm(Chain):
    """What is wrong with one group shows also where another is approximate."""

    def __init__(self) -> None:
        super().__init__(8)
        self.norm = nn.GroupNorm(2, 6)

    def forward(self, x):
        x = self.a(x)
        return self.head(pooled(self.norm(F.relu(self.b(F.tanh(x / x.shape[1]))))))


@structure("aux b", {"a": "changes output"})
class ScaledInTraining(Chain):
    """A second head, in training only, that computes with the number of channels."""

    def __init__(self) -> None:
        super().__init__(8)
        self.aux, self.second = conv(8, 4), nn.Linear(4, 5)

    def forward(self, x):
        x = self.a(x)
        out = self.head(pooled(F.relu(self.b(F.relu(x)))))
        return (out, self.second(pooled(self.aux(x / x.shape[1])))) if self.training else out


@structure("a b", approximate=True)
class LayerNormWithoutParameters(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.norm = nn.LayerNorm(8, weight_attr=False, bias_attr=False)

    def middle(self, x):
        return self.norm(x.transpose([0, 2, 3, 1])).transpose([0, 3, 1, 2])


@structure("a b")
class ReplacedBuffer(Chain):
    """A running mean of the network's own, set anew in training."""

    def __init__(self) -> None:
        super().__init__(8)
        self.register_buffer("mean", paddle.zeros([8]))

    def middle(self, x):
        if self.training:
            self.mean = (0.9 * self.mean + 0.1 * x.mean([0, 2, 3])).detach()
        return x - self.mean.reshape([1, -1, 1, 1])


class CountedShuffle(nn.Layer):
    """Half of the channels through a convolution, and all of them shuffled; their number is written into the code."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(4, 4, 1)

    def forward(self, x):
        a, b = paddle.split(x, 2, axis=1)
        x = paddle.concat([a, self.conv(b)], axis=1)
        h, w = x.shape[2:]
        return x.reshape([0, 2, 4, h, w]).transpose([0, 2, 1, 3, 4]).reshape([0, 8, h, w])


@structure("b", dict.fromkeys(["a", "first.conv", "second.conv"], "does not run at other sizes"), ratio=0.3)
class CountedShuffles(Chain):
    """A search through what couples these used to go on for ever."""

    def __init__(self) -> None:
        super().__init__(8)
        self.first, self.second = CountedShuffle(), CountedShuffle()

    def middle(self, x):
        return self.second(self.first(x))


class ComputedShuffle(nn.Layer):
    """The same around a depthwise convolution, for any number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.dw = conv(6, 6, groups=6)

    def forward(self, x):
        a, b = x.chunk(2, axis=1)
        x = paddle.concat([a, self.dw(b)], axis=1)
        n, c, h, w = x.shape
        return x.reshape([n, 2, c // 2, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w])


@structure("b", {"a": "no smaller size fits", **{f"units.{n}.dw": "no smaller size fits" for n in range(4)}}, ratio=0.3)
class TangledShuffles(Chain):
    """After four shuffles each channel is wired in a way of its own, so that each group has a single unit."""

    def __init__(self) -> None:
        super().__init__(12)
        self.units = nn.Sequential(*(ComputedShuffle() for _ in range(4)))

    def middle(self, x):
        return self.units(x)
