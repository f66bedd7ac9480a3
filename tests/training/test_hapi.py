"""What we know of ``paddle.Model`` that nobody has promised. Where Paddle changes it, it shows here first."""

from __future__ import annotations

import copy
import inspect
import threading

import numpy as np
import paddle
import pytest
from fits import (
    BATCH,
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
)
from paddle import nn
from paddle.static import InputSpec

from hapi_prune import PruneError
from hapi_prune.internals.hapi_frames import running_callbacks
from hapi_prune.training import paddle_model

pytestmark = [*HARMLESS, pytest.mark.smoke]

CHANGED = (
    f"Paddle {paddle.__version__} has changed a private part of paddle.Model that hapi_prune/training/paddle_model.py "
    "stands on: {}. Read paddle/hapi/model.py, mend paddle_model.py, and this test with it."
)


def test_private_attributes():
    """Each attribute that paddle_model.py reads, writes or puts back, with what it is before, in and after a run."""

    def holds(condition, what):
        assert condition, CHANGED.format(what)

    logs = paddle.Model._run_one_epoch.__defaults__[-1]
    holds(isinstance(logs, dict), "the last default of Model._run_one_epoch is the dict of logs")
    fresh = paddle.Model(Net())
    holds(fresh._optimizer is None, "Model._optimizer is None before prepare")
    holds(fresh._input_info is None, "Model._input_info is None without InputSpecs")
    holds(fresh._is_shape_inferred is False, "Model._is_shape_inferred is False before the first batch")
    holds([list(spec.shape) for spec in fresh._inputs] == [[-1]], "Model._inputs has made-up specs without InputSpecs")
    holds(fresh._adapter._input_info is None, "Model._adapter._input_info is None before the first batch")
    holds(isinstance(fresh._adapter._merge_count, dict), "Model._adapter._merge_count is a dict")
    holds(fresh.stop_training is False and fresh.mode == "train", "Model.stop_training, Model.mode")
    holds(not hasattr(fresh, "num_iters"), "Model.num_iters comes with fit")
    given = paddle.Model(Net(), [InputSpec([None, *SHAPE], "float32", "image")])
    holds(given._input_info is not None, "Model._input_info is that of the InputSpecs")

    def seen(model, step):
        network = [layer.training for layer in model.network.sublayers()]
        return model._test_dataloader, model.num_iters, model._adapter._input_info[0], network, running_callbacks()

    model, in_train = build(spec=None), At("on_train_batch_end", seen)
    metrics = model._metrics
    holds(
        isinstance(metrics, list) and isinstance(metrics[0], paddle.metric.Metric), "Model._metrics lists the metrics"
    )
    fit(model, in_train, eval_data=Images(8, 1), epochs=1, num_iters=4)
    loader, left, shapes, _, callbacks = in_train.found[0]
    holds(isinstance(loader, paddle.io.DataLoader), "in fit, Model._test_dataloader is the loader of eval_data")
    holds(loader.dataset.seed == 1 and loader.batch_sampler is not None, "DataLoader.dataset, DataLoader.batch_sampler")
    holds(loader.collate_fn is None, "DataLoader.collate_fn is None where the user gave none")
    holds(left == 4, "in fit, Model.num_iters counts down")
    holds(shapes == [[BATCH, *SHAPE]], "Model._adapter._input_info has the shapes of the last batch")
    holds(in_train in callbacks, "the callbacks of a run are called by a CallbackList")
    holds(model._test_dataloader is None, "after fit, Model._test_dataloader is None")
    holds(model._is_shape_inferred is True, "after fit, Model._is_shape_inferred is True")
    holds(list(model._inputs[0].shape) == [BATCH, *SHAPE], "after fit, Model._inputs is that of the first batch")
    holds({"loss", "acc", "step", "batch_size"} <= logs.keys(), "the logs are shared by all runs")
    names = inspect.signature(paddle.Model.evaluate).parameters
    holds({"batch_size", "verbose"} <= set(names), "Model.evaluate(data, batch_size=, verbose=)")


