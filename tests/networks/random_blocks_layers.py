"""Blocks of random networks: convolutions, normalisation and activation."""

from __future__ import annotations

import paddle.nn.functional as F  # noqa: N812  # as everybody writes it
from hypothesis import strategies as st
from paddle import nn
from random_blocks import MIXING, WIDTHS, Block, block

# convolutions


@block("conv")
class Conv(Block):
    @staticmethod
    def options(draw, shapes):
        kernel = draw(st.sampled_from([3, 1]))
        stride = draw(st.sampled_from([1, 1, 2])) if min(shapes[0][2:]) > 2 else 1
        return {"width": draw(WIDTHS), "kernel": kernel, "stride": stride, "bias": draw(st.booleans())}

    def __init__(self, shapes, width, kernel, stride, bias):
        super().__init__()
        attr = None if bias else False
        self.conv = nn.Conv2D(shapes[0][1], width, kernel, stride, padding=kernel // 2, bias_attr=attr)

    def forward(self, x):
        return self.conv(x)


@block("conv_bn_relu")
class ConvNormRelu(Block):
    @staticmethod
    def options(draw, shapes):
        return {"width": draw(WIDTHS)}

    def __init__(self, shapes, width):
        super().__init__()
        self.conv = nn.Conv2D(shapes[0][1], width, 3, padding=1, bias_attr=False)
        self.norm = nn.BatchNorm2D(width)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


@block("group_conv")
class GroupConv(Block):
    @staticmethod
    def options(draw, shapes):
        groups = [g for g in (2, 3, 4) if shapes[0][1] % g == 0 and shapes[0][1] > g]
        if not groups:
            return None
        g = draw(st.sampled_from(groups))
        return {"groups": g, "width": g * draw(st.sampled_from([2, 3, 1]))}

    def __init__(self, shapes, groups, width):
        super().__init__()
        self.conv = nn.Conv2D(shapes[0][1], width, 3, padding=1, groups=groups)

    def forward(self, x):
        return self.conv(x)


@block("depthwise")
class Depthwise(Block):
    @staticmethod
    def options(draw, shapes):
        return {"times": draw(st.sampled_from([1, 2]))} if shapes[0][1] > 1 else None

    def __init__(self, shapes, times):
        super().__init__()
        c = shapes[0][1]
        self.conv = nn.Conv2D(c, c * times, 3, padding=1, groups=c)

    def forward(self, x):
        return self.conv(x)


@block("conv_transpose")
class ConvTranspose(Block):
    @staticmethod
    def options(draw, shapes):
        c = shapes[0][1]
        groups = draw(st.sampled_from([1, 1, *(g for g in (2, 3, c) if c % g == 0)]))
        stride = draw(st.sampled_from([1, 2])) if max(shapes[0][2:]) < 9 else 1
        return {"width": groups * draw(st.sampled_from([2, 3, 1])), "groups": groups, "stride": stride}

    def __init__(self, shapes, width, groups, stride):
        super().__init__()
        self.conv = nn.Conv2DTranspose(shapes[0][1], width, 3, stride, padding=1, groups=groups)

    def forward(self, x):
        return self.conv(x)


@block("functional_conv")
class FunctionalConv(Block):
    """A bare parameter, and no layer that would tell its sizes."""

    @staticmethod
    def options(draw, shapes):
        return {"width": draw(WIDTHS)}

    def __init__(self, shapes, width):
        super().__init__()
        self.filters = self.create_parameter([width, shapes[0][1], 3, 3])
        self.shift = self.create_parameter([width])

    def forward(self, x):
        return F.conv2d(x, self.filters, self.shift, padding=1)


@block("channels_last_conv")
class ChannelsLastConv(Block):
    @staticmethod
    def options(draw, shapes):
        return {"width": draw(WIDTHS)}

    def __init__(self, shapes, width):
        super().__init__()
        self.conv = nn.Conv2D(shapes[0][1], width, 1, data_format="NHWC")
        self.norm = nn.BatchNorm2D(width, data_format="NHWC")

    def forward(self, x):
        return self.norm(self.conv(x.transpose([0, 2, 3, 1]))).transpose([0, 3, 1, 2])


@block("conv1d")
class ConvOneD(Block):
    @staticmethod
    def options(draw, shapes):
        return {"width": draw(WIDTHS)}

    def __init__(self, shapes, width):
        super().__init__()
        self.conv = nn.Conv1D(shapes[0][1], width, 3, padding=1)
        self.norm = nn.BatchNorm1D(width)
        self.size = list(shapes[0][2:])

    def forward(self, x):
        y = self.norm(self.conv(x.flatten(2)))
        return y.reshape([0, -1, *self.size])


@block("conv3d")
class ConvThreeD(Block):
    @staticmethod
    def options(draw, shapes):
        return {"width": draw(WIDTHS)}

    def __init__(self, shapes, width):
        super().__init__()
        self.conv = nn.Conv3D(shapes[0][1], width, (1, 3, 3), padding=(0, 1, 1))
        self.norm = nn.BatchNorm3D(width)

    def forward(self, x):
        return self.norm(self.conv(x.unsqueeze(2))).squeeze(2)


@block("pixelwise_linear")
class PixelwiseLinear(Block):
    @staticmethod
    def options(draw, shapes):
        return {"width": draw(WIDTHS)}

    def __init__(self, shapes, width):
        super().__init__()
        self.fc = nn.Linear(shapes[0][1], width)

    def forward(self, x):
        return self.fc(x.transpose([0, 2, 3, 1])).transpose([0, 3, 1, 2])


@block("shared_conv")
class SharedConv(Block):
    """One layer called twice in a row: its filters and its slices live or die together."""

    def __init__(self, shapes):
        super().__init__()
        c = shapes[0][1]
        self.conv = nn.Conv2D(c, c, 3, padding=1)

    def forward(self, x):
        return self.conv(F.relu(self.conv(x)))


@block("shared_weight")
class SharedWeight(Block):
    """Two layers that own the same parameter."""

    def __init__(self, shapes):
        super().__init__()
        c = shapes[0][1]
        self.one = nn.Conv2D(c, c, 1)
        self.other = nn.Conv2D(c, c, 1)
        self.other.weight = self.one.weight

    def forward(self, x):
        return self.one(F.relu(x)) + self.other(x)


@block("shared_over_two")
class SharedOverTwo(Block):
    takes = 2

    @staticmethod
    def options(draw, shapes):
        return {"width": draw(WIDTHS)} if shapes[0] == shapes[1] else None

    def __init__(self, shapes, width):
        super().__init__()
        self.conv = nn.Conv2D(shapes[0][1], width, 1)
        self.norm = nn.BatchNorm2D(width)

    def forward(self, x, y):
        return self.norm(self.conv(x)) + F.tanh(self.norm(self.conv(y)))


@block("residual")
class Residual(Block):
    @staticmethod
    def options(draw, shapes):
        return {"width": draw(WIDTHS), "norm": draw(st.booleans())}

    def __init__(self, shapes, width, norm):
        super().__init__()
        c = shapes[0][1]
        self.conv1 = nn.Conv2D(c, width, 3, padding=1)
        self.norm = nn.BatchNorm2D(width) if norm else nn.PReLU(width)
        self.conv2 = nn.Conv2D(width, c, 1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.norm(self.conv1(x))))


