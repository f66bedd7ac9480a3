"""A cut in a run is the same as a run, a cut by hand, and another run."""

from __future__ import annotations

import copy

import numpy as np
import paddle
import pytest
from callbacks import ONE, adamw, batches, quiet
from daily import some
from fits import BATCH, HARMLESS, SHAPE, Images, Net, Pairs, Scaled, Stream, build, end, fit, same, widths
from paddle.static import InputSpec

from hapi_prune import PruneWarning, prune

pytestmark = HARMLESS


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
@pytest.mark.parametrize("case", some(RUNS, 3))
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
