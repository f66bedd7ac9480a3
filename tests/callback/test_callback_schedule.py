"""What is cut, and when."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from callbacks import ONE, batches, quiet
from fits import BATCH, CONVS, HARMLESS, SHAPE, At, Images, Stream, build, end, fit, same, widths
from paddle.static import InputSpec

from hapi_prune import Linear, PruneError, PruneWarning, prune

pytestmark = HARMLESS


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
