"""Ways to write a network, with or without sizes in the code."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from structures import Chain, conv, conv_bn, pooled, structure

# How networks are written


@structure("a shared b")
class CalledTwice(Chain):
    """One layer, used twice in a row: its inputs are its outputs."""

    def __init__(self) -> None:
        super().__init__(8)
        self.shared = conv_bn(8, 8)

    def middle(self, x):
        return self.shared(self.shared(x))


@structure("a b shared")
class CalledInTwoPlaces(nn.Layer):
    """One layer behind two others: these shrink together."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.shared = conv(3, 8), conv(3, 8), conv(8, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        one, two = self.shared(F.relu(self.a(x))), self.shared(F.sigmoid(self.b(x)))
        return self.head(pooled(one * two))


@structure("a mid b")
class TiedWeights(Chain):
    """Two layers with one weight, and biases of their own."""

    def __init__(self) -> None:
        super().__init__(8)
        self.mid, self.other = conv(8, 8), conv(8, 8)
        self.other.weight = self.mid.weight

    def middle(self, x):
        return self.other(F.relu(self.mid(x)))


@structure("a weight b")
class TiedTransposed(Chain):
    """A Linear and its transpose, as in an autoencoder with one weight."""

    def __init__(self) -> None:
        super().__init__(8)
        self.weight = self.create_parameter([8, 12])

    def middle(self, x):
        x = x.transpose([0, 2, 3, 1])
        x = F.relu(paddle.matmul(x, self.weight))
        return paddle.matmul(x, self.weight, transpose_y=True).transpose([0, 3, 1, 2])


