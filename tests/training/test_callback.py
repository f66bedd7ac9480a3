"""Runs of ``paddle.Model.fit`` with the callback: what is cut, and that nothing else of the run is touched."""

from __future__ import annotations

import copy
import dataclasses
import glob
import itertools
import os
import random

import numpy as np
import paddle
import pytest
from fits import (
    BATCH,
    CONVS,
    HARMLESS,
    SHAPE,
    At,
    Images,
    Net,
    Noisy,
    Pairs,
    Scaled,
    Stream,
    build,
    end,
    fit,
    generators,
    same,
    state,
    trainable,
    weights,
    widths,
)
from paddle import nn
from paddle.static import InputSpec
from visualdl import LogReader

from hapi_prune import History, Linear, PruneCallback, PruneError, PruneWarning, prune, pruning
from hapi_prune.analysis.graph import tensors_of
from hapi_prune.cutting import optimizers, surgery, verify_outputs
from hapi_prune.cutting.optimizers import covered, verify
from hapi_prune.internals import tensors as storage
from hapi_prune.pruning import Options, Pruner
from hapi_prune.reporting.history import event_table
from hapi_prune.training import paddle_model

pytestmark = HARMLESS

ONE = [1, *SHAPE]


def quiet(schedule, *args, **options):
    return PruneCallback(schedule, *args, verbose=0, **options)


def batches(size=16, seed=0, data=Images):
    """A list of batches, as arrays."""
    loader = paddle.io.DataLoader(data(size, seed), batch_size=BATCH)
    return [[part.numpy() for part in batch] for batch in loader]


def adamw(parameters):
    return paddle.optimizer.AdamW(0.01, parameters=parameters, weight_decay=0.1)


def sgd(rate=1.0, **options):
    return lambda parameters: paddle.optimizer.SGD(rate, parameters=parameters, **options)


# What is cut, and when


def test_cuts_at_the_beginning_of_each_configured_epoch():
    model, seen = build(), lambda model, _: widths(model)
    before, after, last = At("on_epoch_begin", seen), At("on_epoch_begin", seen), At("on_epoch_end", seen)
    callback = quiet({1: 0.25, 3: 0.5})
    fit(model, [before, callback, after, last], epochs=5)
    dense, quarter, half = CONVS, {"conv1": 6, "conv2": 9}, {"conv1": 4, "conv2": 6}  # of the original count
    assert before.found == [dense, dense, quarter, quarter, half]
    assert after.found == last.found == [dense, quarter, quarter, half, half]
    assert [record.epoch for record in callback.history] == [1, 3]
    assert [record.ratio_asked for record in callback.history] == [0.25, 0.5]
    assert [record.ratio for record in callback.history] == [0.25, 0.5]
    assert [record.widths for record in callback.history] == [
        {name: (size, step[name]) for name, size in CONVS.items()} for step in (quarter, half)
    ]
    assert callback.history[1].cost_before == callback.history[0].cost_after
    assert callback.history[1].cost_original == callback.history[0].cost_before


@pytest.mark.parametrize(
    ("schedule", "found"),
    [
        ({0: 0.5}, [(4, 6)] * 3),
        ({1: {"conv1": 0.5}}, [(8, 12), (4, 12), (4, 12)]),
        ({1: {"conv1": 0.5}, 2: {"conv2": 0.25}}, [(8, 12), (4, 12), (4, 9)]),
        ({1: {"conv?": 0.25}, 2: {"conv2": 0.5}}, [(8, 12), (6, 9), (6, 6)]),
        ({1: {"conv2d_0.w_0": 0.25, "conv2d_1.w_0": 0.5}}, [(8, 12), (6, 6), (6, 6)]),
        ({1: 0.25, 2: {"conv1": 0.5}}, [(8, 12), (6, 9), (4, 9)]),
        (Linear(0.5, start=0, end=2), [(8, 12), (6, 9), (4, 6)]),
        (lambda epoch: 0.25 * epoch if epoch else None, [(8, 12), (6, 9), (4, 6)]),
    ],
)
def test_every_kind_of_schedule(schedule, found):
    model = build()
    seen = At("on_epoch_end", lambda model, _: tuple(widths(model).values()))
    fit(model, [quiet(schedule), seen])
    assert seen.found == found


def test_a_run_that_starts_late_catches_up_with_one_cut():
    model, callback = build(), quiet({1: 0.25, 2: {"conv1": 0.5}, 4: 0.75})
    callback.set_model(model)
    callback.set_params({"epochs": 6, "metrics": ["loss", "acc"]})
    callback.on_train_begin()
    callback.on_epoch_begin(3)
    assert widths(model) == {"conv1": 4, "conv2": 9}
    assert [(record.epoch, record.ratio_asked) for record in callback.history] == [(3, {"*": 0.25, "conv1": 0.5})]
    callback.on_epoch_begin(4)
    assert widths(model) == {"conv1": 2, "conv2": 3}
    callback.on_epoch_begin(5)
    assert len(callback.history) == 2


@pytest.mark.parametrize(("data", "begun"), [(Images(), []), (batches(), []), (Stream(), [0])])
def test_the_schedule_is_checked_as_soon_as_the_shape_is_known(data, begun):
    """Not when its cut is due, after hours of training."""
    epochs = At("on_epoch_begin", lambda model, epoch: epoch)
    data = paddle.io.DataLoader(data, batch_size=BATCH) if isinstance(data, Stream) else data
    with pytest.raises(PruneError, match="'conv9'"):
        fit(build(spec=None), [epochs, quiet({2: {"conv9": 0.5}})], data)
    assert epochs.found == begun


def test_options_reach_the_cut():
    model = build()
    fit(model, quiet({1: 0.6}, "fpgm", skip=["conv1"], min_filters=2, round_to=4))
    assert widths(model) == {"conv1": 8, "conv2": 8}
    model = build()
    fit(model, quiet({1: 0.9}, min_filters=5))
    assert widths(model) == {"conv1": 5, "conv2": 5}


