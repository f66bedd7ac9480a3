"""One run after another with the same callback."""

from __future__ import annotations

import dataclasses
import glob
import os

import numpy as np
import paddle
import pytest
from callbacks import curves, quiet
from fits import BATCH, HARMLESS, Images, Net, build, end, fit, same, widths
from paddle import nn

pytestmark = HARMLESS


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hook", "error"),
    [
        ("on_epoch_begin", KeyboardInterrupt),
        ("on_epoch_end", ValueError),
        ("on_eval_begin", KeyboardInterrupt),
        ("on_eval_end", ValueError),
    ],
)
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
