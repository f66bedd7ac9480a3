"""Less usual ideas: gates, fractals, capsules, kernels made of other kernels, and stems of several ways."""

from __future__ import annotations

import paddle
from backbones import ConvBNLayer, Head, backbone
from paddle import nn
from paddle.nn import functional as F  # noqa: N812


@backbone(7)
class SKNet(nn.Layer):
    """Selective kernels by ``paddle.split`` of one softmax over two branches."""

    def __init__(self, dim=12) -> None:
        super().__init__()
        self.stem, self.reduce = ConvBNLayer(3, 8, 3, 2), ConvBNLayer(8, dim, 1)
        self.branches = nn.LayerList([ConvBNLayer(dim, dim), ConvBNLayer(dim, dim, dilation=2)])
        self.fc, self.fcs, self.dim = nn.Conv2D(dim, 4, 1), nn.Conv2D(4, dim * 2, 1), dim
        self.last, self.head = ConvBNLayer(dim, 8), Head(8)

    def forward(self, x):
        x = self.reduce(self.stem(x))
        feats = [branch(x) for branch in self.branches]
        u = paddle.add_n(feats)
        z = self.fcs(F.relu(self.fc(u.mean(axis=[2, 3], keepdim=True))))
        z = F.softmax(z.reshape([z.shape[0], 2, -1, 1, 1]), axis=1)
        v = paddle.stack(feats, axis=1) * z
        return self.head(self.last(paddle.sum(v, axis=1)))


@backbone(6)
class Highway(nn.Layer):
    """A transform gate beside the carry gate, with a bias of its own."""

    def __init__(self, dim=8) -> None:
        super().__init__()
        self.stem = ConvBNLayer(3, dim, 3, 2)
        self.h, self.t = nn.LayerList([ConvBNLayer(dim, dim) for _ in "ab"]), nn.LayerList()
        for _ in "ab":
            self.t.append(nn.Conv2D(dim, dim, 3, padding=1, bias_attr=nn.initializer.Constant(-1.0)))
        self.last, self.head = ConvBNLayer(dim, 12), Head(12)

    def forward(self, x):
        x = self.stem(x)
        for h, t in zip(self.h, self.t):
            gate = F.sigmoid(t(x))
            x = h(x) * gate + x * (1.0 - gate)
        return self.head(self.last(x))


