"""How much accuracy each group costs, one at a time, and pruning by it; what a schedule will leave."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
import reference
from callbacks import quiet
from fits import HARMLESS, Images, build, fit
from paddle import nn

from hapi_prune import (
    BySensitivity,
    OneShot,
    Polynomial,
    PruneCallback,
    PruneError,
    Sensitivity,
    SensitivityRow,
    explain,
    prune,
    sensitivity,
)
from hapi_prune.cutting.pruning import Pruner
from hapi_prune.selection.options import Options

pytestmark = HARMLESS
IMAGE = [2, 3, 8, 8]


class Net(nn.Layer):
    """A residual block, so that two convolutions share a row, and one more."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2D(3, 8, 3), nn.Conv2D(8, 8, 3, padding=1), nn.Conv2D(8, 6, 1)
        self.norm, self.out = nn.BatchNorm2D(8), nn.Linear(6, 4)

    def forward(self, x):
        x = nn.functional.relu(self.a(x))
        x = nn.functional.relu(self.norm(x + self.b(x)))
        return self.out(self.c(x).mean([2, 3]))


def against(x):
    """How little the output differs from that of the whole network."""

    def score(network):
        out = network(x).numpy()
        whole.setdefault("out", out)
        return -float(np.abs(out - whole["out"]).mean())

    whole = {}
    return score


def state(network):
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def test_each_point_is_what_the_masked_network_scores_and_the_network_is_as_it_was():
    paddle.seed(1)
    network, x = Net(), paddle.randn(IMAGE)
    network.train()
    before, score = state(network), against(x)
    table = sensitivity(network, score, IMAGE, [0.25, 0.5], verbose=0)
    assert [row.layers for row in table.rows] == [("a", "b"), ("c",)]
    after = state(network)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert network.training
    assert network.norm.training
    for row, layer in zip(table.rows, ("a", "c")):
        pruner = Pruner(network, IMAGE, Options())
        ratio = dict.fromkeys(row.layers, 0.5)
        plan = pruner.plan(pruner.goal(ratio))
        masked = reference.masked(network, reference.gone(pruner.channel_map.groups, plan))
        masked.eval()
        assert row.at(0.5) == pytest.approx(-score(masked) + table.dense, rel=1e-5), layer
        assert row.at(0.0) == 0
        assert row.at(0.375) == pytest.approx((row.at(0.25) + row.at(0.5)) / 2)


def test_a_model_is_measured_by_its_own_metric():
    model = build()
    table = sensitivity(model, Images(), ratios=[0.5], verbose=0)
    assert table.metric == "acc"
    assert [row.keys for row in table.rows] == [("conv1.weight",), ("conv2.weight",)]
    assert table.dense == model.evaluate(Images(), verbose=0)["acc"]


def test_a_measurement_that_was_killed_goes_on(tmp_path):
    class Enough(Exception):
        pass

    network, path, calls = Net(), tmp_path / "table.json", []

    def limited(limit):
        def measure(layer):
            calls.append(1)
            if len(calls) > limit:
                raise Enough
            return float(layer(paddle.ones(IMAGE)).abs().mean())

        return measure

    before = state(network)
    with pytest.raises(Enough):
        sensitivity(network, limited(3), IMAGE, [0.25, 0.5, 0.75], path=path, verbose=0)
    assert all(np.array_equal(before[name], value) for name, value in state(network).items())
    assert sum(len(row.ratios) for row in Sensitivity.load(path).rows) == 2
    calls.clear()
    table = sensitivity(network, limited(99), IMAGE, [0.25, 0.5, 0.75], path=path, verbose=0)
    assert len(calls) == 1 + 6 - 2, "the dense network, and what is missing"
    assert table == sensitivity(network, limited(99), IMAGE, [0.25, 0.5, 0.75], verbose=0)
    with pytest.raises(PruneError, match="the table of a network with"):
        sensitivity(network, lambda layer: 7.0, IMAGE, [0.5], path=path, verbose=0)


def test_the_table_decides_who_loses_how_much():
    rows = (
        SensitivityRow(("a", "b"), ("a.weight",), (0.25, 0.5, 0.75), (0.0, 0.0, 0.0)),
        SensitivityRow(("c",), ("c.weight",), (0.25, 0.5, 0.75), (0.3, 0.6, 0.9)),
    )
    table = Sensitivity("acc", 0.9, rows)
    record = prune(Net(), IMAGE, 0.4, target="flops", scope=BySensitivity(table))
    assert record.widths["a"][1] < 8
    assert record.widths["c"][1] >= 5, "one filter at most, to land nearer"
    again = prune(Net(), IMAGE, 0.4, target="flops", scope=BySensitivity(Sensitivity.from_json(table.to_json())))
    assert again.widths == record.widths


def test_the_table_is_drawn(tmp_path):
    rows = [SensitivityRow((name,), (name,), (0.25, 0.5), (0.01 * n, 0.04 * n)) for n, name in enumerate("abc")]
    table = Sensitivity("acc", 0.9, tuple(rows))
    image = table.plot(tmp_path / "table.png")
    assert (tmp_path / "table.png").stat().st_size > 1000
    assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 20, "in colours"
    assert "0.0800" in str(table)
    assert max(map(len, str(table).splitlines())) <= 100


