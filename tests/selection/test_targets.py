"""A goal in FLOPs or parameters is met by arithmetic, within the limits, and what is cut is as right as ever."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import paddle
import pytest
import reference
from backbones import BACKBONES
from backbones_attention import VisionTransformer
from backbones_files import FILES
from callbacks import quiet
from daily import only, some
from fits import build, fit
from paddle import nn
from zoo import ZOO

from hapi_prune import Global, PruneError, PruneWarning, Uniform, prune
from hapi_prune.analysis.cost import cost_at
from hapi_prune.analysis.cost_model import CostModel
from hapi_prune.analysis.labels import Mismatch
from hapi_prune.cutting.pruning import Pruner
from hapi_prune.selection.options import Options
from hapi_prune.selection.scopes import as_scope, importances_of

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track global mean:UserWarning")

IMAGE = [2, 3, 32, 32]
assert len(FILES) == 9, "which enter the networks"
GOALS = (0.3, 0.5, 0.7)


def predicted_and_true(network, inputs, ratio):
    """What the model says of a plan, and what the labels say once they have been sent through at its sizes."""
    pruner = Pruner(network, inputs, Options())
    channel_map = pruner.channel_map
    plan = pruner.plan(pruner.goal(ratio))
    true = cost_at(channel_map.graph, channel_map.at(channel_map.sizes_after(plan))[0])
    counts = {key: len(kept) for key, kept in plan.kept.items()}
    filters = channel_map.traced.constraints.convolutions
    models = {what: CostModel(channel_map, what, filters) for what in ("flops", "params", "filters")}
    assert models["flops"].at({}) == pruner.original.flops
    assert models["params"].at({}) == pruner.original.params
    return {what: model.at(counts) for what, model in models.items()}, true


SPREAD = {"CondConv": 0.005, "Factorised": 0.002, "SegNeXt": 0.003}
"""How far off the FLOPs may be: where several labels lie flat in one weight; and what is drawn at random has none, so
that it is taken to keep its size."""


@pytest.mark.parametrize("name", some(BACKBONES, 8, 5))
def test_the_cost_model_says_what_a_plan_will_cost(name):
    case = BACKBONES[name]
    try:
        model, true = predicted_and_true(case.build(), case.inputs, 0.5)
    except (PruneError, Mismatch):
        pytest.skip("nothing can be planned at this ratio")
    assert model["params"] == true.params
    assert abs(model["flops"] - true.flops) <= SPREAD.get(name, 0) * true.flops


@pytest.mark.parametrize("name", some(ZOO, 8, 6))
def test_the_cost_model_is_right_for_every_structure(name):
    case = ZOO[name]
    try:
        model, true = predicted_and_true(case.build(), case.inputs, case.ratio)
    except (PruneError, Mismatch):
        pytest.skip("nothing can be planned at this ratio")
    assert model["params"] == true.params
    assert abs(model["flops"] - true.flops) <= SPREAD.get(name, 0) * true.flops


class Small(nn.Layer):
    """Three convolutions with BatchNorm, and two Linears."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2D(3, 24, 3, padding=1), nn.Conv2D(24, 48, 3, padding=1), nn.Conv2D(48, 40, 3)
        self.norms = nn.LayerList([nn.BatchNorm2D(size) for size in (24, 48, 40)])
        self.hidden, self.out = nn.Linear(40, 64), nn.Linear(64, 10)

    def forward(self, x):
        for layer, norm in zip((self.a, self.b, self.c), self.norms):
            x = paddle.nn.functional.relu(norm(layer(x)))
        return self.out(paddle.nn.functional.relu(self.hidden(x.mean([2, 3]))))


@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize("target", ["flops", "params"])
def test_each_cut_lands_on_its_goal_and_computes_what_the_masked_network_computes(target, scope):
    paddle.seed(3)
    network = Small()
    pruner = Pruner(network, IMAGE, Options(target=target, scope=scope))
    for ratio in GOALS:
        before, groups = copy.deepcopy(network), pruner.channel_map.groups
        record = pruner.cut(ratio)
        assert record.reached == pytest.approx(ratio, abs=0.01), "a filter is a point and more here"
        assert record.reached == 1 - getattr(record, f"{target}_kept")
        assert record.target == target
        masked = reference.masked(before, reference.gone(groups, record.plan))
        inputs = [paddle.randn(IMAGE)]
        assert reference.distance(reference.outputs(network, inputs), reference.outputs(masked, inputs)) < 1e-5


