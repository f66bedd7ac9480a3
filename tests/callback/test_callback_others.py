"""The callback beside other callbacks, and a network that others change."""

from __future__ import annotations

import os

import numpy as np
import paddle
import pytest
from callbacks import ONE, adamw, curves, quiet, reader
from fits import HARMLESS, SHAPE, At, Images, build, end, fit, same, weights, widths

from hapi_prune import PruneError, prune
from hapi_prune.cutting.pruning import Options, Pruner
from hapi_prune.internals import tensors as storage

pytestmark = HARMLESS


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_order_of_callbacks_does_not_matter():
    ends = []
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)):  # each pair in both orders, twice
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
    assert len(ends) == 4
    assert all(same(ends[0], other) for other in ends[1:])
