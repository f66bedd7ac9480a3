"""Light networks: depthwise and partial convolutions, shuffles, gates, ghosts and re-parameterised branches."""

from __future__ import annotations

import paddle
from backbones import ConvBNLayer, DropPath, Head, SEModule, backbone
from paddle import ParamAttr, nn
from paddle.nn import functional as F  # noqa: N812
from paddle.nn.initializer import KaimingNormal
from paddle.regularizer import L2Decay


def channel_shuffle(x, groups):
    batch_size, num_channels, height, width = x.shape[0:4]
    channels_per_group = num_channels // groups
    x = paddle.reshape(x=x, shape=[batch_size, groups, channels_per_group, height, width])
    x = paddle.transpose(x=x, perm=[0, 2, 1, 3, 4])
    return paddle.reshape(x=x, shape=[batch_size, num_channels, height, width])


@backbone(7)
class MobileNetV2(nn.Layer):
    class Residual(nn.Layer):
        def __init__(self, ins, outs, stride, t) -> None:
            super().__init__()
            self.expand = ConvBNLayer(ins, ins * t, 1, act="relu6")
            self.depth = ConvBNLayer(ins * t, ins * t, 3, stride, groups=ins * t, act="relu6")
            self.linear, self.if_shortcut = ConvBNLayer(ins * t, outs, 1, act=None), ins == outs and stride == 1

        def forward(self, inputs):
            y = self.linear(self.depth(self.expand(inputs)))
            return paddle.add(inputs, y) if self.if_shortcut else y

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBNLayer(3, 8, 3, 2, act="relu6")
        self.blocks = nn.Sequential(self.Residual(8, 12, 2, 2), self.Residual(12, 12, 1, 2))
        self.out, self.pool2d_avg = nn.Linear(12, 5), nn.AdaptiveAvgPool2D(1)

    def forward(self, inputs):
        y = self.pool2d_avg(self.blocks(self.conv1(inputs)))
        return self.out(paddle.flatten(y, start_axis=1, stop_axis=-1))


@backbone(8)
class LCNet(nn.Layer):
    """PP-LCNet: depthwise separable convolutions, squeeze and excitation, a last 1x1 with hardswish and dropout."""

    class DepthwiseSeparable(nn.Layer):
        def __init__(self, ins, outs, stride, size=3, use_se=False) -> None:
            super().__init__()
            self.use_se = use_se
            self.dw_conv = ConvBNLayer(ins, ins, size, stride, groups=ins, act="hardswish")
            if use_se:
                self.se = SEModule(ins)
            self.pw_conv = ConvBNLayer(ins, outs, 1, act="hardswish")

        def forward(self, x):
            x = self.dw_conv(x)
            if self.use_se:
                x = self.se(x)
            return self.pw_conv(x)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBNLayer(3, 8, 3, 2, act="hardswish")
        self.blocks2 = nn.Sequential(self.DepthwiseSeparable(8, 12, 1), self.DepthwiseSeparable(12, 16, 2, 5, True))
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.last_conv = nn.Conv2D(16, 20, 1, bias_attr=False)
        self.hardswish, self.dropout = nn.Hardswish(), nn.Dropout(p=0.0, mode="downscale_in_infer")
        self.flatten, self.fc = nn.Flatten(start_axis=1, stop_axis=-1), nn.Linear(20, 5)

    def forward(self, x):
        x = self.avg_pool(self.blocks2(self.conv1(x)))
        return self.fc(self.flatten(self.dropout(self.hardswish(self.last_conv(x)))))