NETWORKS = {
    "LeNet": 28, "vgg11": 64, "resnet18": 64, "resnet50": 64, "mobilenet_v1": 64, "mobilenet_v2": 64,
    "mobilenet_v3_small": 64, "densenet121": 64, "shufflenet_v2_x0_5": 64, "squeezenet1_0": 64, "googlenet": 224,
}  # fmt: skip
QUICK = {"resnet18", "mobilenet_v3_small", "squeezenet1_0"}


@pytest.mark.parametrize("name", only(NETWORKS, (), QUICK))
def test_goals_are_met_on_the_networks_of_paddle(name):
    paddle.seed(0)
    network = reference.narrow_classifier(getattr(paddle.vision.models, name)())
    pruner = Pruner(network, [1, 1 if name == "LeNet" else 3, *[NETWORKS[name]] * 2], Options())
    channel_map, original = pruner.channel_map, pruner.original
    for target, scope, ratio in itertools.product(("flops", "params"), ("uniform", "global"), GOALS):
        pruner.options = Options(target=target, scope=scope)  # one network, traced once
        wanted, model = pruner.goal(ratio), CostModel(channel_map, target)
        plan = pruner.plan(wanted)
        after = cost_at(channel_map.graph, channel_map.at(channel_map.sizes_after(plan))[0])
        removed = 1 - getattr(after, target) / getattr(original, target)
        largest = max(model.of_one_unit(key) for key in wanted.ratios) / getattr(original, target)
        off = largest if name == "LeNet" else 0.005  # LeNet has six filters in a layer
        assert abs(removed - ratio) <= off, (target, scope, ratio)


def test_families_are_met_too():
    network = paddle.vision.models.shufflenet_v2_x0_25()
    record = prune(network, [1, 3, 64, 64], 0.5, target="flops")
    assert record.reached == pytest.approx(0.5, abs=0.02), "24 channels in pairs and quarters"


def test_limits_hold_all_together():
    for scope in ("uniform", "global"):
        network = Small()
        options = {"min_filters": 10, "round_to": 4, "max_ratio": 0.6, "skip": ["c"], "scope": scope}
        record = prune(network, IMAGE, 0.5, target="flops", **options)
        for layer, (was, now) in record.widths.items():
            assert now == was or (now % 4 == 0 and now >= 10 and was - now <= 0.6 * was), (scope, layer)
        assert record.widths["c"] == (40, 40)
        assert record.reached == pytest.approx(0.5, abs=0.05)


def test_max_ratio_holds_for_plain_ratios_too():
    assert prune(Small(), IMAGE, 0.9, max_ratio=0.5).widths == {"a": (24, 12), "b": (48, 24), "c": (40, 20)}


def test_no_layer_loses_more_than_four_fifths_unless_told():
    network = Small()
    network.a.weight.set_value(network.a.weight * 1e-6)
    assert prune(network, IMAGE, 0.4, target="flops", scope=Global("none")).widths["a"] == (24, 5)


def test_a_goal_out_of_reach_says_what_can_be_reached():
    network = Small()
    with pytest.raises(
        PruneError, match=r"95.0% of the FLOPs. Allowed: up to \d\d.\d%, with max_ratio=0.5.*'b', 'out' stay"
    ) as error:
        prune(network, IMAGE, 0.95, target="flops", max_ratio=0.5, skip=["b"])
    nearest = float(str(error.value).split("up to ")[1].split("%")[0]) / 100
    assert network.a.weight.shape[0] == 24, "nothing was changed"
    assert prune(network, IMAGE, nearest, target="flops", max_ratio=0.5, skip=["b"]).reached == pytest.approx(
        nearest, abs=0.001
    )


