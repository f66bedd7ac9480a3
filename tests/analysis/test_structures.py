"""Every structure of the zoo is pruned as it should be, and what is left computes what the masked network computes."""

from __future__ import annotations

import copy
import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import reference
from daily import some
from paddle import nn
from paddle.nn.layer import activation
from structures import Chain, Structure
from structures_normalization import ELEMENTWISE, OVER_CHANNELS
from zoo import ZOO

from hapi_prune import PruneError, Signal, register_rule
from hapi_prune.analysis import labels
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.analysis.cost import cost_at
from hapi_prune.analysis.example_input import example
from hapi_prune.analysis.rules import TABLE, Call, free, registry
from hapi_prune.analysis.rules.elementwise import unary
from hapi_prune.cutting import verify_outputs
from hapi_prune.cutting.pruning import Options, Pruner

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")


def outputs(network, given, training):
    """What ``network`` returns: its form, and its tensors as arrays."""
    (network.train if training else network.eval)()
    statistics = {name: t.numpy().copy() for name, t in network.state_dict().items() if t.stop_gradient}
    random = np.random.RandomState(7)
    leaves = [
        paddle.to_tensor(random.standard_normal(leaf.shape).astype("float32")) if "float" in str(leaf.dtype) else leaf
        for leaf in given.leaves
    ]
    args, kwargs = given.rebuilt(leaves)
    with paddle.no_grad():
        tree = network(*args, **kwargs)
    for name, tensor in network.state_dict().items():
        if name in statistics:
            tensor.set_value(statistics[name])
    return form(tree), [leaf.numpy() for leaf in paddle.utils.flatten(tree) if isinstance(leaf, paddle.Tensor)]


def form(tree: Any) -> Any:
    """The structure of an output, with shapes for its tensors."""
    if isinstance(tree, dict):
        return {key: form(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree), [form(value) for value in tree]
    return tuple(tree.shape) if isinstance(tree, paddle.Tensor) else tree


def zero(network, groups, plan):
    """Zero, in every tensor, the slices of the units that ``plan`` removes; numbers of channels are what they were."""
    tensors = dict([*network.named_parameters(), *network.named_buffers()])
    for key, kept in plan.kept.items():
        gone = [unit for unit in range(groups[key].size) if unit not in kept]
        for (name, axis), index in groups[key].index.items():
            if "int" in str(tensors[name].dtype):
                continue
            array = np.moveaxis(tensors[name].numpy().copy(), axis, 0)
            array[index[gone].ravel()] = 0
            tensors[name].set_value(np.moveaxis(array, 0, axis))
    return network


def same(pruned, masked, given, wanted):
    """Both networks return trees of the same form and, where the cut is exact, the same numbers."""
    for training in (False, True):
        (shape, ours), (expected, theirs) = outputs(pruned, given, training), outputs(masked, given, training)
        assert shape == expected, f"training={training}"
        for one, other in zip(ours, theirs) if wanted.equal and not (training and wanted.random) else ():
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * (np.abs(other).max() + 1e-6))


def train(network, given):
    """One step of training goes through, and changes what it should."""
    network.train()
    optimizer = paddle.optimizer.Momentum(0.01, parameters=network.parameters())
    args, kwargs = given.rebuilt(given.leaves)
    leaves = [leaf for leaf in paddle.utils.flatten(network(*args, **kwargs)) if isinstance(leaf, paddle.Tensor)]
    sum(leaf.square().mean() for leaf in leaves if "float" in str(leaf.dtype)).backward()
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.shape == parameter.shape, name
            assert np.isfinite(parameter.grad.numpy()).all(), name
    optimizer.step()
    optimizer.clear_grad()


def reasons(pruner, record, layer):
    """What is said of a convolution that stays."""
    said = [note for note in record.notes if repr(layer) in note.partition(" stay")[0]]
    for group in pruner.channel_map.groups.values():
        if any(axis == (f"{layer}.weight", 0) or axis == (layer, 0) for axis in group.index):
            said += [group.frozen, pruner.channel_map.findings.refused.get(group.key)]
    return " | ".join(str(why) for why in said if why)


