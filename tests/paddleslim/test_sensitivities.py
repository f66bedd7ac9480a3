"""Sensitivities: measured by masking, put back bitwise, kept in files that go on, turned into ratios."""

from __future__ import annotations

import json
import os
import pickle
import sys
import types

import numpy as np
import pytest
from fits import HARMLESS, same
from hypothesis import given
from hypothesis import strategies as st
from test_paddleslim import SHAPE, Residual, fresh, outputs, tensors

from hapi_prune import PruneError, PruneWarning
from hapi_prune.paddleslim import L1NormFilterPruner, flops, sensitivities
from hapi_prune.paddleslim.sensitivities import RATIOS, ratio_at

pytestmark = HARMLESS


class Closeness:
    """How near a network's outputs are to what they were: 1 where nothing has changed."""

    def __init__(self, network, ends_after=None):
        self.network, self.dense, self.calls, self.ends_after = network, outputs(network), 0, ends_after

    def __call__(self):
        self.calls += 1
        if self.ends_after is not None and self.calls > self.ends_after:
            raise KeyboardInterrupt
        return 1 / (1 + float(np.square(outputs(self.network) - self.dense).mean()))


def test_a_loss_is_that_of_the_masked_network():
    network = fresh()
    weight = network.conv1.weight.numpy()
    found = L1NormFilterPruner(network, SHAPE).sensitive(Closeness(network), target_vars=["conv2d_0.w_0"])
    assert {name: sorted(losses) for name, losses in found.items()} == {"conv2d_0.w_0": list(RATIOS)}
    twin, closeness = fresh(), Closeness(network)
    twin.set_state_dict(network.state_dict())
    lowest = np.argsort(np.abs(weight).sum((1, 2, 3)))[: round(8 * 0.6)]
    for tensor in (twin.conv1.weight, twin.conv1.bias, twin.bn1.weight, twin.bn1.bias):
        array = tensor.numpy()
        array[lowest] = 0
        tensor.set_value(array)
    closeness.network = twin
    assert found["conv2d_0.w_0"][0.6] == pytest.approx(1 - closeness(), abs=1e-6)
    assert found["conv2d_0.w_0"][0.6] > 0


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back_bitwise(fails):
    network = fresh()
    pruner, before = L1NormFilterPruner(network, SHAPE), tensors(network)
    evaluate = Closeness(network, ends_after=4 if fails else None)
    network.train()
    if fails:
        with pytest.raises(KeyboardInterrupt):
            pruner.sensitive(evaluate)
    else:
        pruner.sensitive(evaluate)
    assert same(tensors(network), before)


def test_of_layers_that_shrink_together_one_is_measured_and_outputs_are_not():
    network = fresh(Residual)
    with pytest.warns(PruneWarning, match="'head' stays"):
        found = L1NormFilterPruner(network, SHAPE).sensitive(Closeness(network))
    assert list(found) == ["conv2d_0.w_0", "conv2d_1.w_0"]


def test_named_and_skipped_variables():
    network = fresh(Residual)
    pruner = L1NormFilterPruner(network, SHAPE)
    pruner.skip_vars.append("conv2d_1.w_0")
    found = pruner.sensitive(
        Closeness(network), target_vars=["conv2d_2.w_0", "conv2d_1.w_0", "conv2d_0.w_0"], skip_vars=["conv2d_0.w_0"]
    )
    assert list(found) == ["conv2d_2.w_0"]
    assert pruner.skip_vars == ["conv2d_1.w_0"]
    assert pruner.sensitive() is found


@pytest.mark.parametrize("name", ["sen.json", "sen.pickle"])
def test_an_interrupted_measurement_goes_on(name):
    network = fresh()
    whole = L1NormFilterPruner(network, SHAPE).sensitive(Closeness(network))
    with pytest.raises(KeyboardInterrupt):
        L1NormFilterPruner(network, SHAPE).sensitive(Closeness(network, ends_after=6), sen_file=name)
    later = Closeness(network)
    found = L1NormFilterPruner(network, SHAPE).sensitive(later, sen_file=name)
    assert found == whole
    assert later.calls == 1 + 2 * len(RATIOS) - 5, "the dense network, and what was not there yet"
    assert os.listdir() == [name]
    done = Closeness(network)
    assert L1NormFilterPruner(network, SHAPE, sen_file=name).sensitive(done) == whole
    assert done.calls == 0
    assert L1NormFilterPruner(network, SHAPE).sensitive(sen_file=name) == whole


def test_files_are_what_others_read():
    found = {"conv2d_0.w_0": {0.1: 0.25, 0.2: -0.5}}
    sensitivities.save("sen.pickle", found)
    with open("sen.pickle", "rb") as file:
        assert pickle.load(file) == found
    sensitivities.save("sen.json", found)
    with open("sen.json", encoding="utf-8") as file:
        assert json.load(file) == {"conv2d_0.w_0": {"0.1": 0.25, "0.2": -0.5}}
    assert sensitivities.load("sen.json") == sensitivities.load("sen.pickle") == found


