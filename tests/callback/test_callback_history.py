"""What the history of a run tells."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from callbacks import ONE, batches, curves, quiet
from fits import BATCH, HARMLESS, Images, build, fit

from hapi_prune import History
from hapi_prune.cutting.pruning import Options, Pruner

pytestmark = HARMLESS


@pytest.mark.slow
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
