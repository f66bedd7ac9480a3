"""A network that turns rounding into noise is not refused for it; a wrong cut of the same network is found."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import paddle
import pytest
from paddle import nn

from hapi_prune import PruneError, PruningPlan, prune
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.cutting import verify_outputs
from hapi_prune.cutting.masked import Masked
from hapi_prune.cutting.pruning import Options, Pruner
from hapi_prune.cutting.verify_float64 import PRECISE, SENSITIVE, noise_of, nudged, verify_in_float64
from hapi_prune.plan import Cut, Reason, ReasonKind

IMAGE = [2, 3, 12, 12]


class Chaotic(nn.Layer):
    """Some convolutions, and a function at the end that makes 1e-7 of its input a large part of its output.

    On the way there values are divided and multiplied by the number of channels, which rounds otherwise for 18 than for
    30 on any machine. Whether sums round otherwise without channels that are zero depends on the order of adding.
    """

    def __init__(self, gain=1e6):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2D(3, 16, 3), nn.Conv2D(16, 30, 3), nn.Conv2D(30, 4, 3)
        self.norm, self.gain = nn.BatchNorm2D(16), gain
        self.shift = paddle.to_tensor(np.float32(0.1))  # a tensor that is a plain attribute

    def forward(self, x):
        x = self.b(nn.functional.relu(self.norm(self.a(x))))
        return paddle.sin(self.gain * (self.c(x / x.shape[1] * x.shape[1]) + self.shift))


def test_a_chaotic_network_is_pruned_in_full():
    network = Chaotic()
    record = prune(network, IMAGE, 0.4)
    assert record.widths == {"a": (16, 10), "b": (30, 18), "c": (4, 4)}
    assert record.verified == "values in float64"
    assert not [note for note in record.notes if "'a'" in note or "'b'" in note]
    assert {str(tensor.dtype) for tensor in network.parameters()} == {"paddle.float32"}
    assert str(network.shift.dtype) == "paddle.float32"
    assert paddle.get_default_dtype() == "float32"


def test_where_float64_is_noise_too_sizes_are_compared():
    record = prune(Chaotic(gain=1e18), IMAGE, 0.4)
    assert record.widths == {"a": (16, 10), "b": (30, 18), "c": (4, 4)}
    assert record.verified == "sizes"


class ScaleFree(nn.Layer):
    """Its output is the same for twice the input, and another for numbers that differ by their rounding."""

    def __init__(self, gain=1e3):
        super().__init__()
        self.a, self.b = nn.Conv2D(3, 8, 3, bias_attr=False), nn.Conv2D(8, 4, 3, bias_attr=False)
        self.gain = gain

    def forward(self, x):
        x = self.b(self.a(x))
        return paddle.sin(self.gain * x / x.abs().mean())


def noise(channel_map):
    """Of the network as it is, in evaluation mode."""
    plain = verify_outputs.outputs(channel_map.inventory(), channel_map.tried_on, training=False)
    return noise_of(channel_map, False, plain)


def test_rounding_is_seen_where_the_scale_of_the_input_is_not():
    channel_map = ChannelMap(ScaleFree(), IMAGE)
    with mock.patch("hapi_prune.cutting.verify_float64.nudged", lambda leaf, perturbation: 2 * leaf):
        assert noise(channel_map) == 0
    assert noise(channel_map) > SENSITIVE


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_nudged_up_and_down(dtype):
    ratio = nudged(paddle.full([4, 25], 3.0, dtype), 1e-4).numpy() / 3
    assert np.allclose(np.abs(ratio - 1), 1e-4, rtol=1e-2)
    assert 30 < (ratio > 1).sum() < 70


def test_what_is_rounded_in_later_layers_may_do_a_hundred_times_as_much():
    channel_map = ChannelMap(ScaleFree(gain=15), IMAGE)
    planned = channel_map.plan_cut(PruningPlan({"a.weight": (1, 2, 5)}))
    assert SENSITIVE < noise(channel_map) < 10 * SENSITIVE
    doubt = verify_outputs.Refused(Reason(ReasonKind.OTHER_VALUES, "changes output 0"))
    outputs = Masked(channel_map, planned.cut).outputs
    assert verify_in_float64(channel_map, planned, doubt, outputs) == "values in float64"


def test_a_calm_one_is_compared_as_it_is():
    assert prune(Chaotic(gain=1.0), IMAGE, 0.4).verified == "values"


def shifted(monkeypatch):
    """Cuts take other filters than planned."""
    right = ChannelMap.plan_cut

    def wrong(self, plan):
        planned = right(self, plan)
        kept = {
            name: {axis: (index + 1) % planned.cut.before[name][axis] for axis, index in axes.items()}
            if name.startswith("b.")
            else axes
            for name, axes in planned.cut.kept.items()
        }
        return replace(planned, cut=Cut(planned.cut.before, kept))

    monkeypatch.setattr(ChannelMap, "plan_cut", wrong)


@pytest.mark.parametrize("gain", [1.0, 1e6])
def test_a_wrong_cut_is_found_also_where_there_is_noise(gain, monkeypatch):
    network = Chaotic(gain)
    before = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    shifted(monkeypatch)
    pruner = Pruner(network, IMAGE, Options())
    with pytest.raises(PruneError, match="changes output 0 by"):
        pruner.cut(0.4)
    assert {reason.kind for reason in pruner.channel_map.findings.refused.values()} == {ReasonKind.OTHER_VALUES}
    assert all((before[name] == tensor.numpy()).all() for name, tensor in network.state_dict().items())


class Casting(Chaotic):
    """It computes in float32 whatever it is given."""

    def forward(self, x):
        return super().forward(x.astype("float32")).astype("float32")


def test_where_float64_is_not_to_be_had_sizes_are_compared():
    record = prune(Casting(), IMAGE, 0.4)
    assert record.widths["b"] == (30, 18)
    assert record.verified == "sizes"


@pytest.mark.parametrize("real", [True, False])
def test_a_little_noise_is_enough_to_look_closer(real, monkeypatch):
    """One change of the input may move the output by less than another: a tenth of the tolerance is suspicious."""
    network = Chaotic(30.0)

    def moved(pruned, masked, exact, most=verify_outputs.TOLERANCE):
        if real and exact and most != PRECISE:  # as if it had been rounding, in float32 alone
            raise verify_outputs.Refused(Reason(ReasonKind.OTHER_VALUES, "changes output 0 by 2.0e-03"))
        return compare(pruned, masked, exact, most)

    compare = verify_outputs.compare
    monkeypatch.setattr(verify_outputs, "compare", moved)
    assert prune(network, IMAGE, 0.4).verified == ("values in float64" if real else "values")


def test_casts_of_computed_sizes_round_no_data():
    class Sized(Chaotic):
        def forward(self, x):
            rows = (paddle.shape(x)[2] / 3).astype("int32")
            return super().forward(x[:, :, : rows * 3])

    record = prune(Sized(), IMAGE, 0.4)
    assert record.widths["b"] == (30, 18)
    assert record.verified == "values in float64"


def test_outputs_of_which_no_number_is_finite_prove_nothing():
    network = nn.Sequential(nn.Conv2D(3, 16, 3), nn.ReLU(), nn.Conv2D(16, 4, 3))
    network[2].bias.set_value(np.full(4, np.nan, "float32"))
    record = prune(network, IMAGE, 0.5)
    assert record.widths["0"] == (16, 8)
    assert record.verified == "sizes"
