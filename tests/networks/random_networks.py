"""Random small convolutional networks, drawn by hypothesis.

A `Recipe` says how to build one: a list of steps, each a block over earlier values, and the heads that make the
outputs. Its repr can be pasted into a test. Every block is one structure that pruning must get right; whether it is
drawn where it does not fit (an odd number of channels to be halved) is decided by running it on the shapes at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # as everybody writes it
import reference
from hypothesis import strategies as st
from paddle import nn

INPUT = (2, 3, 8, 6)
"""The input's shape: all sizes differ, so that axes cannot be mixed up unseen."""

WIDTHS = st.sampled_from([4, 6, 8, 5, 3, 2, 12, 1])
MIXING = [True]
"""Whether ops mix channels; see `unmixed`."""


@contextmanager
def unmixed():
    """Inside, what mixes channels with each other is left out, in networks built before, too.

    To remove a channel and to zero it are then the same everywhere, so that a cut network can be compared with the
    masked one although it normalises channels together: whether its channels are wired right is seen all the same.
    """
    MIXING[0] = False
    try:
        yield
    finally:
        MIXING[0] = True


BLOCKS: dict[str, type[Block]] = {}
HEADS: dict[str, type[Block]] = {}


class Block(nn.Layer):
    """One step of a network: from values of shape [N, C, H, W] to another."""

    takes = 1
    "How many values."

    @staticmethod
    def options(draw, shapes):
        """What is to be chosen for values of these shapes; None where the block does not fit."""
        return {}


def block(name, table=None):
    """Enter a class into the table of blocks."""

    def enter(cls):
        (BLOCKS if table is None else table)[name] = cls
        return cls

    return enter


class Function(Block):
    """A function of one value, without layers."""

    run: Callable[[Any], Any]

    def __init__(self, shapes):
        super().__init__()

    def forward(self, x):
        return type(self).run(x)


def functions(fits, *runs):
    """Enter functions of one value, for values whose channels and places fit.

    Not as a decorator: Paddle's tracing converts a function with its decorators, and would call them again.
    """
    for run in runs:
        draw = staticmethod(lambda draw, shapes: {} if fits(*shapes[0][1:]) else None)
        BLOCKS[run.__name__] = type(run.__name__, (Function,), {"run": staticmethod(run), "options": draw})


def even(c, h, w):
    return c % 2 == 0 and c > 2


def larger(c, h, w):
    return c > 1


def any_size(c, h, w):
    return True


# --- convolutions ---------------------------------------------------------------------------------------------


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


# --- normalisation and activation -----------------------------------------------------------------------------


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


# --- several values -------------------------------------------------------------------------------------------


@block("join")
class Join(Block):
    """Two values position by position, the second brought to the width of the first where it has another."""

    takes = 2

    @staticmethod
    def options(draw, shapes):
        if shapes[0][2:] != shapes[1][2:]:
            return None
        return {"how": draw(st.sampled_from(["add", "add", "multiply", "maximum", "subtract"]))}

    def __init__(self, shapes, how):
        super().__init__()
        ours, theirs = shapes[0][1], shapes[1][1]
        self.project = nn.Conv2D(theirs, ours, 1) if ours != theirs else nn.Identity()
        self.how = how

    def forward(self, x, y):
        y = self.project(y)
        if self.how == "add":
            return x + y
        if self.how == "multiply":
            return F.tanh(x) * F.sigmoid(y)
        return paddle.maximum(x, y) if self.how == "maximum" else x - y


@block("concat")
class Concat(Block):
    takes = 2

    @staticmethod
    def options(draw, shapes):
        return {} if shapes[0][2:] == shapes[1][2:] and shapes[0][1] + shapes[1][1] < 33 else None

    def __init__(self, shapes):
        super().__init__()

    def forward(self, x, y):
        return paddle.concat([x, y], axis=1)


