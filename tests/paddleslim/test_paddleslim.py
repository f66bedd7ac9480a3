"""PaddleSlim's calls do what PaddleSlim does, and what it did wrong is done right, or said."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import paddle
import pytest
from fits import HARMLESS, Net, same
from hypothesis import given, settings
from hypothesis import strategies as st
from paddle import nn
from paddle.static import InputSpec

from hapi_prune import PruneError, PruneWarning, cost
from hapi_prune.cutting import optimizers
from hapi_prune.paddleslim import FilterPruner, FPGMFilterPruner, L1NormFilterPruner, L2NormFilterPruner, flops

pytestmark = HARMLESS

TUTORIAL = {"conv2d_22.w_0": 0.5, "conv2d_20.w_0": 0.6}
SHAPE = [1, 3, 8, 8]
PRUNERS = {"l1_norm": L1NormFilterPruner, "l2_norm": L2NormFilterPruner, "fpgm": FPGMFilterPruner}
GOLDEN = json.loads((Path(__file__).parent.parent / "data" / "paddleslim_kept_filters.json").read_text("utf-8"))


def tensors(network, optimizer=None):
    """All that a cut could change, bit by bit: tensors, sizes that layers tell, the optimizer's state."""
    found = {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}
    told = {name: repr(layer) for name, layer in network.named_sublayers()}
    groups = {name: getattr(layer, "_groups", None) for name, layer in network.named_sublayers()}
    mirrors = optimizers.states(optimizer) if optimizer else {}
    return {"state": found, "told": str((told, groups)), "optimizer": {k: t.numpy() for k, t in mirrors.items()}}


def fresh(build=Net):
    with paddle.utils.unique_name.guard():
        return build()


def step(network, optimizer):
    network.train()
    network(paddle.randn([4, 3, 8, 8])).square().mean().backward()
    optimizer.step()
    optimizer.clear_grad()


def outputs(network, shape=(2, 3, 8, 8)):
    network.eval()
    with paddle.no_grad():
        return network(paddle.to_tensor(np.random.RandomState(0).standard_normal(shape).astype("float32"))).numpy()


