"""Criteria that see the whole group, and those that hear of the gradients."""

from __future__ import annotations

import copy
import shutil

import numpy as np
import paddle
import pytest
from callbacks import quiet, sgd
from fits import build, fit
from paddle import nn

from hapi_prune import (
    BatchNormScale,
    GroupL2Norm,
    GroupSlices,
    L1Norm,
    PruneError,
    Random,
    Reduced,
    Taylor,
    prune,
    resume,
)
from hapi_prune.cutting.pruning import Pruner
from hapi_prune.selection.options import Options
from hapi_prune.training.gathering import Gathering

IMAGE = [2, 3, 8, 8]

# Paddle's BatchNorm says so at every forward pass in training.
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track global mean:UserWarning")


class Residual(nn.Layer):
    """Two convolutions that are added, so that their filters go together, and one that reads the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2D(3, 6, 1), nn.Conv2D(3, 6, 1), nn.Conv2D(6, 4, 1)
        self.norm, self.out = nn.BatchNorm2D(6), nn.Conv2D(4, 2, 1)

    def forward(self, x):
        return self.out(self.c(self.norm(self.a(x) + self.b(x))))


class Seen:
    """Keeps what it was given."""

    name = "seen"

    def __init__(self) -> None:
        self.groups = {}

    def of_group(self, group: GroupSlices):
        self.groups[group.key] = group
        return np.arange(group.size, dtype=np.float64)


def test_a_group_is_given_with_all_that_goes_with_a_unit():
    network, seen = Residual(), Seen()
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    record = prune(network, IMAGE, 0.5, criterion=seen)
    assert record.widths == {"a": (6, 3), "b": (6, 3), "c": (4, 2), "out": (2, 2)}
    group = seen.groups["a.weight"]
    assert group.filters.keys() == {"a.weight", "b.weight"}
    assert group.consumers.keys() == {"c.weight"}
    assert group.scales.keys() == {"norm.weight"}
    assert group.shifts.keys() == {"a.bias", "b.bias", "norm.bias"}
    assert np.array_equal(group.filters["b.weight"][:, 0], weights["b.weight"])
    assert np.array_equal(group.consumers["c.weight"][:, 0], weights["c.weight"].transpose(1, 0, 2, 3))
    assert np.array_equal(network.a.weight.numpy(), weights["a.weight"][3:]), "the highest scores stay"


def test_group_l2_norm_is_the_length_of_all_that_goes():
    network = Residual()
    network.norm.weight.set_value(np.array([3.0, 0.0, 2.0, 0.1, 0.2, 4.0], "float32"))  # they decide
    w = {name: tensor.numpy().astype(np.float64) for name, tensor in network.state_dict().items()}
    parts = [w["a.weight"].reshape(6, -1), w["b.weight"].reshape(6, -1)]
    parts += [w["c.weight"].transpose(1, 0, 2, 3).reshape(6, -1), w["norm.weight"].reshape(6, 1)]
    lengths = np.linalg.norm(np.concatenate(parts, axis=1), axis=1)
    plan = prune(network, IMAGE, {"a": 0.5, "b": 0.5}, criterion="group_l2_norm").plan
    assert plan.kept["a.weight"] == tuple(sorted(np.argsort(lengths)[3:].tolist()))


def test_scales_of_batch_norm_decide():
    network = Residual()
    network.norm.weight.set_value(np.array([0.1, -5.0, 0.2, 4.0, 0.3, 3.0], "float32"))
    assert prune(network, IMAGE, 0.5, criterion="bn_scale").plan.kept["a.weight"] == (1, 3, 5)


def test_of_several_norms_the_mean_counts():
    scales = {"n": np.array([[-2.0, 4.0], [0.5, 0.5]]), "m": np.array([[6.0], [2.0]])}
    assert BatchNormScale().of_group(GroupSlices("a", 2, {}, scales=scales)).tolist() == [4.0, 1.0]


def test_where_there_is_no_norm_the_filters_themselves_count():
    filters = {"a": np.array([[[1.0, -2.0]], [[0.5, 0.0]]])}
    assert BatchNormScale().of_group(GroupSlices("a", 2, filters)).tolist() == [3.0, 0.5]


def test_random_is_the_same_for_the_same_seed_and_leaves_the_generators():
    before = np.random.get_state()[1].copy(), paddle.get_rng_state()[0].current_seed()
    network = Residual()
    plans = [prune(copy.deepcopy(network), IMAGE, 0.5, criterion=Random(seed)).plan for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert before[1] == paddle.get_rng_state()[0].current_seed()


def test_the_reduction_over_a_group_is_of_ones_own_choice():
    network = Residual()
    network.a.weight.set_value(np.arange(18, dtype="float32").reshape(6, 3, 1, 1) + 1)
    network.b.weight.set_value(100 * np.arange(18, dtype="float32")[::-1].reshape(6, 3, 1, 1) + 1)
    kept = {}
    for reduce in ("first", "max", "sum", "mean"):
        record = prune(copy.deepcopy(network), IMAGE, 0.5, criterion=Reduced(L1Norm(), reduce, normalize=False))
        kept[reduce] = record.plan.kept["a.weight"]
    assert kept["first"] == (3, 4, 5), "those of a"
    assert kept["max"] == kept["sum"] == kept["mean"] == (0, 1, 2), "b is larger"
    with pytest.raises(PruneError, match="'least'"):
        Reduced(L1Norm(), "least")


@pytest.mark.parametrize(
    ("reduce", "normalize", "scores"),
    [
        ("first", False, [1.0, 3.0]),
        ("max", False, [4.0, 3.0]),
        ("sum", False, [5.0, 3.0]),
        ("mean", False, [2.5, 1.5]),
        ("sum", True, [2.5, 1.5]),
        ("max", True, [2.0, 1.5]),
    ],
)
def test_the_reduction_is_what_it_says(reduce, normalize, scores):
    filters = {"a": np.array([[[-1.0]], [[3.0]]]), "b": np.array([[[4.0]], [[0.0]]])}
    criterion = Reduced(L1Norm(), reduce, normalize)
    assert criterion.of_group(GroupSlices("a", 2, filters)).tolist() == scores
    assert criterion.name == f"l1_norm, {reduce}"


def loss_of(network, x):
    return (network(x) ** 2).mean()


def test_taylor_tells_which_filter_the_loss_would_miss_least():
    """By finite differences: the square of what the loss loses to first order without a filter."""
    paddle.seed(5)
    network, x = Residual(), paddle.randn(IMAGE)
    network.eval()
    loss_of(network, x).backward()
    truth = []
    for unit in range(6):
        change = 0.0
        for layer in (network.a, network.b):
            slope, weight = layer.weight.grad.numpy()[unit], layer.weight.numpy()[unit]
            change += float((slope * weight).sum()) ** 2
        truth.append(change)
    plan = prune(network, IMAGE, {"a": 0.5, "b": 0.5}, criterion=Taylor()).plan
    assert plan.kept["a.weight"] == tuple(sorted(np.argsort(truth)[3:].tolist()))


def test_taylor_without_gradients_says_so():
    with pytest.raises(PruneError, match="no gradient for layer"):
        prune(Residual(), IMAGE, 0.5, criterion="taylor")


def test_gathering_is_the_mean_over_the_batches_and_leaves_no_hook():
    paddle.seed(6)
    network = Residual()
    pruner = Pruner(network, IMAGE, Options("taylor"))
    gathering, expected = Gathering(pruner), []
    for _ in range(3):
        loss_of(network, paddle.randn(IMAGE)).backward()
        product = network.c.weight.grad.numpy() * network.c.weight.numpy()
        expected.append(product.reshape(4, -1).sum(axis=1) ** 2)
        network.clear_gradients()
    gathering.close()
    assert np.allclose(pruner.gathered["c.weight", 0], np.mean(expected, axis=0), rtol=1e-4)
    loss_of(network, paddle.randn(IMAGE)).backward()
    assert np.allclose(pruner.gathered["c.weight", 0], np.mean(expected, axis=0), rtol=1e-4), "no hook is left"


def test_a_run_gathers_in_the_epoch_before_each_cut():
    heard = []

    class Listening(Taylor):
        def gather(self, weight, gradient):
            heard.append(epochs[-1])
            return super().gather(weight, gradient)

    epochs = []

    class Count(paddle.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            epochs.append(epoch)

    callback = quiet({2: 0.25, 4: 0.5}, Listening())
    fit(build(), [Count(), callback], epochs=6)
    assert [record.epoch for record in callback.history] == [2, 4]
    assert set(heard) == {1, 3}


def test_a_cut_before_any_training_is_refused_at_once():
    with pytest.raises(PruneError, match="let the first cut be at epoch 1 or later"):
        fit(build(), quiet({0: 0.25}, "taylor"))


def test_a_run_by_gradients_is_resumed_bitwise(tmp_path):
    whole, done = build(optimizer=sgd(0.1)), quiet({2: 0.5}, "taylor")
    fit(whole, done, epochs=4, save_dir=str(tmp_path / "whole"))
    (tmp_path / "broken").mkdir()
    for file in (tmp_path / "whole").glob("1.*"):
        shutil.copy(file, tmp_path / "broken")
    again, callback = build(optimizer=sgd(0.1)), quiet({2: 0.5}, "taylor")
    first = resume(again, callback, tmp_path / "broken")
    assert first == 2
    fit(again, callback, epochs=4 - first)
    assert callback.history[0].plan == done.history[0].plan
    assert all(np.array_equal(one.numpy(), other.numpy()) for one, other in zip(whole.parameters(), again.parameters()))


BAD = {
    "shape": (lambda self, group: np.zeros(1), r"returned float64 of shape \[1\]"),
    "nan": (lambda self, group: np.full(group.size, np.nan), "returned nan"),
    "raises": (lambda self, group: group.nose, "raised AttributeError"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_a_group_criterion_returns_is_checked(case):
    of_group, message = BAD[case]
    criterion = type("Own", (), {"name": "own", "of_group": of_group})()
    with pytest.raises(PruneError, match=message):
        prune(Residual(), IMAGE, 0.5, criterion=criterion)


@pytest.mark.parametrize("criterion", [GroupL2Norm(), BatchNormScale()])
def test_scores_follow_their_units(criterion):
    random = np.random.default_rng(0)
    slices = {"a": random.normal(size=(5, 2, 3)), "b": random.normal(size=(5, 1, 4))}
    scales, order = {"n": random.normal(size=(5, 2))}, random.permutation(5)
    plain = criterion.of_group(GroupSlices("a", 5, slices, slices, scales))
    turned = GroupSlices("a", 5, *({k: v[order] for k, v in part.items()} for part in (slices, slices, scales)))
    assert np.array_equal(criterion.of_group(turned), plain[order])
