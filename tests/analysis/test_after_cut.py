"""The state after a cut, by arithmetic: it is what propagation gives at the new sizes, label by label."""

from __future__ import annotations

import random
from contextlib import nullcontext
from unittest import mock

import numpy as np
import paddle
import pytest
from backbones import BACKBONES
from backbones_files import FILES
from hypothesis import HealthCheck, assume, given, settings
from paddle import nn
from random_networks import recipes
from zoo import ZOO

from hapi_prune import PruningPlan
from hapi_prune.analysis.after_cut import Survivors, keeps_order
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.analysis.labels import signals_of

assert len(FILES) == 9, "which enter the networks"
# Paddle's BatchNorm says so at every forward pass in training.
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track global mean:UserWarning")
MODELS = ("resnet18", "mobilenet_v2", "mobilenet_v3_small", "densenet121", "inception_v3", "squeezenet1_0")


def some_plan(channel_map, seed):
    """Any units of most groups."""
    numbers = random.Random(seed)
    groups = [group for group in channel_map.groups.values() if not group.frozen and group.size > 1]
    chosen = [group for group in groups if numbers.random() < 0.8] or groups[:1]
    return PruningPlan(
        {g.key: tuple(sorted(numbers.sample(range(g.size), numbers.randint(1, g.size)))) for g in chosen}
    )


def require_equal(one, other):
    """Labels, groups and what the rules learned, but for the ties, which serve to compare wirings."""
    (propagation, grouping), (wanted, groups) = one, other
    assert propagation.sizes == wanted.sizes
    assert list(grouping.groups) == list(groups.groups)
    for group, same in zip(grouping.groups.values(), groups.groups.values()):
        assert (group.size, group.frozen, group.approximate) == (same.size, same.frozen, same.approximate)
        assert list(group.index) == list(same.index)
        assert all(np.array_equal(group.index[axis], same.index[axis]) for axis in group.index)
    assert (grouping.families, grouping.keys_by_footprint) == (groups.families, groups.keys_by_footprint)
    learned, told = propagation.constraints, wanted.constraints
    assert np.array_equal(grouping.number.starts, groups.number.starts)
    assert [plain(pair) for pair in learned.frozen + learned.mixed] == [plain(p) for p in told.frozen + told.mixed]
    for name in ("filters", "convolutions", "depthwise", "pins", "balanced", "followed", "numbers"):
        assert getattr(learned, name) == getattr(told, name), name
    for ours, theirs in zip(propagation.passes, wanted.passes):
        assert ours.not_followed == theirs.not_followed
        for values, others in zip(ours.operands + ours.results, theirs.operands + theirs.results):
            assert list(map(said, signals_of(values))) == list(map(said, signals_of(others)))


def plain(pair):
    return pair[0].ravel().tolist(), pair[1]


def said(signal):
    """A signal as plain data."""
    labels = [(label.axes, label.atoms.tolist()) for label in signal.labels]
    return signal.shape, labels, signal.tensor, signal.value, signal.uniform, signal.drawn, signal.nonzero


def twice(channel_map):
    """Two cuts, one after the other, each compared; whether there was something to cut, and arithmetic did it."""
    if not (channel_map.works_at_any_size and keeps_order(channel_map.traced)):
        return False
    for seed in (1, 2):
        plan = some_plan(channel_map, seed)
        if not plan:
            return seed > 1
        left = Survivors(channel_map.state.propagation, channel_map.state.grouping, plan)
        untold = mock.patch.object(ChannelMap, "_require_same_wiring")  # it compares ties: there are none by now
        with untold if seed > 1 else nullcontext():
            propagation, grouping, positions = channel_map._propagated(plan)
        require_equal(left.state(), (propagation, grouping))
        for axis in {axis for key in plan.kept for axis in channel_map.groups[key].index}:
            assert np.array_equal(left.positions[axis], positions[axis])
        channel_map.advance(*left.state())
    return True


@pytest.mark.parametrize("name", MODELS)
def test_what_is_left_of_a_model_is_what_propagation_gives(name):
    assert twice(ChannelMap(getattr(paddle.vision.models, name)(), [1, 3, 224, 224]))


@pytest.mark.slow
def test_what_is_left_of_every_network_that_keeps_its_order_is_what_propagation_gives():
    done = [name for name, entry in {**ZOO, **BACKBONES}.items() if twice(ChannelMap(entry.build(), entry.inputs))]
    assert len(done) > 25


@pytest.mark.slow
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(recipes())
def test_what_is_left_of_a_random_network_is_what_propagation_gives(recipe):
    assume(twice(ChannelMap(recipe.build(), recipe.inputs())))


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_a_convolution_with_groups_tells_its_slices_apart(groups):
    network = nn.Sequential(nn.Conv2D(3, 8, 1), nn.Conv2D(8, 8, 3, groups=groups), nn.Conv2D(8, 4, 1))
    channel_map = ChannelMap(network, [1, 3, 8, 8])
    assert channel_map.works_at_any_size
    assert keeps_order(channel_map.traced) == (groups != 2)