@block("branches")
class Branches(Block):
    """An Inception block: convolutions side by side, one of them over a concat, and the value itself."""

    @staticmethod
    def options(draw, shapes):
        return {"widths": draw(st.tuples(WIDTHS, WIDTHS, WIDTHS))} if shapes[0][1] < 17 else None

    def __init__(self, shapes, widths):
        super().__init__()
        c = shapes[0][1]
        self.one = nn.Conv2D(c, widths[0], 1)
        self.two = nn.Conv2D(c, widths[1], 3, padding=1)
        self.three = nn.Conv2D(widths[0] + widths[1], widths[2], 1)

    def forward(self, x):
        one, two = F.relu(self.one(x)), self.two(x)
        three = self.three(paddle.concat([two, one], axis=1))
        return paddle.concat([x, three, one], axis=1)


@block("concat_with_itself")
class ConcatWithItself(Block):
    @staticmethod
    def options(draw, shapes):
        return {"axis": draw(st.sampled_from([1, 1, 2]))} if shapes[0][1] < 17 and shapes[0][2] < 17 else None

    def __init__(self, shapes, axis):
        super().__init__()
        self.axis = axis

    def forward(self, x):
        return paddle.concat([x, F.relu(x)], axis=self.axis)


@block("broadcast_map")
class BroadcastMap(Block):
    """Every channel times one map of places: the map has one channel, which stays."""

    takes = 2

    @staticmethod
    def options(draw, shapes):
        return {} if shapes[0][2:] == shapes[1][2:] else None

    def __init__(self, shapes):
        super().__init__()
        self.conv = nn.Conv2D(shapes[1][1], 1, 1)

    def forward(self, x, y):
        return x * F.sigmoid(self.conv(y))


# --- parts ----------------------------------------------------------------------------------------------------


@block("halves")
class Halves(Block):
    @staticmethod
    def options(draw, shapes):
        hows = ["swap", "gate", "add", "half_conv", "half_depthwise", "first"]
        return {"how": draw(st.sampled_from(hows))} if even(*shapes[0][1:]) else None

    def __init__(self, shapes, how):
        super().__init__()
        half = shapes[0][1] // 2
        self.how = how
        groups = half if how == "half_depthwise" else 1
        self.conv = nn.Conv2D(half, half, 3, padding=1, groups=groups) if "half" in how else nn.Identity()

    def forward(self, x):
        a, b = paddle.chunk(x, 2, axis=1)
        if self.how == "swap":
            return paddle.concat([b, a], axis=1)
        if self.how == "gate":
            return a * F.sigmoid(b)
        if self.how == "first":
            return a
        return a + b if self.how == "add" else paddle.concat([a, self.conv(b)], axis=1)


