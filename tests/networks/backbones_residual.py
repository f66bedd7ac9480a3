"""Residual, dense and multi-branch networks of convolutions."""

from __future__ import annotations

import paddle
from backbones import ConvBNLayer, Head, SEModule, backbone
from paddle import nn
from paddle.nn import functional as F  # noqa: N812


class BottleneckBlock(nn.Layer):
    def __init__(self, ins, mid, stride, shortcut=True, groups=1, expansion=4, vd=False, se=False) -> None:
        super().__init__()
        outs = mid * expansion
        self.conv0 = ConvBNLayer(ins, mid, 1)
        self.conv1 = ConvBNLayer(mid, mid, 3, stride, groups=groups)
        self.conv2 = ConvBNLayer(mid, outs, 1, act=None)
        self.se = SEModule(outs) if se else None
        self.vd = vd and stride > 1
        if not shortcut:
            self.short = ConvBNLayer(ins, outs, 1, 1 if self.vd else stride, act=None)
        self.shortcut = shortcut

    def forward(self, inputs):
        y = self.conv2(self.conv1(self.conv0(inputs)))
        if self.se is not None:
            y = self.se(y)
        short = inputs if self.shortcut else F.avg_pool2d(inputs, 2, 2, ceil_mode=True) if self.vd else inputs
        short = short if self.shortcut else self.short(short)
        return F.relu(paddle.add(x=short, y=y))


class Residuals(nn.Layer):
    """The frame of a ResNet: stem, blocks by name, head."""

    def build(self, ins, plan, **more):
        self.stem = ConvBNLayer(3, ins, 3)
        self.block_list = []
        for number, (mid, stride) in enumerate(plan):
            outs = mid * more.get("expansion", 4)
            block = BottleneckBlock(ins, mid, stride, shortcut=ins == outs and stride == 1, **more)
            self.block_list.append(self.add_sublayer(f"bb_{number}", block))
            ins = outs
        self.head = Head(ins)

    def forward(self, inputs):
        y = self.stem(inputs)
        for block in self.block_list:
            y = block(y)
        return self.head(y)


@backbone(12)
class ResNetVd(Residuals):
    def __init__(self) -> None:
        super().__init__()
        self.build(8, [(4, 1), (4, 1), (6, 2)], vd=True)


@backbone(13)
class SEResNeXt(Residuals):
    def __init__(self) -> None:
        super().__init__()
        self.build(8, [(8, 1), (8, 2)], groups=4, expansion=2, se=True)


@backbone(5)
class ResNetPadShortcut(nn.Layer):
    """CIFAR's ResNet with shortcuts of type A: every second place, zeros for the new channels."""

    class Block(nn.Layer):
        def __init__(self, ins, outs, stride=1) -> None:
            super().__init__()
            self.conv1, self.conv2 = ConvBNLayer(ins, outs, 3, stride), ConvBNLayer(outs, outs, 3, act=None)
            self.pad = (outs - ins) // 2

        def forward(self, x):
            y = self.conv2(self.conv1(x))
            if self.pad:
                x = F.pad(x[:, :, ::2, ::2], [0, 0, self.pad, self.pad, 0, 0, 0, 0], "constant", 0)
            return F.relu(x + y)

    def __init__(self) -> None:
        super().__init__()
        self.conv = ConvBNLayer(3, 8)
        self.layers = nn.Sequential(self.Block(8, 8), self.Block(8, 16, 2))
        self.linear = nn.Linear(16, 5)

    def forward(self, x):
        x = self.layers(self.conv(x))
        x = F.avg_pool2d(x, x.shape[3])
        return self.linear(paddle.reshape(x, [x.shape[0], -1]))


