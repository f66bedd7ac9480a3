"""Slices that are picked, written, sorted or boxed by their numbers, and numbers drawn at random."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from structures import Chain, conv, conv_bn, pooled, structure

# Picking, writing, sorting


@structure("b", {"a": "which the code names"})
class PickedChannels(Chain):
    """A fixed permutation of the channels."""

    def middle(self, x):
        order = paddle.to_tensor([3, 1, 0, 2, 7, 6, 5, 4])
        return paddle.index_select(x, order, axis=1) + paddle.gather(x, order, axis=1)


@structure("b", {"a": "which the code names"})
class FancyIndex(Chain):
    def middle(self, x):
        return x[:, [3, 1, 0, 2, 7, 6, 5, 4]]


class Picking(Chain):
    """A buffer of the network says which channels are picked."""

    def __init__(self, *order: int) -> None:
        super().__init__(8, len(order))
        self.register_buffer("order", paddle.to_tensor(order))


@structure("a b")
class PermutationBuffer(Picking):
    def __init__(self) -> None:
        super().__init__(3, 1, 0, 2, 7, 6, 5, 4)

    def middle(self, x):
        return paddle.index_select(x, self.order, axis=1)


@structure("a b c")
class PermutationWritten(Picking):
    """As one writes it in Python, through a cast, and along another axis."""

    def __init__(self) -> None:
        super().__init__(2, 5, 7, 0, 6, 1, 4, 3)
        self.c = conv(8, 8)

    def middle(self, x):
        last = x.transpose([0, 2, 3, 1]).gather(self.order.astype("int32"), axis=3)
        return self.c(F.relu(x)[:, self.order]) + last.transpose([0, 3, 1, 2])


@structure("a:5 b")
class PermutationAdded(Picking):
    """DY-Shift-Max: each channel meets the one that is picked in its place, so all of a cycle stay or go.

    What is zeroed picks a zero still, or the places would not be alike in the same way.
    """

    def __init__(self) -> None:
        super().__init__(1, 2, 0, 4, 5, 3, 7, 6)

    def middle(self, x):
        x = x + F.relu(x.index_select(self.order, axis=1))
        places = x.flatten(2)
        return paddle.matmul(places, F.softmax(places.transpose([0, 2, 1]).matmul(places))).reshape(x.shape)


@structure("a:5 b")
class PickedAgain(Picking):
    """Some channels twice, one three times; picked in two places."""

    def __init__(self) -> None:
        super().__init__(4, 4, 6, 7, 1, 0, 6, 2, 2, 3, 2, 5)

    def middle(self, x):
        return x.index_select(self.order, axis=1) * F.sigmoid(x.mean([2, 3], keepdim=True))[:, self.order]


@structure("stem:8 a:16 b.0:16 dw.0:16 c:4 d", ratio=0.4)
class ShuffleByIndex(nn.Layer):
    """MicroNet: group convolution, shuffle by a buffer, group convolution; what is picked is put together of two."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = conv(3, 12), conv(12, 24, groups=2), conv_bn(24, 24, 1, groups=4)
        self.dw, self.c, self.d = conv_bn(24, 24, groups=24), conv(24, 8, groups=2), conv(20, 6)
        self.head = nn.Linear(6, 5)
        for name, groups in (("one", 2), ("two", 4), ("three", 5)):
            size = 20 if groups == 5 else 24
            self.register_buffer(name, paddle.arange(size).reshape([groups, -1]).t().flatten())

    def forward(self, x):
        stem = self.stem(x)
        x = self.b(paddle.index_select(self.a(stem), self.one, axis=1))
        x = self.c(paddle.index_select(self.dw(x), self.two, axis=1))
        x = paddle.concat([stem, F.relu(x)], axis=1).index_select(self.three, axis=1)
        return self.head(pooled(self.d(x)))


@structure("b", dict.fromkeys("acdef", "picked by its number"))
class PickedInPart(Picking):
    """Some channels are not picked, or the last; the buffer is not saved, or also counts itself, or is cut itself."""

    def __init__(self) -> None:
        super().__init__(*range(8))
        self.c, self.d, self.e, self.f = (conv(3, 8) for _ in range(4))
        self.b = conv(7 + 8 + 8 + 4 + 6, 6)
        self.register_buffer("first", paddle.to_tensor([5, 4, 3, 2, 1, 0]))
        self.register_buffer("part", paddle.to_tensor([0, 1, 2, 3, 4, 5, 7]))
        self.register_buffer("lost", paddle.to_tensor([1, 0, 3, 2, 5, 4, 7, 6]), persistable=False)
        self.register_buffer("some", paddle.arange(8))

    def forward(self, x):
        a, c, d, e = self.a(x)[:, self.part], self.c(x)[:, self.lost], self.d(x)[:, self.order], self.e(x)
        d = d * self.order.astype("float32").mean()
        e = e.index_select(self.some[:4], axis=1)
        return self.head(pooled(self.b(paddle.concat([a, c, d, e, self.f(x)[:, self.first]], axis=1))))


@structure("b", {"a": "told by its number"})
class TopChannels(Chain):
    def __init__(self) -> None:
        super().__init__(8, 3)

    def middle(self, x):
        return paddle.topk(x, 3, axis=1)[0]


