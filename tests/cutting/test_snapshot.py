"""A snapshot puts network and optimizer back bitwise, whatever training and cuts have done to them since."""

from __future__ import annotations

import copy
import re

import numpy as np
import paddle
import pytest
import reference
from budgets import adam, at_least, built, tries
from callbacks import quiet
from fits import (
    HARMLESS,
    SHAPE,
    Images,
    Net,
    build,
    fit,
    generators,
    momentum,
    same,
    weights,
)

from hapi_prune import resume
from hapi_prune.cutting import array_store
from hapi_prune.cutting.pruning import Pruner
from hapi_prune.cutting.snapshot import Snapshot
from hapi_prune.selection.options import Options
from hapi_prune.training.rollback import RestorePoint

pytestmark = HARMLESS

ONE = [1, *SHAPE]


def warm(parameters):
    rate = paddle.optimizer.lr.LinearWarmup(paddle.optimizer.lr.StepDecay(0.01, 3), 4, 0.0, 0.01)
    return paddle.optimizer.AdamW(rate, parameters=list(parameters))


def lookahead(parameters):
    return paddle.incubate.LookAhead(paddle.optimizer.Momentum(0.1, 0.9, parameters=list(parameters)), 0.5, 3)


def multi(parameters):
    return paddle.optimizer.Momentum(0.1, 0.9, parameters=list(parameters), use_multi_tensor=True)


OPTIMIZERS = {"adam": adam, "warm": warm, "momentum": momentum, "lookahead": lookahead, "multi": multi}


def train(network, optimizer, steps, seed):
    """Some steps; a scheduler of Paddle's steps along."""
    paddle.seed(seed)
    random = np.random.RandomState(seed)
    network.train()
    for _ in range(steps):
        (network(paddle.to_tensor(random.randn(4, *SHAPE).astype("float32"))) ** 2).mean().backward()
        optimizer.step()
        optimizer.clear_grad()
        if isinstance(optimizer._learning_rate, paddle.optimizer.lr.LRScheduler):
            optimizer._learning_rate.step()


def made(optimizer):
    with paddle.utils.unique_name.guard():
        paddle.seed(3)
        network = Net(0.2)
        return network, optimizer(network.parameters())


def numbered_alike(optimizer):
    """The optimizer's state, without the numbers that Paddle gives to equal names."""
    found = reference.state_of(optimizer)
    return {re.sub(r"_\d+$", "", name): value for name, value in found.items()}


def without_draws(network, optimizer):
    """All but what the generators will draw."""
    return {name: part for name, part in reference.everything(network, optimizer).items() if name != "draws"}


