"""Buffers that pick channels by their number: cut, renumbered, taken back, saved and loaded with the channels."""

from __future__ import annotations

import copy

import numpy as np
import paddle
import pytest
import reference
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from zoo import ZOO

from hapi_prune import PruneError, load, prune
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.cutting import cut as cutting
from hapi_prune.cutting.pruning import Options, Pruner
from hapi_prune.plan import PruningPlan

SHAPE = [2, 3, 6, 6]
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")


class Picking(nn.Layer):
    """Convolutions, of ``groups`` each, with a permutation of its own behind each of them."""

    def __init__(self, groups: tuple[int, ...] = (1, 1), seed: int = 0) -> None:
        super().__init__()
        random = np.random.RandomState(seed)
        self.stem, self.last = nn.Conv2D(3, 24, 3), nn.Conv2D(24, 4, 1)
        self.convs = nn.LayerList([nn.Conv2D(24, 24, 1, groups=n) for n in groups])
        for number in range(len(groups)):
            self.register_buffer(f"order{number}", paddle.to_tensor(random.permutation(24)))

    def forward(self, x):
        x = self.stem(x)
        for number, layer in enumerate(self.convs):
            x = F.relu(layer(paddle.index_select(x, getattr(self, f"order{number}"), axis=1)))
        return self.last(x).mean([2, 3])


def shuffled(network: Picking, *groups: int) -> Picking:
    """``network`` with the permutations of channel shuffles."""
    for number, n in enumerate(groups):
        order = getattr(network, f"order{number}")
        order.set_value(np.arange(24).reshape(n, -1).T.ravel())
    return network


def orders(network) -> dict[str, list[int]]:
    """What stands in the buffers."""
    return {name: tensor.numpy().tolist() for name, tensor in network.named_buffers()}


def masked(network, groups, plan):
    """A copy in which all that goes is zero, and the buffers pick what they picked."""
    removed = reference.gone(groups, plan)
    return reference.masked(network, {name: axes for name, axes in removed.items() if "order" not in name})


def cut_and_compare(pruner: Pruner, ratio: float) -> None:
    """A cut computes what the masked network computes, and its buffers are permutations still."""
    pruner.channel_map.catch_up()
    network, groups = pruner.channel_map.network, pruner.channel_map.groups
    before = copy.deepcopy(network)
    record = pruner.cut(ratio)
    twin = masked(before, groups, record.plan)
    inputs = [paddle.randn(SHAPE)]
    assert reference.distance(reference.outputs(network, inputs), reference.outputs(twin, inputs)) < 1e-5
    for order in orders(network).values():
        assert sorted(order) == list(range(len(order)))


@pytest.mark.parametrize("seed", range(6))
def test_any_permutation_is_cut_with_its_channels_again_and_again(seed):
    pruner = Pruner(Picking(seed=seed), SHAPE, Options())
    for ratio in (0.2, 0.45, 0.7, 0.9):
        cut_and_compare(pruner, ratio)
        assert pruner.widths()["stem"][1] == pruner.widths()["convs.1"][1] == 24 - round(24 * ratio)


@pytest.mark.parametrize("groups", [(2, 2), (2, 4), (3, 2), (4, 4)])
def test_shuffles_between_group_convolutions_are_cut(groups):
    pruner = Pruner(shuffled(Picking(groups), *groups), SHAPE, Options())
    for ratio in (0.3, 0.5):
        cut_and_compare(pruner, ratio)
        assert all(now < was for name, (was, now) in pruner.widths().items() if name != "last")


def test_random_permutations_between_group_convolutions_are_cut_rightly_or_left_alone():
    for seed in range(4):
        pruner = Pruner(Picking((2, 3, 2), seed), SHAPE, Options())
        cut_and_compare(pruner, 0.4)


def test_what_is_left_is_what_was_picked_before():
    network = Picking()
    channel_map = ChannelMap(network, SHAPE)
    was = network.order0.numpy()
    plan = PruningPlan({"stem.weight": (1, 5, 7, 20)})
    cut = channel_map.plan_cut(plan).cut
    cutting.cut(channel_map, plan)
    places = np.asarray(cut.kept["stem.weight"][0])
    np.testing.assert_array_equal(places[network.order0.numpy()], was[cut.kept["order0"][0]])
    assert network.order0.dtype == paddle.int64
    mirror = cut.apply_to({"order0": was, "other": 3})
    np.testing.assert_array_equal(mirror["order0"], network.order0.numpy())
    assert mirror["order0"].dtype == was.dtype


def test_a_cut_that_is_refused_leaves_the_numbers_as_they_were():
    network = Picking()
    before = orders(network)

    def fail(*args):
        raise RuntimeError("not now")

    with pytest.raises(RuntimeError, match="not now"):
        cutting.cut(ChannelMap(network, SHAPE), PruningPlan({"stem.weight": (0, 1)}), follow=fail)
    assert orders(network) == before


@pytest.mark.parametrize("inputs", [None, SHAPE])
def test_a_checkpoint_brings_its_own_numbers(tmp_path, inputs):
    pruned, fresh, x = Picking(seed=1), Picking(seed=2), [paddle.randn(SHAPE)]
    prune(pruned, SHAPE, 0.5)
    paddle.save(pruned.state_dict(), str(tmp_path / "net.pdparams"))
    pruner = Pruner(fresh, SHAPE, Options())
    load(fresh, tmp_path / "net", inputs=inputs)
    assert orders(fresh) == orders(pruned)
    assert reference.distance(reference.outputs(fresh, x), reference.outputs(pruned, x)) == 0
    cut_and_compare(pruner, 0.75)


def test_channels_that_are_picked_more_than_once_go_as_the_plan_says(tmp_path):
    """What is left of a size is not told by the size: five channels are picked once, one thrice, two twice."""
    network, x = ZOO["PickedAgain"].build(), [paddle.randn(SHAPE)]
    channel_map = ChannelMap(network, SHAPE)
    twin = masked(network, channel_map.groups, PruningPlan({"a.weight": (1, 3)}))
    cutting.cut(channel_map, PruningPlan({"a.weight": (1, 3)}))
    assert reference.distance(reference.outputs(network, x), reference.outputs(twin, x)) < 1e-5
    assert len(orders(network)["order"]) == 2 + 3 + 2 * 2
    paddle.save(network.state_dict(), str(tmp_path / "net.pdparams"))
    fresh = ZOO["PickedAgain"].build()
    load(fresh, tmp_path / "net", inputs=SHAPE)
    assert reference.distance(reference.outputs(fresh, x), reference.outputs(network, x)) == 0


def test_numbers_that_change_between_cuts_are_looked_at_anew():
    network = Picking(seed=1)
    pruner = Pruner(network, SHAPE, Options())
    cut_and_compare(pruner, 0.25)
    network.order0.set_value(network.order0.numpy()[::-1].copy())
    cut_and_compare(pruner, 0.5)
    for number, message in ((0, "12 numbers up to 0 pick among 12"), (1, "'order0': its numbers leave some out")):
        network.order0.set_value(np.full(12, number))
        with pytest.raises(PruneError, match=message):
            pruner.cut(0.75)


def test_numbers_of_a_buffer_that_cannot_shrink_are_of_no_concern():
    network = ZOO["PickedInPart"].build()
    pruner = Pruner(network, SHAPE, Options())
    assert "first" in pruner.channel_map.graph.picks
    network.first.set_value(np.array([0, 5, 5, 2, 2, 2]))
    assert pruner.cut(0.5).widths["b"] == (6, 3)
    assert network.first.numpy().tolist() == [0, 5, 5, 2, 2, 2]
