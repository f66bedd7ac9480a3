"""All networks of paddle.vision.models: their cost to the last digit, and cut networks that compute what they should.

The reference does not use the library: see reference.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
import reference
from counting import counted
from daily import only

from hapi_prune import PruneCallback, cost, prune
from hapi_prune.cutting.pruning import Options, Pruner

# Paddle's BatchNorm says so at every forward pass in training.
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track global mean:UserWarning")

DATA = Path(__file__).parent.parent / "data"
GOLDEN = json.loads((DATA / "paddle_flops.json").read_text("utf-8"))["networks"]
KEPT_BY_PADDLESLIM = json.loads((DATA / "paddleslim_kept_filters.json").read_text("utf-8"))["cases"]

SIDES = {"LeNet": 28, "alexnet": 224, "googlenet": 224, "inception_v3": 139, "squeezenet1_0": 64, "squeezenet1_1": 64}
"""The side of the images, where a network does not take 32: most of these have flattened sizes written into them."""

STAYS = {"squeezenet1_0": {"_conv9"}, "squeezenet1_1": {"_conv9"}}
"""Convolutions whose filters are the classes that the network tells apart."""

INCEPTION_END = {
    f"inception_block_list.10.{branch}.0"
    for branch in (
        "branch1x1", "branch3x3_2a", "branch3x3_2b", "branch3x3dbl_3a", "branch3x3dbl_3b", "branch_pool_conv"
    )
}  # fmt: skip
"""The last block of InceptionV3, whose concat meets ``reshape([-1, 2048])``."""

CONVOLUTIONS = {
    "densenet121": 120, "googlenet": 59, "squeezenet1_0": 26, "resnext50_32x4d": 53, "resnext50_64x4d": 53,
    "resnet50": 53, "shufflenet_v2_x1_0": 56, "inception_v3": 94, "mobilenet_v1": 27, "mobilenet_v2": 52,
    "mobilenet_v3_small": 52, "mobilenet_v3_large": 62,
}  # fmt: skip
"""How many convolutions there are, counted by hand, so that "all of them" is not all of too few."""


def image(name, batch):
    side = SIDES.get(name, 32)
    return [batch, 1 if name == "LeNet" else 3, side, side]


QUICK = {
    "LeNet", "googlenet", "mobilenet_v1", "mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_25", "squeezenet1_0",
    "squeezenet1_1",
}  # fmt: skip
"""Of each family a small one, for old versions; vgg and densenet have none."""
DAILY = {"LeNet", "squeezenet1_1"}


def test_the_quick_ones_are_among_them():
    assert QUICK.issubset(GOLDEN)


@pytest.mark.parametrize("name", only(GOLDEN, DAILY, QUICK))
def test_a_vision_model_is_counted_cut_and_trained(name, monkeypatch):
    shape, flops, params = GOLDEN[name]
    search = counted(monkeypatch)
    network = getattr(paddle.vision.models, name)()
    reference.randomise(network)

    costs = cost(network, shape)
    assert (costs.flops, costs.params, costs.unknown) == (flops, params, ())
    assert params == sum(parameter.size for parameter in network.parameters())
    reference.narrow_classifier(network)
    params = sum(parameter.size for parameter in network.parameters())

    parameters = {n: (id(p), p.name) for n, p in network.named_parameters()}
    keys = list(network.state_dict())
    widths = {n: list(weight.shape) for n, weight in reference.convolutions(network).items()}
    images = [paddle.randn(image(name, 2))]
    dense = reference.outputs(network, images)
    expected = reference.copied(network)
    with reference.as_found(network):  # it is traced and its cost counted
        pruner = Pruner(network, image(name, 1), Options())
    groups = pruner.channel_map.groups
    record = pruner.cut(0.3)
    assert search.times_plain <= 5, search

    reference.zero(expected, reference.gone(groups, record.plan))
    expected.to(dtype="float64")
    masked = reference.outputs(expected, images)
    del expected  # before there is another copy
    check_values(network, masked, images, dense)
    assert not [key for key, group in groups.items() if group.approximate], "no channel group of these is approximate"
    assert record.cost_before == record.cost_original
    assert record.cost_original.params == params
    assert record.cost_after == cost(network, image(name, 1))
    assert record.cost_after.params == sum(parameter.size for parameter in network.parameters())
    check_reach(name, network, widths, record)
    check_training(network, images)
    assert {n: (id(p), p.name) for n, p in network.named_parameters()} == parameters
    assert list(network.state_dict()) == keys


def check_values(network, masked, images, dense):
    """The cut network computes what the masked one does, in float64."""
    ours = reference.outputs(reference.copied(network, "float64"), images)
    assert reference.distance(ours, masked) < 1e-9
    assert reference.distance(reference.outputs(network, images), masked) < 1e-3
    assert reference.distance(ours, dense) > 1e-2, "the zeros changed nothing: this test could not fail"


def check_reach(name, network, before, record):
    """All convolutions were cut, but those that cannot be; these are named in the notes."""
    after = {n: list(weight.shape) for n, weight in reference.convolutions(network).items()}
    assert len(after) == CONVOLUTIONS.get(name, len(after))
    assert record.widths.keys() >= after.keys()
    for n, (was, now) in record.widths.items():
        assert n not in after or (was, now) == (before[n][0], after[n][0])
    stay = {n for n in after if after[n][0] == before[n][0]}
    said = {n for n in after if any(repr(n) in note.partition(" stay")[0] for note in record.notes)}
    if name == "inception_v3":
        assert stay == INCEPTION_END == said
        assert all(after[n] != before[n] for n in after), "their inputs are cut all the same"
        assert all("inceptionv3.py" in note and "reshape" in note.lower() for note in record.notes)
    else:
        assert stay == said == STAYS.get(name, set())
        assert all("is an output of the network" in note for note in record.notes)
    free = [n for n in before if n not in stay]
    removed = sum(before[n][0] - after[n][0] for n in free)
    # Eight channel shuffles in a row leave few widths at which a ShuffleNet is wired as before.
    off = 0.08 if name.startswith("shufflenet") else 0.03
    assert removed == pytest.approx(0.3 * sum(before[n][0] for n in free), rel=off, abs=2)


def check_training(network, images):
    """One step of training."""
    network.train()
    optimizer = paddle.optimizer.Momentum(1e-3, parameters=network.parameters())
    results = [leaf for leaf in paddle.utils.flatten(network(*images)) if isinstance(leaf, paddle.Tensor)]
    labels = paddle.zeros([len(images[0])], dtype="int64")
    loss = sum(paddle.nn.functional.cross_entropy(result, labels) for result in results)
    loss.backward()
    assert all(p.grad.shape == p.shape for p in network.parameters() if p.grad is not None)
    assert sum(p.grad is not None for p in network.parameters()) > 0
    optimizer.step()
    assert np.isfinite(float(loss))


# --- the tutorial of PaddleSlim -------------------------------------------------------------------------------

TUTORIAL = {"conv2d_22.w_0": 0.5, "conv2d_20.w_0": 0.6}
DENSE, CUT = (12_817_920, 4_253_864), (11_067_556, 3_615_301)


def tutorial_network():
    with paddle.utils.unique_name.guard():
        return paddle.vision.models.mobilenet_v1()


def check_tutorial(network, record):
    assert (record.cost_before.flops, record.cost_before.params) == DENSE
    assert (record.cost_after.flops, record.cost_after.params) == CUT
    counted = cost(network, [1, 3, 32, 32])
    assert (counted.flops, counted.params) == CUT
    filters = {p.name: p.shape[0] for p in network.parameters() if p.name in TUTORIAL}
    assert filters == {"conv2d_22.w_0": 256, "conv2d_20.w_0": 205}


def test_the_tutorial_by_function():
    network = tutorial_network()
    check_tutorial(network, prune(network, [1, 3, 32, 32], TUTORIAL))


class Images(paddle.io.Dataset):
    """A few random ones."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rng = np.random.RandomState(index)
        return rng.standard_normal((3, 32, 32)).astype("float32"), np.array([index], "int64")


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_tutorial_in_a_run(epoch):
    network = tutorial_network()
    model = paddle.Model(network, paddle.static.InputSpec([None, 3, 32, 32], "float32", "image"))
    model.prepare(paddle.optimizer.Adam(1e-3, parameters=model.parameters()), paddle.nn.CrossEntropyLoss())
    callback = PruneCallback({epoch: TUTORIAL}, verbose=0)
    model.fit(Images(), epochs=2, batch_size=2, verbose=0, callbacks=[callback])
    check_tutorial(network, callback.history[0])
    assert len(callback.history) == 1
    assert callback.history[0].epoch == epoch