def as_expected(wanted: Structure, pruner, record):
    """What should shrink shrank, by the right number of filters; what stays has the right reason."""
    short = {name.removesuffix(".0"): name for name in record.widths if name.removesuffix(".0") not in record.widths}
    named = {*wanted.shrinks, *wanted.stays}
    for layer in record.widths:
        assert {layer, layer.removesuffix(".0")} & named, f"{layer} is not spoken of"
    got = {name: record.widths.get(short.get(name, name)) for name in named}
    for name, count in wanted.shrinks.items():
        assert got[name], f"{name} is not in {record.widths}"
        was, now = got[name]
        assert now == (was - round(was * wanted.ratio) if count is None else count), (name, got, record.notes)
    for name, reason in wanted.stays.items():
        assert got[name] is None or got[name][0] == got[name][1], (name, got[name])
        assert reason in reasons(pruner, record, short.get(name, name)), (name, short.get(name, name))


def as_they_are(network):
    """What layers say of their sizes is what their weights are."""
    for name, layer in network.named_sublayers():
        if isinstance(layer, nn.layer.conv._ConvNd) and "weight" in layer._parameters:
            ins, outs = layer.weight.shape[1] * layer._groups, layer.weight.shape[0]
            if type(layer).__name__.endswith("Transpose"):
                ins, outs = layer.weight.shape[0], layer.weight.shape[1] * layer._groups
            assert (layer._in_channels, layer._out_channels) == (ins, outs), name
        if isinstance(layer, (nn.layer.norm._BatchNormBase, nn.GroupNorm)):
            width = getattr(layer, "_num_features", None) or layer._num_channels
            assert layer.weight is None or [width] == layer.weight.shape, name


@pytest.mark.parametrize("name", some(ZOO, 4))
def test_a_structure_is_pruned_and_computes_what_the_masked_network_computes(name):
    wanted = ZOO[name]
    network = reference.randomise(wanted.build())
    given = example(network, wanted.inputs)
    masked = copy.deepcopy(network)
    pruner = Pruner(network, wanted.inputs, Options())
    groups = pruner.channel_map.groups
    assert not any(one.not_followed for one in pruner.channel_map.traced.passes), "an operation without a rule"

    record = pruner.cut(wanted.ratio)
    as_expected(wanted, pruner, record)
    as_they_are(network)
    assert any(groups[key].approximate for key in record.plan.kept) == wanted.approximate
    same(network, zero(masked, groups, record.plan), given, wanted)
    train(network, given)

    masked, groups = copy.deepcopy(network), pruner.channel_map.groups
    deeper = pruner.cut(min(0.9, wanted.ratio + 0.25))
    same(network, zero(masked, groups, deeper.plan), given, wanted)
    train(network, given)


RULES_README = Path(__file__).parents[2] / "hapi_prune" / "analysis" / "rules" / "README.md"
"""Which is no part of an installed package."""

AMBIGUOUS = {
    "GroupResidual": "its groups are left with one channel each, which is a depthwise convolution to Paddle",
    "MaxOutByHand": "one pair of channels is left, and an axis of size 1 has no labels",
    "TwoLayouts": "one channel is left in each row, and an axis of size 1 has no labels",
    "TemporalShift": "one channel is left in each part, and is taken as a single slice",
}
"""Structures whose smaller form, traced by itself, shows less than what is known of it from before the cut."""


def live_units(channel_map):
    """Each unit as the places that it takes on the axes that can shrink, and whether it can go."""
    return {
        (frozenset((axis, tuple(sorted(index[unit].tolist()))) for axis, index in places.items()), group.frozen is None)
        for group in channel_map.groups.values()
        if (places := {axis: index for axis, index in group.index.items() if channel_map.sizes[axis] > 1})
        for unit in range(group.size)
    }


@pytest.mark.parametrize("name", some(ZOO, 8, 1))
def test_what_is_known_after_a_cut_is_what_a_new_trace_tells(name):
    pruner = Pruner(reference.randomise(ZOO[name].build()), ZOO[name].inputs, Options())
    pruner.cut(ZOO[name].ratio)
    known = pruner.channel_map
    traced = ChannelMap(known.network, ZOO[name].inputs)
    assert traced.sizes == {axis: size for axis, size in known.sizes.items() if size > 1}
    assert cost_at(traced.graph, traced.traced) == pruner.cost()
    assert (live_units(traced) == live_units(known)) == (name not in AMBIGUOUS)


def seeing(forward, axis, kept):
    """A function of channels as places that sees those that are ``kept`` alone; the others are zero behind it."""
    index = paddle.to_tensor(kept)

    def only(x):
        out = paddle.moveaxis(forward(paddle.index_select(x, index, axis)), axis, 0)
        return paddle.moveaxis(paddle.scatter(paddle.zeros([8, *out.shape[1:]]), index, out), 0, axis)

    return only