@backbone(6)
class FractalNet(nn.Layer):
    """Paths of several lengths, joined by their mean; drop path written for lists."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBNLayer(3, 8, 3, 2)
        self.short, self.a, self.b = ConvBNLayer(8, 12), ConvBNLayer(8, 12), ConvBNLayer(12, 12)
        self.c, self.last, self.head = ConvBNLayer(12, 12), ConvBNLayer(12, 8), Head(8)

    def forward(self, x):
        x = self.stem(x)
        y = paddle.stack([self.short(x), self.b(self.a(x))]).mean(axis=0)
        y = paddle.mean(paddle.stack([y, self.c(y)], axis=0), axis=0)
        return self.head(self.last(y))


@backbone(4)
class DiracNet(nn.Layer):
    """An identity kernel as a buffer, scaled per filter and added to a normalised weight."""

    class DiracConv(nn.Conv2D):
        def __init__(self, dim) -> None:
            super().__init__(dim, dim, 3, padding=1, bias_attr=False)
            eye = paddle.eye(dim).reshape([dim, dim, 1, 1])
            self.register_buffer("delta", F.pad(eye, [1, 1, 1, 1]))
            self.alpha = self.create_parameter([dim], default_initializer=nn.initializer.Constant(1.0))
            self.beta = self.create_parameter([dim], default_initializer=nn.initializer.Constant(0.1))

        def forward(self, x):
            weight = self.alpha.reshape([-1, 1, 1, 1]) * self.delta + self.beta.reshape([-1, 1, 1, 1]) * self.weight
            return F.conv2d(x, weight, padding=1)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = ConvBNLayer(3, 8, 3, 2), self.DiracConv(8), self.DiracConv(8)
        self.last, self.head = ConvBNLayer(8, 12), Head(12)

    def forward(self, x):
        x = F.relu(self.two(F.relu(self.one(self.stem(x)))))
        return self.head(self.last(x))


@backbone(3)
class Capsules(nn.Layer):
    """Primary capsules by reshape, squashed, sent on by an einsum with a weight for each pair."""

    def __init__(self, capsules=4, size=4, classes=5) -> None:
        super().__init__()
        self.stem, self.mid, self.size = ConvBNLayer(3, 8, 3, 4), ConvBNLayer(8, 12), size
        self.primary = nn.Conv2D(12, capsules * size, 3, stride=4, padding=1)
        self.route = self.create_parameter([capsules * 4, classes, size, 6])

    def forward(self, x):
        x = self.primary(self.mid(self.stem(x)))
        u = x.reshape([x.shape[0], -1, self.size, 4]).transpose([0, 1, 3, 2]).flatten(1, 2)
        norm = (u**2).sum(axis=-1, keepdim=True)
        u = u * norm / (1 + norm) / paddle.sqrt(norm + 1e-8)
        votes = paddle.einsum("nis,ijsd->njd", u, self.route)
        return paddle.sqrt((votes**2).sum(-1) + 1e-8)


@backbone(10)
class PeleeNet(nn.Layer):
    """A stem of two ways, dense layers of two ways, a transition without compression."""

    def __init__(self) -> None:
        super().__init__()
        self.stem1, self.stem2a, self.stem2b = ConvBNLayer(3, 8, 3, 2), ConvBNLayer(8, 4, 1), ConvBNLayer(4, 8, 3, 2)
        self.stem3 = ConvBNLayer(16, 8, 1)
        self.a1, self.a2, self.b1 = ConvBNLayer(8, 8, 1), ConvBNLayer(8, 4), ConvBNLayer(8, 8, 1)
        self.b2, self.b3, self.trans, self.head = ConvBNLayer(8, 4), ConvBNLayer(4, 4), ConvBNLayer(16, 16, 1), Head(16)

    def forward(self, x):
        x = self.stem1(x)
        x = self.stem3(paddle.concat([self.stem2b(self.stem2a(x)), F.max_pool2d(x, 2, 2)], 1))
        x = paddle.concat([x, self.a2(self.a1(x)), self.b3(self.b2(self.b1(x)))], axis=1)
        return self.head(F.avg_pool2d(self.trans(x), 2, 2))


@backbone(9)
class HGNet(nn.Layer):
    """PP-HGNet: convolutions concatenated, aggregated, squeezed; learnable affine scale and shift of one number."""

    class LAB(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.scale = self.create_parameter([1], default_initializer=nn.initializer.Constant(1.0))
            self.bias = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.1))

        def forward(self, x):
            return self.scale * x + self.bias

    def __init__(self) -> None:
        super().__init__()
        self.stem1, self.stem2a, self.stem2b = ConvBNLayer(3, 8, 3, 2), ConvBNLayer(8, 4, 2), ConvBNLayer(4, 8, 2)
        self.stem3, self.pool, self.lab = (
            ConvBNLayer(16, 8, 3, 2),
            nn.MaxPool2D(2, 1, ceil_mode=True, padding="SAME"),
            self.LAB(),
        )
        self.layers = nn.LayerList([ConvBNLayer(8, 8), ConvBNLayer(8, 8)])
        self.squeeze, self.excite, self.head = ConvBNLayer(24, 8, 1), ConvBNLayer(8, 12, 1), Head(12)
        self.short = nn.Conv2D(8, 12, 1)

    def forward(self, x):
        x = self.stem1(x)
        x = F.pad(x, [0, 1, 0, 1])
        y = F.pad(self.stem2a(x), [0, 1, 0, 1])
        y = self.stem2b(y)
        x = F.max_pool2d(x, kernel_size=2, stride=1)
        x = self.stem3(
            paddle.concat([x[:, :, : y.shape[2], : y.shape[3]], y[:, :, : x.shape[2], : x.shape[3]]], axis=1)
        )
        output = [x]
        for layer in self.layers:
            output.append(self.lab(layer(output[-1])))
        return self.head(self.excite(self.squeeze(paddle.concat(output, axis=1))) + self.short(x))


@backbone(7)
class RepLKNet(nn.Layer):
    """A large depthwise kernel beside a small one, an identity, a feed-forward of 1x1 convolutions with GELU."""

    def __init__(self, dim=8) -> None:
        super().__init__()
        self.stem, self.pre, self.pw1 = ConvBNLayer(3, dim, 3, 4), nn.BatchNorm2D(dim), ConvBNLayer(dim, dim, 1)
        self.lkb, self.small = (
            ConvBNLayer(dim, dim, 13, groups=dim, act=None),
            ConvBNLayer(dim, dim, 5, groups=dim, act=None),
        )
        self.pw2, self.ffn1, self.ffn2 = (
            ConvBNLayer(dim, dim, 1, act=None),
            ConvBNLayer(dim, 16, 1, act="gelu"),
            ConvBNLayer(16, dim, 1, act=None),
        )
        self.head = Head(dim)

    def forward(self, x):
        x = self.stem(x)
        y = self.pw1(self.pre(x))
        x = x + self.pw2(F.relu(self.lkb(y) + self.small(y)))
        return self.head(x + self.ffn2(self.ffn1(x)))


@backbone(7)
class Xception(nn.Layer):
    """Depthwise separable convolutions, activations in front, a strided shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBNLayer(3, 8, 3, 2)
        self.dw1, self.pw1, self.bn1 = nn.Conv2D(8, 8, 3, 1, 1, groups=8), nn.Conv2D(8, 12, 1), nn.BatchNorm2D(12)
        self.dw2, self.pw2, self.bn2 = nn.Conv2D(12, 12, 3, 1, 1, groups=12), nn.Conv2D(12, 12, 1), nn.BatchNorm2D(12)
        self.skip, self.last, self.fc = ConvBNLayer(8, 12, 1, 2, act=None), ConvBNLayer(12, 16), nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x)
        y = self.bn1(self.pw1(self.dw1(F.relu(x))))
        y = F.max_pool2d(self.bn2(self.pw2(self.dw2(F.relu(y)))), 3, 2, 1)
        x = self.last(y + self.skip(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).squeeze(3).squeeze(2))