@backbone(10)
class ShuffleNetV2(nn.Layer):
    """One unit that splits and one that strides, as PaddleClas writes the shuffle."""

    class Unit(nn.Layer):
        def __init__(self, channels) -> None:
            super().__init__()
            self.pw, self.dw = ConvBNLayer(channels // 2, channels // 2, 1), ConvBNLayer(8, 8, groups=8, act=None)
            self.linear = ConvBNLayer(channels // 2, channels // 2, 1)

        def forward(self, inputs):
            x1, x2 = paddle.split(inputs, num_or_sections=[inputs.shape[1] // 2, inputs.shape[1] // 2], axis=1)
            return channel_shuffle(paddle.concat([x1, self.linear(self.dw(self.pw(x2)))], axis=1), 2)

    class Down(nn.Layer):
        def __init__(self, ins, outs) -> None:
            super().__init__()
            self.dw_1, self.linear_1 = ConvBNLayer(ins, ins, 3, 2, groups=ins, act=None), ConvBNLayer(ins, outs // 2, 1)
            self.pw_2, self.dw_2 = ConvBNLayer(ins, outs // 2, 1), ConvBNLayer(outs // 2, outs // 2, 3, 2, groups=8)
            self.linear_2 = ConvBNLayer(outs // 2, outs // 2, 1)

        def forward(self, inputs):
            x1 = self.linear_1(self.dw_1(inputs))
            x2 = self.linear_2(self.dw_2(self.pw_2(inputs)))
            return channel_shuffle(paddle.concat([x1, x2], axis=1), 2)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.pool = ConvBNLayer(3, 8, 3, 2), nn.MaxPool2D(3, 2, 1)
        self.blocks = nn.Sequential(self.Down(8, 16), self.Unit(16))
        self.last, self.head = ConvBNLayer(16, 12, 1), Head(12)

    def forward(self, x):
        return self.head(self.last(self.blocks(self.pool(self.conv1(x)))))


@backbone(7)
class ESNet(nn.Layer):
    """PP-PicoDet's backbone: split, squeeze and excitation on the concatenation, shuffle afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBNLayer(3, 16, 3, 2, act="hardswish")
        self.pw_1, self.dw_1 = ConvBNLayer(8, 8, 1), ConvBNLayer(8, 8, 3, groups=8, act=None)
        self.se, self.pw_2 = SEModule(16), ConvBNLayer(16, 8, 1)
        self.conv2, self.head = ConvBNLayer(16, 12, 1, act="hardswish"), Head(12)

    def forward(self, x):
        x = self.conv1(x)
        x1, x2 = paddle.split(x, num_or_sections=[x.shape[1] // 2, x.shape[1] // 2], axis=1)
        x2 = self.pw_1(x2)
        x3 = self.se(paddle.concat([x2, self.dw_1(x2)], axis=1))
        x = channel_shuffle(paddle.concat([x1, self.pw_2(x3)], axis=1), 2)
        return self.head(self.conv2(x))


class GhostModule(nn.Layer):
    """Half of the features are cheap; more of them than wanted are made, and cut off."""

    def __init__(self, ins, oup, relu=True, size=1) -> None:
        super().__init__()
        self.oup, init = oup, (oup + 1) // 2
        act = "relu" if relu else None
        self.primary_conv = ConvBNLayer(ins, init, size, act=act)
        self.cheap_operation = ConvBNLayer(init, init, 3, groups=init, act=act)

    def forward(self, x):
        x1 = self.primary_conv(x)
        return paddle.concat([x1, self.cheap_operation(x1)], axis=1)


class GhostCut(GhostModule):
    def forward(self, x):
        return super().forward(x)[:, : self.oup, :, :]


@backbone(10)
class GhostNet(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.ghost1, self.se = ConvBNLayer(3, 8, 3, 2), GhostModule(8, 16), SEModule(16)
        self.dw, self.ghost2 = ConvBNLayer(16, 16, 3, 2, groups=16, act=None), GhostModule(16, 12, relu=False)
        self.short = nn.Sequential(ConvBNLayer(8, 8, 3, 2, groups=8, act=None), ConvBNLayer(8, 12, 1, act=None))
        self.head = Head(12)

    def forward(self, x):
        x = self.conv1(x)
        y = self.ghost2(self.se(self.dw(self.ghost1(x))))
        return self.head(paddle.add(y, self.short(x)))


@backbone(8)
class GhostNetV2(nn.Layer):
    """The ghost module beside long-range gates: 1x5 and 5x1 depthwise convolutions at half the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.ghost, self.project = ConvBNLayer(3, 8, 3, 2), GhostCut(8, 12), GhostCut(12, 8, relu=False)
        self.short_conv = nn.Sequential(
            nn.Conv2D(8, 12, 1, bias_attr=False),
            nn.BatchNorm2D(12),
            nn.Conv2D(12, 12, (1, 5), padding=(0, 2), groups=12, bias_attr=False),
            nn.BatchNorm2D(12),
            nn.Conv2D(12, 12, (5, 1), padding=(2, 0), groups=12, bias_attr=False),
            nn.BatchNorm2D(12),
        )
        self.head = Head(8)

    def forward(self, x):
        x = self.conv1(x)
        res = F.sigmoid(self.short_conv(F.avg_pool2d(x, kernel_size=2, stride=2)))
        out = self.ghost(x)
        out = out * F.interpolate(res, size=[out.shape[-2], out.shape[-1]], mode="nearest")
        return self.head(x + self.project(out))


@backbone(8)
class MixNet(nn.Layer):
    """Depthwise convolutions of several kernel sizes, on parts of unequal width."""

    class MixConv(nn.Layer):
        def __init__(self, ins, sizes=(3, 5, 7)) -> None:
            super().__init__()
            splits = [ins // len(sizes)] * len(sizes)
            splits[0] += ins - sum(splits)
            self.splits = splits
            for k, (size, width) in enumerate(zip(sizes, splits)):
                self.add_sublayer(f"mix{k}", nn.Conv2D(width, width, size, padding=size // 2, groups=width))

        def forward(self, x):
            parts = paddle.split(x, self.splits, axis=1)
            return paddle.concat([conv(part) for conv, part in zip(self._sub_layers.values(), parts)], axis=1)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.expand, self.mix = ConvBNLayer(3, 8, 3, 2), ConvBNLayer(8, 16, 1, act="swish"), self.MixConv(16)
        self.bn, self.se, self.project = nn.BatchNorm2D(16), SEModule(16), ConvBNLayer(16, 8, 1, act=None)
        self.head = Head(8)

    def forward(self, x):
        x = self.stem(x)
        y = self.project(self.se(F.swish(self.bn(self.mix(self.expand(x))))))
        return self.head(x + y)


@backbone(7)
class MixNetHalves(MixNet):
    """The same with two parts of equal width, computed from what arrives."""

    class MixConv(nn.Layer):
        def __init__(self, ins) -> None:
            super().__init__()
            self.small = nn.Conv2D(ins // 2, ins // 2, 3, padding=1, groups=ins // 2)
            self.large = nn.Conv2D(ins // 2, ins // 2, 7, padding=3, groups=ins // 2)

        def forward(self, x):
            half = x.shape[1] // 2
            one, rest = paddle.split(x, [half, x.shape[1] - half], axis=1)
            return paddle.concat([self.small(one), self.large(rest)], axis=1)


@backbone(6)
class RepVGGNet(nn.Layer):
    """3x3, 1x1 and identity in training; one convolution when deployed."""

    class Block(nn.Layer):
        def __init__(self, ins, outs, stride=1, groups=1) -> None:
            super().__init__()
            self.nonlinearity = nn.ReLU()
            self.rbr_identity = nn.BatchNorm2D(ins) if ins == outs and stride == 1 else None
            self.rbr_dense = ConvBNLayer(ins, outs, 3, stride, groups, act=None)
            self.rbr_1x1 = ConvBNLayer(ins, outs, 1, stride, groups, act=None)
            self.rbr_reparam = None

        def forward(self, inputs):
            if not self.training and self.rbr_reparam is not None:
                return self.nonlinearity(self.rbr_reparam(inputs))
            id_out = 0 if self.rbr_identity is None else self.rbr_identity(inputs)
            return self.nonlinearity(self.rbr_dense(inputs) + self.rbr_1x1(inputs) + id_out)

    def __init__(self) -> None:
        super().__init__()
        self.stage0, self.stage1 = self.Block(3, 8, 2), nn.Sequential(self.Block(8, 12, 2), self.Block(12, 12))
        self.gap, self.linear = nn.AdaptiveAvgPool2D(output_size=1), nn.Linear(12, 5)

    def forward(self, x):
        out = self.gap(self.stage1(self.stage0(x)))
        return self.linear(paddle.flatten(out, start_axis=1))


@backbone(8)
class MobileOne(nn.Layer):
    """Several copies of each branch, summed up; depthwise then pointwise."""

    class Block(nn.Layer):
        def __init__(self, ins, outs, size, stride=1, groups=1, branches=2) -> None:
            super().__init__()
            self.skip = nn.BatchNorm2D(ins) if ins == outs and stride == 1 else None
            self.conv = nn.LayerList([ConvBNLayer(ins, outs, size, stride, groups, act=None) for _ in range(branches)])
            self.scale = ConvBNLayer(ins, outs, 1, stride, groups, act=None) if size > 1 else None

        def forward(self, x):
            out = (self.skip(x) if self.skip is not None else 0) + (self.scale(x) if self.scale is not None else 0)
            for conv in self.conv:
                out += conv(x)
            return F.relu(out)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.dw, self.pw = self.Block(3, 8, 3, 2), self.Block(8, 8, 3, groups=8), self.Block(8, 12, 1)
        self.head = Head(12)

    def forward(self, x):
        return self.head(self.pw(self.dw(self.stem(x))))


@backbone(5)
class FasterNetBlock(nn.Layer):
    """Partial convolution by slicing, in training and in evaluation written in different ways."""

    class Partial(nn.Layer):
        def __init__(self, dim, n_div=4) -> None:
            super().__init__()
            self.dim_conv3 = dim // n_div
            self.dim_untouched = dim - self.dim_conv3
            self.partial_conv3 = nn.Conv2D(self.dim_conv3, self.dim_conv3, 3, 1, 1, bias_attr=False)

        def forward(self, x):
            if not self.training:
                x = x.clone()
                x[:, : self.dim_conv3, :, :] = self.partial_conv3(x[:, : self.dim_conv3, :, :])
                return x
            x1, x2 = paddle.split(x, [self.dim_conv3, self.dim_untouched], axis=1)
            return paddle.concat((self.partial_conv3(x1), x2), 1)

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = ConvBNLayer(3, 16, 4, 4)
        self.spatial_mixing, self.up, self.down = self.Partial(16), ConvBNLayer(16, 24, 1), nn.Conv2D(24, 16, 1)
        self.drop_path, self.merge, self.head = DropPath(0.0), ConvBNLayer(16, 24, 2, 2), Head(24)

    def forward(self, x):
        x = self.patch_embed(x)
        x = x + self.drop_path(self.down(self.up(self.spatial_mixing(x))))
        return self.head(self.merge(x))


@backbone(11)
class MobileNetV4(nn.Layer):
    """Fused inverted bottleneck, then universal ones with layer scale."""

    class UIB(nn.Layer):
        def __init__(self, ins, outs, start, middle, stride=1) -> None:
            super().__init__()
            hid = 2 * ins
            self.start_dw = ConvBNLayer(ins, ins, start, groups=ins, act=None) if start else None
            self.expand = ConvBNLayer(ins, hid, 1)
            self.mid_dw = ConvBNLayer(hid, hid, middle, stride, groups=hid) if middle else None
            self.proj = ConvBNLayer(hid, outs, 1, act=None)
            self.gamma = self.create_parameter([outs], default_initializer=nn.initializer.Constant(1e-5))
            self.identity = stride == 1 and ins == outs

        def forward(self, x):
            y = self.start_dw(x) if self.start_dw is not None else x
            y = self.expand(y)
            y = self.mid_dw(y) if self.mid_dw is not None else y
            y = self.proj(y) * self.gamma.reshape([1, -1, 1, 1])
            return x + y if self.identity else y

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBNLayer(3, 8, 3, 2)
        self.blocks = nn.Sequential(self.UIB(8, 12, 5, 3, 2), self.UIB(12, 12, 3, 0), self.UIB(12, 12, 0, 3))
        self.head = Head(12)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


@backbone(5)
class CoordinateAttention(nn.Layer):
    """Means over rows and over columns, concatenated along the places, then split again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = ConvBNLayer(3, 8, 3, 2), ConvBNLayer(8, 12)
        self.conv1, self.bn1 = nn.Conv2D(12, 8, 1), nn.BatchNorm2D(8)
        self.conv_h, self.conv_w = nn.Conv2D(8, 12, 1), nn.Conv2D(8, 12, 1)
        self.head = Head(12)

    def forward(self, x):
        x = self.conv(self.stem(x))
        h, w = x.shape[2:]
        x_h = F.adaptive_avg_pool2d(x, [h, 1])
        x_w = paddle.transpose(F.adaptive_avg_pool2d(x, [1, w]), [0, 1, 3, 2])
        y = F.hardswish(self.bn1(self.conv1(paddle.concat([x_h, x_w], axis=2))))
        x_h, x_w = paddle.split(y, [h, w], axis=2)
        x_w = x_w.transpose([0, 1, 3, 2])
        return self.head(x * F.sigmoid(self.conv_w(x_w)) * F.sigmoid(self.conv_h(x_h)))


@backbone(3, {"eca": "single filter"})
class ECANet(nn.Layer):
    """Channel gates from a Conv1D over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.last = ConvBNLayer(3, 8, 3, 2), ConvBNLayer(8, 12), ConvBNLayer(12, 8)
        self.eca, self.head = nn.Conv1D(1, 1, 3, padding=1, bias_attr=False), Head(8)

    def forward(self, x):
        x = self.conv(self.stem(x))
        y = self.eca(F.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose([0, 2, 1]))
        y = F.sigmoid(y.transpose([0, 2, 1]).unsqueeze(-1))
        return self.head(self.last(x * y.expand_as(x)))


@backbone(5, {"spatial": "single filter"})
class CBAMNet(nn.Layer):
    """Convolutional MLP for the channels, 7x7 over mean and maximum for the places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.last = ConvBNLayer(3, 8, 3, 2), ConvBNLayer(8, 12), ConvBNLayer(12, 8)
        self.fc = nn.Sequential(nn.Conv2D(12, 3, 1, bias_attr=False), nn.ReLU(), nn.Conv2D(3, 12, 1, bias_attr=False))
        self.spatial, self.head = nn.Conv2D(2, 1, 7, padding=3, bias_attr=False), Head(8)

    def forward(self, x):
        x = self.conv(self.stem(x))
        x = x * F.sigmoid(self.fc(F.adaptive_avg_pool2d(x, 1)) + self.fc(F.adaptive_max_pool2d(x, 1)))
        avg_out, max_out = paddle.mean(x, axis=1, keepdim=True), paddle.max(x, axis=1, keepdim=True)
        x = x * F.sigmoid(self.spatial(paddle.concat([avg_out, max_out], axis=1)))
        return self.head(self.last(x))


@backbone(3)
class SimAM(nn.Layer):
    """Attention without parameters, from the variance over the places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.last = ConvBNLayer(3, 8, 3, 2), ConvBNLayer(8, 12), ConvBNLayer(12, 8)
        self.head = Head(8)

    def forward(self, x):
        x = self.conv(self.stem(x))
        n = x.shape[2] * x.shape[3] - 1
        d = (x - x.mean(axis=[2, 3], keepdim=True)).pow(2)
        v = d.sum(axis=[2, 3], keepdim=True) / n
        return self.head(self.last(x * F.sigmoid(d / (4 * (v + 1e-4)) + 0.5)))


@backbone(8)
class ReXNet(nn.Layer):
    """Shortcuts to the first channels of a wider result, written into it in place."""

    class Bottleneck(nn.Layer):
        def __init__(self, ins, outs) -> None:
            super().__init__()
            self.in_channels, self.use_shortcut = ins, True
            self.out = nn.Sequential(
                ConvBNLayer(ins, 16, 1, act="swish"), ConvBNLayer(16, 16, groups=16, act=None), nn.ReLU6(),
                ConvBNLayer(16, outs, 1, act=None),
            )  # fmt: skip

        def forward(self, x):
            out = self.out(x)
            out[:, 0 : self.in_channels] += x
            return out

    class Concat(Bottleneck):
        def forward(self, x):
            out = self.out(x)
            return paddle.concat([out[:, 0 : self.in_channels] + x, out[:, self.in_channels :]], axis=1)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = ConvBNLayer(3, 8, 3, 2), self.Bottleneck(8, 12), self.Concat(12, 16)
        self.last, self.head = ConvBNLayer(16, 8, 1), Head(8)

    def forward(self, x):
        return self.head(self.last(self.two(self.one(self.stem(x)))))


@backbone(4)
class CondenseNet(nn.Layer):
    """Learned group convolutions at their end: channels are picked by an index, convolved in groups, shuffled."""

    class LearnedGroup(nn.Layer):
        def __init__(self, ins, outs, groups) -> None:
            super().__init__()
            self.norm, self.conv, self.groups = nn.BatchNorm2D(ins), ConvBNLayer(ins, outs, 1, groups=groups), groups
            self.register_buffer("index", paddle.to_tensor([(5 * n) % ins for n in range(ins)], dtype="int64"))

        def forward(self, x):
            x = F.relu(self.norm(paddle.index_select(x, self.index, axis=1)))
            return channel_shuffle(self.conv(x), self.groups)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.learned, self.conv = ConvBNLayer(3, 8, 3, 2), self.LearnedGroup(8, 16, 2), ConvBNLayer(16, 4)
        self.last, self.head = ConvBNLayer(12, 8), Head(8)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.last(paddle.concat([x, self.conv(self.learned(x))], axis=1)))


@backbone(5)
class IGCV3(nn.Layer):
    """Interleaved group convolutions: group pointwise, permutation, group pointwise."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBNLayer(3, 16, 3, 2)
        self.expand, self.dw = ConvBNLayer(16, 32, 1, groups=2, act=None), ConvBNLayer(32, 32, groups=32, act="relu6")
        self.project, self.last, self.head = ConvBNLayer(32, 16, 1, groups=2, act=None), ConvBNLayer(16, 8), Head(8)

    def forward(self, x):
        x = self.stem(x)
        y = channel_shuffle(self.dw(channel_shuffle(self.expand(x), 2)), 2)
        return self.head(self.last(x + self.project(y)))


@backbone(11)
class TinyNet(nn.Layer):
    """EfficientNet's MBConv in Paddle's functional style: swish by hand, drop connect, attributes with names."""

    class MBConv(nn.Layer):
        def __init__(self, ins, outs, size, name) -> None:
            super().__init__()
            attr = ParamAttr(name=f"{name}_w", initializer=KaimingNormal(), regularizer=L2Decay(1e-5))
            self.expand = nn.Conv2D(ins, 16, 1, weight_attr=attr, bias_attr=False)
            self.bn0, self.bn1, self.bn2 = nn.BatchNorm(16), nn.BatchNorm(16), nn.BatchNorm(outs)
            self.dw = nn.Conv2D(16, 16, size, padding="SAME", groups=16, bias_attr=False)
            self.reduce, self.restore = nn.Conv2D(16, 2, 1), nn.Conv2D(2, 16, 1)
            self.project, self.drop = nn.Conv2D(16, outs, 1, bias_attr=False), DropPath(0.2)

        def forward(self, x):
            y = self.bn0(self.expand(x))
            y = y * F.sigmoid(y)
            y = F.swish(self.bn1(self.dw(y)))
            s = F.adaptive_avg_pool2d(y, 1)
            y = paddle.multiply(F.sigmoid(self.restore(F.swish(self.reduce(s)))), y)
            return self.drop(self.bn2(self.project(y))) + x

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block1, self.block2 = (
            ConvBNLayer(3, 8, 3, 2),
            self.MBConv(8, 8, 3, "b1"),
            self.MBConv(8, 8, 5, "b2"),
        )
        self.head = Head(8)

    def forward(self, x):
        return self.head(self.block2(self.block1(self.stem(x))))


@backbone(7)
class OctaveNet(nn.Layer):
    """High and low frequencies, exchanged through pooling and upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.h_first, self.l_first = ConvBNLayer(3, 12), ConvBNLayer(3, 4)
        self.h2h, self.h2l = nn.Conv2D(12, 12, 3, padding=1), nn.Conv2D(12, 4, 3, padding=1)
        self.l2h, self.l2l = nn.Conv2D(4, 12, 3, padding=1), nn.Conv2D(4, 4, 3, padding=1)
        self.bn_h, self.bn_l, self.last, self.head = nn.BatchNorm2D(12), nn.BatchNorm2D(4), ConvBNLayer(16, 8), Head(8)

    def forward(self, x):
        h, low = self.h_first(x), self.l_first(F.avg_pool2d(x, 2, 2))
        up = F.interpolate(self.l2h(low), scale_factor=2, mode="nearest")
        h, low = F.relu(self.bn_h(self.h2h(h) + up)), F.relu(self.bn_l(self.l2l(low) + self.h2l(F.avg_pool2d(h, 2, 2))))
        low = F.interpolate(low, scale_factor=2, mode="nearest")
        return self.head(self.last(paddle.concat([h, low], axis=1)))


@backbone(7)
class C2f(nn.Layer):
    """YOLOv8: the width of the halves is kept in an attribute, and each bottleneck's result is appended."""

    class Bottleneck(nn.Layer):
        def __init__(self, c) -> None:
            super().__init__()
            self.cv1, self.cv2 = ConvBNLayer(c, c, act="silu"), ConvBNLayer(c, c, act="silu")

        def forward(self, x):
            return x + self.cv2(self.cv1(x))

    def __init__(self) -> None:
        super().__init__()
        self.c = 8
        self.stem, self.cv1 = ConvBNLayer(3, 12, 3, 2, act="silu"), ConvBNLayer(12, 2 * self.c, 1, act="silu")
        self.m = nn.LayerList([self.Bottleneck(self.c) for _ in range(2)])
        self.cv2, self.head = ConvBNLayer(4 * self.c, 12, 1, act="silu"), Head(12)

    def forward(self, x):
        y = list(self.cv1(self.stem(x)).split((self.c, self.c), 1))
        for m in self.m:
            y.append(m(y[-1]))
        return self.head(self.cv2(paddle.concat(y, axis=1)))


@backbone(7)
class MixedPointwise(nn.Layer):
    """MixNet's pointwise convolutions on parts: what comes in is split by one list, what goes out by another."""

    class Mixed(nn.Layer):
        def __init__(self, ins, outs) -> None:
            super().__init__()
            self.in_splits, self.out_splits, self.in_channels = ins, outs, sum(ins)
            self.convs = nn.LayerList([nn.Conv2D(i, o, 1) for i, o in zip(ins, outs)])
            self.deep = nn.LayerList([nn.Conv2D(o, o, k, padding=k // 2, groups=o) for o, k in zip(outs, (3, 5))])
            self.bn = nn.BatchNorm2D(sum(outs))

        def forward(self, x):
            parts = [conv(part) for conv, part in zip(self.convs, paddle.split(x, self.in_splits, axis=1))]
            parts = paddle.split(F.swish(self.bn(paddle.concat(parts, axis=1))), self.out_splits, axis=1)
            return paddle.concat([conv(part) for conv, part in zip(self.deep, parts)], axis=1)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mixed = ConvBNLayer(3, 12, 3, 2), self.Mixed([4, 8], [8, 12])
        self.se, self.head = SEModule(20), Head(20)

    def forward(self, x):
        return self.head(self.se(self.mixed(self.stem(x))))