@pytest.mark.parametrize(
    ("name", "layer", "axis"),
    [("ChannelsAsPlaces", "over", 2), ("LocalResponseNorms", "mid", 1)],
)
def test_channels_as_places_see_the_neighbours_that_are_left(name, layer, axis):
    network = reference.randomise(ZOO[name].build())
    masked, given = copy.deepcopy(network), example(network, ZOO[name].inputs)
    pruner = Pruner(network, ZOO[name].inputs, Options())
    groups = pruner.channel_map.groups
    plan = pruner.cut(0.5).plan
    kept = next(plan.kept[key] for key in plan.kept if key.startswith("a."))
    masked = zero(masked, groups, plan)
    over = getattr(masked, layer)
    over.forward = seeing(over.forward, axis, list(kept))
    for training in (False, True):
        ours, theirs = outputs(network, given, training)[1], outputs(masked, given, training)[1]
        assert reference.distance(ours, theirs) < 1e-4


def test_every_activation_of_paddle_is_in_the_zoo():
    known = {*ELEMENTWISE, *OVER_CHANNELS}
    assert known == {name for name, kind in vars(activation).items() if is_layer(kind) and hasattr(nn, name)}
    assert {f"Activation{name}" for name in ELEMENTWISE} | {*OVER_CHANNELS.values()} <= ZOO.keys()


def is_layer(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, nn.Layer) and kind.__module__ == activation.__name__


@pytest.mark.parametrize("name", ["StridesAndPaddings", "AtrousPyramid", "HighResolution", "ComputedShapes"])
def test_sizes_that_the_program_computes_are_those_that_a_run_has(name):
    network = ZOO[name].build()
    channel_map = ChannelMap(network, ZOO[name].inputs)
    seen = []
    for layer in network.sublayers():
        if isinstance(layer, nn.layer.conv._ConvNd):
            layer.register_forward_post_hook(lambda layer, inputs, out: seen.append(tuple(out.shape)))
    network.eval()
    network(paddle.zeros(ZOO[name].inputs))
    passed = channel_map.traced.evaluation.steps()
    assert [outs[0].shape for op, _, outs in passed if "conv" in op.name] == seen


MEASURED = (
    "StridesAndPaddings ComputedShapes Convolution3D Transposed3D ChannelsLast PixelShuffles SpatialPads "
    "Interpolations RepeatedChannels SpatialTransformer FlattenLinear"
)


def test_sizes_are_measured_as_paddle_measures_them_where_paddle_does():
    checked = set()
    for name in MEASURED.split():
        channel_map = ChannelMap(ZOO[name].build(), ZOO[name].inputs)
        for op, args, _ in channel_map.traced.evaluation.steps():
            inferred, shape = TABLE.shapes.get(op.name), op.shapes[0] if op.shapes else None
            if inferred and shape and min(shape) > 0:
                assert tuple(inferred(Call(op, args, channel_map.traced.constraints, args))) == tuple(shape), str(op)
                checked.add(op.name)
    assert len(checked) > 15


class Bessel(Chain):
    """Around an operation that the library has no rule for."""

    def middle(self, x):
        return paddle.i0e(x)


def test_an_operation_without_a_rule_freezes_what_reaches_it_and_is_named():
    line = inspect.getsourcelines(Bessel.middle)[1] + 1
    channel_map = ChannelMap(Bessel(), [2, 3, 8, 8])
    reason = str(channel_map.groups["a.weight"].frozen)
    assert "no rule" in reason
    assert "'i0e'" in reason
    assert f"{os.path.basename(__file__)}:{line}" in reason
    assert any("i0e" in name for name in cost_at(channel_map.graph, channel_map.state.propagation).unknown)


def test_a_rule_of_the_users_own(monkeypatch):
    monkeypatch.setattr(TABLE, "rules", dict(TABLE.rules))
    monkeypatch.setattr(TABLE, "flops", dict(TABLE.flops))
    register_rule("i0e", unary, flops=lambda op, args, outs: (3, 2))
    network = Bessel()
    pruner = Pruner(network, [2, 3, 8, 8], Options())
    assert pruner.cut(0.5).widths["a"] == (8, 4)
    assert not pruner.cost().unknown
    before, _ = pruner.cost(), register_rule("i0e", unary, flops=free)
    assert before.flops - Pruner(network, [2, 3, 8, 8], Options()).cost().flops == 3


