"""What is asked wrongly: each with an error that helps, and nothing touched."""

from __future__ import annotations

import os
import re

import numpy as np
import paddle
import pytest
from fits import HARMLESS, SHAPE, At, Images, Net, Scaled, Stream, build, end, fit, same, state, weights, widths
from paddle import nn

from hapi_prune import L1Norm, Linear, OneShot, PruneCallback, PruneError, PruneWarning, cost, explain, prune

pytestmark = HARMLESS

ONE = [1, *SHAPE]
SHARE = "a number in [0, 1), the share of the original filters removed"


# What PruneCallback(...) itself refuses: keyword or schedule, and pieces of the text.
ARGUMENTS = {
    "all of it": ({4: 1.0}, ["schedule, epoch 4: 1.0.", SHARE, "use less than 1"]),
    "more than all": ({4: 1.5}, ["schedule, epoch 4: 1.5.", SHARE]),
    "percent": ({4: 30}, ["schedule, epoch 4: 30.", SHARE, "did you mean 0.3"]),
    "percent of a layer": ({4: {"conv1": 30}}, ["schedule, epoch 4, layer 'conv1': 30.", "did you mean 0.3"]),
    "below nothing": ({4: -0.1}, ["schedule, epoch 4: -0.1.", SHARE]),
    "nan": ({4: float("nan")}, ["schedule, epoch 4: nan.", SHARE]),
    "infinite": ({4: float("inf")}, ["schedule, epoch 4: inf.", SHARE]),
    "True": ({4: True}, ["schedule, epoch 4: True.", SHARE]),
    "text": ({4: "0.5"}, ["schedule, epoch 4: '0.5'.", SHARE]),
    "no ratio": ({4: None}, ["schedule, epoch 4: None.", SHARE]),
    "a list": ({4: [0.5]}, ["schedule, epoch 4: [0.5].", SHARE]),
    "no layers": ({4: {}}, ["schedule, epoch 4: {}.", "{layer name, glob or parameter name: ratio}, not empty"]),
    "a number as a layer": ({4: {1: 0.5}}, ["schedule, epoch 4: {1: 0.5}.", "{layer name"]),
    "falling": ({4: 0.5, 8: 0.3}, ["schedule, epoch 8: the ratio of '*' falls from 0.5 to 0.3", "stay or rise"]),
    "falling for a layer": ({4: {"a": 0.5}, 8: {"a": 0.4}}, ["epoch 8: the ratio of 'a' falls from 0.5 to 0.4"]),
    "an epoch below 0": ({-1: 0.5}, ["schedule, its epoch: -1.", "a whole number, at least 0"]),
    "half an epoch": ({1.5: 0.5}, ["schedule, its epoch: 1.5.", "whole number", "{4: 0.2}"]),
    "an epoch as text": ({"4": 0.5}, ["schedule, its epoch: '4'.", "whole number", "put the epoch first"]),
    "the wrong way round": ({0.2: 4}, ["schedule, its epoch: 0.2.", "put the epoch first, as in {4: 0.2}"]),
    "a layer first": ({"conv1": {4: 0.5}}, ["schedule, its epoch: 'conv1'.", "put the epoch first"]),
    "empty": ({}, ["schedule: {}.", "{epoch: ratio}", "not empty"]),
    "a ratio only": (0.5, ["schedule: 0.5.", "{epoch: ratio}", "say when and how much, as in {4: 0.2, 8: 0.4}"]),
    "no schedule": (None, ["schedule: None.", "{epoch: ratio}"]),
    "pairs": ([(4, 0.5)], ["schedule: [(4, 0.5)].", "{epoch: ratio}"]),
    "a class": (Linear, ["schedule: <class", "a Schedule"]),
    "criterion": ({"criterion": "l1"}, ["criterion: 'l1'.", "'l1_norm', 'l2_norm', 'fpgm'", "did you mean 'l1_norm'"]),
    "criterion class": ({"criterion": L1Norm}, ["criterion: <class", "a function", "write L1Norm()"]),
    "criterion number": ({"criterion": 5}, ["criterion: 5.", "one of 'l1_norm'"]),
    "skip text": ({"skip": "conv1"}, ["skip: 'conv1'.", "a list of layer names", "write skip=['conv1']"]),
    "skip number": ({"skip": 5}, ["skip: 5.", "a list of layer names"]),
    "skip nothing": ({"skip": None}, ["skip: None.", "a list of layer names"]),
    "skip numbers": ({"skip": [3]}, ["skip: [3].", "a list of layer names"]),
    "min_filters 0": ({"min_filters": 0}, ["min_filters: 0.", "a whole number of at least 1"]),
    "min_filters share": ({"min_filters": 0.5}, ["min_filters: 0.5.", "a whole number of at least 1"]),
    "round_to 0": ({"round_to": 0}, ["round_to: 0.", "a whole number of at least 1"]),
    "round_to True": ({"round_to": True}, ["round_to: True.", "a whole number of at least 1"]),
    "optimizer_state": ({"optimizer_state": "keep"}, ["optimizer_state: 'keep'.", "'carry' or 'reset'"]),
    "verbose 3": ({"verbose": 3}, ["PruneCallback(verbose=...): 3.", "0 (silent)"]),
    "verbose text": ({"verbose": "yes"}, ["PruneCallback(verbose=...): 'yes'.", "0 (silent)"]),
    "log_dir number": ({"log_dir": 5}, ["PruneCallback(log_dir=...): 5.", "the path of a directory"]),
    "log_dir empty": ({"log_dir": ""}, ["PruneCallback(log_dir=...): ''.", "the path of a directory"]),
    "eval_data number": ({"eval_data": 5}, ["PruneCallback(eval_data=...): 5.", "a Dataset, a DataLoader, a list"]),
    "eval_data True": ({"eval_data": True}, ["PruneCallback(eval_data=...): True.", "False or None"]),
    "eval_data text": ({"eval_data": "val"}, ["PruneCallback(eval_data=...): 'val'.", "a Dataset"]),
    "eval_data empty": ({"eval_data": []}, ["PruneCallback(eval_data=...): nothing in it", "at least one batch"]),
    "eval_data once": ({"eval_data": iter([1])}, ["a list_iterator, which can be read once only", "write list(...)"]),
    "eval_data stream": ({"eval_data": Stream()}, ["the IterableDataset Stream", "put it into a DataLoader"]),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments(case):
    given, texts = ARGUMENTS[case]
    options = given if isinstance(given, dict) and given and all(str(key).isidentifier() for key in given) else None
    if options is None or case == "a layer first":
        options = {"schedule": given}
    with pytest.raises(PruneError) as caught:
        PruneCallback(**{"schedule": {1: 0.5}, **options})
    said(caught, texts)


def said(caught, texts):
    for text in texts:
        assert text in str(caught.value), str(caught.value)


# What shows when training begins, or when a cut is due: how it is run, and pieces of the text.


class Single(nn.Layer):
    """One convolution, which is the output."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 8)

    def forward(self, image):
        return self.conv(image).flatten(1)


class Residual(Net):
    """Two convolutions that can only shrink together."""

    def __init__(self):
        super().__init__()
        self.conv2, self.fc = nn.Conv2D(8, 8, 3, padding=1), nn.Linear(32, 4)

    def forward(self, image):
        first = self.relu(self.bn1(self.conv1(image)))
        return self.fc(self.pool(first + self.conv2(first)).flatten(1))


class Unseen(Net):
    """Leaves Paddle on its way."""

    def forward(self, image):
        return super().forward(paddle.to_tensor(image.tolist()))


class Fixed(nn.Sequential):
    """Takes one size of image."""

    def __init__(self):
        super().__init__(nn.Conv2D(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(512, 4))


def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 4))


class NotAnOptimizer:
    def minimize(self, loss):
        """Nothing."""


class Rubbish:
    """A schedule of the user's own that is not checked anywhere else."""

    last_epoch = 2

    def __init__(self, *events):
        self.events = list(events)

    def __call__(self, epoch):
        return dict(self.events).get(epoch)

    def preview(self, epochs):
        return self.events


def other(parameters):
    return paddle.optimizer.SGD(0.1, parameters=nn.Linear(3, 3).parameters())


def twin(parameters):
    """Over an equal network: names are equal, parameters are not."""
    with paddle.utils.unique_name.guard():
        return paddle.optimizer.SGD(0.1, parameters=Net().parameters())


def twice(parameters):
    return paddle.optimizer.SGD(0.1, parameters=[*parameters, parameters[0]])


def scores(result):
    return lambda weight: result(np.abs(weight).reshape(len(weight), -1).sum(1))


def failing(weight):
    raise ZeroDivisionError("division by zero")


NAMES = "use a name such as"
TRACED = "a forward that runs at this input shape"
NO_SHAPE, STREAM = "no input shape to be had", paddle.io.DataLoader(Stream(), batch_size=4)
OWN, CHECK, CONV1 = "PruneCallback(eval_data=...)", "check the input shape", "layer 'conv1'"
SCORES = "8 finite numbers, one a filter, higher is kept"
RUNS = {
    # layers
    "unknown layer": (
        {1: {"conv3": 0.5}},
        {},
        {},
        ["schedule, epoch 1", "layer 'conv3'", NAMES, "'conv1'", "'conv2'"],
    ),
    "misspelt": ({1: {"cnov2": 0.5}}, {}, {}, ["an unknown layer 'cnov2'", NAMES, "'conv2'"]),
    "unknown glob": ({1: {"layer4.*": 0.5}}, {}, {}, ["an unknown layer 'layer4.*'", "a glob over names"]),
    "Paddle's name": ({1: {"conv2d_7.w_0": 0.5}}, {}, {}, ["'conv2d_7.w_0'", NAMES, "'conv2d_0.w_0'"]),
    "BatchNorm": ({1: {"bn1": 0.5}}, {}, {}, ["'bn1', which holds no filters", "a convolution or Linear"]),
    "activation": ({1: {"relu": 0.5}}, {}, {}, ["'relu', which holds no filters", "a convolution or Linear"]),
    "at the last event": ({1: 0.2, 2: {"conv9": 0.5}}, {}, {}, ["schedule, epoch 2", "an unknown layer 'conv9'"]),
    "after an epoch": ({1: {"conv9": 0.5}}, {"spec": None, "data": STREAM}, {}, ["an unknown layer 'conv9'"]),
    "skip": ({1: 0.5}, {}, {"skip": ["conv9"]}, ["skip: an unknown layer 'conv9'", NAMES]),
    "skip all": ({1: 0.5}, {}, {"skip": ["conv?"]}, ["nothing to prune", "is protected by skip"]),
    "together": (
        {1: {"conv1": 0.5, "conv2": 0.25}},
        {"network": Residual},
        {},
        ["different ratios for layers that can only shrink", "'conv1': 0.5", "'conv2': 0.25", "name one of them"],
    ),
    "the output": ({1: {"fc": 0.5}}, {}, {}, ["nothing to prune", "fc", "is an output of the network"]),
    # networks
    "one convolution": ({1: 0.5}, {"network": Single}, {}, ["nothing to prune", "conv", "is an output of the network"]),
    "no convolution": ({1: 0.5}, {"network": flat}, {}, ["nothing to prune: it has no convolution"]),
    "untraceable": ({1: 0.5}, {"network": Unseen}, {}, ["tracing Unseen in training mode", TRACED]),
    # inputs
    "no shape": ({0: 0.5}, {"spec": None, "data": STREAM}, {}, ["at epoch 0", NO_SHAPE, "inputs=[1, 3, 32, 32]"]),
    "no batch axis": ({1: 0.5}, {}, {"inputs": SHAPE}, ["tracing Net in training mode", TRACED, CHECK]),
    "wrong channels": ({1: 0.5}, {}, {"inputs": [1, 4, 8, 8]}, ["channels"]),
    "wrong size": ({1: 0.5}, {"network": Fixed}, {"inputs": [1, 3, 6, 6]}, ["tracing Fixed", "[288]", TRACED, CHECK]),
    "size 0": ({1: 0.5}, {}, {"inputs": [1, 3, 0, 8]}, ["inputs: shape [1, 3, 0, 8]", "sizes of at least 1"]),
    "open size": ({1: 0.5}, {}, {"inputs": [None, 3, None, 8]}, ["[None, 3, None, 8]", "only the batch may be open"]),
    "text": ({1: 0.5}, {}, {"inputs": "images"}, ["inputs: 'images'", "a shape such as [1, 3, 32, 32]"]),
    "nothing": ({1: 0.5}, {}, {"inputs": {}}, ["inputs: {}", "a shape such as [1, 3, 32, 32]"]),
    "an object": ({1: 0.5}, {}, {"inputs": object()}, ["inputs: <object", "a shape such as [1, 3, 32, 32]"]),
    "two inputs for one": ({1: 0.5}, {}, {"inputs": [ONE, ONE]}, ["tracing Net in training mode", "positional arg"]),
    "one input for two": ({1: 0.5}, {"network": Scaled}, {"inputs": ONE}, ["tracing Scaled", "scale"]),
    # the optimizer
    "no optimizer": ({1: 0.5}, {"optimizer": lambda p: None}, {}, ["paddle.Model: no optimizer", "model.prepare"]),
    "another's": ({1: 0.5}, {"optimizer": other}, {}, ["optimizer SGD", "holds no parameter", "model.parameters()"]),
    "a twin's": ({1: 0.5}, {"optimizer": twin}, {}, ["another parameter called 'conv2d_0.w_0'", "'conv1.weight'"]),
    "twice": ({1: 0.5}, {"optimizer": twice}, {}, ["optimizer SGD: holds parameter 'conv2d_0.w_0' twice", "each once"]),
    "none": ({1: 0.5}, {"optimizer": lambda p: NotAnOptimizer()}, {}, ["optimizer NotAnOptimizer", "SGD, Momentum"]),
    # schedules
    "a function": (lambda epoch: "a lot" if epoch == 2 else 0.1, {}, {}, ["schedule", "at epoch 2: 'a lot'", SHARE]),
    "a function, percent": (lambda epoch: 10 * epoch, {}, {}, ["at epoch 1: 10", "did you mean 0.1"]),
    "a function that falls": (lambda epoch: 0.5 - epoch / 10, {}, {}, ["epoch 1: the ratio of '*' falls from 0.5"]),
    "a class's percent": (Rubbish((1, 30)), {}, {}, ["schedule, epoch 1: 30.", "did you mean 0.3"]),
    "a class that falls": (Rubbish((0, 0.5), (1, 0.3)), {}, {}, ["epoch 1: the ratio of '*' falls from 0.5 to 0.3"]),
    # criteria
    "shape": ({1: 0.5}, {}, {"criterion": scores(lambda s: s[:3])}, [CONV1, "of shape [3]", SCORES]),
    "a number": ({1: 0.5}, {}, {"criterion": scores(np.sum)}, [CONV1, "of shape []", SCORES]),
    "nan scores": ({1: 0.5}, {}, {"criterion": scores(lambda s: s * np.nan)}, [CONV1, "nan for filter 0"]),
    "text scores": ({1: 0.5}, {}, {"criterion": scores(lambda s: list("abcdefgh"))}, [CONV1, SCORES]),
    "raises": ({1: 0.5}, {}, {"criterion": failing}, [CONV1, "criterion 'failing' raised ZeroDivisionError: division"]),
    # data of the callback's own
    "labels only": ({1: 0.5}, {}, {"eval_data": [1, 2]}, [OWN, "batches of inputs and labels"]),
    "other images": (
        {1: 0.5},
        {},
        {"eval_data": [(np.zeros([2, 5, 8, 8], "float32"), np.zeros([2, 1], "int64"))]},
        [OWN, "channels", "batches of inputs and labels"],
    ),
}


class Latest(paddle.callbacks.Callback):
    """The network and its optimizer as they were when the callback behind it was last called."""

    def on_train_begin(self, *_):
        self.found = {"weights": weights(self.model), "modes": modes(self.model)}
        if hasattr(self.model._optimizer, "state_dict"):
            self.found["state"] = state(self.model)

    on_epoch_begin = on_epoch_end = on_train_begin


def modes(model):
    return [layer.training for layer in model.network.sublayers()]


def untouched(model, callbacks, texts, first=(), **options):
    """A run ends in an error that says ``texts``, with all as it was just before, and nothing printed after it."""
    latest = Latest()
    with pytest.raises(PruneError) as caught:
        fit(model, [*first, latest, *callbacks], **options)
    said(caught, texts)
    before = latest.found
    latest.on_train_begin()
    assert same(latest.found, before)


@pytest.mark.parametrize("case", RUNS)
def test_runs(case):
    schedule, prepare, options, texts = RUNS[case]
    prepare = {**prepare}
    data = prepare.pop("data", None)
    model, callback = build(**prepare), PruneCallback(schedule, log_dir="log", **options)
    untouched(model, [callback], texts, data=data)
    assert len(callback.history) == 0


def test_the_last_text_is_short():
    """Paddle's own errors are pages; ours are a paragraph."""
    for case in ("untraceable", "no batch axis", "wrong size", "other images"):
        schedule, prepare, options, _ = RUNS[case]
        with pytest.raises(PruneError) as caught:
            fit(build(**prepare), PruneCallback(schedule, **options))
        assert len(str(caught.value)) < 600
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize("where", ["conv1", "conv2"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(where, value):
    def diverge(model, epoch):
        if epoch == 2:
            layer = getattr(model.network, where)
            weight = layer.weight.numpy()
            weight[1, 0, 0, 0] = value
            layer.weight.set_value(weight)

    model, callback = build(), PruneCallback({1: 0.25, 2: 0.5}, verbose=0)
    size = {"conv1": 6 * 27, "conv2": 9 * 54}[where]
    texts = [f"layer '{where}'", f"1 of {size} weights are not finite", "the run diverged before this cut"]
    untouched(model, [callback], texts, first=[At("on_epoch_begin", diverge)])
    assert widths(model) == {"conv1": 6, "conv2": 9}
    assert [record.epoch for record in callback.history] == [1]


def test_static_graph_mode():
    model = build()
    texts = ["static-graph mode", "dynamic mode", "call paddle.disable_static() before paddle.Model"]
    try:
        paddle.enable_static()
        with pytest.raises(PruneError) as caught:
            fit(model, PruneCallback({1: 0.5}, verbose=0))
    finally:
        paddle.disable_static()
    said(caught, texts)
    fit(model, PruneCallback({1: 0.5}, verbose=0))
    assert widths(model) == {"conv1": 4, "conv2": 6}


@pytest.mark.parametrize("twice", [True, False])
def test_two_callbacks_in_one_run(twice):
    first = PruneCallback({1: 0.5}, verbose=0)
    callbacks = [first, first if twice else PruneCallback({2: 0.5}, verbose=0)]
    untouched(build(), callbacks, ["fit(callbacks=...): more than one PruneCallback", "put all cuts into one schedule"])


@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs(epochs):
    untouched(build(), [PruneCallback({1: 0.5})], [f"fit(epochs=...): {epochs}.", "at least 1"], epochs=epochs)


def test_before_prepare():
    """Hapi does not get as far as a callback."""
    model = paddle.Model(Net())
    with pytest.raises(AttributeError, match="_place|_metrics"):
        fit(model, PruneCallback({1: 0.5}))


def test_the_wrong_model_is_said_before_the_plan_is_printed(capsys):
    for case in ("unknown layer", "no optimizer", "one convolution", "text", "a function"):
        schedule, prepare, options, _ = RUNS[case]
        with pytest.raises(PruneError):
            fit(build(**prepare), PruneCallback(schedule, **options))
    assert capsys.readouterr().out == ""


# What can be lived with is a warning


@pytest.mark.parametrize(
    ("schedule", "left"),
    [({1: 0.25, 3: 0.5}, (6, 9)), (OneShot(7, 0.5), (8, 12)), (Linear(0.5, start=1, end=5), (7, 10))],
)
def test_a_schedule_beyond_the_end(schedule, left):
    model, last = build(), {(6, 9): 3, (8, 12): 7, (7, 10): 5}[left]
    text = f"the schedule goes on to epoch {last}, but the run ends with epoch 2 (counted from 0); what is due later"
    with pytest.warns(PruneWarning, match=re.escape(text)):
        fit(model, PruneCallback(schedule, verbose=0))
    assert tuple(widths(model).values()) == left


def test_a_run_that_ends_before_a_cut():
    stop = paddle.callbacks.EarlyStopping("loss", patience=2, baseline=-1.0, verbose=0)
    model = build()
    with pytest.warns(PruneWarning, match=r"in epoch 2, before the cut at 4, 6 \(from 0\)\. Train longer"):
        fit(model, [PruneCallback({1: 0.25, 4: 0.5, 6: 0.75}, verbose=0), stop], eval_data=Images(8, 1), epochs=7)
    assert widths(model) == {"conv1": 6, "conv2": 9}


def test_a_log_dir_that_cannot_be_written():
    open("file", "w").close()
    model = build()
    with pytest.warns(PruneWarning, match=r"PruneCallback\(log_dir='file/log'\).*Training goes on without this report"):
        fit(model, PruneCallback({1: 0.5}, verbose=0, log_dir="file/log"))
    assert widths(model) == {"conv1": 4, "conv2": 6}
    assert os.path.getsize("file") == 0


def test_a_criterion_that_changes_its_input():
    def greedy(weight):
        scores = np.abs(weight).sum((1, 2, 3))
        weight[:] = np.nan
        return scores

    ends = []
    for criterion in (greedy, "l1_norm"):
        model = build()
        fit(model, PruneCallback({1: 0.25, 2: 0.5}, criterion, verbose=0))
        ends.append(end(model))
    assert same(*ends)


def test_a_layer_that_stays_is_told():
    callback = PruneCallback({1: {"conv*": 0.5, "fc": 0.5}}, verbose=0, skip=["conv2"])
    fit(build(), callback)
    assert callback.history[0].widths == {"conv1": (8, 4), "conv2": (12, 12)}
    assert sorted(callback.history[0].notes) == [
        "'conv2' stays: is protected by skip",
        "'fc' stays: is an output of the network",
    ]


# The functional twin refuses the same


PRUNE = {
    "ratio": ([ONE, 30], {}, ["prune(ratio=...): 30.", SHARE, "did you mean 0.3"]),
    "ratio of a layer": ([ONE, {"conv1": 1}], {}, ["prune(ratio=...), layer 'conv1': 1.", SHARE]),
    "layer": ([ONE, {"conv3": 0.5}], {}, ["an unknown layer 'conv3'", NAMES]),
    "criterion": ([ONE, 0.5, "L1"], {}, ["criterion: 'L1'.", "'l1_norm'"]),
    "inputs": ([None, 0.5], {}, ["inputs: None", "a shape such as"]),
    "channels": ([[1, 4, 8, 8], 0.5], {}, ["channels"]),
    "skip": ([ONE, 0.5], {"skip": 5}, ["skip: 5."]),
    "state": ([ONE, 0.5], {"optimizer_state": "keep"}, ["optimizer_state: 'keep'."]),
    "optimizer": ([ONE, 0.5], {"optimizer": "adam"}, ["optimizer str", "SGD, Momentum"]),
    "another's": ([ONE, 0.5], {"optimizer": "twin"}, ["holds another parameter called 'conv2d_0.w_0'"]),
}


@pytest.mark.parametrize("case", PRUNE)
def test_prune(case):
    given, options, texts = PRUNE[case]
    model = build()
    before = end(model)
    if options.get("optimizer") == "twin":
        options = {"optimizer": twin(())}
    with pytest.raises(PruneError) as caught:
        prune(model.network, *given, **options)
    said(caught, texts)
    assert same(end(model), before)


def test_a_gradual_schedule_that_begins_with_nothing_says_so_once():
    model, callback = build(), PruneCallback({0: 0.001, 1: 0.002, 2: 0.5}, verbose=0)
    with pytest.warns(PruneWarning) as said:
        fit(model, callback)
    texts = [str(each.message) for each in said if each.category is PruneWarning]
    assert texts == [
        "PruneCallback, epoch 0: nothing was removed at ratio 0.001: it is done already, or rounds to nothing"
    ]
    assert widths(model) == {"conv1": 4, "conv2": 6}


def images(channels=3, groups=1):
    return nn.Sequential(nn.Conv2D(channels, 8, 3, groups=groups), nn.ReLU(), nn.MaxPool2D(2), nn.Conv2D(8, 4, 3))


@pytest.mark.parametrize("call", [cost, explain, lambda network, shape: prune(network, shape, 0.5)])
@pytest.mark.parametrize(
    ("network", "shape", "said"),
    [
        (images(), [1, 4, 16, 16], "layer '0' gets 4 channels, and its weight is for 3"),
        (images(4, 2), [1, 2, 16, 16], "layer '0' gets 2 channels, and its weight is for 4"),
        (images(), [1, 3, 2, 2], r"layer '0' gets an image of \[1, 3, 2, 2\], of which nothing is left"),
        (images(), [1, 3, 6, 6], r"layer '3' gets an image of \[1, 8, 2, 2\], of which nothing is left"),
    ],
)
def test_images_that_do_not_fit_are_refused_before_anything_runs(call, network, shape, said):
    """Paddle's trace takes them, `cost` counted them, and MKL ends the process at the empty ones."""
    with pytest.raises(PruneError, match=said):
        call(network, shape)
