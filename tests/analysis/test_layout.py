"""Which slices belong to which unit: what is read off of the layout, before and after a cut."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn
from test_after_cut import some_plan
from zoo import ZOO

from hapi_prune.analysis.after_cut import Survivors, keeps_order
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.cutting.pruning import Pruner
from hapi_prune.selection.options import Options

MODELS = ("resnet18", "mobilenet_v2", "mobilenet_v3_small", "densenet121", "shufflenet_v2_x0_25", "googlenet")


class Dense(nn.Layer):
    """A dense block: each layer reads all before it."""

    def __init__(self, layers):
        super().__init__()
        self.stem = nn.Conv2D(3, 4, 1)
        self.layers = nn.LayerList([nn.Conv2D(4 + 2 * n, 2, 1) for n in range(layers)])
        self.head = nn.Linear(4 + 2 * layers, 3)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = paddle.concat([x, nn.functional.relu(layer(x))], axis=1)
        return self.head(x.mean([2, 3]))


def channel_map_of(name):
    network = Dense(12) if name == "dense" else getattr(paddle.vision.models, name)()
    return ChannelMap(network, [1, 3, 8, 8] if name == "dense" else [1, 3, 224, 224])


def require_one_unit_each(channel_map):
    """Each slice is one of one unit, and what is tied of the same."""
    grouping, unit_of = channel_map.origin, np.full(channel_map.origin.number.count, -1)
    first, place = 0, {axis: n for n, axis in enumerate(grouping.number.axes)}
    for group in grouping.groups.values():
        for axis, index in group.index.items():
            assert index.shape[0] == group.size
            numbers = grouping.number.starts[place[axis]] + index
            assert (unit_of[numbers] == -1).all(), f"{group.key}: {axis}"
            unit_of[numbers] = first + np.arange(group.size)[:, None]
        first += group.size
    assert (unit_of >= 0).all()
    one, other = grouping.ties
    assert np.array_equal(unit_of[one], unit_of[other])
    layout = grouping.layout
    for begin, end, of in zip(layout.starts, layout.starts[1:], layout.groups):
        units = layout.units[begin:end].reshape(layout.sizes[of], -1)
        assert (units == layout.firsts[of] + np.arange(layout.sizes[of])[:, None]).all()


@pytest.mark.parametrize("name", ["dense", *MODELS])
def test_each_slice_is_of_one_unit_and_what_is_tied_of_the_same(name):
    require_one_unit_each(channel_map_of(name))


@pytest.mark.slow
def test_each_slice_of_every_structure_is_of_one_unit():
    for entry in ZOO.values():
        require_one_unit_each(ChannelMap(entry.build(), entry.inputs))


@pytest.mark.parametrize("name", ["dense", "resnet18", "mobilenet_v2", "densenet121", "squeezenet1_0"])
def test_after_a_cut_each_group_has_the_rows_that_stay_at_their_new_places(name):
    channel_map = channel_map_of(name)
    assert channel_map.works_at_any_size and keeps_order(channel_map.traced)
    plan = some_plan(channel_map, 1)
    left = Survivors(channel_map.traced, channel_map.origin, plan)
    for key, group in left.state()[1].groups.items():
        was = channel_map.groups[key]
        kept = plan.kept.get(key, range(was.size))
        assert (group.size, list(group.index)) == (len(kept), list(was.index))
        for axis, index in group.index.items():
            rows = was.index[axis][list(kept)]
            assert np.array_equal(index, np.searchsorted(left.positions[axis], rows)), f"{key}: {axis}"
            assert np.isin(rows, left.positions[axis]).all()


def test_an_index_is_a_mapping_of_the_axes_that_a_group_touches():
    network = nn.Sequential(nn.Conv2D(3, 4, 1), nn.BatchNorm2D(4), nn.ReLU(), nn.Conv2D(4, 2, 1), nn.Conv2D(2, 2, 1))
    index = ChannelMap(network, [1, 3, 8, 8]).groups["0.weight"].index
    axes = [("0.weight", 0), ("0.bias", 0), ("1.weight", 0), ("1.bias", 0), ("1._mean", 0), ("1._variance", 0)]
    assert set(index) == {*axes, ("3.weight", 1)} == index.keys()
    assert len(index) == 7
    assert ("3.weight", 1) in index and ("3.weight", 0) not in index and "no axis" not in index
    assert index["3.weight", 1].tolist() == [[0], [1], [2], [3]]
    assert index["0.weight", 0] is index["1.bias", 0], "axes that are alike share one array"
    with pytest.raises(KeyError, match="3.weight"):
        index["3.weight", 0]
    assert repr(index).startswith("{('0.weight', 0): array([[0],")


def test_a_cut_looks_at_no_more_of_a_dense_block_than_what_it_scores():
    """Of all pairs of a group and an axis, of which there are more with the square of the layers."""
    looked = {}
    for layers in (10, 40):
        pruner = Pruner(Dense(layers), [1, 3, 8, 8], Options())
        before = pruner.channel_map.origin.layout
        pruner.cut(0.5)
        after = pruner.channel_map.state.grouping.layout
        looked[layers] = len(before._known) + len(after._known)
        assert len(before.axes) > layers**2 / 2
    assert looked[40] <= 4 * looked[10] + 4