@block("shuffle_unit")
class ShuffleUnit(Block):
    """A ShuffleNet of the first kind: group convolutions with a channel shuffle between them."""

    @staticmethod
    def options(draw, shapes):
        groups = [g for g in (2, 3, 4) if shapes[0][1] % g == 0 and shapes[0][1] > g]
        if not groups:
            return None
        g = draw(st.sampled_from(groups))
        return {"groups": g, "width": g * g * draw(st.sampled_from([1, 2]))}

    def __init__(self, shapes, groups, width):
        super().__init__()
        c = shapes[0][1]
        self.groups = groups
        self.one = nn.Conv2D(c, width, 1, groups=groups)
        self.norm = nn.BatchNorm2D(width)
        self.depth = nn.Conv2D(width, width, 3, padding=1, groups=width)
        self.two = nn.Conv2D(width, c, 1, groups=groups)

    def forward(self, x):
        y = F.relu(self.norm(self.one(x)))
        return F.relu(x + self.two(self.depth(F.channel_shuffle(y, self.groups))))


# normalisation and activation


@block("norm")
class Norm(Block):
    @staticmethod
    def options(draw, shapes):
        kind = draw(st.sampled_from(["batch", "batch", "instance", "group", "layer", "layer_all"]))
        groups = draw(st.sampled_from([g for g in (1, 2, 3) if shapes[0][1] % g == 0])) if kind == "group" else 1
        return {"kind": kind, "groups": groups}

    def __init__(self, shapes, kind, groups):
        super().__init__()
        c = shapes[0][1]
        self.last, self.whole = kind == "layer", kind == "layer_all"
        self.mixes = kind in ("group", "layer", "layer_all")
        if kind == "batch":
            self.norm = nn.BatchNorm2D(c)
        elif kind == "instance":
            self.norm = nn.InstanceNorm2D(c)
        elif kind == "group":
            self.norm = nn.GroupNorm(groups, c)
        else:
            self.norm = nn.LayerNorm(c if self.last else list(shapes[0][1:]))

    def forward(self, x):
        if self.mixes and not MIXING[0]:
            own = [1, *x.shape[1:]] if self.whole else [1, -1, 1, 1]
            return x * self.norm.weight.reshape(own) + self.norm.bias.reshape(own)
        if self.last:
            return self.norm(x.transpose([0, 2, 3, 1])).transpose([0, 3, 1, 2])
        return self.norm(x)