class Images(paddle.io.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return np.random.RandomState(index).standard_normal((3, 32, 32)).astype("float32"), np.array([index])


@pytest.fixture
def _flops_runs(monkeypatch):
    """paddle.flops cannot run with NumPy 2.4 whatever the network; there the library's own count stands for it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            paddle.flops(fresh(), SHAPE)
    except TypeError:
        monkeypatch.setattr(paddle, "flops", lambda net, input_size, print_detail=False: flops(net, input_size))


# --- the tutorial ---------------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.usefixtures("_flops_runs")
def test_the_tutorial_runs_with_one_line_changed():
    train_dataset, val_dataset = Images(), Images()

    net = paddle.vision.models.mobilenet_v1(pretrained=False)
    inputs = [InputSpec([None, 3, 32, 32], "float32", name="image")]
    labels = [InputSpec([None, 1], "int64", name="label")]
    optimizer = paddle.optimizer.Momentum(learning_rate=0.1, parameters=net.parameters())
    model = paddle.Model(net, inputs, labels)
    model.prepare(optimizer, paddle.nn.CrossEntropyLoss(), paddle.metric.Accuracy(topk=(1, 5)))
    model.fit(train_dataset, epochs=1, batch_size=4, verbose=0)
    model.evaluate(val_dataset, batch_size=4, verbose=0)
    assert paddle.flops(net, input_size=[1, 3, 32, 32], print_detail=True) == 12_817_920

    pruner = L1NormFilterPruner(net, [1, 3, 32, 32])
    pruner.prune_vars({"conv2d_22.w_0": 0.5, "conv2d_20.w_0": 0.6}, axis=0)
    assert paddle.flops(net, input_size=[1, 3, 32, 32], print_detail=True) == 11_067_556

    optimizer = paddle.optimizer.Momentum(learning_rate=0.1, parameters=net.parameters())
    model.prepare(optimizer, paddle.nn.CrossEntropyLoss(), paddle.metric.Accuracy(topk=(1, 5)))
    model.fit(train_dataset, epochs=1, batch_size=4, verbose=0)
    model.evaluate(val_dataset, batch_size=4, verbose=0)

    assert {p.name: p.shape[0] for p in net.parameters() if p.name in TUTORIAL} == {
        "conv2d_22.w_0": 256,
        "conv2d_20.w_0": 205,
    }
    assert cost(net, [1, 3, 32, 32]).params == 3_615_301
    assert pruner.plan.pruned_flops == pytest.approx(1 - 11_067_556 / 12_817_920)


@pytest.mark.parametrize(
    "case", [case for case in GOLDEN["cases"] if case[0] == "LeNet"], ids=lambda c: "-".join(c[1:3])
)
def test_the_filters_kept_are_those_of_paddleslim(case):
    _, layer, criterion, ratio, _, kept = case
    network, rng = fresh(paddle.vision.models.LeNet), np.random.RandomState(0)
    weights = {key: rng.standard_normal(tensor.shape).astype("float32") for key, tensor in network.state_dict().items()}
    network.set_state_dict(weights)
    name = dict(network.named_parameters())[f"{layer}.weight"].name
    plan = PRUNERS[criterion](network, [1, 1, 28, 28]).prune_var(name, 0, ratio)
    np.testing.assert_array_equal(network.state_dict()[f"{layer}.weight"].numpy(), weights[f"{layer}.weight"][kept])
    assert np.flatnonzero(plan.masks[name][0].mask).tolist() == kept


# --- plans ----------------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(one=st.floats(0, 0.95), other=st.floats(0, 0.95), kind=st.sampled_from(sorted(PRUNERS)), early=st.booleans())
@pytest.mark.filterwarnings("ignore:paddleslim. nothing was removed")
def test_masked_is_cut_is_restored(one, other, kind, early):
    network = fresh()
    network.bn1._mean.set_value(paddle.randn([8]))
    before, pruner = tensors(network), PRUNERS[kind](network, SHAPE)
    plan = pruner.prune_vars({"conv2d_0.w_0": one, "conv2d_1.w_0": other}, [0], apply="lazy" if early else None)
    assert early or same(tensors(network), before)
    plan.apply(network, lazy=True)
    assert [network.conv1.weight.shape[0], network.conv2.weight.shape[0]] == [8, 12]
    masked = outputs(network)
    plan.apply(network)
    assert [network.conv1.weight.shape[0], network.conv2.weight.shape[0]] == [
        max(1, 8 - round(8 * one)),
        max(1, 12 - round(12 * other)),
    ]
    np.testing.assert_allclose(outputs(network), masked, atol=1e-5)
    assert flops(network, SHAPE) == pytest.approx((1 - plan.pruned_flops) * pruner._engine.original.flops)
    network.train()
    plan.restore(network)
    assert same(tensors(network), before)
    plan.apply(network)
    pruner.restore()
    assert same(tensors(network), before)


def test_a_plan_keeps_the_filters_that_it_was_made_with():
    network = fresh()
    pruner = L1NormFilterPruner(network, SHAPE)
    plan = pruner.prune_var("conv2d_0.w_0", 0, 0.5, apply=None)
    chosen = plan.masks["conv2d_0.w_0"][0].mask
    changed = network.conv1.weight.numpy() * np.arange(8, 0, -1).reshape(8, 1, 1, 1) ** 3
    network.conv1.weight.set_value(changed.astype("float32"))
    plan.apply(network)
    np.testing.assert_array_equal(network.conv1.weight.numpy(), changed.astype("float32")[chosen == 1])
    # A pruner's scores are those of now, and not of the day when it was built.
    assert not np.array_equal(L1NormFilterPruner(fresh(), SHAPE).prune_var("conv2d_0.w_0", 0, 0.5).masks, chosen)


def test_applied_twice_is_applied_once():
    network = fresh()
    plan = L1NormFilterPruner(network, SHAPE).prune_var("conv2d_0.w_0", 0, 0.5)
    trained = network.conv1.weight.numpy() + 1
    network.conv1.weight.set_value(trained)
    plan.apply(network)
    np.testing.assert_array_equal(network.conv1.weight.numpy(), trained)
    with pytest.raises(PruneError, match="gone already"):
        plan.apply(network, lazy=True)


def test_a_pruner_prunes_again_and_restores_to_where_each_plan_began():
    network = fresh()
    dense, pruner = tensors(network), L1NormFilterPruner(network, SHAPE)
    first = pruner.prune_var("conv2d_0.w_0", 0, 0.25)
    between = tensors(network)
    second = pruner.prune_vars({"conv2d_0.w_0": 0.5, "conv2d_1.w_0": 0.5}, 0)
    assert (network.conv1.weight.shape[0], network.conv2.weight.shape[0]) == (4, 6)
    second.restore(network)
    assert same(tensors(network), between)
    second.apply(network)
    first.restore(network)
    assert same(tensors(network), dense)
    second.restore(network)
    assert same(tensors(network), dense)


def test_gradients_of_the_smaller_network_do_not_outlive_it():
    network = fresh()
    plan = L1NormFilterPruner(network, SHAPE).prune_var("conv2d_0.w_0", 0, 0.5)
    network(paddle.randn([2, 3, 8, 8])).sum().backward()
    plan.restore(network)
    network(paddle.randn([2, 3, 8, 8])).sum().backward()  # would be added to what is there
    assert network.conv1.weight.grad.shape == network.conv1.weight.shape


def test_state_dict_has_no_backups():
    network = fresh()
    keys = list(network.state_dict())
    L1NormFilterPruner(network, SHAPE).prune_var("conv2d_0.w_0", 0, 0.5)
    assert list(network.state_dict()) == keys


def test_a_plan_is_for_one_network():
    plan = L1NormFilterPruner(fresh(), SHAPE).prune_var("conv2d_0.w_0", 0, 0.5, apply=None)
    for call in (plan.apply, plan.restore):
        with pytest.raises(PruneError, match="not the pruner's"):
            call(fresh())


def test_a_plan_prints_what_it_does():
    plan = L1NormFilterPruner(fresh(), SHAPE).prune_var("conv2d_0.w_0", 0, 0.5)
    lines = str(plan).splitlines()
    assert lines[:2] == ["variable name\tpruned ratio\tpruned dims", "conv2d_0.w_0\t0.5\t0"]
    assert lines[-1] == f"pruned FLOPs: {plan.pruned_flops:.6g}"
    assert plan.contains("conv2d_1.w_0", 1)
    assert plan.contains("conv2d_1.w_0")
    assert not plan.contains("conv2d_1.w_0", 0)
    assert not plan.contains("linear_0.w_0")


# --- who decides, and what is said ----------------------------------------------------------------------------


class Residual(nn.Layer):
    """Two convolutions that can only shrink together, one in front and one behind."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2D(3, 8, 3), nn.Conv2D(8, 8, 3, padding=1), nn.Conv2D(8, 8, 3, padding=1)
        self.bn, self.head = nn.BatchNorm2D(8), nn.Conv2D(8, 4, 1)

    def forward(self, image):
        data = self.stem(image)
        return self.head(self.bn(data + self.two(nn.functional.relu(self.one(data)))))


def test_of_layers_that_shrink_together_the_first_named_decides():
    for order in (["conv2d_0.w_0", "conv2d_2.w_0"], ["conv2d_2.w_0", "conv2d_0.w_0"]):
        network = fresh(Residual)
        dense = {
            name: p.numpy()
            for name, p in zip(["conv2d_0.w_0", "conv2d_2.w_0"], [network.stem.weight, network.two.weight])
        }
        with pytest.warns(PruneWarning, match=f"'{order[1]}': shrinks together with '{order[0]}', so by 0.5 as well"):
            plan = L1NormFilterPruner(network, SHAPE).prune_vars(dict(zip(order, (0.5, 0.25))), 0)
        assert network.stem.weight.shape[0] == network.two.weight.shape[0] == 4
        norms = np.abs(dense[order[0]]).sum((1, 2, 3))
        assert np.flatnonzero(plan.masks["conv2d_0.w_0"][0].mask).tolist() == sorted(np.argsort(norms)[4:].tolist())


def test_a_follower_prunes_its_group_which_paddleslim_left_out_silently():
    network = fresh(Residual)
    L1NormFilterPruner(network, SHAPE).prune_var("conv2d_2.w_0", 0, 0.5)
    assert network.stem.weight.shape[0] == network.bn.weight.shape[0] == 4


class Concat(nn.Layer):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.group = nn.Conv2D(3, 4, 1), nn.Conv2D(3, 6, 1), nn.Conv2D(10, 10, 1, groups=2)
        self.head = nn.Conv2D(10, 2, 1)

    def forward(self, image):
        data = paddle.concat([self.one(image), self.two(image)], axis=1)
        return self.head(nn.functional.relu(self.group(data)))


def test_what_paddleslim_left_out_or_crashed_at_is_reached():
    network = fresh(Concat)
    plan = L1NormFilterPruner(network, SHAPE).prune_vars({f"conv2d_{n}.w_0": 0.5 for n in range(3)}, 0)
    assert plan.contains("conv2d_0.w_0", 0)
    assert plan.contains("conv2d_2.w_0", 0)
    assert outputs(network).shape == (2, 2, 8, 8)


def test_what_stays_is_told_with_the_reason():
    network = fresh(Residual)
    with pytest.warns(PruneWarning, match="'head' stays: is an output of the network"):
        plan = L1NormFilterPruner(network, SHAPE).prune_var("conv2d_3.w_0", 0, 0.5)
    assert plan.masks == {}
    assert plan.pruned_flops == 0
    plan.restore(network)


def test_biases_follow_and_other_parameters_are_told():
    network = fresh()
    every = {parameter.name: 0.5 for parameter in network.parameters()}
    with pytest.warns(PruneWarning) as told:
        L1NormFilterPruner(network, SHAPE).prune_vars(every, [0])
    assert [str(one.message) for one in told] == [
        "paddleslim: 'batch_norm2d_0.w_0', 'batch_norm2d_0.b_0', 'batch_norm2d_0.w_1' and 3 more: not the weight of a "
        "convolution, so left out; it shrinks with those around it"
    ]
    assert told[0].filename == __file__
    assert network.conv1.weight.shape[0] == 4
    convs = {parameter.name: 0.75 for parameter in network.parameters() if parameter.name.startswith("conv")}
    L1NormFilterPruner(network, SHAPE).prune_vars(convs, [0])  # a warning would be an error


def test_skip_vars_are_left_out_and_told():
    network = fresh()
    pruner = L1NormFilterPruner(network, SHAPE)
    pruner.skip_vars.append("conv2d_0.w_0")
    with pytest.warns(PruneWarning, match="'conv2d_0.w_0': left out, as in skip_vars"):
        pruner.prune_vars({"conv2d_0.w_0": 0.5, "conv2d_1.w_0": 0.5}, 0)
    assert (network.conv1.weight.shape[0], network.conv2.weight.shape[0]) == (8, 6)


def test_a_depthwise_weight_stands_for_its_group():
    with paddle.utils.unique_name.guard():
        network = paddle.vision.models.mobilenet_v1(scale=0.25)
    L1NormFilterPruner(network, [1, 3, 32, 32]).prune_var("conv2d_1.w_0", 0, 0.5)
    assert network.conv1[0].weight.shape[0] == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.prune_vars({"conv2d_9.w_0": 0.5}, 0), "unknown layer 'conv2d_9.w_0'.*'conv2d_0.w_0'"),
        (lambda p: p.prune_vars({"conv2d_0.w_0": 1.5}, 0), "conv2d_0.w_0.*1.5"),
        (lambda p: p.prune_vars({"conv2d_0.w_0": 0.5}, 1), "axis: 1"),
        (lambda p: p.prune_var("conv2d_0.w_0", [0, 1], 0.5), r"axis: \[0, 1\]"),
        (lambda p: p.prune_vars({"conv2d_0.w_0": 0.5}, 0, apply="eager"), "'eager'"),
        (lambda p: p.sensitive_prune(0.5), "no sensitivities are known"),
        (lambda p: p.get_ratios_by_sensitivity(50), "pruned_flops: 50"),
        (lambda p: p.sensitive(lambda: 0.0), "returned 0 for the whole network"),
        (lambda p: p.sensitive(lambda: None), "returned None"),
        (lambda p: p.sensitive(lambda: float("nan")), "returned nan"),
    ],
)
def test_bad_arguments_are_refused_and_change_nothing(call, message):
    network = fresh()
    pruner, before = L1NormFilterPruner(network, SHAPE), tensors(network)
    with pytest.raises(PruneError) as raised:
        call(pruner)
    assert re.search(message, str(raised.value))
    assert same(tensors(network), before)