def test_the_criterion_sees_the_weights_of_that_moment():
    seen = []

    def criterion(weight):
        seen.append(weight.copy())
        return np.abs(weight).sum((1, 2, 3))

    model = build()
    now = At(
        "on_epoch_begin", lambda model, _: (model.network.conv1.weight.numpy(), model.network.conv2.weight.numpy())
    )
    fit(model, [now, quiet({1: 0.25, 2: 0.5}, criterion)])
    assert same(seen, [*now.found[1], *now.found[2]])


def test_a_cut_that_removes_nothing_is_said():
    callback = quiet({1: 0.01})
    with pytest.warns(PruneWarning, match=r"PruneCallback, epoch 1: nothing was removed at ratio 0.01"):
        fit(build(), callback)
    assert len(callback.history) == 0
    # The reasons are not lost with it.
    with pytest.warns(
        PruneWarning, match=r"'fc' stays: '?fc.*output.*; nothing was removed|stays.*; nothing was removed"
    ):
        fit(build(), quiet({1: {"fc": 0.5, "conv1": 0.01}}))


# Cut in the run == trained, cut by hand, trained on

RUNS = {
    "plain": ({}, {}),
    "adamw": ({"optimizer": adamw}, {}),
    "dropout": ({"network": lambda: Net(0.5)}, {}),
    "no InputSpec": ({"spec": None}, {}),
    "no InputSpec, evaluated": ({"spec": None}, {"eval_data": Images(8, 1)}),
    "open InputSpec": ({"spec": [InputSpec([None, 3, None, None], "float32", "image")]}, {}),
    "no metrics": ({"metrics": None}, {"eval_data": Images(8, 1)}),
    "top 1 and 2": ({"metrics": paddle.metric.Accuracy((1, 2))}, {"eval_data": Images(8, 1)}),
    "several metrics": ({"metrics": [paddle.metric.Accuracy(), paddle.metric.Accuracy((2,), name="two")]}, {}),
    "evaluated": ({}, {"eval_data": Images(8, 1)}),
    "eval_freq": ({}, {"eval_data": Images(8, 1), "eval_freq": 2}),
    "two inputs": ({"network": Scaled, "spec": None}, {"data": Pairs(), "eval_data": Pairs(8, 1)}),
    "two InputSpecs": (
        {
            "network": Scaled,
            "spec": [InputSpec([None, *SHAPE], "float32", "image"), InputSpec([None], "float32", "scale")],
        },
        {"data": Pairs()},
    ),
    "accumulated": ({}, {"accumulate_grad_batches": 2}),
    "accumulated, a rest": ({}, {"accumulate_grad_batches": 3}),
    "drop_last": ({}, {"data": Images(18), "drop_last": True}),
    "a last batch of one": ({}, {"data": Images(17)}),
    "DataLoader": ({}, {"data": paddle.io.DataLoader(Images(), batch_size=8), "eval_data": Images(8, 1)}),
    "list of batches": ({"spec": None}, {"data": batches(), "eval_data": batches(8, 1)}),
    "mixed precision": ({"amp_configs": "O1"}, {"eval_data": Images(8, 1)}),
    "to_static": ({"network": lambda: paddle.jit.to_static(Net())}, {"eval_data": Images(8, 1)}),
}


@pytest.mark.filterwarnings("ignore:.*(AMP|amp|auto_cast|float16).*:UserWarning")  # on a CPU, float32 is what is left
@pytest.mark.parametrize("case", RUNS)
def test_a_cut_in_the_run_is_a_cut_by_hand_between_two_runs(case):
    prepare, options = RUNS[case]
    cut, twin = (build(**copy.deepcopy(prepare)) for _ in range(2))
    paddle.seed(5)
    fit(cut, quiet({2: 0.5}), epochs=4, shuffle=False, **options)
    paddle.seed(5)
    fit(twin, epochs=2, shuffle=False, **options)
    dense = end(twin)
    shapes = [ONE, [1]] if prepare.get("network") is Scaled else ONE
    prune(twin.network, shapes, 0.5, optimizer=twin._optimizer)
    fit(twin, epochs=2, shuffle=False, **options)
    assert widths(cut) == {"conv1": 4, "conv2": 6}
    assert same(end(cut), end(twin))
    assert not same(end(cut)["weights"]["conv1.bias"], dense["weights"]["conv1.bias"])


def test_num_iters():
    cut, twin = build(), build()
    fit(cut, quiet({1: 0.5}), num_iters=10, shuffle=False)  # 4 batches an epoch
    fit(twin, epochs=1, shuffle=False)
    prune(twin.network, ONE, 0.5, optimizer=twin._optimizer)
    fit(twin, num_iters=6, shuffle=False)
    assert cut.stop_training
    assert not hasattr(cut, "num_iters")
    assert same(end(cut), end(twin))


@pytest.mark.parametrize("spec", ["images", None])
def test_data_without_a_length(spec):
    cut, twin = build(spec=spec), build(spec=spec)
    data = paddle.io.DataLoader(Stream(), batch_size=BATCH)
    fit(cut, quiet({2: 0.5}), data, data)
    fit(twin, (), data, data, epochs=2)
    prune(twin.network, ONE, 0.5, optimizer=twin._optimizer)
    fit(twin, (), data, data, epochs=1)
    assert same(end(cut), end(twin))


def test_eval_data_that_can_be_read_once_is_left_to_the_run():
    data, callback = (batch for batch in batches(8, 1)), quiet({1: 0.5})
    with pytest.warns(PruneWarning, match=r"eval_data of fit can be read once only.*Give a list of batches"):
        fit(build(), callback, eval_data=data)
    # hapi's logs say at later epochs what training said: that is no evaluation.
    assert [epoch for epoch, _ in callback.history.evaluations] == [0]
    assert callback.history[0].metrics_before == callback.history.evaluations[0][1]
    assert callback.history[0].metrics_after == {}
    assert callback.history[0].recovered == ()
    # At the first epoch there is still something to use up.
    data, callback = (batch for batch in batches(8, 1)), quiet({0: 0.5})
    with pytest.warns(PruneWarning, match=r"eval_data of fit can be read once only"):
        fit(build(), callback, eval_data=data)
    assert callback.history[0].metrics_before == {}
    assert [epoch for epoch, _ in callback.history[0].recovered] == [0]