@block("slice")
class Slice(Block):
    """Places that the network works out from the number of channels."""

    @staticmethod
    def options(draw, shapes):
        return {"how": draw(st.sampled_from(["every_other", "first", "last"]))} if shapes[0][1] > 3 else None

    def __init__(self, shapes, how):
        super().__init__()
        self.how = how

    def forward(self, x):
        if self.how == "every_other":
            return x[:, ::2]
        return x[:, : x.shape[1] // 2] if self.how == "first" else x[:, x.shape[1] // 2 :]


def shuffle_by_hand(x):
    n, c, h, w = x.shape
    return x.reshape([n, 2, c // 2, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w])


def channel_shuffle(x):
    return F.channel_shuffle(x, 2)


def maxout(x):
    n, c, h, w = x.shape
    return x.reshape([n, c // 2, 2, h, w]).max(axis=2)


def unbind_halves(x):
    n, c, h, w = x.shape
    a, b = x.reshape([n, 2, c // 2, h, w]).unbind(axis=1)
    return a + F.relu(b)


def pixel_shuffle(x):
    return F.pixel_shuffle(x, 2)


def pixel_unshuffle(x):
    return F.pixel_unshuffle(x, 2)


def flip(x):
    return paddle.flip(x, axis=[1])


def roll(x):
    return paddle.roll(x, 1, axis=1)


def tile(x):
    return paddle.tile(x, [1, 2, 1, 1])


def repeat(x):
    return paddle.repeat_interleave(x, 2, axis=1)


def pad_channels(x):
    return F.pad(x, [0, 0, 1, 2, 0, 0, 0, 0], pad_from_left_axis=True)


def stack(x):
    return paddle.stack([x, F.relu(x)], axis=1).sum(axis=1)


# --- places ---------------------------------------------------------------------------------------------------


def max_pool(x):
    return F.max_pool2d(x, 2)


def avg_pool(x):
    return F.avg_pool2d(x, 3, 1)


def adaptive_pool(x):
    return F.adaptive_avg_pool2d(x, 2)


def nearest(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def bilinear(x):
    return F.interpolate(x, size=[x.shape[2] + 1, x.shape[3] * 2], mode="bilinear")


def pad_places(x):
    return F.pad(x, [1, 0, 2, 1])


def reflect(x):
    return F.pad(x, [1, 1, 1, 1], mode="reflect")


def turn(x):
    return x.transpose([0, 1, 3, 2])


# --- across channels ------------------------------------------------------------------------------------------


def centred(x):
    return x - x.mean(axis=[2, 3], keepdim=True)


def less_channel_mean(x):
    return x - x.mean(axis=1, keepdim=True) if MIXING[0] else x


def times_channel_max(x):
    return F.tanh(x) * F.sigmoid(x.max(axis=1, keepdim=True)) if MIXING[0] else F.tanh(x)


def channel_softmax(x):
    return x * F.softmax(x, axis=1) if MIXING[0] else x


def gram(x):
    flat = x.flatten(2)
    return F.tanh(paddle.matmul(paddle.matmul(flat, flat, transpose_y=True), flat)).reshape(x.shape)


@block("attention")
class Attention(Block):
    """Places look at places: query and key share their channels, the value has its own."""

    @staticmethod
    def options(draw, shapes):
        heads = draw(st.sampled_from([1, 2]))
        return {"heads": heads, "depth": draw(st.sampled_from([2, 3])), "width": draw(WIDTHS)}

    def __init__(self, shapes, heads, depth, width):
        super().__init__()
        c = shapes[0][1]
        self.heads, self.depth, self.size = heads, depth, list(shapes[0][2:])
        self.query, self.key = nn.Conv2D(c, heads * depth, 1), nn.Conv2D(c, heads * depth, 1)
        self.value = nn.Conv2D(c, heads * width, 1)
        self.out = nn.Linear(heads * width, c)

    def forward(self, x):
        q, k, v = (self.split(layer(x)) for layer in (self.query, self.key, self.value))
        seen = paddle.matmul(F.softmax(paddle.matmul(q, k, transpose_x=True)), v, transpose_y=True)
        seen = seen.transpose([0, 2, 1, 3]).flatten(2)
        return x + self.out(seen).transpose([0, 2, 1]).reshape([0, -1, *self.size])

    def split(self, x):
        """[N, heads, depth, places]."""
        return x.flatten(2).reshape([x.shape[0], self.heads, -1, self.size[0] * self.size[1]])


functions(even, shuffle_by_hand, channel_shuffle, maxout, unbind_halves)
functions(lambda c, h, w: c % 4 == 0 and h < 9, pixel_shuffle)
functions(lambda c, h, w: c < 9 and h % 2 == 0 and w % 2 == 0, pixel_unshuffle)
functions(larger, flip, roll, times_channel_max, channel_softmax)
functions(lambda c, h, w: c < 17, tile, repeat, pad_channels)
functions(any_size, stack, turn, centred, less_channel_mean, gram)
functions(lambda c, h, w: min(h, w) > 1, max_pool)
functions(lambda c, h, w: min(h, w) > 2, avg_pool, adaptive_pool)
functions(lambda c, h, w: h < 9, nearest, bilinear, pad_places)
functions(lambda c, h, w: 2 < h < 9 and w > 2, reflect)


# --- written down: these cannot shrink, or only with an attribute, and the library must find that out -----------

WRITTEN_DOWN = {}


@block("written_reshape", WRITTEN_DOWN)
class WrittenReshape(Block):
    """The number of channels is written into the code."""

    def __init__(self, shapes):
        super().__init__()
        self.c = shapes[0][1]

    def forward(self, x):
        return x.reshape([-1, self.c, x.shape[2], x.shape[3]])


@block("written_constant", WRITTEN_DOWN)
class WrittenConstant(Block):
    """A constant of fixed size is added."""

    def __init__(self, shapes):
        super().__init__()
        self.c = shapes[0][1]

    def forward(self, x):
        return x + paddle.arange(self.c, dtype=x.dtype).reshape([1, self.c, 1, 1])


@block("uneven_split", WRITTEN_DOWN)
class UnevenSplit(Block):
    """A place among the channels is written into the code."""

    @staticmethod
    def options(draw, shapes):
        c = shapes[0][1]
        return {"at": draw(st.integers(1, c - 1)), "width": draw(WIDTHS)} if c > 1 else None

    def __init__(self, shapes, at, width):
        super().__init__()
        self.at = at
        self.conv = nn.Conv2D(at, width, 1)

    def forward(self, x):
        a, b = paddle.split(x, [self.at, -1], axis=1)
        return paddle.concat([self.conv(a), b], axis=1)


@block("slice_at", WRITTEN_DOWN)
class SliceAt(Block):
    """A place among the channels is written into the code."""

    @staticmethod
    def options(draw, shapes):
        c = shapes[0][1]
        hows = st.sampled_from(["to", "from", "one"])
        return {"how": draw(hows), "at": draw(st.integers(1, c - 1))} if c > 1 else None

    def __init__(self, shapes, how, at):
        super().__init__()
        self.how, self.at = how, at

    def forward(self, x):
        if self.how == "one":
            return x[:, self.at : self.at + 1]
        return x[:, : self.at] if self.how == "to" else x[:, self.at :]


@block("without_rule", WRITTEN_DOWN)
class WithoutRule(Block):
    """An op that no rule knows."""

    def __init__(self, shapes):
        super().__init__()

    def forward(self, x):
        return paddle.sort(x, axis=3)


# --- heads ----------------------------------------------------------------------------------------------------


@block("flatten_linear", HEADS)
class FlattenLinear(Block):
    def __init__(self, shapes):
        super().__init__()
        self.fc = nn.Linear(int(np.prod(shapes[0][1:])), 3)

    def forward(self, x):
        return self.fc(x.flatten(1))


@block("two_linears", HEADS)
class TwoLinears(Block):
    def __init__(self, shapes):
        super().__init__()
        self.one = nn.Linear(int(np.prod(shapes[0][1:])), 5)
        self.norm = nn.BatchNorm1D(5)
        self.two = nn.Linear(5, 3)

    def forward(self, x):
        return self.two(F.relu(self.norm(self.one(x.reshape([x.shape[0], -1])))))


@block("mean_linear", HEADS)
class MeanLinear(Block):
    def __init__(self, shapes):
        super().__init__()
        self.norm = nn.BatchNorm1D(shapes[0][1])
        self.fc = nn.Linear(shapes[0][1], 3)

    def forward(self, x):
        return self.fc(self.norm(x.mean([2, 3])))


@block("pool_conv", HEADS)
class PoolConv(Block):
    def __init__(self, shapes):
        super().__init__()
        self.conv = nn.Conv2D(shapes[0][1], 3, 1)

    def forward(self, x):
        return self.conv(F.adaptive_avg_pool2d(x, 1)).flatten(1)


@block("map", HEADS)
class Map(Block):
    def __init__(self, shapes):
        super().__init__()
        self.conv = nn.Conv2D(shapes[0][1], 2, 1)

    def forward(self, x):
        return self.conv(x)


@block("bare", HEADS)
class Bare(Block):
    """A value of the network as it is: its channels stay."""

    def __init__(self, shapes):
        super().__init__()

    def forward(self, x):
        return x


# --- networks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A block by name, the numbers of the values that it takes (0 is the input), and its options."""

    kind: str
    takes: tuple[int, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How to build a network.

    Attributes:
        steps: step n makes value n + 1.
        heads: the outputs.
        training_head: an output that is there in training only.
        seed: fixes all numbers.
    """

    steps: tuple[Step, ...]
    heads: tuple[Step, ...]
    training_head: Step | None = None
    seed: int = 0

    def build(self, kind=None):
        """The network, in training mode, with random weights and statistics."""
        return reference.randomise((kind or RandomNetwork)(self), self.seed, weights=True)

    def inputs(self):
        """Example input, the same each time."""
        return [paddle.to_tensor(np.random.RandomState(self.seed + 1).standard_normal(INPUT).astype("float32"))]

    def has(self, *kinds):
        """Whether a block of one of these kinds is in it."""
        return any(step.kind in kinds for step in self.steps)


class RandomNetwork(nn.Layer):
    """What a recipe says."""

    def __init__(self, recipe):
        super().__init__()
        shapes = [INPUT]
        with paddle.no_grad():
            self.steps = nn.LayerList()
            values = [paddle.zeros(INPUT)]
            for step in recipe.steps:
                self.steps.append(made(step, shapes))
                values.append(self.steps[-1](*(values[n] for n in step.takes)))
                shapes.append(tuple(values[-1].shape))
            self.heads = nn.LayerList([made(step, shapes) for step in recipe.heads])
            self.training_head = made(recipe.training_head, shapes) if recipe.training_head else None
        self.plan = [step.takes for step in recipe.steps]
        self.ends = [step.takes[0] for step in recipe.heads]
        self.training_end = recipe.training_head.takes[0] if recipe.training_head else 0

    @paddle.jit.not_to_static
    def forward(self, x):
        """Traced as it is: to convert the source first takes Paddle most of the time, and changes nothing."""
        return self.result(x)

    def result(self, x):
        values = [x]
        for step, takes in zip(self.steps, self.plan):
            values.append(step(*[values[n] for n in takes]))
        results = [head(values[n]) for head, n in zip(self.heads, self.ends)]
        if self.training and self.training_head is not None:
            results.append(self.training_head(values[self.training_end]))
        return results[0] if len(results) == 1 else tuple(results)


class Converted(RandomNetwork):
    """The same, whose source Paddle converts before it traces it, as it does with networks of anybody's."""

    def forward(self, x):
        return self.result(x)


def made(step, shapes):
    """The block of a step over values of the shapes so far."""
    table = {**BLOCKS, **WRITTEN_DOWN, **HEADS}
    return table[step.kind]([shapes[n] for n in step.takes], **step.options)


@st.composite
def recipes(draw, most_steps=7, written_down=False, kinds=None):
    """A random recipe.

    Args:
        draw: given by hypothesis.
        most_steps: at most this many blocks after the first convolution.
        written_down: with blocks that cannot shrink.
        kinds: the blocks to choose from; None for all.
    """
    kinds = list(kinds or BLOCKS) + (list(WRITTEN_DOWN) if written_down else [])
    table = {**BLOCKS, **WRITTEN_DOWN}
    steps = [Step("conv", (0,), {"width": draw(WIDTHS), "kernel": 3, "stride": 1, "bias": draw(st.booleans())})]
    shapes = [INPUT]
    values = [paddle.zeros(INPUT)]

    def add(step):
        with paddle.no_grad():
            values.append(made(step, shapes)(*(values[n] for n in step.takes)))
        shapes.append(tuple(values[-1].shape))

    add(steps[0])
    for _ in range(draw(st.integers(1, most_steps))):
        kind = draw(st.sampled_from(kinds))
        last = len(values) - 1
        takes = (last, *(draw(st.integers(1, last)) for _ in range(table[kind].takes - 1)))
        if draw(st.integers(0, 5)) == 5:  # a branch off an earlier value
            takes = (draw(st.integers(1, last)), *takes[1:])
        options = table[kind].options(draw, [shapes[n] for n in takes])
        if options is not None:
            steps.append(Step(kind, takes, options))
            add(steps[-1])
    used = {n for step in steps for n in step.takes}
    loose = [n for n in range(1, len(values)) if n not in used]
    ends = loose[-3:]
    if len(ends) < 3 and draw(st.integers(0, 3)) == 3:
        ends.append(draw(st.integers(1, len(values) - 1)))
    # One bare output would leave a short network nothing to prune.
    tops = list(HEADS) if len(ends) > 1 else [kind for kind in HEADS if kind != "bare"]
    heads = [Step(draw(st.sampled_from(tops)), (n,), {}) for n in ends]
    extra = draw(st.integers(0, 3)) == 3
    training = Step("mean_linear", (draw(st.integers(1, len(values) - 1)),), {}) if extra else None
    return Recipe(tuple(steps), tuple(heads), training, draw(st.integers(0, 2**16)))
