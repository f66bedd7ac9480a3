"""The learning rate rises again after a cut; scheduler, optimizer and the user's own rates are left alone."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from callbacks import quiet, sgd
from fits import BATCH, HARMLESS, At, Images, build, fit
from paddle import ParamAttr, nn

from hapi_prune import PruneError
from hapi_prune.training.rewarming import Rewarming

pytestmark = HARMLESS


class Two(nn.Layer):
    """A layer with a rate of its own, and one without."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = nn.Linear(3, 4, weight_attr=ParamAttr(learning_rate=0.5), bias_attr=False)
        self.plain = nn.Linear(4, 2, bias_attr=False)

    def forward(self, x):
        return self.plain(self.slow(x))


OPTIMIZERS = [
    lambda parameters: paddle.optimizer.SGD(0.1, parameters),
    lambda parameters: paddle.optimizer.Momentum(0.1, 0.9, parameters),
    lambda parameters: paddle.optimizer.Momentum(paddle.optimizer.lr.StepDecay(0.1, 3), 0.9, parameters),
]


def moved(network, optimizer):
    """How far each weight moves in one step."""
    before = [parameter.numpy() for parameter in network.parameters()]
    network(paddle.ones([2, 3])).sum().backward()
    optimizer.step()
    optimizer.clear_grad()
    return [parameter.numpy() - was for parameter, was in zip(network.parameters(), before)]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_the_first_step_is_scaled_and_the_own_rates_come_back(make):
    steps = []
    for warm in (False, True):
        paddle.seed(1)
        network = Two()
        optimizer = make(network.parameters())
        rewarming = Rewarming(network, 4)
        if warm:
            rewarming.at(1.0)
        steps.append(moved(network, optimizer))
        rewarming.close()
    assert all(np.allclose(whole / 4, scaled, rtol=1e-4, atol=1e-8) for whole, scaled in zip(*steps))
    assert network.slow.weight.optimize_attr["learning_rate"] == 0.5
    assert network.plain.weight.optimize_attr["learning_rate"] == 1.0


def rates_of(callback, epochs=5, optimizer=None):
    """The factor at the end of each batch of a run."""
    at = At("on_train_batch_end", lambda model, _: model.network.fc.weight.optimize_attr["learning_rate"])
    model = build(optimizer=optimizer or sgd(0.1))
    fit(model, [callback, at], epochs=epochs)
    return at.found, model


def test_a_run_warms_up_after_each_cut():
    batches = len(Images()) // BATCH
    found, model = rates_of(quiet({1: 0.25, 3: 0.5}, rewarm=1))
    rise = [(number + 1) / batches for number in range(batches)]
    plain = [1.0] * batches
    assert found == pytest.approx([*plain, *rise, *plain, *rise, *plain])
    assert model.network.fc.weight.optimize_attr["learning_rate"] == 1.0


def test_it_may_take_several_epochs_and_end_with_the_run():
    batches = len(Images()) // BATCH
    found, model = rates_of(quiet({1: 0.5}, rewarm=3), epochs=3)
    assert found[batches:] == pytest.approx([(number + 1) / (3 * batches) for number in range(2 * batches)])
    assert model.network.fc.weight.optimize_attr["learning_rate"] == 1.0


def test_a_run_that_breaks_off_has_its_own_rates_again():
    class Enough(Exception):
        pass

    def stop(model, step):
        if model.network.conv1.weight.shape[0] < 8:
            raise Enough

    model = build()
    with pytest.raises(Enough):
        fit(model, [quiet({1: 0.5}, rewarm=2), At("on_train_batch_end", stop)])
    fit(model, [quiet({2: 0.25})])
    assert model.network.fc.weight.optimize_attr["learning_rate"] == 1.0


def test_without_it_nothing_changes():
    ends = []
    for options in ({}, {"rewarm": 0}):
        model = build()
        fit(model, quiet({1: 0.5}, **options))
        ends.append([parameter.numpy() for parameter in model.parameters()])
    assert all(np.array_equal(one, other) for one, other in zip(*ends))


def test_a_number_that_is_none_is_refused():
    with pytest.raises(PruneError, match="rewarm"):
        quiet({1: 0.5}, rewarm=-1)