def test_what_the_data_of_the_run_raises_is_the_users_own():
    with pytest.raises(ValueError, match="channels"):
        fit(build(), quiet({0: 0.5}), eval_data=[[np.zeros([2, 5, 8, 8], "float32"), np.zeros([2, 1], "int64")]])


def test_eval_data_without_a_batch_is_no_evaluation():
    callback = quiet({1: 0.5})
    fit(build(), callback, eval_data=[])
    assert callback.history.evaluations == []
    assert callback.history[0].metrics_before == callback.history[0].metrics_after == {}


# A cut at the first epoch


STREAM = paddle.io.DataLoader(Stream(), batch_size=BATCH)


@pytest.mark.parametrize(
    ("spec", "inputs", "data", "eval_data"),
    [
        ("images", None, STREAM, None),
        (None, ONE, STREAM, None),
        (None, [2, *SHAPE], STREAM, None),
        (None, InputSpec([None, *SHAPE], "float32"), STREAM, None),
        (None, None, Images(), None),
        (None, None, paddle.io.DataLoader(Images(), batch_size=2), None),
        (None, None, batches(), None),
        (None, None, STREAM, Images(8, 1)),
        ([InputSpec([None, 3, None, None], "float32", "image")], None, Images(), None),
    ],
)
def test_at_epoch_0(spec, inputs, data, eval_data):
    cut, twin = build(spec=spec), build(spec=spec)
    fit(cut, quiet({0: 0.5}, inputs=inputs), data, eval_data)
    prune(twin.network, ONE, 0.5)
    fit(twin, (), data, eval_data)
    assert same(end(cut), end(twin))


def test_nothing_due_at_epoch_0_needs_no_shape():
    model = build(spec=None)
    fit(model, quiet(Linear(0.5, start=0, end=1)), STREAM)  # 0.0 at its start
    assert widths(model) == {"conv1": 4, "conv2": 6}


# Nothing else is touched

NOTHING = {
    "none due": lambda: quiet(lambda epoch: None),
    "ratio 0": lambda: quiet({0: 0.0, 1: 0.0}),
    "zero by layer": lambda: quiet({1: {"conv1": 0.0}}),
    "beyond the end": lambda: quiet({7: 0.5}),
    "with a report": lambda: quiet({0: 0.0}, log_dir="log"),
    "own data": lambda: quiet({0: 0.0}, eval_data=Images(8, 2)),
}


@pytest.mark.filterwarnings("ignore:PruneCallback. the schedule goes on to epoch 7:hapi_prune.PruneWarning")
@pytest.mark.parametrize("case", NOTHING)
@pytest.mark.parametrize("spec", ["images", None])
@pytest.mark.parametrize(("drop", "data"), [(0.5, Images()), (0.0, Noisy())])
def test_without_a_cut_the_run_is_the_same(case, spec, drop, data):
    ends = []
    for callbacks in ((), NOTHING[case]()):
        random.seed(0)
        model = build(lambda: Net(drop), spec=spec)
        fit(model, callbacks, data, Images(8, 1))
        ends.append([end(model), generators()])
    assert same(*ends)


def shuffled(seed):
    """Evaluation data that draws from NumPy's generator."""
    return paddle.io.DataLoader(Images(8, seed), batch_size=2, shuffle=True)


@pytest.mark.parametrize("spec", ["images", None])
@pytest.mark.parametrize("of_fit", [None, Noisy(8, 1), shuffled(1)])
def test_evaluations_around_the_cut_disturb_nothing(spec, of_fit):
    """Where training draws from every generator, too, and whatever it is that we evaluate on.

    Without dropout: Paddle reads data in a thread, whose draws and those of dropout come in any order.
    """
    ends = []
    for own in (False, None, Noisy(8, 2), shuffled(2), batches(8, 2)):
        model = build(spec=spec)
        random.seed(0)
        callback = quiet({1: 0.25, 2: 0.5}, eval_data=own)
        fit(model, callback, Noisy(), of_fit)
        ends.append([end(model), generators()])
        evaluated = own is not False and not (own is None and of_fit is None)
        assert all(bool(record.metrics_before and record.metrics_after) == evaluated for record in callback.history)
    assert all(same(ends[0], other) for other in ends[1:])


def test_evaluation_data_changes_nothing_but_what_is_known():
    ends = []
    for of_fit in (None, Images(8, 1)):
        model = build(lambda: Net(0.5))
        fit(model, quiet({1: 0.25, 2: 0.5}), eval_data=of_fit)
        ends.append(end(model))
    assert same(*ends)


class Remembering(paddle.metric.Accuracy):
    """Knows more than ``reset`` clears."""

    def __init__(self):
        super().__init__()
        self.updates = self.resets = 0

    def update(self, correct):
        self.updates += 1
        return super().update(correct)

    def reset(self):
        self.resets = getattr(self, "resets", 0) + 1
        super().reset()


class Held(Remembering):
    """Cannot be copied."""

    def __deepcopy__(self, memo):
        raise TypeError("cannot pickle '_thread.lock' object")


def as_found(model, _=None):
    """All that hapi and the random generators know, apart from the network's weights and the optimizer's state."""

    def plain(owner):
        return {
            name: repr(value) if isinstance(value, (int, str, dict, list, tuple, type(None))) else id(value)
            for name, value in vars(owner).items()
            if not (owner is model and name == "save")  # looked after while the run lasts
        }

    layers = [model.network, *model.network.sublayers()]
    return {
        "model": plain(model),
        "adapter": plain(model._adapter),
        "metrics": [(id(metric), plain(metric)) for metric in model._metrics],
        "logs": dict(paddle.Model._run_one_epoch.__defaults__[-1]),
        "modes": [layer.training for layer in layers],
        "hooks": [len(hooks) for layer in layers for hooks in (layer._forward_pre_hooks, layer._forward_post_hooks)],
        "keys": list(model.network.state_dict()),
        "parameters": [(id(p), p.name, p.stop_gradient, p.trainable) for p in model.network.parameters()],
        "attributes": [sorted(vars(layer)) for layer in layers],
        "optimizer": [id(model._optimizer), [id(p) for p in model._optimizer._param_groups], sorted(state(model))],
        "generators": generators(),
        "static": paddle.in_dynamic_mode(),
        "grad": paddle.is_grad_enabled(),
    }