@pytest.mark.filterwarnings("ignore:Op `increment` is executed through:DeprecationWarning")  # LookAhead, in step
@pytest.mark.parametrize("steps", [3, 0], ids=["trained", "before any step"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_put_back_is_as_it_was_bitwise_and_trains_on_as_if_nothing_had_been(name, steps):
    network, optimizer = made(OPTIMIZERS[name])
    train(network, optimizer, steps, 1)
    before, rate = without_draws(network, optimizer), optimizer.get_lr()
    snapshot, pruner = Snapshot(network, optimizer), Pruner(network, ONE, Options())
    pruner.cut(0.5, optimizer)
    train(network, optimizer, 4, 2)
    assert network.conv1.weight.shape[0] == 4
    drawn, flags = generators(), [layer.training for layer in network.sublayers()]
    snapshot.put_back()
    assert same(generators(), drawn)
    assert [layer.training for layer in network.sublayers()] == flags
    if steps:
        reference.same(without_draws(network, optimizer), before)
    assert optimizer.get_lr() == rate
    other, theirs = made(OPTIMIZERS[name])
    train(other, theirs, steps, 1)
    for each, its in ((network, optimizer), (other, theirs)):
        train(each, its, 5, 4)
    assert same(reference.arrays(network), reference.arrays(other))
    assert same(numbered_alike(optimizer), numbered_alike(theirs))


class Splits(paddle.nn.Layer):
    """A network whose code holds numbers of channels in an attribute, which follows a cut."""

    def __init__(self):
        super().__init__()
        self.splits = [8, 4]
        self.stem, self.one, self.two = paddle.nn.Conv2D(3, 12, 1), paddle.nn.Conv2D(8, 8, 1), paddle.nn.Conv2D(4, 8, 1)
        self.pool, self.fc = paddle.nn.AdaptiveAvgPool2D(1), paddle.nn.Linear(8, 4)

    @property
    def conv1(self):
        return self.stem

    def forward(self, x):
        left, right = paddle.split(paddle.nn.functional.relu(self.stem(x)), self.splits, axis=1)
        return self.fc(self.pool(paddle.nn.functional.relu(self.one(left) + self.two(right))).flatten(1))


def test_counts_in_attributes_go_back_too_also_in_a_resumed_run(tmp_path):
    ends = []
    for start in (None, tmp_path / "0/1", tmp_path / "0/3"):
        with paddle.utils.unique_name.guard():
            model, callback = built(at_least(9), network=Splits), quiet({1: 0.5, 2: 0.51}, max_drop=0.01)
            done = resume(model, callback, start) if start else 0
            folder = str(tmp_path / str(len(ends)))
            fit(model, callback, eval_data=Images(8, 1), epochs=4 - done, save_dir=folder)
        ends.append([weights(model), model.network.splits, tries(callback.history)])
    assert ends[0][1:] == [[6, 3], [(1, 0.5, False), (2, 0.25, True)]]
    assert same(ends[0], ends[1]) and same(ends[0], ends[2])


def test_a_large_network_is_kept_on_disk_and_the_file_is_gone_with_it(monkeypatch, tmp_path):
    network, optimizer = made(adam)
    train(network, optimizer, 2, 1)
    before = reference.arrays(network)
    monkeypatch.setattr(array_store, "LARGE", 100)
    snapshot = Snapshot(network, optimizer, str(tmp_path))
    assert snapshot.store.on_disk
    train(network, optimizer, 2, 2)
    snapshot.put_back()
    assert same(reference.arrays(network), before)
    assert not list(tmp_path.iterdir()), "the file has no name"


def test_counters_and_gradients_go_back_and_hooks_stay():
    network, _ = made(adam)
    network.seen, heard = 3, []
    network(paddle.randn([2, *SHAPE])).sum().backward()
    gradient = network.conv1.weight.grad.numpy().copy()
    snapshot = Snapshot(network, leave=("kept",))
    network.seen, network.kept = 4, "this"
    hook = network.register_forward_post_hook(lambda *args: heard.append(1))
    Pruner(network, ONE, Options()).cut(0.5)
    network.clear_gradients()
    snapshot.put_back()
    assert (network.seen, network.kept) == (3, "this")
    assert same(network.conv1.weight.grad.numpy(), gradient)
    assert network.conv1._out_channels == 8
    count = len(heard)
    network(paddle.randn([2, *SHAPE]))
    assert len(heard) == count + 1
    hook.remove()


def test_what_fails_half_way_is_not_half_put_back(monkeypatch):
    network, optimizer = made(momentum)
    train(network, optimizer, 2, 1)
    snapshot, pruner = Snapshot(network, optimizer), Pruner(network, ONE, Options())
    pruner.cut(0.5, optimizer)
    train(network, optimizer, 2, 2)
    before = without_draws(network, optimizer)
    number = list(snapshot._optimizers[0]._mirrors.values())[3].number
    get = snapshot.store.get
    monkeypatch.setattr(snapshot.store, "get", lambda wanted: 1 / 0 if wanted == number else get(wanted))
    with pytest.raises(ZeroDivisionError):
        snapshot.put_back()
    reference.same(without_draws(network, optimizer), before)


def test_after_it_a_smaller_cut_computes_what_the_masked_network_computes():
    model = build(lambda: Net(0.0), adam)
    pruner = Pruner(model.network, ONE, Options())
    train(model.network, model._optimizer, 2, 1)
    state_before, gathered = copy.deepcopy(pruner.channel_map.sizes), pruner.gathered
    before = RestorePoint.now(model, pruner, None)
    pruner.cut(0.5, model._optimizer)
    train(model.network, model._optimizer, 2, 2)
    before.put_back(model, pruner)
    assert pruner.channel_map.sizes == state_before and pruner.gathered == gathered
    reference.randomise(model.network)
    model.network.eval()
    twin, groups = reference.copied(model.network), dict(pruner.channel_map.groups)
    record = pruner.cut(0.25, model._optimizer)
    assert record.widths == {"conv1": (8, 6), "conv2": (12, 9)}
    assert record.cost_before == record.cost_original and record.verified == "values"
    masked = reference.masked(twin, reference.gone(groups, record.plan))
    inputs = [paddle.randn([3, *SHAPE])]
    ours, theirs = reference.outputs(model.network, inputs), reference.outputs(masked, inputs)
    assert reference.distance(ours, theirs) < 1e-5
    train(model.network, model._optimizer, 2, 3)
