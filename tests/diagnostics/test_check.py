"""The check finds what is wrong, reports it, and leaves the network alone whatever happens."""

from __future__ import annotations

import json
import random
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812
import pytest
from daily import some
from paddle import nn
from structures import IMAGE, Chain, conv, conv_bn, pooled
from zoo import ZOO

from hapi_prune import PruneError, check
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.cutting.pruning import Options, Pruner
from hapi_prune.diagnostics import check as module
from hapi_prune.diagnostics.check import CheckReport, CheckRow
from hapi_prune.internals.preserve import everything
from hapi_prune.plan import Cut


def state(network):
    """Everything of a network, and of the world around it, that a check could change."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    bits = [(name, id(t), t.name, t.shape, t.stop_gradient, t.numpy().tobytes()) for name, t in tensors]
    grads = [t.grad.numpy().tobytes() if t.grad is not None else None for _, t in tensors]
    layers = [(layer.training, {k: str(v) for k, v in vars(layer).items()}) for layer in network.sublayers(True)]
    generators = np.random.get_state()[1].tolist(), random.getstate()
    return bits, grads, [training for training, _ in layers], generators


def only(network, inputs=IMAGE, ratio=0.5, criterion="l1_norm"):
    report = check(network, inputs, ratios=[ratio], criteria=[criterion])
    assert report.untouched
    return report.rows[0]


@pytest.mark.slow
def test_lenet_at_all_ratios_by_all_criteria():
    report = check(paddle.vision.models.LeNet(), [1, 1, 28, 28])
    assert report.ok
    assert [(r.criterion, r.ratio) for r in report.rows] == [
        (criterion, ratio) for criterion in ("l1_norm", "l2_norm", "fpgm") for ratio in (0.1, 0.3, 0.5, 0.7, 0.9)
    ]
    # 6 and 16 filters; at 0.1 one and two of them go.
    assert [round(r.removed * 22) for r in report.rows[:5]] == [3, 7, 11, 15, 19]
    assert all(r.difference < 1e-4 and r.step and r.again and r.export and not r.problem for r in report.rows)


@pytest.mark.parametrize(
    "name",
    some(
        ["Residual", "NestedConcat", "ShuffleByReshape", "DepthwiseTwice", "GroupResidual", "SqueezeExciteLinear",
         "BufferOfChannels", "FrozenParameters", "PaddedShortcut", "OldBatchNorm", "Convolution1D", "ChannelsLast"], 4,
    ),
)  # fmt: skip
def test_a_structure_is_right_and_comes_back_as_it_was(name):
    network = ZOO[name].build()
    network.eval()
    before = state(network)
    row = only(network, ZOO[name].inputs)
    assert (row.problem, row.step, row.again, row.export) == ("", True, True, True)
    assert 0 < row.removed < 1 and row.difference < 1e-4
    assert state(network) == before
    Pruner(network, ZOO[name].inputs, Options()).cut(0.5)


def test_gradients_modes_and_attributes_come_back():
    network = conv_bn(3, 8)
    network.append(conv(8, 4))
    network[1].eval()
    network(paddle.ones(IMAGE)).sum().backward()
    inside = {name: dict(vars(layer)) for name, layer in network.named_sublayers(include_self=True)}
    before, generator = state(network), paddle.get_rng_state()
    drawn = paddle.rand([4]).numpy()
    paddle.set_rng_state(generator)
    assert before[1][0] is not None
    assert only(network).problem == ""
    assert state(network) == before
    assert np.array_equal(paddle.rand([4]).numpy(), drawn)
    for name, layer in network.named_sublayers(include_self=True):
        assert vars(layer).keys() == inside[name].keys()
        assert all(vars(layer)[key] is value for key, value in inside[name].items())


def test_a_network_that_holds_on_to_itself_cannot_be_copied_but_checked():
    class Holding(Chain):
        def __init__(self):
            super().__init__(8)
            self.run = lambda x: F.relu(self.a(x))  # in a deep copy this would still be the original's `a`

        def forward(self, x):
            return self.head(pooled(self.b(self.run(x))))

    network = Holding()
    before = state(network)
    row = only(network)
    assert (row.problem, row.removed) == ("", 0.5)
    assert state(network) == before


def test_inputs_by_name_and_in_a_dict_are_exported():
    class Named(Chain):
        def forward(self, images, scale=None):
            return {"scores": super().forward(images["x"]) * scale, "all": [images["y"]]}

    inputs = {"images": {"x": IMAGE, "y": [2, 1]}, "scale": [1]}
    row = only(Named(8), inputs)
    assert (row.problem, row.export, row.removed) == ("", True, 0.5)


def test_an_approximate_cut_has_no_difference_to_speak_of():
    row = only(ZOO["GroupNorms"].build())
    assert (row.problem, row.difference, row.step, row.again, row.export) == ("", None, True, True, True)
    assert row.removed > 0


def test_a_network_with_nothing_to_prune_is_no_problem_but_said():
    report = check(conv(3, 4), IMAGE, ratios=[0.3], criteria=["fpgm"])
    row = report.rows[0]
    assert report.ok
    assert (row.removed, row.step, row.again, row.export, row.problem) == (0.0, None, None, None, "")
    assert row.note == "network: nothing to prune: 'weight' is an output of the network"
    assert "is an output of the network" in " ".join(report.table().split())


def test_a_network_that_cannot_be_trained_is_cut_all_the_same():
    network = Chain(8)
    for parameter in network.parameters():
        parameter.stop_gradient = True
    row = only(network)
    assert (row.problem, row.step, row.again, row.export, row.removed) == ("", None, True, True, 0.5)

    class Chosen(Chain):
        def forward(self, x):
            return super().forward(x).argmax(-1)

    assert only(Chosen(8)).step is None


def test_what_cannot_be_traced_is_reported():
    class Broken(Chain):
        def forward(self, x):
            raise ArithmeticError("no such luck")

    row = only(Broken(8))
    assert row.problem == "tracing Broken in evaluation mode: ArithmeticError: no such luck"
    assert (row.removed, row.step, row.again, row.export) == (0.0, False, False, False)


def test_a_ratio_or_criterion_that_is_none_raises():
    with pytest.raises(PruneError, match="check"):
        check(Chain(8), IMAGE, ratios=[1.5])
    with pytest.raises(PruneError, match="l3_norm"):
        check(Chain(8), IMAGE, criteria=["l3_norm"])


def test_a_callable_criterion_is_named():
    def first(weight):
        return np.arange(len(weight), 0, -1.0)

    assert only(Chain(8), criterion=first).criterion == "first"


# The check has to find these.


def test_wrong_slices_are_found(monkeypatch):
    """The cut takes other filters than planned, but consistently: verification, which asks the `Cut`, cannot see it."""
    right = ChannelMap.plan_cut

    def shifted(self, plan):
        planned = right(self, plan)
        cut = planned.cut
        kept = {
            name: {axis: (index + 1) % cut.before[name][axis] for axis, index in axes.items()}
            for name, axes in cut.kept.items()
        }
        return replace(planned, cut=Cut(cut.before, kept))

    network = Chain(8)
    before = state(network)
    assert only(network).problem == ""
    monkeypatch.setattr(ChannelMap, "plan_cut", shifted)
    row = only(network)
    assert "changes output 0 by" in row.problem
    assert (row.removed, row.step) == (0.0, False)
    assert state(network) == before


def test_a_wrong_training_mode_is_found():
    """In training mode, in which the verification only runs a network of the same ops, it computes something else."""

    class Odd(Chain):
        def forward(self, x):
            return super().forward(x) * (self.a.weight.shape[0] if self.training else 1.0)

    network = Odd(8)
    before = state(network)
    row = only(network)
    assert "training mode" in row.problem
    assert state(network) == before


def test_what_rounding_alone_can_change_in_training_mode_is_no_alarm():
    """As BatchNorm over two numbers does: it divides by their distance, however small that is."""

    class Shaky(paddle.vision.models.LeNet):
        def forward(self, x):
            return paddle.sin(super().forward(x) * (1e7 if self.training else 1.0))

    row = only(Shaky(), [2, 1, 28, 28], 0.1)
    assert row.difference > 0  # or rounding has changed nothing
    assert row.problem == ""


def test_what_is_left_to_chance_in_training_mode_is_no_alarm():
    class Dropping(Chain):
        def middle(self, x):
            return F.dropout(x, 0.5, training=self.training)

    assert only(Dropping(8)).problem == ""


def test_a_wrong_export_is_found(monkeypatch):
    exported = module.exported
    monkeypatch.setattr(module, "exported", lambda *args: [array * 1.01 for array in exported(*args)])
    row = only(Chain(8))
    assert "changes output 0" in row.problem
    assert (row.step, row.again, row.export) == (True, True, False)


def test_a_changed_network_is_found(monkeypatch):
    monkeypatch.setattr(module, "everything", lambda network: nullcontext())
    report = check(Chain(8), IMAGE, ratios=[0.5], criteria=["l1_norm"])
    assert not report.untouched and not report.ok
    assert "the network: it is not what it was before" in " ".join(report.table().split())


def test_whatever_happens_the_network_is_put_back():
    network = Chain(8)
    before = state(network)

    def meddle():
        with everything(network):
            Pruner(network, IMAGE, Options()).cut(0.5)
            network.extra, network.a.new = conv(1, 1), 3
            np.random.seed(9)
            network.eval()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        meddle()
    assert state(network) == before
    assert not hasattr(network, "extra") and not hasattr(network.a, "new")


def test_the_report_by_heart():
    rows = (
        CheckRow("l1_norm", 0.5, 0.498, 3.21e-7, True, True, True, 1.234),
        CheckRow("fpgm", 0.9, 0.9, None, None, False, False, 12.0, "broke here"),
        CheckRow("fpgm", 0.95, 0.9, None, None, False, False, 12.0, "broke here"),
    )
    report = CheckReport("Net", rows, True)
    assert not report.ok and CheckReport("Net", rows[:1], True).ok and not CheckReport("Net", rows[:1], False).ok
    assert str(report).splitlines() == [
        "Net: 1 of 3 right                                                       ",
        "------------------------------------------------------------------------",
        "criterion  ratio  removed  difference  step  second cut  export  seconds",
        "------------------------------------------------------------------------",
        "l1_norm    50.0%    49.8%       3e-07    ok          ok      ok     1.23",
        "fpgm       90.0%    90.0%           -     -          no      no    12.00",
        "fpgm       95.0%    90.0%           -     -          no      no    12.00",
        "------------------------------------------------------------------------",
        "fpgm 0.9, fpgm 0.95: broke here                                         ",
    ]
    data = json.loads(report.to_json())
    assert data["ok"] is False and data["untouched"] is True
    assert CheckRow(**data["rows"][0]) == rows[0]
    wide = CheckReport("N" * 200, (CheckRow("c" * 99, 0.5, problem="p" * 300),), True).table()
    assert all(len(line) <= 100 for line in wide.splitlines())


def test_a_plain_sequence_is_checked():
    assert only(nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 2))).removed == 0.5