@pytest.mark.parametrize("spec", ["images", None])
@pytest.mark.parametrize("epoch", [0, 1, 2])
@pytest.mark.parametrize("metric", [Remembering, None])
def test_all_is_as_found_around_the_cut(spec, epoch, metric):
    """The very objects of hapi, its shared logs, metrics, modes and generators, hooks, names and parameters."""

    def mixed(model, number):  # modes that hapi would not leave by itself
        model.network.bn1.training, model.network.drop.training = number % 2 == 0, number % 2 == 1
        return as_found(model)

    sampler = paddle.io.DistributedBatchSampler(Images(8, 1), 2, num_replicas=1, rank=0, shuffle=True)
    loader = paddle.io.DataLoader(Images(8, 1), batch_sampler=sampler)
    for own, of_fit in ((None, loader), (loader, None), (Images(8, 2), Images(8, 1)), (None, None)):
        model = build(lambda: Net(0.5), spec=spec, metrics=metric and metric())
        before, after = At("on_epoch_begin", mixed), At("on_epoch_begin", as_found)
        began, begun = At("on_train_begin", as_found), At("on_train_begin", as_found)
        callback = quiet({epoch: 0.5}, eval_data=own, inputs=ONE)
        fit(model, [began, before, callback, begun, after], eval_data=of_fit)
        assert same(begun.found, began.found)
        assert len(before.found) == 3
        assert same(after.found, before.found)
        assert widths(model) == {"conv1": 4, "conv2": 6}
        assert sampler.epoch == (3 if of_fit is loader else 0)
        sampler.set_epoch(0)


def test_a_metric_that_cannot_be_copied_is_used_as_hapi_uses_it():
    ends = []
    for metric in (Held, paddle.metric.Accuracy):
        model, callback = build(metrics=metric()), quiet({1: 0.5})
        fit(model, callback, eval_data=Images(8, 1))
        ends.append([end(model), callback.history[0].metrics_before, callback.history[0].metrics_after])
    assert same(*ends)


def test_num_iters_is_not_counted_by_our_evaluations():
    model = build()
    left = At("on_train_batch_begin", lambda model, _: model.num_iters)
    fit(model, [quiet({0: 0.25, 1: 0.5}, eval_data=Images(8, 1)), left], num_iters=10)
    assert left.found == list(range(10, 0, -1))


def test_a_cut_leaves_no_gradients():
    def left(model, _):  # hapi leaves zeros
        gradients = [(p.grad, p) for p in model.network.parameters()]
        return [grad is None or (grad.shape == p.shape and float(grad.abs().max()) == 0) for grad, p in gradients]

    clean = At("on_epoch_begin", left)
    fit(build(), [quiet({1: 0.25, 2: 0.5}, eval_data=Images(8, 1)), clean])
    assert all(map(all, clean.found))


# The optimizer


def kept_rows(dense, cut):
    """For each row of ``cut``, which row of ``dense`` it is."""
    found = [[number for number, row in enumerate(dense) if np.array_equal(row, mine)] for mine in cut]
    assert all(len(numbers) == 1 for numbers in found)
    return [numbers[0] for numbers in found]


def test_kept_filters_keep_their_own_velocity():
    def both(model, _):
        return weights(model), {p.name: state(model).get(f"{p.name}_velocity") for p in model.network.parameters()}

    model, before, after = build(), At("on_epoch_begin", both), At("on_epoch_begin", both)
    fit(model, [before, quiet({1: 0.25, 2: 0.5}), after])
    names = {name: p.name for name, p in model.network.named_parameters()}
    for epoch in (1, 2):
        (dense, velocity), (cut, velocity_now) = before.found[epoch], after.found[epoch]
        first = kept_rows(dense["conv1.weight"], cut["conv1.weight"])
        second = kept_rows(dense["conv2.weight"][:, first], cut["conv2.weight"])
        flat = [4 * filter_ + place for filter_ in second for place in range(4)]
        expected = {
            "conv1.weight": lambda a, i=first: a[i],
            "conv1.bias": lambda a, i=first: a[i],
            "bn1.weight": lambda a, i=first: a[i],
            "bn1.bias": lambda a, i=first: a[i],
            "conv2.weight": lambda a, i=first, j=second: a[j][:, i],
            "conv2.bias": lambda a, j=second: a[j],
            "fc.weight": lambda a, k=flat: a[k],
            "fc.bias": lambda a: a,
        }
        for name, part in expected.items():
            assert np.abs(velocity[names[name]]).min() > 0 or name == "conv1.bias"  # BatchNorm takes conv1.bias away
            assert same(part(velocity[names[name]]).copy(), velocity_now[names[name]])
            assert same(part(dense[name]).copy(), cut[name])
        for name in ("bn1._mean", "bn1._variance"):
            assert same(dense[name][first], cut[name])


def test_optimizer_state_reset():
    model = build()
    after = At("on_epoch_begin", lambda model, _: state(model))
    fit(model, [quiet({1: 0.5}, optimizer_state="reset"), after])
    assert after.found[1]
    assert not any(np.abs(value).max() for key, value in after.found[1].items() if "velocity" in key)


def test_the_optimizer_holds_each_parameter_once_and_fits():
    for optimizer in (adamw, sgd(0.1), lambda p: paddle.optimizer.Lamb(0.01, parameters=p)):
        model = build(optimizer=optimizer)

        def proof(model, _):
            tensors = tensors_of(model.network)
            verify(model._optimizer, tensors)  # every trainable parameter, exactly once, its state of its shape
            return covered(model._optimizer, tensors)

        checked = At("on_epoch_begin", proof)
        fit(model, [quiet({1: 0.25, 2: 0.5}), checked])
        assert set(checked.found) == {frozenset(name for name, _ in model.network.named_parameters())}


