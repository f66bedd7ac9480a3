"""What is counted, as formulas: each expected value is written out, none is a snapshot.

Sizes all differ, so that a formula with two of them exchanged gives another number. The networks of
paddle.vision.models are in test_vision_models.py, random ones in test_laws.py.
"""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # as everybody writes it
import pytest
import reference
from backbones_detection import TwoStage
from paddle import nn

from hapi_prune import Cost, LayerCost, cost, prune

N, C, H, W = 2, 6, 9, 7


def pooled(size, kernel=3, stride=1, padding=0):
    return (size + 2 * padding - kernel) // stride + 1


OUT = pooled(H) * pooled(W)
OUT2 = pooled(H, 3, 2, 1) * pooled(W, 3, 2, 1)

LAYERS = {
    # A convolution: results x (weights of one filter + one for the bias).
    "conv": (lambda: nn.Conv2D(C, 8, 3), [N, C, H, W], N * 8 * OUT * (C * 9 + 1), N * 8 * OUT * C * 9),
    "conv without bias": (lambda: nn.Conv2D(C, 8, 3, bias_attr=False), [N, C, H, W], N * 8 * OUT * C * 9, None),
    "strided": (lambda: nn.Conv2D(C, 8, 3, 2, 1, bias_attr=False), [N, C, H, W], N * 8 * OUT2 * C * 9, None),
    "flat kernel": (lambda: nn.Conv2D(C, 8, (1, 3)), [N, C, H, W], N * 8 * H * pooled(W) * (C * 3 + 1), "bias"),
    "in groups": (lambda: nn.Conv2D(C, 8, 3, groups=2), [N, C, H, W], N * 8 * OUT * (C // 2 * 9 + 1), "bias"),
    "depthwise": (lambda: nn.Conv2D(C, C, 3, groups=C), [N, C, H, W], N * C * OUT * (9 + 1), "bias"),
    "depthwise, two each": (lambda: nn.Conv2D(C, 2 * C, 3, groups=C), [N, C, H, W], N * 2 * C * OUT * 10, "bias"),
    "channels last": (lambda: nn.Conv2D(C, 8, 3, data_format="NHWC"), [N, H, W, C], N * 8 * OUT * (C * 9 + 1), "bias"),
    "1D": (lambda: nn.Conv1D(C, 8, 3), [N, C, H], N * 8 * pooled(H) * (C * 3 + 1), "bias"),
    "3D": (lambda: nn.Conv3D(C, 8, 3), [N, C, H, W, 5], N * 8 * OUT * pooled(5) * (C * 27 + 1), "bias"),
    # A transposed one: each input meets its weights once, whatever the stride; the bias is one per result.
    "transposed": (
        lambda: nn.Conv2DTranspose(C, 8, 3, 2),
        [N, C, H, W],
        N * C * H * W * 8 * 9 + N * 8 * (2 * H + 1) * (2 * W + 1),
        N * C * H * W * 8 * 9,
    ),
    "transposed, no bias": (
        lambda: nn.Conv2DTranspose(C, 8, 3, 2, bias_attr=False), [N, C, H, W], N * C * H * W * 8 * 9, None
    ),
    "transposed, in groups": (
        lambda: nn.Conv2DTranspose(C, 8, 3, groups=2, bias_attr=False), [N, C, H, W], N * C * H * W * 8 // 2 * 9, None
    ),
    "transposed, depthwise": (
        lambda: nn.Conv2DTranspose(C, C, 3, groups=C, bias_attr=False), [N, C, H, W], N * C * H * W * 9, None
    ),
    "transposed, 1D": (lambda: nn.Conv1DTranspose(C, 8, 3, bias_attr=False), [N, C, H], N * C * H * 8 * 3, None),
    # A linear layer: inputs x outputs for each row; its bias is free, as in paddle.flops.
    "linear": (lambda: nn.Linear(5, 7), [N, 5], N * 5 * 7, None),
    "linear over places": (lambda: nn.Linear(5, 7), [N, 3, 5], N * 3 * 5 * 7, None),
    # Normalisation: two per element.
    "batch norm 1D": (lambda: nn.BatchNorm1D(C), [N, C], 2 * N * C, 0),
    "batch norm 1D, long": (lambda: nn.BatchNorm1D(C), [N, C, H], 2 * N * C * H, 0),
    "batch norm 2D": (lambda: nn.BatchNorm2D(C), [N, C, H, W], 2 * N * C * H * W, 0),
    "batch norm 3D": (lambda: nn.BatchNorm3D(C), [N, C, H, W, 5], 2 * N * C * H * W * 5, 0),
    "layer norm": (lambda: nn.LayerNorm(W), [N, H, W], 2 * N * H * W, 0),
    "group norm": (lambda: nn.GroupNorm(2, C), [N, C, H, W], 2 * N * C * H * W, 0),
    # Pooling: one per result; where the window is worked out, the window and a division; maxima are free.
    "average": (lambda: nn.AvgPool2D(3, 1), [N, C, H, W], N * C * OUT, 0),
    "average 1D": (lambda: nn.AvgPool1D(3, 1), [N, C, H], N * C * pooled(H), 0),
    "adaptive average": (lambda: nn.AdaptiveAvgPool2D((3, 2)), [N, C, 9, 8], N * C * 3 * 2 * (3 * 4 + 1), 0),
    "global average": (lambda: nn.AdaptiveAvgPool2D(1), [N, C, H, W], N * C * (H * W + 1), 0),
    "maximum": (lambda: nn.MaxPool2D(2), [N, C, H, W], 0, 0),
    # Activations are free, but for LeakyReLU.
    "leaky relu": (lambda: nn.LeakyReLU(), [N, C, H, W], N * C * H * W, 0),
    "relu": (lambda: nn.ReLU(), [N, C, H, W], 0, 0),
    "gelu": (lambda: nn.GELU(), [N, C, H, W], 0, 0),
    "prelu": (lambda: nn.PReLU(C), [N, C, H, W], 0, 0),
    "dropout": (lambda: nn.Dropout(), [N, C, H, W], 0, 0),
}  # fmt: skip
"""Layer, input, FLOPs, multiply-adds: None where they are the FLOPs, "bias" where one per result is not among them."""


def results(layer, shape):
    layer.eval()
    return int(np.prod(layer(paddle.zeros(shape)).shape))


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_counted_by_its_formula(name):
    build, shape, flops, macs = LAYERS[name]
    layer = build()
    with reference.as_found(layer):
        counted = cost(layer, shape)
    expected = {None: flops, "bias": flops - results(layer, shape)}.get(macs, macs)
    assert (counted.flops, counted.macs, counted.unknown) == (flops, expected, ())
    assert counted.params == sum(p.size for p in layer.parameters())
    assert [(row.flops, row.params) for row in counted.layers] == ([(flops, counted.params)] if counted.layers else [])


def test_the_statistics_of_a_batch_norm_are_parameters_and_not_trainable():
    counted = cost(nn.BatchNorm2D(C), [N, C, H, W])
    assert (counted.params, counted.trainable_params) == (4 * C, 2 * C)


def test_attention_is_two_products():
    places, width = 5, 8
    counted = cost(nn.MultiHeadAttention(width, 2), [[N, places, width]])
    assert counted.flops == counted.macs == N * (4 * places * width * width + 2 * places * places * width)
    rows = {row.name: row.flops for row in counted.layers}
    assert rows.pop("") == N * 2 * places * places * width
    assert set(rows.values()) == {N * places * width * width}


class Twice(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(C, C, 3, padding=1)

    def forward(self, x):
        return self.conv(F.relu(self.conv(x)))


def test_a_layer_called_twice_counts_twice_and_is_there_once():
    once = cost(nn.Conv2D(C, C, 3, padding=1), [N, C, H, W])
    twice = cost(Twice(), [N, C, H, W])
    assert twice.flops == 2 * once.flops
    assert twice.params == once.params
    assert [(row.name, row.flops) for row in twice.layers] == [("conv", 2 * once.flops)]


class Functional(nn.Layer):
    """No layer holds the work: bare parameters, and a bias that is none of a convolution."""

    def __init__(self):
        super().__init__()
        self.filters = self.create_parameter([8, C, 3, 3])
        self.shift = self.create_parameter([8])
        self.matrix = self.create_parameter([W - 2, 4])

    def forward(self, x):
        y = F.relu(F.conv2d(x, self.filters, self.shift))
        return paddle.matmul(y + self.shift.reshape([1, -1, 1, 1]), self.matrix)


def test_work_without_a_layer_is_the_networks_own():
    counted = cost(Functional(), [N, C, H, W])
    conv, product = N * 8 * OUT * (C * 9 + 1), N * 8 * pooled(H) * pooled(W) * 4
    assert counted.flops == conv + product
    assert [(row.name, row.kind, row.flops) for row in counted.layers] == [("", "Functional", conv + product)]
    assert counted.layers[0].params == counted.params == 8 * C * 9 + 8 + 4 * (W - 2)


def small():
    return nn.Sequential(
        nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.LeakyReLU(), nn.AvgPool2D(2), nn.Conv2D(4, 5, 1, bias_attr=False),
        nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(5, 3),
    )  # fmt: skip


def test_the_batch_scales_all_work_and_no_parameter():
    one, three = cost(small(), [1, 3, H, W]), cost(small(), [3, 3, H, W])
    assert (three.flops, three.macs, three.params) == (3 * one.flops, 3 * one.macs, one.params)
    assert [row.flops for row in three.layers] == [3 * row.flops for row in one.layers]


ROWS = {
    "small": (small, [N, 3, H, W]),
    "twice": (Twice, [N, C, H, W]),
    "functional": (Functional, [N, C, H, W]),
    "LeNet": (paddle.vision.models.LeNet, [N, 1, 28, 28]),
    "MobileNetV3": (paddle.vision.models.mobilenet_v3_small, [N, 3, 32, 32]),
    "GoogLeNet, whose heads are there in training only": (paddle.vision.models.googlenet, [N, 3, 224, 224]),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_sum_to_the_total(name):
    build, shape = ROWS[name]
    network = build()
    counted = cost(network, shape)
    assert counted.flops > 0
    assert counted.params > 0
    for what in ("flops", "macs", "params"):
        assert sum(getattr(row, what) for row in counted.layers) == getattr(counted, what)
    order = [layer for layer, _ in network.named_sublayers(include_self=True)]
    rows = [row.name for row in counted.layers]
    assert rows == sorted(set(rows), key=order.index)


class Unknown(nn.Layer):
    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 1)
        self.function = function

    def forward(self, x):
        return self.function(self.conv(x))


UNKNOWN = {
    "fft_r2c": lambda x: paddle.fft.rfft(x).abs(),
    "svd": lambda x: paddle.linalg.svd(x)[1],
    "inverse": lambda x: paddle.inverse(x),
}


@pytest.mark.parametrize("op", UNKNOWN)
def test_an_op_that_nobody_can_count_is_named(op):
    counted = cost(Unknown(UNKNOWN[op]), [1, 3, 4, 4])
    assert counted.flops == 4 * 16 * (3 + 1), "what is known is counted all the same"
    assert any(op in text and "test_cost.py:" in text for text in counted.unknown), counted.unknown


def test_what_is_done_for_each_box_is_named_and_counted_for_none():
    """How many boxes there are, the image says: neither a number of them nor -1 is counted."""
    network = TwoStage()
    found = cost(network, [2, 3, 32, 32])
    plain = cost(network.backbone, [2, 3, 32, 32]).flops
    heads = sum(row.flops for row in found.layers if row.name in ("rpn", "score", "delta"))
    assert found.flops == plain + heads
    assert [op.split("'")[1] for op in found.unknown] == [
        "matmul",
        "matmul",
        "conv2d_transpose",
        "add",
        "conv2d",
        "add",
    ]
    assert all(row.flops >= 0 for row in found.layers)


def test_nothing_unknown_in_a_network_without_it():
    assert cost(small(), [1, 3, H, W]).unknown == ()


def test_the_cost_after_a_cut_names_it_too():
    network = nn.Sequential(nn.Conv2D(3, 8, 1), Unknown(UNKNOWN["fft_r2c"]))
    network[1].conv = nn.Conv2D(8, 4, 1)
    record = prune(network, [1, 3, 4, 4], {"0": 0.5})
    assert record.cost_after == cost(network, [1, 3, 4, 4])
    assert record.cost_after.flops == 16 * (4 * (3 + 1) + 4 * (4 + 1))
    assert len(record.cost_after.unknown) == 1


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_counting_leaves_no_trace(mode):
    network = nn.Sequential(small(), nn.Dropout(0.5))
    getattr(network, mode)()
    network[0][1].eval()
    with reference.as_found(network):
        cost(network, [1, 3, H, W])
        cost(network, paddle.ones([1, 3, H, W]))


@pytest.mark.parametrize(
    "given",
    [
        [1, 3, H, W], (1, 3, H, W), [[1, 3, H, W]], paddle.static.InputSpec([None, 3, H, W], "float32", "x"),
        paddle.ones([1, 3, H, W]), [paddle.ones([1, 3, H, W])], np.ones([1, 3, H, W], "float32"),
        {"input": [1, 3, H, W]},
    ],
    ids=["list", "tuple", "list of lists", "spec", "tensor", "list of tensors", "array", "dict"],
)  # fmt: skip
def test_every_way_to_give_the_input(given):
    assert cost(small(), given) == cost(small(), [1, 3, H, W])


def test_it_is_what_paddle_flops_counts(capsys):
    network, shape = small(), [1, 3, H, W]
    counted = cost(network, shape)
    assert isinstance(counted, Cost)
    try:
        theirs = paddle.flops(network, shape)
    except TypeError as error:
        pytest.skip(f"paddle.flops does not run with NumPy {np.__version__}: {error}")
    assert counted.flops == theirs
    assert f"{counted.params}" in capsys.readouterr().out


def test_the_table_has_a_line_for_each_layer_and_the_totals():
    counted = cost(paddle.vision.models.LeNet(), [1, 1, 28, 28])
    rows = [line.split() for line in str(counted).splitlines()]
    numbers = [tuple(int(cell.replace(",", "")) for cell in (row[2], row[4], row[5])) for row in rows[3:8]]
    assert numbers == [(layer.flops, layer.macs, layer.params) for layer in counted.layers]
    assert sum(flops for flops, _, _ in numbers) == counted.flops
    assert sum(float(row[3][:-1]) for row in rows[3:8]) == pytest.approx(100, abs=0.3)
    assert counted.table().splitlines()[-1] == f"Total FLOPs: {counted.flops:,}     Total params: {counted.params:,}"
    assert len({len(line) for line in counted.table().splitlines()[:-1]}) == 1
    nothing = Cost(0, 0, 0, 0, (LayerCost("", "Net", 0, 0, 3),), ("odd (net.py:3)",))
    assert "(the network itself)" in nothing.table()
    assert nothing.table().endswith("Not counted: odd (net.py:3)")