@structure("blocks.0 blocks.1 blocks.2 b")
class LayerLists(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.LayerList([conv_bn(3, 8), conv_bn(8, 8), conv_bn(8, 8)])
        self.b, self.head = conv(8, 4), nn.Linear(4, 5)

    def forward(self, x):
        x = self.blocks[0](x)
        for block in self.blocks[1:]:
            x = x + block(x)
        return self.head(pooled(self.b(x)))


@structure("a.0 a.2.0 b")
class Anonymous(nn.Layer):
    """Sequentials in Sequentials, functions in between, layers in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(
            conv(3, 8), nn.Sequential(nn.ReLU(), nn.Identity()), nn.Sequential(conv(8, 6), nn.Dropout(0.0))
        )
        self.b, self.head = conv(6, 4), nn.Linear(4, 5)
        self.plain = [self.b, F.relu, pooled, self.head]

    def forward(self, x):
        x = self.a(x)
        for step in self.plain:
            x = step(x)
        return x


@structure("a b c", inputs=[[2, 3, 8, 8], [2, 4, 8, 8]])
class SeveralInputs(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(4, 6), conv(14, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, image, depth):
        return self.head(pooled(self.c(F.relu(paddle.concat([self.a(image), self.b(depth)], axis=1)))))


@structure("a b c", inputs={"image": [2, 3, 8, 8], "depth": [2, 4, 8, 8]})
class DictInput(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(4, 8), conv(8, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, batch):
        return self.head(pooled(self.c(F.relu(self.a(batch["image"]) + self.b(batch["depth"])))))


@structure("a b c", inputs=[[[2, 3, 8, 8], [2, 3, 8, 8]]])
class ListInput(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(3, 8), conv(8, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, pair):
        one, two = pair
        return self.head(pooled(self.c(F.relu(self.a(one) + self.b(two)))))


@structure("a b", inputs={"image": [2, 3, 8, 8], "words": paddle.static.InputSpec([2, 7], "int64"), "mask": None})
class IntegerAndOptionalInputs(nn.Layer):
    """Words are looked up and gate the channels of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.a, self.b = nn.Embedding(10, 8), conv(3, 8), conv(8, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, image, words, mask=None):
        gate = self.table(words).mean(1)
        x = self.a(image) * gate.unsqueeze([2, 3])
        if mask is not None:
            x = x * mask
        return self.head(pooled(F.relu(self.b(x))))


@structure("a b", {"c": "an output"})
class NestedOutputs(nn.Layer):
    """A dict of a list of tensors, a tuple, None and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(8, 6), conv(6, 4)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = F.relu(self.b(F.relu(self.a(x))))
        return {"maps": [self.c(x), (self.head(pooled(x)),)], "nothing": None, "count": 3}


@structure("b", {"a": "an output", "c": "an output"})
class PyramidOutputs(nn.Layer):
    """What is handed out as a feature map stays."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(8, 6), conv(6, 4)

    def forward(self, x):
        a = F.relu(self.a(x))
        return a, [self.c(F.relu(self.b(a)))]


@structure("a b aux")
class TrainingHead(nn.Layer):
    """A second head, in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.aux = conv(3, 8), conv(8, 6), conv(8, 4)
        self.head, self.second = nn.Linear(6, 5), nn.Linear(4, 5)

    def forward(self, x):
        x = F.relu(self.a(x))
        out = self.head(pooled(F.relu(self.b(x))))
        if self.training:
            return out, self.second(pooled(F.relu(self.aux(x))))
        return out


@structure("a b")
class ToStatic(Chain):
    """A forward that the user has decorated."""

    @paddle.jit.to_static(full_graph=True)
    def forward(self, x):
        x = F.relu(self.a(x))
        return self.head(pooled(F.relu(self.b(x))))


@structure("a b")
class ComputedRange(Chain):
    """A loop of Python's over a number that is computed from a shape: no source of it can be converted."""

    def middle(self, x):
        rows = [x[:, :, row] for row in range(paddle.shape(x)[2])]
        batch, *_ = [int(size) for size in paddle.shape(x)]
        return paddle.stack(rows, 2).reshape([batch, *paddle.shape(x).numpy()[1:].tolist()])


@structure("b", {"a": "values of tensors decide"})
class ControlFlow(Chain):
    """A branch on the value of a tensor: what goes into it stays."""

    def middle(self, x):
        if x.mean() > 0:  # noqa: SIM108  # a branch is what it is about
            x = x * 2
        else:
            x = x - 1
        return x


@structure("a b")
class Loop(Chain):
    """How often it runs is the same whatever the data are."""

    def middle(self, x):
        count = paddle.zeros([1], "int32")
        while count < 2:
            x = F.relu(x) + 1
            count = count + 1
        return x


# Sizes written into the code, and sizes that are computed


@structure("b fb fa", {"a": "laid out in another way", "c": "is an output"}, approximate=True)
class TwoLayouts(nn.Layer):
    """Four channels as 2 x 2, for the largest of each row. In one of them there are fewer rows then, in the other rows
    of fewer, at the same line of the code; the labels take both for the other one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 4), conv(3, 4)
        self.fa, self.fb, self.c = conv(1, 4, 1), conv(2, 4, 1), conv(8, 3, 1)

    def largest(self, x, *shape):
        return x.reshape([x.shape[0], *shape, *x.shape[2:]]).max(2)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        a, b = self.largest(a, a.shape[1] // 2, 2)[:, :1], self.largest(b, 2, b.shape[1] // 2)
        return self.c(paddle.concat([self.fa(a), self.fb(b)], axis=1))


@structure("a c b")
class ComputedShapes(Chain):
    """paddle.shape: sizes that the program computes; dropout of whole channels does it too."""

    def __init__(self) -> None:
        super().__init__(8)
        self.drop, self.c = nn.Dropout2D(0.0), conv(8, 8)

    def middle(self, x):
        n, c, h, w = paddle.shape(x)
        x = self.drop(x).reshape([n, c, -1]).reshape([n, c, h, w])
        up = F.interpolate(x, paddle.shape(x)[2:] * 2)
        x = paddle.concat([F.max_pool2d(F.relu(self.c(up)), 2), x], axis=1)
        return paddle.split(x, 2, axis=1)[0] * paddle.ones(paddle.shape(x)[2:])


@structure("b", {"a": "does not run at other sizes"})
class WrittenReshape(Chain):
    def middle(self, x):
        return x.reshape([-1, 8, 8, 8])


@structure("a b")
class ReshapeByAnAttribute(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.width = 8

    def middle(self, x):
        return x.reshape([-1, self.width, 8, 8])


@structure("b", {"a": "does not run at other sizes"})
class WrittenSplit(Chain):
    def middle(self, x):
        one, two = paddle.split(x, [6, 2], axis=1)
        return paddle.concat([F.relu(one), two], axis=1)


@structure("b", {"a": "does not run at other sizes", "weight": "does not run at other sizes"})
class WrittenGroups(Chain):
    def __init__(self) -> None:
        super().__init__(8)
        self.weight = self.create_parameter([8, 1, 3, 3])

    def middle(self, x):
        return F.conv2d(x, self.weight, groups=8, padding=1)


@structure("b", {"a": "does not run at other sizes"})
class WrittenNorm(Chain):
    """F.layer_norm with the width written down."""

    def middle(self, x):
        return F.layer_norm(x.transpose([0, 2, 3, 1]), 8).transpose([0, 3, 1, 2])


@structure("a b")
class PixelShuffleByHand(Chain):
    def __init__(self) -> None:
        super().__init__(16, 4)

    def middle(self, x):
        n, c, h, w = x.shape
        x = x.reshape([n, c // 4, 2, 2, h, w]).transpose([0, 1, 4, 2, 5, 3])
        return x.reshape([n, c // 4, h * 2, w * 2])


# Values as large as the code asks for


@structure("a b")
class OnesOfItsShape(Chain):
    def middle(self, x):
        n, c, h, w = paddle.shape(x)
        return x * paddle.ones((n, c, h, w)) + paddle.full([n, c, 1, 1], 2.0) * x


@structure("a mid b", approximate=True)
class Factorised(Chain):
    """Bases drawn at random, as many rows as there are channels, updated by products with the map."""

    def __init__(self) -> None:
        super().__init__(8)
        self.mid = conv(8, 6)
        self.b = conv(6, 6)

    def middle(self, x):
        x = F.relu(self.mid(x))
        n, c, h, w = paddle.shape(x)
        x = x.reshape([n, c, h * w])
        bases = F.normalize(paddle.rand((n, c, 3)), axis=1)
        coef = F.softmax(paddle.bmm(x.transpose([0, 2, 1]), bases), axis=-1)
        bases = bases * paddle.bmm(x, coef) / (bases.bmm(coef.transpose([0, 2, 1]).bmm(coef)) + 1e-6)
        return paddle.bmm(bases, coef.transpose([0, 2, 1])).reshape([n, c, h, w])


@structure("a b")
class RowsInALoop(Chain):
    """A loop over a number that is computed from the shape, which Paddle would make an op of."""

    def middle(self, x):
        rows = []
        for n in range(int(paddle.shape(x)[2]) // 4):
            rows.append(F.relu(x[:, :, 4 * n : 4 * n + 4]))  # noqa: PERF401  # as a loop, which can be converted
        return paddle.concat(rows, axis=2)


@structure("a b")
class HalvesOfPadding(Chain):
    """Pads to whole windows, one half on each side: half of a size that it computes is a tensor with an axis."""

    def middle(self, x):
        size = paddle.shape(x)[2]
        windows = paddle.ceil(size / 3).astype("int32")
        padding = (windows * 3 - size).astype("int32")
        if padding > 0:
            sides = paddle.concat([padding // 2, padding - padding // 2])
            x = F.pad(x, paddle.concat([sides, sides]))
        n, c = x.shape[:2]
        rows = x.reshape([n, c, windows, 3, windows, 3])
        return rows.mean([3, 5])


@structure("a b mid.0 mid.2")
class CroppedToUnknown(Chain):
    """Images of a size that cannot be followed: convolutions, biases, padding and pooling go on with it."""

    def __init__(self):
        super().__init__(8)
        self.mid = nn.Sequential(conv(8, 7), nn.ReLU(), nn.Conv2DTranspose(7, 8, 3, 2), nn.MaxPool2D(2))

    def middle(self, x):
        rows = paddle.shape(x)[2].astype("float32").sqrt().square().round().astype("int32")
        return F.interpolate(F.pad(self.mid(x[:, :, :rows]), [1, 1, 1, 1]), scale_factor=2)


@structure("a b")
class SizesLeftOpen(Chain):
    """Reads a shape that Paddle leaves open while it traces, and computes with it: of an image of a computed size."""

    def middle(self, x):
        y = F.interpolate(F.avg_pool2d(x, 2), size=paddle.shape(x)[2:], mode="bilinear")
        n, c, h, w = y.shape
        if min(n, h, w) < 1:
            raise ValueError(f"give the input a shape: {y.shape}")
        rows = y.reshape([n, c, h * w])
        return (rows - rows.mean(-1, keepdim=True)).reshape([n, c, h, w])
