"""Blocks of random networks with sizes written into their code, and heads."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # as everybody writes it
from hypothesis import strategies as st
from paddle import nn
from random_blocks import HEADS, WIDTHS, Block, block

# written down: these cannot shrink, or only with an attribute, and the library must find that out


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


# heads


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
