"""The layers and tensors of a network are read once for all steps of a cut, and anew for the next."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from hapi_prune import prune
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.cutting.pruning import Options, Pruner
from hapi_prune.internals.layers import Inventory

IMAGE = [1, 3, 8, 8]


class Net(nn.Layer):
    """With a part that cannot be cut without the other, which takes several plans to find out."""

    def __init__(self, fixed):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2D(3, 8, 1), nn.Conv2D(8, 8, 1), nn.Conv2D(8, 4, 1)
        self.fixed = fixed

    def forward(self, x):
        x = self.a(x)
        if self.fixed and x.shape[1] < 8:
            raise ValueError("8 channels are expected")
        return self.c(self.b(x))


@pytest.mark.parametrize("fixed", [False, True])
def test_a_cut_reads_the_layers_three_times_however_many_plans_it_takes(fixed, monkeypatch):
    """For the trace, to see whether anything else has changed them, and for all that follows."""
    read, real = [], Inventory.of

    def of(network):
        read.append(network)
        return real(network)

    monkeypatch.setattr(Inventory, "of", of)
    record = prune(Net(fixed), IMAGE, 0.5)
    assert record.widths == {"a": (8, 8 if fixed else 4), "b": (8, 4), "c": (4, 4)}
    assert len(read) == 3


def test_a_layer_that_is_replaced_between_two_cuts_is_the_one_that_is_cut():
    network = Net(False)
    pruner = Pruner(network, IMAGE, Options())
    pruner.cut(0.25)
    first = network.b
    network.b = nn.Conv2D(6, 6, 1)
    pruner.cut(0.5)
    assert network.b.weight.shape == [4, 4, 1, 1]
    assert first.weight.shape == [6, 6, 1, 1]
    assert np.isfinite(network(paddle.ones(IMAGE)).numpy()).all()


@pytest.mark.parametrize("fails", [False, True])
def test_only_within_the_block_are_they_read_once(fails):
    channel_map = ChannelMap(Net(False), IMAGE)
    try:
        with channel_map.read_once():
            held = channel_map.inventory()
            assert channel_map.inventory() is held
            assert channel_map.tensors is held.tensors
            if fails:
                raise ValueError
    except ValueError:
        pass
    assert channel_map.inventory() is not held
    assert list(held.tensors) == [name for name, _ in channel_map.network.named_parameters()]
    assert held.network is channel_map.network