def test_a_filter_more_here_and_one_less_there_get_nearer():
    """Alone each step of this network is a point and more."""
    one = ZOO["SplitAndConcat"]
    assert prune(one.build(), one.inputs, 0.3, target="flops").reached == pytest.approx(0.3, abs=0.005)


def test_what_is_missed_is_said():
    class Two(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2D(3, 3, 3), nn.Conv2D(3, 2, 3)

        def forward(self, x):
            return self.b(self.a(x))

    record = prune(Two(), IMAGE, 0.5, target="flops")
    assert any("50.0% of the FLOPs were asked for, and" in note for note in record.notes)
    assert "of the FLOPs removed (asked: 50.0%)" in record.title


def test_a_ratio_by_layer_is_one_of_filters():
    for options in ({"target": "flops"}, {"scope": "global"}):
        with pytest.raises(PruneError, match="a ratio by layer"):
            prune(Small(), IMAGE, {"a": 0.5}, **options)


def test_the_global_scope_takes_what_matters_least_for_what_it_costs():
    network = Small()
    network.b.weight.set_value(network.b.weight * 1e-3)
    plain = prune(copy.deepcopy(network), IMAGE, 0.3, target="flops", scope=Global("none", cost_power=0.0)).widths
    assert plain["b"][1] < 48
    assert plain["a"] == (24, 24), "filters of b are a thousand times smaller"
    assert plain["c"] == (40, 40)
    fair = prune(copy.deepcopy(network), IMAGE, 0.3, target="flops", scope=Global("mean", cost_power=0.0)).widths
    assert fair["a"][1] < 24 or fair["c"][1] < 40, "by their mean, all layers are alike"


class Blocks(nn.Layer):
    """Two residual blocks of one width, and a head: two groups inside blocks, one stream, two Linears."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2D(3, 24, 3, padding=1)
        self.first = nn.LayerList([nn.Conv2D(24, 32, 3, padding=1) for _ in range(2)])
        self.second = nn.LayerList([nn.Conv2D(32, 24, 3, padding=1) for _ in range(2)])
        self.out = nn.Linear(24, 10)

    def forward(self, x):
        x = self.stem(x)
        for first, second in zip(self.first, self.second):
            x = x + second(paddle.nn.functional.relu(first(x)))
        return self.out(x.mean([2, 3]))


def test_of_isomorphic_groups_only_those_that_are_alike_are_ranked_against_each_other():
    paddle.seed(4)
    network = Blocks()
    network.first[0].weight.set_value(network.first[0].weight * 1e-2)
    together = prune(copy.deepcopy(network), IMAGE, 0.3, target="params", scope=Global("none")).widths
    assert together["first.0"][1] < 32 and together["stem"] == (24, 24), "one layer scores far less than all others"
    apart = prune(copy.deepcopy(network), IMAGE, 0.3, target="params", scope=Global("none", isomorphic=True)).widths
    assert apart["first.1"] == (32, 32) and apart["first.0"][1] < 32, "the two insides are alike"
    lost = 1 - (apart["first.0"][1] + apart["first.1"][1]) / 64
    assert 1 - apart["stem"][1] / 24 == pytest.approx(lost, abs=0.05), "each kind loses the same share"


def test_a_scope_of_ones_own_shares_out():
    given = {}

    def thirds(groups, scores, costs):
        given.update(groups=groups, scores={key: scores[key] for key in groups}, costs=costs)
        return {"a.weight": 1.0, "b.weight": 3.0}

    record = prune(Small(), IMAGE, 0.4, target="flops", scope=thirds)
    lost = {layer: 1 - now / was for layer, (was, now) in record.widths.items()}
    assert lost["b"] == pytest.approx(3 * lost["a"], abs=0.06)
    assert lost["c"] == 0, "it was left out"
    assert list(given["groups"]) == ["a.weight", "b.weight", "c.weight", "hidden.weight[1]"]
    assert given["scores"]["a.weight"].shape == (24,)
    assert 0 < given["costs"]["a.weight"] < given["costs"]["b.weight"] < 0.05


BAD = {
    "no mapping": (lambda groups, scores, costs: 0.5, r"returned 0.5"),
    "unknown key": (lambda groups, scores, costs: {"nose": 0.5}, r"returned \['nose'\]"),
    "negative": (lambda groups, scores, costs: dict.fromkeys(groups, -1.0), "a share of -1.0"),
    "wrong shape": (lambda groups, scores, costs: dict.fromkeys(groups, np.ones(2)), r"float64 of shape \[2\]"),
    "raises": (lambda groups, scores, costs: 1 / 0, "raised ZeroDivisionError"),
    "no flag": (lambda *_: Global(isomorphic="yes")({}, {}, {}), "isomorphic"),
    "unknown name": ("globel", "scope: 'globel'"),
    "a class": (Global, "scope: <class"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_scope_is_told_where(case):
    scope, message = BAD[case]
    network = Small()
    before = {name: value.numpy() for name, value in network.state_dict().items()}
    with pytest.raises(PruneError, match=message):
        prune(network, IMAGE, 0.4, target="flops", scope=scope)
    assert all(np.array_equal(value.numpy(), before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("name", "value"), [("target", "flop"), ("target", 3), ("max_ratio", 0), ("max_ratio", 1.5)])
def test_bad_options_are_told(name, value):
    with pytest.raises(PruneError, match=name):
        Options(**{name: value})


def test_prices_never_fall_and_count_from_the_original():
    assert importances_of(1.0, "g", 4, 2).tolist() == [0.625, 0.875]
    assert importances_of(0.0, "g", 4, 2).tolist() == [np.inf, np.inf]
    assert importances_of(np.array([3.0, 1.0]), "g", 4, 2).tolist() == [1.0, 3.0]
    assert importances_of(lambda shares: np.array([2.0, 1.0]), "g", 4, 2).tolist() == [2.0, 2.0]
    assert as_scope("uniform") == Uniform()


def test_linears_shrink_where_a_cost_is_asked_for():
    assert "hidden" in prune(Small(), IMAGE, 0.3, target="params").widths
    assert "hidden" not in prune(Small(), IMAGE, 0.3).widths
    record = prune(VisionTransformer(), IMAGE, 0.4, target="flops")
    assert record.reached == pytest.approx(0.4, abs=0.02)


def test_a_run_lands_on_each_goal():
    model = build()
    callback = quiet({1: 0.25, 2: 0.5}, target="flops", scope="global")
    fit(model, callback, epochs=3)
    assert [record.target for record in callback.history] == ["flops", "flops"]
    for record, ratio in zip(callback.history, (0.25, 0.5)):
        assert record.reached == pytest.approx(ratio, abs=0.03), "layers of 8 and 12 filters"
    heads = callback.history.table().splitlines()[1:3]
    assert "filters" not in heads[0]
    assert heads[0].index("FLOPs") < heads[1].index("kept") < heads[0].index("params")
    assert heads[1].index("asked") < heads[1].index("kept"), "asked stands with the FLOPs"


def test_a_run_says_before_it_trains_that_a_goal_is_out_of_reach():
    with pytest.raises(PruneError, match=r"schedule, epoch 2, ratio: 99.0% of the FLOPs. Allowed: up to"):
        fit(build(), quiet({1: 0.25, 2: 0.99}, target="flops"))


def test_what_is_refused_is_made_up_for_by_the_rest():
    class Written(Small):
        def forward(self, x):
            x = paddle.nn.functional.relu(self.norms[0](self.a(x))).reshape([-1, 24, 32, 32])
            for layer, norm in zip((self.b, self.c), (self.norms[1], self.norms[2])):
                x = paddle.nn.functional.relu(norm(layer(x)))
            return self.out(paddle.nn.functional.relu(self.hidden(x.mean([2, 3]))))

    record = prune(Written(), IMAGE, 0.4, target="flops")
    assert record.widths["a"] == (24, 24)
    assert record.reached == pytest.approx(0.4, abs=0.005)
    with pytest.warns(PruneWarning, match="nothing was removed"):
        prune(Written(), IMAGE, 1e-9, target="flops")
