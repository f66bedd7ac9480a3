"""What removed channels added on average is added by the layers that read them; nothing else is touched."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from callbacks import quiet
from fits import HARMLESS, SHAPE, At, Images, Net, build, fit, generators
from paddle import nn

from hapi_prune import PruneError

pytestmark = HARMLESS

IMAGE = paddle.to_tensor(np.random.RandomState(7).standard_normal([4, *SHAPE]).astype("float32"))


def constant(layer, value=3.0):
    """The first half of a convolution's filters give the same number everywhere."""
    half = layer.weight.shape[0] // 2
    with paddle.no_grad():
        layer.weight[:half] = 0.0
        layer.bias[:half] = value


class Biased(nn.Layer):
    """Convolutions with biases; the second half of it reads what is constant in the first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2D(3, 8, 3), nn.Conv2D(8, 6, 3), nn.Conv2D(6, 4, 1)
        self.fc = nn.Linear(4, 4)
        for conv in (self.conv1, self.conv2, self.conv3):
            constant(conv)

    def forward(self, image):
        x = nn.functional.relu(self.conv2(nn.functional.sigmoid(self.conv1(image))))
        return self.fc(nn.functional.relu(self.conv3(x)).mean([2, 3]))


class Normed(nn.Layer):
    """The same with BatchNorm behind convolutions that have no bias, channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(3, 8, 3, data_format="NHWC")
        self.conv2 = nn.Conv2D(8, 6, 3, bias_attr=False, data_format="NHWC")
        self.bn2, self.fc = nn.BatchNorm2D(6, data_format="NHWC"), nn.Linear(6, 4)
        constant(self.conv1)

    def forward(self, image):
        x = self.bn2(self.conv2(nn.functional.relu(self.conv1(image.transpose([0, 2, 3, 1])))))
        return self.fc(nn.functional.relu(x).mean([1, 2]))


class Twice(Biased):
    """One layer runs twice, and has one bias for both."""

    def __init__(self) -> None:
        super().__init__()
        self.conv3 = nn.Conv2D(6, 6, 1)

    def forward(self, image):
        x = nn.functional.relu(self.conv2(nn.functional.sigmoid(self.conv1(image))))
        return self.fc(self.conv3(self.conv3(x))[:, :4].mean([2, 3]))


def outputs(network):
    network.eval()
    found = network(IMAGE).numpy()
    network.train()
    return found


def around(kind, ratio, **options):
    """What a network returns right before and right after a cut, and what was done."""
    before, after = (At("on_epoch_begin", lambda model, _: outputs(model.network)) for _ in range(2))
    callback = quiet({0: ratio}, **options)
    fit(build(kind), [before, callback, after], epochs=1)
    return before.found[0], after.found[0], callback


@pytest.mark.parametrize(("kind", "ratio"), [(Biased, 0.5), (Normed, {"conv1": 0.5})])
def test_what_is_constant_is_made_up_for(kind, ratio):
    before, after, callback = around(kind, ratio, compensate=True)
    assert callback.history[0].widths["conv1"] == (8, 4)
    assert np.allclose(before, after, atol=1e-5)
    before, after, _ = around(kind, ratio)
    assert np.abs(before - after).max() > 1e-2, "and is not without"


def test_means_are_restored_where_channels_vary():
    before, after, _ = around(Net, 0.5, compensate=True)
    _, plain, _ = around(Net, 0.5)
    assert np.abs(before - after).mean() < np.abs(before - plain).mean()


def test_a_layer_that_runs_twice_stays_as_it_is():
    at = At("on_epoch_begin", lambda model, _: model.network.conv3.bias.numpy())
    model = build(Twice)
    own = model.network.conv3.bias.numpy()
    fit(model, [quiet({0: {"conv1": 0.5}}, compensate=True), at], epochs=1)
    assert np.array_equal(at.found[0], own)


def test_nothing_but_biases_and_running_means_is_touched():
    states, random = [], []
    for option in (False, True):
        at = At("on_epoch_begin", lambda model, _: {k: v.numpy() for k, v in model.network.state_dict().items()})
        after = At("on_epoch_begin", lambda *_: repr(generators()))
        fit(build(), [quiet({0: 0.5}, compensate=option), at, after], epochs=1)
        states.append(at.found[0])
        random.append(after.found[0])
    changed = {name for name in states[0] if not np.array_equal(states[0][name], states[1][name])}
    assert changed == {"conv2.bias", "fc.bias"}
    assert random[0] == random[1]


def test_hooks_and_modes_are_as_they_were():
    def look(model, _):
        layers = model.network.sublayers(include_self=True)
        return [(layer.training, len(layer._forward_pre_hooks), len(layer._forward_post_hooks)) for layer in layers]

    before, after = At("on_epoch_begin", look), At("on_epoch_begin", look)
    fit(build(), [before, quiet({0: 0.5}, compensate=True), after], epochs=1)
    assert before.found == after.found


def test_it_is_shown_beside_the_metrics_without():
    _, _, callback = around(Biased, 0.5, compensate=True, eval_data=Images())
    assert callback.history[0].metrics_healed.keys() == callback.history[0].metrics_after.keys()


def test_what_is_neither_is_refused():
    with pytest.raises(PruneError, match="compensate"):
        quiet({1: 0.5}, compensate=3)
