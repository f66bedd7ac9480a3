"""Structures in which values meet: branches, gates and masks."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from structures import Chain, conv, conv_bn, pooled, structure

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