def test_outputs_stay_whatever_skip_leaves_says():
    with pytest.warns(PruneWarning, match="an output of the network keeps its size"):
        L1NormFilterPruner(fresh(), SHAPE, None, None, False)


def test_a_criterion_of_ones_own_is_a_subclass():
    def last(weight):
        return np.arange(len(weight), 0, -1.0)

    class Own(FilterPruner):
        criterion = staticmethod(last)

    network = fresh()
    plan = Own(network, SHAPE).prune_var("conv2d_0.w_0", 0, 0.5)
    assert plan.masks["conv2d_0.w_0"][0].mask.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


# --- the optimizer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keyword", ["opt", "optimizer"])
def test_the_optimizers_state_goes_along_and_comes_back(keyword):
    network = fresh()
    optimizer = paddle.optimizer.Adam(parameters=network.parameters())
    step(network, optimizer)
    before = tensors(network, optimizer)
    pruner = L1NormFilterPruner(network, SHAPE, **{keyword: optimizer})
    plan = pruner.prune_var("conv2d_0.w_0", 0, 0.5)
    kept = np.flatnonzero(plan.masks["conv2d_0.w_0"][0].mask)
    state = tensors(network, optimizer)["optimizer"]
    names = [name for name in state if name.endswith("of conv2d_0.w_0") and state[name].ndim == 4]
    assert len(names) == 2
    for name in names:
        np.testing.assert_array_equal(state[name], before["optimizer"][name][kept])
    plan.restore(network)
    assert same(tensors(network, optimizer), before)
    step(network, optimizer)


