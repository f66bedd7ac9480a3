"""What the optimizer of a run knows goes along with the filters that stay."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from callbacks import adamw, quiet, sgd
from fits import HARMLESS, At, Net, build, fit, same, state, trainable, weights, widths
from paddle import nn

from hapi_prune.analysis.graph import tensors_of
from hapi_prune.cutting.optimizers import covered, verify

pytestmark = HARMLESS


def kept_rows(dense, cut):
    """For each row of ``cut``, which row of ``dense`` it is."""
    found = [[number for number, row in enumerate(dense) if np.array_equal(row, mine)] for mine in cut]
    assert all(len(numbers) == 1 for numbers in found)
    return [numbers[0] for numbers in found]


@pytest.mark.smoke
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