def test_an_optimizer_over_a_part_of_the_network():
    """Legitimate: the rest is not trained, and cut all the same."""
    model = build(optimizer=lambda parameters: paddle.optimizer.Adam(0.01, parameters=parameters[-4:]))
    first = model.network.conv1.weight.numpy()
    fit(model, quiet({1: 0.5}))
    assert widths(model) == {"conv1": 4, "conv2": 6}
    assert set(kept_rows(first, model.network.conv1.weight.numpy())) < set(range(8))


@pytest.mark.parametrize("by_step", [True, False])
def test_the_learning_rate_scheduler_goes_on(by_step):
    found = []
    for pruned in (False, True):
        rate = paddle.optimizer.lr.StepDecay(0.1, step_size=2, gamma=0.5)
        model = build(optimizer=lambda parameters, rate=rate: paddle.optimizer.Momentum(rate, parameters=parameters))
        rates = At("on_train_batch_begin", lambda model, _: model._optimizer.get_lr())
        callbacks = [rates, *[quiet({1: 0.25, 2: 0.5})] * pruned]
        if not by_step:
            callbacks.append(paddle.callbacks.LRScheduler(by_step=False, by_epoch=True))
        fit(model, callbacks, epochs=4)
        assert model._optimizer._learning_rate is rate
        found.append(rates.found)
    assert found[0] == found[1]
    assert len(set(found[0])) == (8 if by_step else 2)


CLIPS = {
    "global norm": (paddle.nn.ClipGradByGlobalNorm, lambda steps: sum((step**2).sum() for step in steps) ** 0.5),
    "norm": (paddle.nn.ClipGradByNorm, lambda steps: max((step**2).sum() ** 0.5 for step in steps)),
    "value": (paddle.nn.ClipGradByValue, lambda steps: max(abs(step).max() for step in steps)),
}


@pytest.mark.parametrize("clip", CLIPS)
def test_gradients_stay_clipped(clip):
    kind, size = CLIPS[clip]
    model = build(optimizer=sgd(1.0, grad_clip=kind(0.01)))
    begin, done = (At(f"on_train_batch_{when}", lambda model, _: trainable(model)) for when in ("begin", "end"))
    fit(model, [quiet({1: 0.25, 2: 0.5}), begin, done])
    steps = [[after[name] - before[name] for name in before] for before, after in zip(begin.found, done.found)]
    assert [size(step) for step in steps] == pytest.approx([0.01] * 12, rel=1e-3)


class Regularized(Net):
    def __init__(self):
        super().__init__()
        weight = paddle.ParamAttr(regularizer=paddle.regularizer.L2Decay(0.6))
        bias = paddle.ParamAttr(learning_rate=0.5)
        self.conv2 = nn.Conv2D(8, 12, 3, padding=1, weight_attr=weight, bias_attr=bias)


def only_conv2(parameters):
    names = {p.name for p in parameters if p.name.startswith("conv2d_1.")}
    return paddle.optimizer.AdamW(
        0.5, parameters=parameters, weight_decay=0.2, apply_decay_param_fun=names.__contains__
    )


class Grouped(paddle.optimizer.Momentum):
    """Groups of parameters: hapi 3.3.1 calls ``minimize``, which cannot take them."""

    def minimize(self, loss):
        self.step()


def grouped(parameters):
    groups = [
        {"params": parameters[:2], "learning_rate": 0.5, "weight_decay": paddle.regularizer.L2Decay(0.4)},
        {"params": parameters[2:4], "weight_decay": 0.3},
        {"params": parameters[4:]},
    ]
    return Grouped(0.5, 0.0, parameters=groups, weight_decay=0.1)


ALL = ["conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias", "conv2.weight", "conv2.bias", "fc.weight", "fc.bias"]
DECAYS = {
    "float": (Net, sgd(0.5, weight_decay=0.2), [0.9] * 8),
    "L2Decay": (Net, sgd(0.5, weight_decay=paddle.regularizer.L2Decay(0.2)), [0.9] * 8),
    "of a parameter": (Regularized, sgd(0.5, weight_decay=0.2), [0.9] * 4 + [0.7, 0.95] + [0.9] * 2),
    "AdamW": (Net, lambda p: paddle.optimizer.AdamW(0.5, parameters=p, weight_decay=0.2), [0.9] * 8),
    "AdamW, by name": (Net, only_conv2, [1.0] * 4 + [0.9] * 2 + [1.0] * 2),
    "groups": (Net, grouped, [0.9] * 2 + [0.85] * 2 + [0.95] * 4),
}


@pytest.mark.parametrize("decay", DECAYS)
def test_weights_go_on_decaying(decay):
    """Without gradients decay is all that changes a weight: by a factor for each parameter, before and after a cut."""
    network, optimizer, factors = DECAYS[decay]
    model = build(network, optimizer, loss=lambda output, label: (output * 0.0).mean(), metrics=None)
    model.network.bn1.bias.set_value(paddle.ones([8]))  # a zero shows nothing
    model.network.conv1.bias.set_value(paddle.ones([8]))
    model.network.conv2.bias.set_value(paddle.ones([12]))
    model.network.fc.bias.set_value(paddle.ones([4]))
    begin, done = (At(f"on_train_batch_{when}", lambda model, _: weights(model)) for when in ("begin", "end"))
    fit(model, [quiet({1: 0.25, 2: 0.5}), begin, done])
    for before, after in zip(begin.found, done.found):
        for name, factor in zip(ALL, factors):
            np.testing.assert_allclose(after[name], before[name] * np.float32(factor), rtol=1e-5)
    assert done.found[-1]["conv1.weight"].shape == (4, 3, 3, 3)


# Other callbacks