ACTIVATIONS = {
    "relu": F.relu, "sigmoid": F.sigmoid, "hardswish": F.hardswish, "silu": F.silu, "gelu": F.gelu, "tanh": F.tanh,
    "leaky_relu": F.leaky_relu, "mish": F.mish, "softplus": F.softplus, "relu6": F.relu6, "elu": F.elu,
}  # fmt: skip


@block("activation")
class Activation(Block):
    @staticmethod
    def options(draw, shapes):
        return {"name": draw(st.sampled_from(list(ACTIVATIONS)))}

    def __init__(self, shapes, name):
        super().__init__()
        self.function = ACTIVATIONS[name]

    def forward(self, x):
        return self.function(x)


@block("prelu")
class PRelu(Block):
    @staticmethod
    def options(draw, shapes):
        return {"shared": draw(st.booleans())}

    def __init__(self, shapes, shared):
        super().__init__()
        self.slope = nn.PReLU(1 if shared else shapes[0][1])

    def forward(self, x):
        return self.slope(x)


@block("scale_and_shift")
class ScaleAndShift(Block):
    """Bare parameters, one per channel, that are broadcast."""

    @staticmethod
    def options(draw, shapes):
        return {"shape": draw(st.sampled_from(["1c11", "c11", "chw"]))}

    def __init__(self, shapes, shape):
        super().__init__()
        c, h, w = shapes[0][1:]
        sizes = {"1c11": [1, c, 1, 1], "c11": [c, 1, 1], "chw": [c, h, w]}[shape]
        self.scale = self.create_parameter(sizes)
        self.shift = self.create_parameter(sizes, is_bias=True)

    def forward(self, x):
        return x * self.scale + self.shift


@block("dropout")
class Dropout(Block):
    def __init__(self, shapes):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(x)


@block("squeeze_excite")
class SqueezeExcite(Block):
    @staticmethod
    def options(draw, shapes):
        return {"linear": draw(st.booleans()), "width": draw(st.sampled_from([2, 3]))}

    def __init__(self, shapes, linear, width):
        super().__init__()
        c = shapes[0][1]
        self.linear = linear
        self.down = nn.Linear(c, width) if linear else nn.Conv2D(c, width, 1)
        self.up = nn.Linear(width, c) if linear else nn.Conv2D(width, c, 1)

    def forward(self, x):
        pooled = x.mean([2, 3]) if self.linear else F.adaptive_avg_pool2d(x, 1)
        gate = F.sigmoid(self.up(F.relu(self.down(pooled))))
        return x * (gate.unsqueeze([2, 3]) if self.linear else gate)
