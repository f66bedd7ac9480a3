"""Normalisations and activations."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from structures import Chain, conv, pooled, structure

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