def test_checkpoints_shrink_and_load_into_an_equally_pruned_network():
    model = build(optimizer=adamw)
    fit(model, quiet({1: 0.5}), save_dir="save", shuffle=False)
    names = ["0.pdopt", "0.pdparams", "1.pdopt", "1.pdparams", "2.pdopt", "2.pdparams", "final.pdopt", "final.pdparams"]
    assert sorted(set(os.listdir("save")) - {f"{epoch}.prune.json" for epoch in range(3)}) == names
    assert "save" not in vars(model)  # the model has its own again
    sizes = {name: os.path.getsize(f"save/{name}") for name in names}
    shapes = {name: tensor.shape for name, tensor in paddle.load("save/1.pdparams").items()}
    assert {name: list(array.shape) for name, array in weights(model).items()} == shapes
    elements = [
        sum(array.size for array in paddle.load(f"save/{epoch}.pdparams", return_numpy=True).values())
        for epoch in (0, 1)
    ]
    assert elements == [1328, 450]
    for part in ("pdparams", "pdopt"):
        assert sizes[f"1.{part}"] < sizes[f"0.{part}"]
        assert sizes[f"1.{part}"] == sizes[f"2.{part}"] == sizes[f"final.{part}"]
    with paddle.utils.unique_name.guard():  # as a new process would
        again = build(optimizer=adamw)
        prune(again.network, ONE, 0.5)
        again.load("save/final")
        assert same(weights(again), weights(model))
        fit(again, shuffle=False)
    fit(model, shuffle=False)
    assert same(end(again), end(model))


def reader(log_dir):
    """The file that VisualDL's page shows."""
    return LogReader(file_path=sorted(glob.glob(os.path.join(log_dir, "*vdlrecords*")))[-1])


def curves(log_dir):
    """Scalars by tag, ``[(step, value)]``."""
    read = reader(log_dir)
    return {tag: [(p.id, p.value) for p in read.get_data("scalar", tag)] for tag in read.get_tags().get("scalar", [])}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_visualdl_beside_it(shared, first):
    callback, theirs = quiet({1: 0.5}, log_dir="log"), paddle.callbacks.VisualDL("log" if shared else "other")
    fit(build(), [callback, theirs] if first else [theirs, callback], eval_data=Images(8, 1))
    ours, other = curves("log"), curves("log" if shared else "other")
    assert [step for step, _ in other["train/loss"]] == list(range(1, 13))
    assert [step for step, _ in other["eval/acc"]] == [0, 1, 2]
    record = callback.history[0]
    flops = [record.cost_original.flops, record.cost_after.flops]
    assert ours["prune/flops"] == [(0, flops[0]), (1, flops[1]), (2, flops[1])]
    assert ours["prune/ratio"] == [(0, 0.0), (1, 0.5), (2, 0.5)]
    assert ours["prune/acc"] == [(epoch, np.float32(log["acc"])) for epoch, log in callback.history.evaluations]
    assert ours["prune/acc_before"] == [(1, np.float32(record.metrics_before["acc"]))]
    assert ours["prune/acc_after"] == [(1, np.float32(record.metrics_after["acc"]))]
    assert other["eval/acc"] == ours["prune/acc"]
    assert ("train/loss" in ours) == shared
    assert set(reader("log").get_tags()["image"]) == {"prune/widths", "prune/run"}  # the last when the report is closed
    assert reader("log").get_tags()["text"] == ["prune/event"]


def test_curves_without_evaluations():
    callback = quiet({1: 0.5}, log_dir="log", eval_data=False)
    fit(build(), callback)
    found = curves("log")
    assert [step for step, _ in found["prune/flops"]] == [0, 1, 2]
    assert not any("acc" in tag or "loss" in tag for tag in found)


def test_a_network_that_is_pruned_by_other_hands_between_two_cuts():
    """The ratio counts from the start of the run, whoever removed the filters."""

    def by_hand(model, epoch):
        return epoch == 2 and prune(model.network, [1, *SHAPE], 0.25, optimizer=model._optimizer)

    model, callback = build(), quiet({1: 0.25, 3: 0.5})
    fit(model, [callback, At("on_epoch_begin", by_hand)], epochs=4)
    assert widths(model) == {"conv1": 4, "conv2": 6}
    assert callback.history[1].widths == {"conv1": (8, 4), "conv2": (12, 6)}


@pytest.mark.parametrize("change", ["gone", "wider", "out of step"])
def test_a_network_that_was_changed_and_no_longer_fits(change):
    network = build().network
    pruner = Pruner(network, [1, *SHAPE], Options())
    pruner.cut(0.25)
    if change == "gone":
        network.conv2.weight = None
    else:  # as many filters as there were, or fewer than the layer behind it reads
        filters = 8 if change == "wider" else 5
        storage.resize(network.conv1.weight, np.zeros((filters, 3, 3, 3), "float32"))
    before = {name: tensor.numpy() for name, tensor in network.named_parameters()}
    with pytest.raises(PruneError, match=r"network: it was changed since it was last looked at, and no longer fits"):
        pruner.cut(0.5)
    assert same(before, {name: tensor.numpy() for name, tensor in network.named_parameters()})


def test_the_order_of_callbacks_does_not_matter():
    ends = []
    for order in itertools.permutations(range(4)):
        if order.index(1) > order.index(2):  # 24 are more than are needed
            continue
        model, save = build(optimizer=adamw), f"save{len(ends)}"
        callbacks = [
            quiet({1: 0.25, 2: 0.5}, log_dir=f"log{len(ends)}"),
            paddle.callbacks.ModelCheckpoint(1, save),
            paddle.callbacks.VisualDL(f"log{len(ends)}"),
            paddle.callbacks.EarlyStopping("acc", patience=5, verbose=0),
        ]
        fit(model, [callbacks[number] for number in order], eval_data=Images(8, 1))
        found = curves(f"log{len(ends)}")
        assert {"train/loss", "eval/acc", "prune/acc", "prune/flops"} <= found.keys()
        files = [paddle.load(f"{save}/{name}.pdparams", return_numpy=True) for name in (0, 1, 2, "final")]
        ends.append([end(model), found["eval/acc"], found["prune/acc"], files])
    assert len(ends) == 12
    assert all(same(ends[0], other) for other in ends[1:])


# What is said


def test_silent(capfd):
    fit(build(), quiet({1: 0.25, 2: 0.5}, log_dir="log"), eval_data=Images(8, 1))
    assert capfd.readouterr() == ("", "")