def test_a_file_of_paddleslim_is_read(monkeypatch):
    module = types.ModuleType("paddleslim.dygraph.prune.filter_pruner")
    status = type("Status", (), {"__module__": module.__name__})
    module.Status = status
    theirs = status()
    theirs.sensitivies = {"conv2d_0.w_0": {np.float64(0.1): np.float32(0.25), 0.2: 0.5}}
    theirs.accumulates, theirs.is_ckp = {}, False
    with monkeypatch.context() as patch, open("sen.pickle", "wb") as file:
        for part in ("paddleslim", "paddleslim.dygraph", "paddleslim.dygraph.prune"):
            patch.setitem(sys.modules, part, types.ModuleType(part))
        patch.setitem(sys.modules, module.__name__, module)
        pickle.dump(theirs, file)
    assert "paddleslim" not in sys.modules
    found = L1NormFilterPruner(fresh(), SHAPE, sen_file="sen.pickle").sensitive()
    assert found == {"conv2d_0.w_0": {0.1: 0.25, 0.2: 0.5}}
    assert {type(number) for losses in found.values() for pair in losses.items() for number in pair} == {float}


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("hit",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"conv": 3}',
        b'{"conv": {"0.1": "much"}}',
        b'{"conv": {"1.5": 0.1}}',
        pickle.dumps([1]),
        pickle.dumps({"conv": {0.1: Bomb()}}),
        pickle.dumps({"conv": {0.1: True}})[:-5],
    ],
    ids=["empty", "half", "number", "text", "ratio", "list", "bomb", "short"],
)
def test_other_files_are_refused_and_nothing_in_them_is_run(content):
    with open("sen.pickle", "wb") as file:
        file.write(content)
    with pytest.raises(PruneError, match="sen.pickle.*not readable"):
        L1NormFilterPruner(fresh(), SHAPE, sen_file="sen.pickle")
    assert os.listdir() == ["sen.pickle"]
    with pytest.raises(PruneError, match="no such file"):
        L1NormFilterPruner(fresh(), SHAPE, sen_file="none.pickle")


@given(
    losses=st.dictionaries(st.sampled_from(RATIOS), st.floats(-0.2, 1), min_size=1),
    most=st.floats(0, 1),
    more=st.floats(0, 1),
)
def test_more_loss_allows_a_larger_ratio(losses, most, more):
    """As by the definition: on the lines between the points, the last place that is not above ``most``."""
    found = ratio_at(losses, most)
    assert (found is None) == (min(losses.values()) > most)
    if found is None:
        return
    ratios = sorted(losses)
    assert np.interp(found, ratios, [losses[r] for r in ratios]) <= most + 1e-9
    later = np.linspace(found, ratios[-1], 50)[1:]
    if found < ratios[-1]:
        assert (np.interp(later, ratios, [losses[r] for r in ratios]) >= most - 1e-9).all()
    assert found <= (ratio_at(losses, min(1, most + more)) or 0)


LOSSES = {
    "conv2d_0.w_0": {ratio: ratio / 2 for ratio in RATIOS},
    "conv2d_1.w_0": {ratio: ratio for ratio in RATIOS},
}


def known(network, losses=LOSSES):
    sensitivities.save("sen.json", losses)
    return L1NormFilterPruner(network, SHAPE, sen_file="sen.json")


@pytest.mark.parametrize("wanted", [0.3, 0.5, 0.7])
def test_ratios_meet_a_share_of_the_flops(wanted):
    network = fresh()
    pruner, before = known(network), tensors(network)
    ratios, share = pruner.get_ratios_by_sensitivity(wanted)
    assert same(tensors(network), before)
    assert share == pytest.approx(wanted, abs=0.08)
    assert ratios["conv2d_0.w_0"] >= ratios["conv2d_1.w_0"]
    plan = pruner.sensitive_prune(wanted)
    assert plan.pruned_flops == pytest.approx(share)
    assert 1 - flops(network, SHAPE) / flops(fresh(), SHAPE) == pytest.approx(share)
    again = pruner.sensitive_prune(wanted)  # begins from the dense network
    assert again.pruned_flops == pytest.approx(share)


def test_align_leaves_multiples():
    network = fresh()
    known(network).sensitive_prune(0.5, align=4)
    assert [layer.weight.shape[0] % 4 for layer in (network.conv1, network.conv2)] == [0, 0]
    assert network.conv1.weight.shape[0] < 8
    other = fresh()
    known(other).sensitive_prune(0.3, align=16)  # wider than the layers: they stay
    assert [other.conv1.weight.shape[0], other.conv2.weight.shape[0]] == [8, 12]


def test_variables_can_be_left_out():
    network = fresh()
    plan = known(network).sensitive_prune(0.3, skip_vars=["conv2d_1.w_0"])
    assert list(plan.ratios) == ["conv2d_0.w_0"]
    assert network.conv2.weight.shape[0] == 12


def test_more_than_the_sensitivities_give_is_told():
    with pytest.warns(PruneWarning, match="asked: 99.0%"):
        known(fresh()).sensitive_prune(0.99)


def test_what_costs_nothing_does_not_go_all_at_once():
    losses = {name: dict.fromkeys(RATIOS, -0.01) for name in LOSSES}
    _, share = known(fresh(), losses).get_ratios_by_sensitivity(0.4)
    assert share == pytest.approx(0.4, abs=0.08)
