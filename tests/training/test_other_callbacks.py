"""What else goes by the parameters: hapi's callbacks that wait for a best value, and averages of the weights."""

from __future__ import annotations

import glob
import os
from unittest.mock import ANY

import numpy as np
import paddle
import pytest
from fits import HARMLESS, At, Images, Net, build, end, fit, same, weights, widths

from hapi_prune import PruneCallback, PruneError, PruneWarning, load

pytestmark = HARMLESS


def quiet(schedule, *args, **options):
    return PruneCallback(schedule, *args, verbose=0, **options)


class Scores(paddle.metric.Metric):
    """The accuracy, as if it had been what a list says, evaluation by evaluation; training sees nothing of it."""

    def __init__(self, values):
        super().__init__()
        self.values, self.asked = values, 0

    def update(self, *args):
        return self.accumulate()

    def reset(self):
        pass

    def accumulate(self):
        return self.values[min(self.asked, len(self.values) - 1)]

    def name(self):
        return "acc"


def scored(values, callbacks, **options):
    """A run whose evaluation after epoch i gives ``values[i]``."""
    score = Scores(values)
    count = At("on_epoch_begin", lambda model, epoch: setattr(model._metrics[0], "asked", epoch))
    epochs = At("on_epoch_begin", lambda model, epoch: epoch)
    model = build(metrics=score)
    fit(model, [count, epochs, *callbacks], eval_data=Images(8, 1), epochs=len(values), **options)
    return model, epochs.found


def test_early_stopping_waits_anew_after_a_cut():
    # The dense network's 0.9 would be the best for ever, and the run would end while the smaller one heals.
    values, patience = [0.8, 0.9, 0.5, 0.6, 0.55, 0.5, 0.7, 0.7], 2

    def stop():
        return paddle.callbacks.EarlyStopping("acc", "max", patience=patience, verbose=0)

    assert scored(values, [stop()])[1] == [0, 1, 2, 3]
    for order in (1, -1):  # hapi calls them in the order that they are given in
        callback, watch = quiet({2: 0.5}), stop()
        model, epochs = scored(values, [callback, watch][::order])
        assert model.stop_training and epochs == [0, 1, 2, 3, 4, 5]
        assert watch.best_value == callback.history.best_at_this_size["acc"] == 0.6
        assert callback.history[0].recovered[0][0] == 2


def test_a_baseline_of_early_stopping_holds_again_after_a_cut():
    callback = quiet({1: 0.5})
    stop = paddle.callbacks.EarlyStopping("acc", "max", patience=3, baseline=2.0, verbose=0)
    assert scored([0.5] * 9, [stop, callback])[1] == [0, 1, 2, 3]
    assert stop.best_value == 2.0


def test_a_cut_that_removes_nothing_leaves_early_stopping_as_it_is():
    stop = paddle.callbacks.EarlyStopping("acc", "max", patience=2, verbose=0)
    with pytest.warns(PruneWarning, match="nothing was removed"):
        _, epochs = scored([0.9, 0.5, 0.5, 0.5, 0.5], [stop, quiet({2: 0.001})])
    assert epochs == [0, 1, 2]


def test_the_best_network_of_each_size_is_kept():
    stop = paddle.callbacks.EarlyStopping("acc", "max", patience=9, verbose=0)
    callback = quiet({2: 0.25, 4: 0.5})
    model, _ = scored([0.8, 0.9, 0.5, 0.6, 0.3, 0.4], [stop, callback], save_dir="save")
    sizes = [callback.history[0].cost_before.params, *(record.cost_after.params for record in callback.history)]
    for name, size in zip((f"best_model_{sizes[0]}_params", f"best_model_{sizes[1]}_params", "best_model"), sizes):
        again = build()
        load(again, f"save/{name}")
        assert sum(p.size for p in again.network.parameters()) == size
        assert os.path.exists(f"save/{name}.pdopt") and os.path.exists(f"save/{name}.prune.json")
    best = [record.best_at_this_size for record in callback.history]
    assert best == [{"acc": 0.6, "loss": ANY}, {"acc": 0.4, "loss": ANY}]
    assert callback.history.best_at_this_size == best[-1]
    assert len(glob.glob("save/best_model*.pdparams")) == 3 and sizes == sorted(set(sizes), reverse=True)
    assert same(weights(model), weights(again)), "the last epoch was the best of its size"