def test_the_optimizer_may_be_given_to_the_plan():
    network = fresh()
    optimizer = paddle.optimizer.Momentum(parameters=network.parameters())
    step(network, optimizer)
    before = tensors(network, optimizer)
    plan = L1NormFilterPruner(network, SHAPE).prune_var("conv2d_0.w_0", 0, 0.5, apply=None)
    plan.apply(network, opt=optimizer)
    step(network, optimizer)
    plan.restore(network, opt=optimizer)
    restored = tensors(network, optimizer)
    assert same(restored["state"]["conv1.weight"], before["state"]["conv1.weight"])
    assert restored["optimizer"].keys() == before["optimizer"].keys()
    step(network, optimizer)


def test_state_that_came_up_after_the_cut_starts_anew():
    network = fresh()
    optimizer = paddle.optimizer.Momentum(parameters=network.parameters())
    plan = L1NormFilterPruner(network, SHAPE, opt=optimizer).prune_var("conv2d_0.w_0", 0, 0.5)
    step(network, optimizer)
    with pytest.warns(PruneWarning, match="it starts anew"):
        plan.restore(network)
    assert all(not array.any() for array in tensors(network, optimizer)["optimizer"].values())
    step(network, optimizer)
    assert network.conv1.weight.shape[0] == 8


# --- FLOPs ----------------------------------------------------------------------------------------------------


def test_flops_takes_what_paddleslims_takes():
    network = fresh()
    counted = cost(network, SHAPE)
    assert flops(network, SHAPE) == flops(network, [SHAPE]) == flops(network, [paddle.ones(SHAPE)]) == counted.flops
    assert flops(network, SHAPE, dtypes="float32") == flops(network, [SHAPE], dtypes=["float32"]) == counted.flops
    assert flops(network, SHAPE, only_conv=True) == counted.macs
    total, layers = flops(network, SHAPE, only_conv=True, detail=True)
    assert total == sum(layers.values())
    assert layers.keys() == {"conv2d_0.w_0", "conv2d_1.w_0", "linear_0.w_0"}
    embedding = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))
    assert flops(embedding, [3, 5], dtypes="int64") > 0