@backbone(5)
class ResNetConcatZeros(nn.Layer):
    """The same with zeros made for the purpose, put behind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.a, self.b = ConvBNLayer(3, 8), ConvBNLayer(8, 12, stride=2), ConvBNLayer(12, 16, act=None)
        self.c, self.d = ConvBNLayer(16, 12), ConvBNLayer(12, 16, act=None)
        self.head = Head(16)

    def forward(self, x):
        x = self.conv(x)
        short = F.avg_pool2d(x, 2)
        zeros = paddle.zeros([x.shape[0], 8, short.shape[2], short.shape[3]], dtype=x.dtype)
        x = F.relu(self.b(self.a(x)) + paddle.concat([short, zeros], axis=1))
        return self.head(F.relu(x + self.d(self.c(x))))


@backbone(5)
class PyramidNet(nn.Layer):
    """Widths that grow a little with each block; shortcuts padded behind with ``shape`` computed on the way."""

    class Block(nn.Layer):
        def __init__(self, ins, outs) -> None:
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2D(ins), nn.Conv2D(ins, outs, 3, padding=1, bias_attr=False)
            self.bn2, self.conv2 = nn.BatchNorm2D(outs), nn.Conv2D(outs, outs, 3, padding=1, bias_attr=False)
            self.bn3 = nn.BatchNorm2D(outs)

        def forward(self, x):
            out = self.conv1(self.bn1(x))
            out = self.bn3(self.conv2(F.relu(self.bn2(out))))
            if out.shape[1] != x.shape[1]:
                shape = [out.shape[0], out.shape[1] - x.shape[1], out.shape[2], out.shape[3]]
                x = paddle.concat((x, paddle.zeros(shape)), axis=1)
            return out + x

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = ConvBNLayer(3, 8), self.Block(8, 12), self.Block(12, 16)
        self.head = Head(16)

    def forward(self, x):
        return self.head(F.relu(self.two(self.one(self.stem(x)))))


@backbone(8)
class DPN(nn.Layer):
    """Dual path: the widths of the residual part are kept in attributes."""

    class Block(nn.Layer):
        def __init__(self, ins, mid, wide, inc, first) -> None:
            super().__init__()
            self.wide, self.first = wide, first
            if first:
                self.c1x1_w = ConvBNLayer(ins, wide + 2 * inc, 1)
            self.a, self.b = ConvBNLayer(ins, mid, 1), ConvBNLayer(mid, mid, groups=2)
            self.c = nn.Conv2D(mid, wide + inc, 1)

        def forward(self, data):
            inputs = paddle.concat([data[0], data[1]], axis=1) if isinstance(data, list) else data
            if self.first:
                data = paddle.split(self.c1x1_w(inputs), num_or_sections=[self.wide, -1], axis=1)
            out = self.c(self.b(self.a(inputs)))
            summed, dense = paddle.split(out, num_or_sections=[self.wide, out.shape[1] - self.wide], axis=1)
            return [paddle.add(data[0], summed), paddle.concat([data[1], dense], axis=1)]

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBNLayer(3, 8)
        self.blocks = nn.LayerList([self.Block(8, 8, 8, 4, True), self.Block(20, 8, 8, 4, False)])
        self.bn, self.head = nn.BatchNorm2D(24), Head(24)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(F.relu(self.bn(paddle.concat(x, axis=1))))


@backbone(13)
class Res2Net(nn.Layer):
    """Four scales, the last one passed by or pooled."""

    class Block(nn.Layer):
        def __init__(self, ins, mid, outs, stride, scales=4) -> None:
            super().__init__()
            self.scales, self.stride, width = scales, stride, mid // scales
            self.conv0 = ConvBNLayer(ins, mid, 1)
            self.conv1_list = [
                self.add_sublayer(f"res_branch2b_{s + 1}", ConvBNLayer(width, width, 3, stride))
                for s in range(scales - 1)
            ]
            self.pool2d_avg = nn.AvgPool2D(3, stride, 1)
            self.conv2, self.short = ConvBNLayer(mid, outs, 1, act=None), ConvBNLayer(ins, outs, 1, stride, act=None)

        def forward(self, inputs):
            xs = paddle.split(self.conv0(inputs), self.scales, 1)
            ys = []
            for s, conv1 in enumerate(self.conv1_list):
                if s == 0 or self.stride == 2:
                    ys.append(conv1(xs[s]))
                else:
                    ys.append(conv1(paddle.add(xs[s], ys[-1])))
            ys.append(xs[-1] if self.stride == 1 else self.pool2d_avg(xs[-1]))
            return F.relu(paddle.add(x=self.short(inputs), y=self.conv2(paddle.concat(ys, axis=1))))

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBNLayer(3, 8)
        self.blocks = nn.Sequential(self.Block(8, 16, 12, 1), self.Block(12, 16, 16, 2))
        self.head = Head(16)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


class rSoftmax(nn.Layer):  # noqa: N801  # what it is called
    def __init__(self, radix, cardinality) -> None:
        super().__init__()
        self.radix, self.cardinality = radix, cardinality

    def forward(self, x):
        cardinality, radix = self.cardinality, self.radix
        batch, r, h, w = x.shape
        if radix > 1:
            x = paddle.reshape(x, shape=[batch, cardinality, radix, int(r * h * w / cardinality / radix)])
            x = F.softmax(paddle.transpose(x, perm=[0, 2, 1, 3]), axis=1)
            return paddle.reshape(x, shape=[batch, r * h * w, 1, 1])
        return F.sigmoid(x)


@backbone(8)
class ResNeSt(nn.Layer):
    """Split attention with a radix of 2 and a cardinality of 1."""

    class Splat(nn.Layer):
        def __init__(self, ins, channels, radix=2) -> None:
            super().__init__()
            self.radix = radix
            self.conv1 = ConvBNLayer(ins, channels * radix, 3, groups=radix)
            self.avg_pool = nn.AdaptiveAvgPool2D(1)
            self.conv2, self.conv3 = ConvBNLayer(channels, 4, 1), nn.Conv2D(4, channels * radix, 1)
            self.rsoftmax = rSoftmax(radix, 1)

        def forward(self, x):
            x = self.conv1(x)
            splited = paddle.split(x, num_or_sections=self.radix, axis=1)
            gap = paddle.add_n(splited)
            atten = self.rsoftmax(self.conv3(self.conv2(self.avg_pool(gap))))
            attens = paddle.split(atten, num_or_sections=self.radix, axis=1)
            return paddle.add_n([paddle.multiply(split, att) for att, split in zip(attens, splited)])

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1, self.splat = ConvBNLayer(3, 8), ConvBNLayer(8, 8, 1), self.Splat(8, 8)
        self.conv3, self.short = ConvBNLayer(8, 16, 1, act=None), ConvBNLayer(8, 16, 1, act=None)
        self.last, self.head = ConvBNLayer(16, 8), Head(8)

    def forward(self, x):
        x = self.stem(x)
        x = F.relu(self.conv3(F.avg_pool2d(self.splat(self.conv1(x)), 3, 1, 1)) + self.short(x))
        return self.head(self.last(x))


@backbone(8)
class DenseNetBC(nn.Layer):
    """Dense block with concatenations inside of the layer, a transition, memory-efficient lists."""

    class Layer(nn.Layer):
        def __init__(self, ins, growth) -> None:
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2D(ins), nn.Conv2D(ins, 2 * growth, 1, bias_attr=False)
            self.bn2 = nn.BatchNorm(2 * growth, act="relu")
            self.conv2 = nn.Conv2D(2 * growth, growth, 3, padding=1, bias_attr=False)

        def forward(self, features):
            x = paddle.concat(features, 1) if isinstance(features, list) else features
            return F.dropout(self.conv2(self.bn2(self.conv1(F.relu(self.bn1(x))))), 0.0, training=self.training)

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBNLayer(3, 8)
        self.block = nn.LayerList([self.Layer(8 + 4 * n, 4) for n in range(3)])
        self.norm, self.transition = nn.BatchNorm2D(20), nn.Conv2D(20, 10, 1)
        self.head = Head(10)

    def forward(self, x):
        features = [self.stem(x)]
        for layer in self.block:
            features.append(layer(features))
        x = self.transition(F.relu(self.norm(paddle.concat(features, 1))))
        return self.head(F.avg_pool2d(x, 2, 2))


@backbone(9)
class VoVNetESE(nn.Layer):
    """One-shot aggregation with an effective squeeze-and-excitation."""

    class OSA(nn.Layer):
        def __init__(self, ins, mid, outs, count) -> None:
            super().__init__()
            self.layers = nn.LayerList([ConvBNLayer(ins if n == 0 else mid, mid) for n in range(count)])
            self.concat, self.fc = ConvBNLayer(ins + count * mid, outs, 1), nn.Conv2D(outs, outs, 1)
            self.identity = ins == outs

        def forward(self, x):
            output = [x]
            for layer in self.layers:
                output.append(layer(output[-1]))
            y = self.concat(paddle.concat(output, axis=1))
            y = y * F.relu6(self.fc(paddle.mean(y, axis=[2, 3], keepdim=True)) + 3.0) / 6.0
            return y + x if self.identity else y

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = ConvBNLayer(3, 8), self.OSA(8, 6, 12, 2), self.OSA(12, 6, 12, 2)
        self.head = Head(12)

    def forward(self, x):
        return self.head(self.two(F.max_pool2d(self.one(self.stem(x)), 3, 2, ceil_mode=True)))


@backbone(10)
class DLA(nn.Layer):
    """Deep layer aggregation: a tree of blocks whose roots concatenate."""

    class Basic(nn.Layer):
        def __init__(self, ins, outs, stride=1) -> None:
            super().__init__()
            self.conv1, self.conv2 = ConvBNLayer(ins, outs, 3, stride), ConvBNLayer(outs, outs, act=None)

        def forward(self, x, residual=None):
            return F.relu(self.conv2(self.conv1(x)) + (x if residual is None else residual))

    def __init__(self) -> None:
        super().__init__()
        self.base = ConvBNLayer(3, 8)
        self.tree1, self.tree2, self.project = self.Basic(8, 12, 2), self.Basic(12, 12), ConvBNLayer(8, 12, 1, act=None)
        self.root = ConvBNLayer(24 + 8, 12, 1)
        self.tree3, self.root2 = self.Basic(12, 12), ConvBNLayer(24, 16, 1)
        self.head = Head(16)

    def forward(self, x):
        x = self.base(x)
        bottom = F.max_pool2d(x, 2)
        x1 = self.tree1(x, self.project(bottom))
        x2 = self.tree2(x1)
        x = self.root(paddle.concat([x2, x1, bottom], axis=1))
        x3 = self.tree3(x, residual=x)
        return self.head(self.root2(paddle.concat([x3, x], 1)))


@backbone(6)
class HarDNet(nn.Layer):
    """Harmonic dense links: layer k sees k-1, k-2, k-4...; only the odd layers and the last are handed on."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBNLayer(3, 8)
        self.links, self.layers_, widths = [], nn.LayerList(), [8]
        for n in range(1, 5):
            link = [n - 2**i for i in range(3) if n % 2**i == 0 and n - 2**i >= 0]
            width = 4 if n % 2 else 6
            self.links.append(link)
            self.layers_.append(ConvBNLayer(sum(widths[i] for i in link), width, act="relu6"))
            widths.append(width)
        outs = sum(widths[n] for n in range(1, 5) if n % 2 or n == 4)
        self.last, self.head = ConvBNLayer(outs, 8, 1), Head(8)

    def forward(self, x):
        layers_ = [self.stem(x)]
        for link, layer in zip(self.links, self.layers_):
            tin = [layers_[i] for i in link]
            layers_.append(layer(paddle.concat(tin, axis=1) if len(tin) > 1 else tin[0]))
        t = len(layers_)
        outs = [layers_[i] for i in range(t) if i == t - 1 or i % 2 == 1]
        return self.head(self.last(paddle.concat(outs, axis=1)))
