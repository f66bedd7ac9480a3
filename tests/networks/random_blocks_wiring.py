"""Blocks of random networks: of several values, of parts of values, of pixels, and across channels."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F  # noqa: N812  # as everybody writes it
from hypothesis import strategies as st
from paddle import nn
from random_blocks import MIXING, WIDTHS, Block, any_size, block, even, functions, larger, unlike_halves

# several values


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


# parts


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


# places


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


# across channels


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


functions(even, channel_shuffle)
functions(unlike_halves, shuffle_by_hand, maxout, unbind_halves)
functions(lambda c, h, w: c % 4 == 0 and h < 9, pixel_shuffle)
functions(lambda c, h, w: c < 9 and h % 2 == 0 and w % 2 == 0, pixel_unshuffle)
functions(larger, flip, roll, times_channel_max, channel_softmax)
functions(lambda c, h, w: c < 17, tile, repeat, pad_channels)
functions(any_size, stack, turn, centred, less_channel_mean, gram)
functions(lambda c, h, w: min(h, w) > 1, max_pool)
functions(lambda c, h, w: min(h, w) > 2, avg_pool, adaptive_pool)
functions(lambda c, h, w: h < 9, nearest, bilinear, pad_places)
functions(lambda c, h, w: 2 < h < 9 and w > 2, reflect)