def test_reduce_lr_on_plateau_waits_anew_after_a_cut():
    found = []
    for pruned in (False, True):
        reduce = paddle.callbacks.ReduceLROnPlateau("loss", 0.5, patience=2, min_delta=100.0, verbose=0)
        rates = At("on_epoch_begin", lambda model, _: model._optimizer.get_lr())
        fit(build(), [reduce, rates, *[quiet({2: 0.25})] * pruned], eval_data=Images(8, 1), epochs=6)
        found.append(rates.found)
    assert found[0] == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.025])
    assert found[1] == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.1, 0.05])


class Averaged(paddle.callbacks.Callback):
    """An exponential moving average of the weights, as users keep one."""

    def __init__(self):
        super().__init__()
        self.weights, self.cuts = None, []

    def on_train_begin(self, logs=None):
        self.weights = {name: tensor.clone() for name, tensor in self.model.network.named_parameters()}

    def on_train_batch_end(self, step, logs=None):
        for name, tensor in self.model.network.named_parameters():
            self.weights[name] = 0.9 * self.weights[name] + 0.1 * tensor.detach()

    def on_cut(self, cut):
        self.cuts.append(cut)
        self.weights = cut.apply_to(self.weights)


def still(parameters):
    """Leaves the weights as they are, so that their average is what they are themselves."""
    return paddle.optimizer.Momentum(0.0, 0.9, parameters=list(parameters))


def test_a_moving_average_of_the_weights_goes_along():
    average = Averaged()
    callback = quiet({1: 0.25, 2: 0.5}, on_cut=average.on_cut)
    model = build(optimizer=still)
    fit(model, [average, callback], epochs=4)
    assert len(average.cuts) == len(callback.history) == 2
    for name, tensor in model.network.named_parameters():
        moves = "bn1._" in name  # statistics do whatever the optimizer does
        assert moves or np.allclose(average.weights[name].numpy(), tensor.numpy(), atol=1e-5), name
        assert average.weights[name].shape == tensor.shape
    kept = average.cuts[0].kept["conv2.weight"]
    assert {axis: len(positions) for axis, positions in kept.items()} == {0: 9, 1: 6}


def test_a_hook_that_raises_undoes_the_cut():
    def hook(cut):
        raise ZeroDivisionError("in the user's hook")

    model, found = build(), []
    before = At("on_epoch_begin", lambda model, epoch: found.append(end(model)))
    with pytest.raises(ZeroDivisionError, match="user's hook"):
        fit(model, [before, quiet({1: 0.5}, on_cut=hook)])
    assert same(found[-1], end(model)) and len(found) == 2
    assert "save" not in vars(model)


class Written(Net):
    """The channels of the second convolution are written into the code, so that a first cut is undone."""

    def forward(self, image):
        features = self.relu(self.conv2(self.relu(self.bn1(self.conv1(image)))))
        return self.fc(self.pool(features).reshape([-1, 48]))


def test_a_hook_is_told_of_cuts_that_are_kept_only():
    told = []
    callback = quiet({1: 0.5}, on_cut=told.append)
    model = build(Written)
    fit(model, [callback])
    assert widths(model) == {"conv1": 4, "conv2": 12} and len(told) == len(callback.history) == 1
    assert told[0].kept.keys() == {name for name in weights(model) if name.startswith(("conv1", "bn1"))} | {
        "conv2.weight"
    }


@pytest.mark.parametrize("hook", ["average", 3, [print]])
def test_a_hook_that_is_none(hook):
    with pytest.raises(PruneError, match=r"on_cut.*a function of the Cut"):
        quiet({1: 0.5}, on_cut=hook)