def test_a_table_for_each_event_and_one_at_the_end(capsys):
    callback = PruneCallback({1: 0.25, 2: 0.5})
    fit(build(), callback, eval_data=Images(8, 1))
    plan = "Filters removed by the beginning of epoch 2: 25.0%, 3: 50.0%\n"
    tables = [*map(event_table, callback.history), callback.history.table()]
    assert capsys.readouterr().out == plan + "".join(f"{table}\n" for table in tables)


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        ({1: {"conv1": 0.5}}, "Filters removed by the beginning of epoch 2: by layer\n"),
        ({1: 0.0}, "No cut is due.\nNothing was pruned.\n"),
    ],
)
def test_other_words(schedule, text, capsys):
    fit(build(), PruneCallback(schedule))
    assert capsys.readouterr().out.startswith(text)


# The history


@pytest.mark.parametrize("own", [None, Images(12, 3), batches(12, 3)])
@pytest.mark.parametrize("eval_freq", [1, 3])
def test_accuracies_belong_to_their_event(own, eval_freq):
    """Before, after and recovered are what the twin that is pruned by hand shows at these moments."""
    model, twin = (build(metrics=paddle.metric.Accuracy((1, 2))) for _ in range(2))
    val, callback = Images(12, 2), quiet({1: 0.25, 3: 0.5}, eval_data=own)
    fit(model, callback, eval_data=val, epochs=5, eval_freq=eval_freq, shuffle=False)

    def shown(data):
        found = twin.evaluate(data, batch_size=BATCH if data is val else 64, verbose=0)
        return {name: float(np.ravel(value)[0]) for name, value in found.items()}

    pruner, around, evaluations, events = Pruner(twin.network, ONE, Options()), own or val, [], []
    for epoch in range(5):
        if epoch in (1, 3):
            before = shown(around)
            pruner.cut({1: 0.25, 3: 0.5}[epoch], twin._optimizer)
            events.append([epoch, before, shown(around)])
        fit(twin, epochs=1, shuffle=False)
        if epoch % eval_freq == 0:
            evaluations.append((epoch, shown(val)))
    assert [[r.epoch, r.metrics_before, r.metrics_after] for r in callback.history] == events
    assert callback.history.evaluations == evaluations
    assert callback.history[0].recovered == tuple((epoch, log) for epoch, log in evaluations if 1 <= epoch < 3)
    assert callback.history[1].recovered == tuple((epoch, log) for epoch, log in evaluations if epoch >= 3)
    assert set(callback.history[0].metrics_before) == {"loss", "acc_top1", "acc_top2"}
    assert len({str(log) for _, *logs in events for log in logs}) == 4


def test_the_history_outlives_the_run():
    callback = quiet({1: {"conv1": 0.25}, 2: 0.5}, eval_data=Images(8, 2))
    fit(build(metrics=[paddle.metric.Accuracy(), paddle.metric.Accuracy((2,), name="two")], loss=margin), callback)
    history = callback.history
    assert History.from_json(history.to_json()) == history
    assert len(history.table().splitlines()) == 8
    assert [record.ratio_asked for record in history] == [{"conv1": 0.25}, 0.5]
    assert all(record.seconds > 0 for record in history)


def margin(output, label):
    """A loss of the user's own."""
    return (output.sum(1) - label.astype("float32").squeeze(1)).abs().mean()


class Parts(paddle.metric.Metric):
    """Several numbers, and something that is none."""

    def __init__(self):
        super().__init__()
        self.reset()

    def reset(self):
        self.seen = []

    def update(self, output, label):
        self.seen.append(float(output.max()))

    def accumulate(self):
        return [len(self.seen), np.float32(max(self.seen)), np.array([1.0, 2.0]), "text"]

    def name(self):
        return ["count", "largest", "vector", "text"]


def test_a_user_metric_of_several_parts():
    model, callback = build(metrics=Parts()), quiet({1: 0.5}, log_dir="log")
    fit(model, callback, eval_data=Images(8, 1))
    record = callback.history[0]
    for metrics in (record.metrics_before, record.metrics_after, record.metrics_recovered):
        assert set(metrics) == {"loss", "count", "largest"}
        assert metrics["count"] == 2
    assert {"prune/count", "prune/largest_after"} <= curves("log").keys()
    assert History.from_json(callback.history.to_json()) == callback.history


def test_metrics_of_an_earlier_model_are_not_taken_for_ours():
    fit(build(), eval_data=Images(8, 1))
    callback = quiet({1: 0.5})
    fit(build(metrics=paddle.metric.Accuracy((1, 2))), callback, eval_data=Images(8, 1))
    assert all(set(log) == {"loss", "acc_top1", "acc_top2"} for _, log in callback.history.evaluations)


# One run after another


def test_a_callback_starts_clean_in_a_second_fit():
    model, twin = build(), build()
    callback = quiet({1: 0.5}, log_dir="log")
    fit(model, callback, eval_data=Images(8, 1))
    first = callback.history
    fit(model, callback, eval_data=Images(8, 1))
    fresh = [quiet({1: 0.5}), quiet({1: 0.5})]
    for each in fresh:
        fit(twin, each, eval_data=Images(8, 1))
    assert same(end(model), end(twin))
    assert widths(model) == {"conv1": 2, "conv2": 3}  # a ratio counts from the network that the run began with
    assert callback.history is not first
    for mine, theirs in zip((first, callback.history), fresh):
        assert len(mine) == 1
        assert timeless(mine) == timeless(theirs.history)
    assert [step for step, _ in curves("log")["prune/flops"]] == list(range(6))  # the second run to the right of it


def timeless(history):
    """A history without what the clock says."""
    return [dataclasses.replace(record, seconds=0.0) for record in history], history.evaluations


def test_on_another_network():
    callback = quiet({1: 0.5})
    for network in (Net, lambda: nn.Sequential(nn.Conv2D(3, 6, 3), nn.Conv2D(6, 4, 3), nn.Flatten(), nn.Linear(64, 4))):
        model = build(network)
        fit(model, callback)
    assert callback.history[0].widths == {"0": (6, 3), "1": (4, 2)}


