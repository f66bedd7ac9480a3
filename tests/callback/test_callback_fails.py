"""A cut that fails, or is stopped, leaves all as it was."""

from __future__ import annotations

import itertools
from contextlib import contextmanager

import pytest
from callbacks import adamw, as_found, curves, quiet, reader
from daily import some
from fits import HARMLESS, At, Images, build, end, fit, same, widths

from hapi_prune.cutting import optimizers, pruning, surgery, verify_outputs
from hapi_prune.training import paddle_model

pytestmark = HARMLESS


def breaking(monkeypatch, place):
    """Make the second cut fail at one of its steps, as ctrl-C would."""
    calls = itertools.count()

    def stop(*args, **options):
        raise KeyboardInterrupt("at the second cut")

    owner, name = {
        "choosing": (pruning, "select"),
        "masking": (surgery, "masked"),
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

    @contextmanager
    def within(*args):
        with real(*args):
            if next(calls) >= allowed[place]:
                stop()
            yield

    allowed = {"choosing": 1, "masking": 1, "shrinking": 1, "trying": 1, "carrying": 1, "proving": 2, "evaluating": 2}
    monkeypatch.setattr(owner, name, within if place == "masking" else sometimes)


@pytest.mark.parametrize(
    "place", some(["choosing", "masking", "shrinking", "trying", "carrying", "proving", "evaluating"], 6)
)
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
