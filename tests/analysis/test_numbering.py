"""Atoms as numbers: axes that are tied as a whole share theirs, and nothing changes but the time that it takes."""

from __future__ import annotations

from unittest import mock

import numpy as np
import paddle
import pytest
from backbones import BACKBONES
from paddle import nn
from zoo import ZOO

from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.analysis.groups import group
from hapi_prune.analysis.numbering import alike_axes

# Paddle's BatchNorm says so at every forward pass in training.
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track global mean:UserWarning")
EACH_BY_ITSELF = mock.patch("hapi_prune.analysis.groups.alike_axes", lambda constraints: ({}, constraints.ties))


def told(grouping):
    """All that a grouping says, as plain data."""
    groups = [
        (key, g.size, g.frozen, g.approximate, [(axis, rows.tolist()) for axis, rows in g.index.items()])
        for key, g in grouping.groups.items()
    ]
    return groups, grouping.keys_by_footprint, grouping.families, grouping.number.starts.tolist()


def shared(channel_map):
    """The axes that share the numbers of another, which are grouped as if they did not."""
    traced = channel_map.traced
    with EACH_BY_ITSELF:
        wanted = group(traced)
    found = group(traced)
    assert told(found) == told(wanted)
    assert np.array_equal(found.ties, wanted.ties)
    return {} if traced.constraints.pins else alike_axes(traced.constraints)[0]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "inception_v3", "vgg11"])
def test_a_model_is_grouped_as_if_each_axis_had_numbers_of_its_own(name):
    assert len(shared(ChannelMap(getattr(paddle.vision.models, name)(), [1, 3, 224, 224]))) > 15


@pytest.mark.slow
def test_every_network_is_grouped_as_if_each_axis_had_numbers_of_its_own():
    every = {**ZOO, **BACKBONES}.values()
    assert sum(bool(shared(ChannelMap(entry.build(), entry.inputs))) for entry in every) > 25


class Added(nn.Layer):
    """Adds to the channels of one convolution those of another, in an order of their own."""

    def __init__(self, ordered):
        super().__init__()
        self.one, self.other, self.last = (nn.Conv2D(4, 4, 1) for _ in range(3))
        self.ordered = ordered

    def forward(self, x):
        return self.last(self.one(x) + self.ordered(self.other(x)))


ORDERS = {
    "as they are": lambda y: y,
    "reversed": lambda y: paddle.flip(y, [1]),
    "rolled": lambda y: paddle.roll(y, 1, axis=1),
}


@pytest.mark.parametrize("order", ORDERS)
def test_axes_are_alike_only_in_the_same_order(order):
    channel_map = ChannelMap(Added(ORDERS[order]), [1, 4, 8, 8])
    alike = shared(channel_map)
    one, other = (channel_map.graph.numbers[name, 0] for name in ("one.weight", "other.weight"))
    assert (alike.get(other) == one) == (order == "as they are")
    assert len(channel_map.groups["one.weight"].index) == 5  # two weights, two biases, and what reads the sum