def test_a_table_of_another_network_is_refused():
    table = Sensitivity("acc", 0.9, (SensitivityRow(("z",), ("z.weight",), (0.5,), (0.1,)),))
    with pytest.raises(PruneError, match="a table of other layers"):
        prune(Net(), IMAGE, 0.4, target="flops", scope=BySensitivity(table))


def test_tables_of_paddleslim_are_read():
    network = Net()
    losses = {network.a.weight.name: {0.5: 0.01, 0.25: 0.0}, network.c.weight.name: {0.5: 0.2}}
    table = Sensitivity.from_paddleslim(losses, network)
    assert [(row.layers, row.ratios, row.lost) for row in table.rows] == [
        (("a",), (0.25, 0.5), (0.0, 0.01)),
        (("c",), (0.5,), (0.2,)),
    ]
    widths = prune(network, IMAGE, 0.4, target="flops", scope=BySensitivity(table)).widths
    assert widths["a"][1] < 8
    with pytest.raises(PruneError, match="'conv2d_999.w_0'"):
        Sensitivity.from_paddleslim({"conv2d_999.w_0": {0.5: 0.1}}, network)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "metric": 3, "dense": 1.0, "rows": []}'])
def test_a_damaged_table_is_refused(text):
    with pytest.raises(PruneError, match=r"Sensitivity\.from_json"):
        Sensitivity.from_json(text)


BAD = {
    "no ratio": ({"ratios": []}, "ratios"),
    "a whole": ({"ratios": [1.0]}, "ratios"),
    "no function": ({"evaluate": 3}, "evaluate"),
    "no number": ({"evaluate": lambda layer: None}, "it returned None"),
    "nan": ({"evaluate": lambda layer: float("nan")}, "it returned nan"),
    "no input": ({"inputs": None}, "inputs"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_told(case):
    given, message = BAD[case]
    options = {"evaluate": lambda layer: 1.0, "inputs": IMAGE, "ratios": [0.5], "verbose": 0, **given}
    with pytest.raises(PruneError, match=message):
        sensitivity(Net(), **options)


def test_a_metric_that_there_is_not_is_told():
    with pytest.raises(PruneError, match="monitor"):
        sensitivity(build(), Images(), ratios=[0.5], monitor="bleu", verbose=0)


def test_a_preview_says_what_a_run_will_do_and_changes_nothing():
    model = build()
    before = state(model.network)
    make = {"target": "flops", "verbose": 0}
    found = PruneCallback({1: 0.25, 2: 0.5}, **make).preview(model)
    assert all(np.array_equal(before[name], value) for name, value in state(model.network).items())
    callback = PruneCallback({1: 0.25, 2: 0.5}, **make)
    fit(model, callback)
    assert [row.epoch for row in found.rows] == [record.epoch for record in callback.history]
    for row, record in zip(found.rows, callback.history):
        assert row.cost.flops == record.cost_after.flops
        assert row.cost.params == record.cost_after.params
        assert row.reached == pytest.approx(record.reached)
        layer, pair = row.narrowest
        assert record.widths[layer][1] == pair[1]
    assert found.stays == {"fc": "is an output of the network"}
    assert "fc stays: is an output of the network" in str(found)


def test_a_preview_of_a_goal_out_of_reach_is_an_error_with_the_nearest():
    with pytest.raises(PruneError, match=r"schedule, epoch 3, ratio: 97.0% of the FLOPs. Allowed: up to \d\d.\d%"):
        quiet({3: 0.97}, target="flops").preview(Net(), IMAGE)


def test_a_preview_tries_once_so_that_it_knows_what_stays():
    class Written(Net):
        def forward(self, x):
            x = nn.functional.relu(self.a(x)).reshape([-1, 8, 6, 6])
            return self.out(self.c(self.norm(x + self.b(x))).mean([2, 3]))

    found = quiet(OneShot(0, 0.5)).preview(Written(), IMAGE)
    assert "reshape" in found.stays["a"] or "does not run" in found.stays["a"]
    assert found.rows[0].narrowest[0] == "c"


def test_a_preview_does_without_gradients():
    assert quiet(Polynomial(0.5, start=1, end=3), "taylor").preview(Net(), IMAGE).rows[-1].reached > 0.4


def test_a_preview_needs_an_input_and_an_end():
    with pytest.raises(PruneError, match="inputs"):
        quiet({1: 0.5}).preview(Net())
    with pytest.raises(PruneError, match="epochs"):
        quiet(lambda epoch: 0.1).preview(Net(), IMAGE)


def test_what_explain_says_stays_is_what_a_preview_says_stays():
    network = Net()
    assert {row.layer for row in explain(network, IMAGE).rows if row.units == 0} >= set(
        quiet({1: 0.5}).preview(network, IMAGE).stays
    )
    assert json.loads(Sensitivity("a", 1.0).to_json())["rows"] == []
