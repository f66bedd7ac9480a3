"""Less usual wiring, and what only the verification can see."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from structures import Chain, conv, conv_bn, pooled, structure

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