# --- the filters that PaddleSlim keeps ------------------------------------------------------------------------


@pytest.mark.parametrize("name", only(dict.fromkeys(case[0] for case in KEPT_BY_PADDLESLIM), {"LeNet", "resnet18"}, ()))
def test_the_filters_kept_are_those_of_paddleslim(name):
    network = reference.narrow_classifier(getattr(paddle.vision.models, name)())  # drawn after the convolutions
    rng = np.random.RandomState(0)
    weights = {key: rng.standard_normal(tensor.shape).astype("float32") for key, tensor in network.state_dict().items()}
    network.set_state_dict(weights)
    shape = [1, 1, 28, 28] if name == "LeNet" else [1, 3, 32, 32]
    cases = [case[1:] for case in KEPT_BY_PADDLESLIM if case[0] == name]
    pruners = {
        criterion: Pruner(network, shape, Options(criterion)) for criterion in sorted({case[1] for case in cases})
    }
    for layer, criterion, ratio, filters, kept in cases:
        pruner = pruners[criterion]
        plan = pruner.plan(pruner.goal({layer: ratio}))
        [positions] = pruner.channel_map.plan_cut(plan).cut.kept[f"{layer}.weight"].values()
        assert len(weights[f"{layer}.weight"]) == filters
        assert positions.tolist() == kept, f"{layer}, {criterion}, {ratio}"