class Failing(paddle.callbacks.Callback):
    def __init__(self, hook, error=KeyboardInterrupt):
        super().__init__()
        setattr(self, hook, self.fail)
        self.error, self.calls = error, 0

    def fail(self, *args):
        self.calls += 1
        if self.calls == 2:
            raise self.error("stop")


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_epoch_end", "on_eval_begin", "on_eval_end"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_after_a_run_that_another_callback_ended(hook, error):
    model = build()
    callback = quiet({1: 0.5}, log_dir="log")
    with pytest.raises(error, match="stop"):
        fit(model, [callback, Failing(hook, error)], eval_data=Images(8, 1))
    # The evaluation is not that of a run, though the callback never heard of its end.
    told = (len(callback.history), list(callback.history.evaluations))
    model.evaluate(Images(8, 1), batch_size=BATCH, verbose=0, callbacks=[callback])
    assert (len(callback.history), callback.history.evaluations) == told
    model.stop_training = False
    fit(model, callback, eval_data=Images(8, 1))
    assert [record.epoch for record in callback.history] == [1]
    assert [epoch for epoch, _ in callback.history.evaluations] == [0, 1, 2]
    assert len(glob.glob("log/*vdlrecords*")) == 1
    assert [step for step, _ in curves("log")["prune/flops"]][-3:] in ([1, 2, 3], [2, 3, 4], [3, 4, 5])


@pytest.mark.parametrize("before", [True, False])
def test_outside_of_a_run_the_callback_does_nothing(before):
    model, callback = build(), quiet({1: 0.5}, log_dir="log")
    if not before:
        fit(model, callback, eval_data=Images(8, 1))
    left, told = end(model), callback.history.to_json()
    files = {name: os.path.getsize(name) for name in glob.glob("log/*")}
    images = [image for image, _ in (Images(8, 1)[number] for number in range(8))]
    with_it = model.evaluate(Images(8, 1), batch_size=BATCH, verbose=0, callbacks=[callback])
    model.predict([[np.stack(images)]], batch_size=BATCH, verbose=0, callbacks=[callback])
    assert with_it == model.evaluate(Images(8, 1), batch_size=BATCH, verbose=0)
    assert same(end(model), left)
    assert callback.history.to_json() == told
    assert {name: os.path.getsize(name) for name in glob.glob("log/*")} == files


# A cut that fails


def breaking(monkeypatch, place):
    """Make the second cut fail at one of its steps, as ctrl-C would."""
    calls = itertools.count()

    def stop(*args, **options):
        raise KeyboardInterrupt("at the second cut")

    owner, name = {
        "choosing": (pruning, "select"),
        "masking": (surgery, "mask"),
        "shrinking": (surgery, "shrink"),
        "trying": (verify_outputs, "attempt"),
        "carrying": (optimizers, "carry"),
        "proving": (optimizers, "verify"),
        "evaluating": (paddle_model, "evaluate"),
    }[place]
    real = getattr(owner, name)

    def sometimes(*args, **options):
        result = real(*args, **options)  # the work is done, and then it fails
        return stop() if next(calls) >= allowed[place] else result

    allowed = {"choosing": 1, "masking": 1, "shrinking": 1, "trying": 2, "carrying": 1, "proving": 2, "evaluating": 2}
    monkeypatch.setattr(owner, name, sometimes)


@pytest.mark.parametrize("place", ["choosing", "masking", "shrinking", "trying", "carrying", "proving", "evaluating"])
def test_a_cut_that_is_stopped_leaves_all_as_it_was(place, monkeypatch):
    model, callback = build(optimizer=adamw), quiet({1: 0.25, 2: 0.5}, log_dir="log", eval_data=Images(8, 1))
    before = At("on_epoch_begin", lambda model, _: [end(model), as_found(model)])
    with monkeypatch.context() as patch:
        breaking(patch, place)
        with pytest.raises(KeyboardInterrupt, match="at the second cut"):
            fit(model, [before, callback])
    assert same([end(model), as_found(model)], before.found[2])
    assert widths(model) == {"conv1": 6, "conv2": 9}
    assert [record.epoch for record in callback.history] == [1]
    assert [step for step, _ in curves("log")["prune/flops"]] == [0, 1]
    assert "prune/run" in reader("log").get_tags()["image"]  # written when the report is closed
    fit(model, callback)  # and the next run goes through
    assert [record.epoch for record in callback.history] == [1, 2]
    assert widths(model) == {"conv1": 3, "conv2": 5}


# What the run leaves behind


def test_the_network_is_the_same_but_smaller():
    model = build()
    before = as_found(model)
    fit(model, quiet({1: 0.25, 2: 0.5}), eval_data=Images(8, 1))
    after = as_found(model)
    for what in ("keys", "parameters", "hooks", "attributes"):
        assert after[what] == before[what]
    assert paddle.summary(model.network, (1, *SHAPE))["total_params"] == 450
    assert model.summary((1, *SHAPE))["total_params"] == 450
    conv = model.network.conv2
    assert (conv._in_channels, conv._out_channels, model.network.fc.weight.shape) == (4, 6, [24, 4])


@pytest.mark.filterwarnings("ignore:'inputs' was not specified when Model initialization:UserWarning")
@pytest.mark.filterwarnings("ignore:The tensor `image` does not exists:UserWarning")  # of a converted network
@pytest.mark.parametrize(
    ("network", "spec"),
    [(Net, "images"), (Net, None), (lambda: paddle.jit.to_static(Net()), "images")],  # hapi itself needs the last spec
)
def test_the_exported_program_computes_the_same(network, spec):
    model = build(network, spec=spec)
    fit(model, quiet({1: 0.5}))
    model.save("export/model", training=False)
    images = np.stack([Images(BATCH, 7)[number][0] for number in range(BATCH)])
    expected = model.predict_batch([images])[0]
    exported = paddle.jit.load("export/model")
    exported.eval()
    np.testing.assert_allclose(exported(paddle.to_tensor(images)).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert sum(p.size for p in exported.parameters()) in (442, 450)  # with or without BatchNorm's statistics
    fit(model, quiet({1: 0.5}))  # exporting does not end it
    assert widths(model) == {"conv1": 2, "conv2": 3}