def test_what_a_callback_is_told():
    """The order of the hooks, and what is in ``params`` and ``logs``."""

    class Told(paddle.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.calls = []

    def record(name):
        def hook(self, *args):
            self.calls.append((name, args, {**self.params}))

        return hook

    hooks = [name for name in dir(paddle.callbacks.Callback) if name.startswith("on_")]
    for name in hooks:
        setattr(Told, name, record(name))
    told, model = Told(), build()
    fit(model, told, Images(BATCH), Images(BATCH, 1), epochs=2)
    epoch = ["on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end"]
    val = ["on_eval_begin", "on_eval_batch_begin", "on_eval_batch_end", "on_eval_end"]
    order = ["on_train_begin", *2 * [*epoch, *val], "on_train_end"]
    assert [name for name, _, _ in told.calls] == order, CHANGED.format("the order of the hooks")
    assert [args[0] for name, args, _ in told.calls if name == "on_epoch_begin"] == [0, 1]
    for _, _, params in told.calls:
        assert params["epochs"] == 2, CHANGED.format("params['epochs']")
        assert params["metrics"] == ["loss", "acc"], CHANGED.format("params['metrics']")
    told.calls.clear()
    model.evaluate(Images(BATCH, 1), verbose=0, batch_size=BATCH, callbacks=[told])
    assert [name for name, _, _ in told.calls] == val
    assert all(params["epochs"] is None for _, _, params in told.calls), CHANGED.format("evaluate knows no epochs")


# The input shape


def shapes(model):
    found = paddle_model.input_shapes(model)
    return found and [(list(spec.shape), str(spec.dtype).rpartition(".")[2]) for spec in found]


IMAGE, NUMBER = ([1, *SHAPE], "float32"), ([1], "float32")


@pytest.mark.parametrize(
    ("spec", "known"),
    [
        ([InputSpec([None, *SHAPE], "float32", "image")], [IMAGE]),
        ([InputSpec([16, *SHAPE], "float32", "image")], [IMAGE]),
        ([InputSpec([None, *SHAPE], "float16", "image")], [([1, *SHAPE], "float16")]),
        ([InputSpec([None, *SHAPE], "float32", "image"), InputSpec([None], "float32", "scale")], [IMAGE, NUMBER]),
        ([InputSpec([None, 3, None, None], "float32", "image")], None),
        ([InputSpec([None, 3, -1, -1], "float32", "image")], None),
        (None, None),
    ],
)
def test_before_any_batch_the_shape_is_that_of_the_input_specs(spec, known):
    assert shapes(build(Scaled if spec and len(spec) == 2 else Net, spec=spec)) == known


def one_by_one(samples):
    return [np.stack([np.asarray(part) for part in parts])[:, :1] for parts in zip(*samples)]


class Plain(Images):
    """Only an image, as ``predict`` would have it."""

    def __getitem__(self, index):
        return super().__getitem__(index)[0]


class Tree(Images):
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return {"image": image}, label


class Broken(Images):
    def __getitem__(self, index):
        raise KeyError(index)


STREAM = paddle.io.DataLoader(Stream(), batch_size=2)
SAMPLES = [
    (Net, Images(), [IMAGE]),
    (Net, Plain(), [IMAGE]),
    (Net, Tree(), [IMAGE]),
    (Net, Noisy(), [IMAGE]),
    (Scaled, Pairs(), [IMAGE, NUMBER]),
    (Scaled, Plain(), None),  # one input is missing
    (Net, Broken(), None),
    (Net, paddle.io.DataLoader(Images(), batch_size=2, num_workers=2), [IMAGE]),  # without starting them
    (Net, paddle.io.DataLoader(Images(), batch_size=None), [([1, 8, 8], "float32")]),  # its batch is the channels
    (Net, paddle.io.DataLoader(Images(), batch_size=2, collate_fn=one_by_one), [([1, 1, 8, 8], "float32")]),
    (Net, paddle.io.DataLoader(Stream(), batch_size=2), None),
    (Net, [[np.zeros([4, *SHAPE], "float32"), np.zeros([4, 1])]], [IMAGE]),
    (Net, [], None),
    (Net, iter([[np.zeros([4, *SHAPE], "float32")]]), None),  # must not be used up
    (Net, None, None),
    (Net, "images", None),
]


@pytest.mark.parametrize("number", range(len(SAMPLES)))
@pytest.mark.parametrize("train", [True, False])
def test_before_any_batch_a_sample_of_the_data_tells(number, train):
    network, data, known = SAMPLES[number]
    data = copy.copy(data)  # an iterator of its own
    model, before = build(network, spec=None), generators()
    loader = paddle.io.DataLoader(data, batch_size=2) if isinstance(data, paddle.io.Dataset) else data

    class Model:
        """Stands in for a fit."""

        def fit(self, train_loader):
            return shapes(self)

    if train:
        vars(model)["fit"] = Model.fit.__get__(model)
        assert model.fit(loader) == known
    else:
        model._test_dataloader = loader
        assert shapes(model) == known
    assert same(generators(), before)
    assert not getattr(getattr(data, "dataset", None), "touched", False)
    if hasattr(data, "__next__"):
        assert len(list(data)) == 1


@pytest.mark.parametrize("data", [Images(), paddle.io.DataLoader(Images(), batch_size=2)])
def test_the_training_data_of_the_run_that_calls(data):
    known = At(
        "on_train_begin",
        lambda model, _: [paddle_model.train_data(model), paddle_model.train_data(other), shapes(model)],
    )
    model, other = build(spec=None), build()
    fit(model, known, data)
    loader, of_other, found = known.found[0]
    assert isinstance(loader, paddle.io.DataLoader), CHANGED.format("fit calls its loader train_loader")
    assert loader is data or loader.dataset is data
    assert of_other is None
    assert found == [IMAGE]
    assert paddle_model.train_data(model) is None


def test_the_training_data_of_a_model_that_looks_itself():
    class Asking(paddle.Model):
        def ask(self):
            return paddle_model.train_data(self)

    model = build()
    model.__class__ = Asking
    known = At("on_train_begin", lambda model, _: model.ask())
    data = paddle.io.DataLoader(Images(), batch_size=2)
    fit(model, known, data)
    assert known.found == [data]


def test_the_images_of_this_run_count_and_not_those_of_the_last():
    class Wide(Images):
        def __getitem__(self, index):
            return np.zeros([3, 8, 16], "float32"), np.array([0])

    model = build(spec=None)
    known = At("on_train_begin", lambda model, _: shapes(model))
    fit(model, known, epochs=1)
    fit(model, known, Wide(), epochs=1)
    assert known.found == [[IMAGE], [([1, 3, 8, 16], "float32")]]


@pytest.mark.parametrize("spec", [None, [InputSpec([None, 3, None, None], "float32", "image")]])
def test_after_a_batch_its_shape_is_known(spec):
    model = build(spec=spec)
    fit(model, data=STREAM, epochs=1)
    assert shapes(model) == [IMAGE]

    class Large(Images):
        def __getitem__(self, index):
            return np.zeros([3, 16, 16], "float32"), np.array([0])

    fit(model, data=Large(), epochs=1)
    assert shapes(model) == [([1, 3, 16, 16], "float32")]


def test_batches_of_arrays_and_of_other_types():
    model = build(spec=None)
    model.train_batch([np.zeros([4, *SHAPE], "float32")], [np.zeros([4, 1], "int64")])
    assert shapes(model) == [IMAGE]

    class Codes(nn.Layer):
        def __init__(self):
            super().__init__()
            self.embed, self.fc = nn.Embedding(9, 4), nn.Linear(4, 2)

        def forward(self, codes):
            return self.fc(self.embed(codes).mean(1))

    model = build(Codes, spec=None)
    model.train_batch([np.zeros([4, 5], "int64")], [np.zeros([4, 1], "int64")])
    assert shapes(model) == [([1, 5], "int64")]


# Evaluation


def test_evaluate_is_what_the_model_says_itself():
    model = build(metrics=paddle.metric.Accuracy((1, 2)))
    fit(model, epochs=1)
    for data in (Images(9, 1), paddle.io.DataLoader(Images(9, 1), batch_size=2), [[p[None] for p in Images(9, 1)[0]]]):
        assert paddle_model.evaluate(model, data) == model.evaluate(data, batch_size=paddle_model.BATCH, verbose=0)


def test_evaluate_on_nothing_is_empty():
    model = build()
    fit(model, epochs=1)
    logs = dict(paddle.Model._run_one_epoch.__defaults__[-1])
    for data in ([], iter([]), paddle.io.DataLoader(Images(0), batch_size=2)):
        assert paddle_model.evaluate(model, data) == {}
    assert logs == paddle.Model._run_one_epoch.__defaults__[-1]


def test_evaluate_leaves_no_logs_where_there_were_none():
    logs = paddle.Model._run_one_epoch.__defaults__[-1]
    logs.clear()
    assert set(paddle_model.evaluate(build(), Images(8, 1))) == {"loss", "acc"}
    assert logs == {}


def test_evaluate_starts_metrics_anew_and_leaves_them_as_they_were():
    """A run that was broken off leaves its counts behind."""
    model = build()
    (metric,) = model._metrics
    expected = paddle_model.evaluate(model, Images(8, 1))
    metric.total, metric.count = [5.0], [5]
    assert paddle_model.evaluate(model, Images(8, 1)) == expected
    assert (metric.total, metric.count) == ([5.0], [5])
    assert model._metrics == [metric]


class Fails(paddle.metric.Accuracy):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def update(self, *args):
        raise self.error


@pytest.mark.parametrize("error", [KeyError("loss"), ValueError("no"), KeyboardInterrupt()])
def test_evaluate_puts_all_back_when_it_fails(error):
    model = build(metrics=Fails(error))
    model.stop_training, model.num_iters, model._test_dataloader = True, 7, "data"
    model.network.bn1.eval()
    before = [dict(vars(model)), dict(vars(model._adapter)), [layer.training for layer in model.network.sublayers()]]
    logs, left = dict(paddle.Model._run_one_epoch.__defaults__[-1]), end(model)
    with pytest.raises(type(error)):
        paddle_model.evaluate(model, Images(8, 1))
    after = [dict(vars(model)), dict(vars(model._adapter)), [layer.training for layer in model.network.sublayers()]]
    assert after == before
    assert same(end(model), left)
    assert logs == paddle.Model._run_one_epoch.__defaults__[-1]


def test_a_metric_may_hold_the_network_or_what_cannot_be_copied():
    class Holding(paddle.metric.Accuracy):
        def __init__(self):
            super().__init__()
            self.evaluations = []

        def accumulate(self):
            self.evaluations.append(len(self.network.sublayers()))
            return super().accumulate()

    for extra in (None, threading.Lock()):
        metric = Holding()
        model = build(metrics=metric)
        metric.network, metric.model, metric.lock = model.network, model, extra
        first = paddle.utils.unique_name.generate("probe")
        found = paddle_model.evaluate(model, Images(8, 1))
        assert set(found) == {"loss", "acc"}
        assert metric.network is model.network
        assert bool(metric.evaluations) == (extra is not None)  # only what cannot be copied is used itself
        step = [int(name.rpartition("_")[2]) for name in (first, paddle.utils.unique_name.generate("probe"))]
        assert step[1] == step[0] + 1  # no copy of the network was made, which would name new parameters


def test_read_once():
    assert paddle_model.read_once(iter([]))
    assert paddle_model.read_once(batch for batch in [])
    for data in (None, [], Images(), paddle.io.DataLoader(Images(), batch_size=2)):
        assert not paddle_model.read_once(data)


def test_check():
    paddle_model.require_prunable(build(), 1)
    for model, epochs, text in ((build(), 0, "at least 1"), (paddle.Model(Net()), 1, "no optimizer")):
        with pytest.raises(PruneError, match=text):
            paddle_model.require_prunable(model, epochs)