@structure("a", {"b": "told by its number"})
class ClassMap(nn.Layer):
    """A segmentation network that returns the number of the best class at each place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 8), conv(8, 6)

    def forward(self, x):
        classes = self.b(F.relu(self.a(x)))
        return classes.mean([2, 3]).sum(1), classes.argmax(axis=1)


@structure("a b", approximate=True)
class CumulativeSum(Chain):
    def middle(self, x):
        return paddle.cumsum(x, axis=1) * 0.1


@structure("a b")
class WriteHalf(Chain):
    """One half of the channels is overwritten: with a number, and with the other half."""

    def middle(self, x):
        half = x.shape[1] // 2
        y = x * 1
        y[:, :half] = 0.0
        z = x * 1
        z[:, half:] = x[:, :half]
        return y + z


@structure("b", {"a": "changes output"})
class WriteTwo(Chain):
    """x[:, :2] = 0 with the 2 written into the code."""

    def middle(self, x):
        x = x * 1
        x[:, :2] = 1.0
        return x


@structure("a b")
class WherePositive(Chain):
    def middle(self, x):
        x = paddle.where(x > 0.1, x, 0.5 * x)
        return paddle.masked_fill(x, x > 1.0, 1.0)


@structure("a b")
class RepeatedChannels(Chain):
    """tile, repeat_interleave, expand over a new axis, squeeze and unsqueeze."""

    def __init__(self) -> None:
        super().__init__(8, 56)

    def middle(self, x):
        n, c, h, w = x.shape
        wide = x.unsqueeze(1).expand([n, 3, c, h, w]).reshape([n, 3 * c, h, w])
        x = paddle.concat([paddle.tile(x, [1, 2, 1, 1]), paddle.repeat_interleave(x, 2, axis=1), wide], axis=1)
        return x.unsqueeze(1).squeeze(1)


@structure("a theta c", {"b": "steers"})
class SpatialTransformer(nn.Layer):
    """grid_sample with a grid from a Linear and from a convolution; max pooling with places, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.theta, self.b, self.c = conv(3, 8), conv(8, 4), conv(4, 2), conv(8, 4)
        self.affine, self.head = nn.Linear(8, 6), nn.Linear(4, 5)

    def forward(self, x):
        x = F.relu(self.a(x))
        grid = F.affine_grid(self.affine(pooled(x)).reshape([-1, 2, 3]), x.shape)
        flow = self.b(F.relu(self.theta(x))).transpose([0, 2, 3, 1])
        x = F.grid_sample(F.grid_sample(x, grid), flow)
        small, places = F.max_pool2d(x, 2, return_mask=True)
        return self.head(pooled(self.c(F.max_unpool2d(small, places, 2))))


@structure("a b")
class UnfoldAndFold(Chain):
    """im2col, a matmul, and back."""

    def __init__(self) -> None:
        super().__init__(8)
        self.weight = self.create_parameter([32, 32])

    def middle(self, x):
        patches = F.unfold(x, 2, strides=2)
        return F.fold(paddle.matmul(self.weight, patches), [8, 8], 2, strides=2)


@structure("a b c", {"offset": "steers"})
class Deformable(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), paddle.vision.ops.DeformConv2D(8, 6, 3, padding=1), conv(6, 4)
        self.offset, self.head = conv(8, 18), nn.Linear(4, 5)

    def forward(self, x):
        x = F.relu(self.a(x))
        return self.head(pooled(self.c(F.relu(self.b(x, self.offset(x))))))


# Boxes


@structure("a c b", {"delta": "coordinate of a box"})
class RegionsOfInterest(nn.Layer):
    """Two maps are sampled inside of boxes that a convolution has made, one by averages and one by maxima."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.c, self.delta, self.b = conv_bn(3, 8), conv_bn(3, 6), conv(3, 4, 1), conv(14, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        boxes = F.sigmoid(self.delta(x)[:, :, 0].transpose([0, 2, 1])).reshape([-1, 4])
        boxes = paddle.concat([2 * boxes[:, :2], 4 + 3 * boxes[:, 2:]], axis=1)
        count = paddle.full([x.shape[0]], x.shape[3], dtype="int32")
        average = paddle.vision.ops.roi_align(self.a(x), boxes, count, 3)
        largest = paddle.vision.ops.roi_pool(self.c(x), boxes, count, 3)
        return self.head(pooled(F.relu(self.b(paddle.concat([average, largest], axis=1)))))


@structure("a", {"maps": "a coordinate or a score of a box"}, inputs=[[2, 3, 8, 8], [2, 2]])
class DecodedBoxes(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.maps = conv_bn(3, 8), conv(8, 2 * (5 + 3), 1)

    def forward(self, x, size):
        anchors = [10, 13, 16, 30]
        return paddle.vision.ops.yolo_box(self.maps(F.relu(self.a(x))), size.astype("int32"), anchors, 3, 0.0, 8)


# Numbers drawn at random: as many as there are channels, so that a smaller network draws others


@structure("a b", approximate=True)
class NoisyAlways(Chain):
    def middle(self, x):
        return x + 0.01 * (2 * paddle.rand(paddle.shape(x)) - 1)


@structure("a b", random=True)
class NoisyInTraining(Chain):
    """What is drawn in training alone leaves evaluation as it is."""

    def middle(self, x):
        return x + 0.01 * paddle.randn(x.shape) if self.training else x


@structure("a b", random=True)
class DroppedPlaces(Chain):
    """One number for each place of an image, drawn always: it does not depend on the channels."""

    def middle(self, x):
        n, _, h, w = x.shape
        return x * (paddle.rand([n, 1, h, w]) * 0 + 1)


@structure("a b", approximate=True)
class DroppedAlways(Chain):
    def middle(self, x):
        return F.dropout(x, 0.5, training=True)


@structure("a b", approximate=True)
class DrawnForEach(Chain):
    def middle(self, x):
        return x * paddle.bernoulli(F.sigmoid(x))


@structure("a b")
class ShiftedInTime(Chain):
    """A quarter of the channels from the image before, a quarter from the one behind."""

    def middle(self, x):
        return F.relu(F.temporal_shift(x, 2, 0.25))
