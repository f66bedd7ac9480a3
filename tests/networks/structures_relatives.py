"""Small relatives of known networks, written from the ideas of their papers."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from structures import conv, conv_bn, pooled, structure


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