def three_stay(call):
    x = call.arg(0)
    call.constraints.freeze([label.along([1])[:3] for label in x.on(1)], "is one of three that stay")
    return [Signal(x.shape, x.labels)]


def test_a_rule_may_freeze_some_channels_and_all_others_shrink(monkeypatch):
    """Although they touch the same axes, they are groups of their own."""
    monkeypatch.setattr(TABLE, "rules", {**TABLE.rules, "i0e": three_stay})
    network = Bessel()
    pruner = Pruner(network, [2, 3, 8, 8], Options())
    sizes = {bool(g.frozen): g.size for g in pruner.channel_map.groups.values() if ("a.weight", 0) in g.index}
    assert sizes == {True: 3, False: 5}
    weight = network.a.weight.numpy()
    assert pruner.cut(0.6).widths["a"] == (8, 5)
    np.testing.assert_array_equal(network.a.weight.numpy()[:3], weight[:3])


@pytest.mark.parametrize(
    ("name", "rule", "flops"),
    [("", unary, None), ("pd_op.relu", unary, None), (3, unary, None), ("mine", None, None), ("mine", unary, 5)],
)
def test_register_rule_says_what_it_cannot_take(name, rule, flops):
    with pytest.raises(PruneError, match="register_rule"):
        register_rule(name, rule, flops)
    assert "mine" not in TABLE.rules


def test_the_worked_example_of_the_rules_readme_works(monkeypatch):
    monkeypatch.setattr(TABLE, "rules", dict(TABLE.rules))
    known = TABLE.rules.pop("maxout")
    text = RULES_README.read_text("utf-8")
    space: dict[str, Any] = {"np": np, **vars(labels), **vars(registry)}
    exec(text.split("```python\n")[1].split("```")[0], space)
    assert TABLE.rules["maxout"] is space["maxout"] is not known
    test_a_structure_is_pruned_and_computes_what_the_masked_network_computes("MaxOut")


def test_sync_batch_norm_has_the_rule_of_batch_norm_and_needs_a_gpu_to_run():
    assert TABLE.rules["sync_batch_norm_"] is TABLE.rules["batch_norm_"]
    if not paddle.is_compiled_with_cuda():
        with pytest.raises(PruneError, match="sync_batch_norm_"):
            ChannelMap(nn.Sequential(nn.Conv2D(3, 8, 3), nn.SyncBatchNorm(8), nn.Conv2D(8, 4, 3)), [2, 3, 8, 8])


def test_a_wrong_rule_is_noticed(monkeypatch):
    """The reference does not believe the library: with a shuffle taken for an identity nothing comes out right."""
    monkeypatch.setitem(TABLE.rules, "channel_shuffle", unary)
    monkeypatch.setattr(verify_outputs, "compare", lambda *args: None)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        test_a_structure_is_pruned_and_computes_what_the_masked_network_computes("ShuffleByOperator")


def test_a_buffer_that_forward_replaces_is_the_users_own_after_a_look_and_a_cut():
    network = reference.randomise(ZOO["ReplacedBuffer"].build())
    network.train()
    held, values = network.mean, network.mean.numpy().copy()
    ChannelMap(network, ZOO["ReplacedBuffer"].inputs)
    assert network.mean is held and np.array_equal(values, network.mean.numpy())
    Pruner(network, ZOO["ReplacedBuffer"].inputs, Options()).cut(0.5)
    assert network.mean is held and network.mean.shape == [4]
    assert np.isin(network.mean.numpy(), values).all()


class Unknown(nn.Layer):
    """Convolutions and the like on images of a height that cannot be followed."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.up = nn.Conv2D(3, 8, 3), nn.Conv2D(8, 4, 3), nn.Conv2DTranspose(8, 8, 3, 2)

    def forward(self, x):
        rows = paddle.shape(x)[2].astype("float32").sqrt().square().round().astype("int32")
        x = nn.functional.max_pool2d(self.up(self.a(x[:, :, :rows])), 3)
        return self.b(nn.functional.interpolate(nn.functional.pad(x, [1, 1, 1, 1]), scale_factor=2))


def test_what_is_computed_from_an_unknown_size_is_unknown():
    evaluation = ChannelMap(Unknown(), [2, 3, 16, 16]).traced.evaluation
    images = [
        result for _, _, results in evaluation.steps() for result in results if len(getattr(result, "shape", ())) == 4
    ]
    heights = [image.shape[2] for image in images if image.shape[0] == 2 and image.shape[3] > 1]
    assert heights[0] == 16
    assert set(heights[1:]) == {-1}