@backbone(6)
class MaxFeatureMap(nn.Layer):
    """LightCNN: the larger half of the channels at each place; fully connected layers on the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2a, self.conv2 = (
            nn.Conv2D(3, 16, 5, 2, 2),
            nn.Conv2D(8, 16, 1),
            nn.Conv2D(8, 24, 3, padding=1),
        )
        self.res1, self.res2, self.conv3 = (
            nn.Conv2D(12, 24, 3, padding=1),
            nn.Conv2D(12, 24, 3, padding=1),
            nn.Conv2D(12, 16, 1),
        )
        self.fc1, self.fc2 = nn.Linear(8 * 16, 12), nn.Linear(6, 5)

    def mfm(self, x):
        one, two = paddle.split(x, 2, axis=1)
        return paddle.maximum(one, two)

    def forward(self, x):
        x = F.max_pool2d(self.mfm(self.conv1(x)), 2, 2)
        x = self.mfm(self.conv2(self.mfm(self.conv2a(x))))
        x = x + self.mfm(self.res2(self.mfm(self.res1(x))))
        x = self.mfm(self.conv3(F.max_pool2d(x, 2, 2) + F.avg_pool2d(x, 2, 2)))
        x = paddle.flatten(x, start_axis=1)
        return self.fc2(self.mfm(self.fc1(x)))
