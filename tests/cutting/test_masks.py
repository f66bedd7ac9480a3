"""Masked for the length of a block: what goes is zero, the rest as it was, and afterwards all is, bitwise."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from hapi_prune.cutting import surgery
from hapi_prune.cutting.masked import Masked
from hapi_prune.cutting.pruning import Options, Pruner
from hapi_prune.cutting.undo_log import UndoLog
from hapi_prune.plan import Cut

KEPT = {
    "a": {0: np.array([0, 2])},
    "b": {0: np.array([1]), 1: np.array([0, 3])},
    "c": {0: np.array([1, 2])},
    "d": {1: np.array([0, 2])},
}


def tensors():
    """Numbers that comparing by value would lose: other signs of zero, other NaNs."""
    paddle.seed(0)
    found = {"a": paddle.randn([3, 2]), "b": paddle.randn([4, 4, 2]), "c": paddle.arange(3), "d": paddle.randn([2, 3])}
    odd = found["b"].numpy()
    odd[0, 1] = [np.float32("-0.0"), np.array([0x7FC12345], "uint32").view("float32")[0]]
    found["b"] = paddle.create_parameter([4, 4, 2], "float32", default_initializer=nn.initializer.Assign(odd))
    return found


def cut_of(found):
    return Cut({name: tuple(t.shape) for name, t in found.items()}, KEPT, {"c": np.array([0, 1])})


def bits(found):
    return {name: tensor.numpy().tobytes() for name, tensor in found.items()}


def test_masked_in_place_is_masked_in_a_copy():
    found, other = tensors(), tensors()
    surgery.mask(other, cut_of(other), UndoLog())
    with surgery.masked(found, cut_of(found)):
        assert bits(found) == bits(other)
    assert not found["b"].stop_gradient


def test_what_goes_is_zero_and_the_rest_is_not_touched():
    found = tensors()
    before = {name: tensor.numpy() for name, tensor in found.items()}
    with surgery.masked(found, cut_of(found)):
        assert found["a"].numpy()[1].tolist() == [0, 0]
        assert np.array_equal(found["a"].numpy()[[0, 2]], before["a"][[0, 2]])
        b = found["b"].numpy()
        assert np.array_equal(b[np.ix_([1], [0, 3])], before["b"][np.ix_([1], [0, 3])])
        assert np.count_nonzero(b) == 4
        assert np.array_equal(found["d"].numpy() != 0, [[True, False, True]] * 2)
        assert found["c"].tolist() == [0, 1, 2]  # it picks by number


@pytest.mark.parametrize("fails", [False, True])
def test_all_is_as_it_was_bitwise(fails):
    found = tensors()
    before, places = bits(found), {name: tensor.data_ptr() for name, tensor in found.items()}
    if fails:
        with pytest.raises(RuntimeError), surgery.masked(found, cut_of(found)):
            raise RuntimeError
    else:
        with surgery.masked(found, cut_of(found)):
            assert bits(found) != before
    assert bits(found) == before
    assert {name: tensor.data_ptr() for name, tensor in found.items()} == places


def test_a_tensor_that_is_given_another_storage_meanwhile_is_put_back_there():
    found = tensors()
    before = bits(found)
    with surgery.masked(found, cut_of(found)):
        found["a"].set_value(found["a"].clone())
    assert bits(found) == before


def test_of_a_normalisation_only_scale_and_shift_are_masked():
    network = nn.Sequential(nn.Conv2D(3, 8, 3), nn.BatchNorm2D(8), nn.ReLU(), nn.Conv2D(8, 6, 3), nn.Conv2D(6, 4, 1))
    network[1]._mean.set_value(paddle.randn([8]))
    network[1]._variance.set_value(paddle.rand([8]) + 0.5)
    network[1].bias.set_value(paddle.randn([8]))
    pruner = Pruner(network, [2, 3, 12, 12], Options())
    channel_map = pruner.channel_map
    masked = Masked(channel_map, channel_map.plan_cut(pruner.plan(pruner.goal(0.5))).cut)
    assert masked.lightly
    assert masked._scales.kept.keys() == {"0.bias", "1.weight", "1.bias", "3.weight", "3.bias", "4.weight"}
    assert pruner.cut(0.5).verified == "values"
    assert channel_map.scales_suffice
