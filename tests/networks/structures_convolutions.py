"""Kinds of convolution, changes of the size of the image, and the way from an image to a vector."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from structures import Chain, conv, conv_bn, pooled, structure

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
