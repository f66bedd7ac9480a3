"""Nothing of the run but the network and its optimizer is touched by a cut."""

from __future__ import annotations

import random

import paddle
import pytest
from callbacks import ONE, as_found, batches, quiet
from daily import slow
from fits import HARMLESS, At, Images, Net, Noisy, build, end, fit, generators, same, widths

pytestmark = HARMLESS


NOTHING = {
    "none due": lambda: quiet(lambda epoch: None),
    "ratio 0": lambda: quiet({0: 0.0, 1: 0.0}),
    "zero by layer": lambda: quiet({1: {"conv1": 0.0}}),
    "beyond the end": lambda: quiet({7: 0.5}),
    "with a report": lambda: quiet({0: 0.0}, log_dir="log"),
    "own data": lambda: quiet({0: 0.0}, eval_data=Images(8, 2)),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PruneCallback. the schedule goes on to epoch 7:hapi_prune.PruneWarning")
@pytest.mark.parametrize("case", NOTHING)
@pytest.mark.parametrize("spec", ["images", None])
@pytest.mark.parametrize(("drop", "data"), [(0.5, Images()), (0.0, Noisy())])
def test_without_a_cut_the_run_is_the_same(case, spec, drop, data):
    ends = []
    for callbacks in ((), NOTHING[case]()):
        random.seed(0)
        model = build(lambda: Net(drop), spec=spec)
        fit(model, callbacks, data, Images(8, 1))
        ends.append([end(model), generators()])
    assert same(*ends)


def shuffled(seed):
    """Evaluation data that draws from NumPy's generator."""
    return paddle.io.DataLoader(Images(8, seed), batch_size=2, shuffle=True)


@pytest.mark.parametrize("spec", ["images", None])
@pytest.mark.parametrize("of_fit", [None, slow(Noisy(8, 1)), slow(shuffled(1))])
def test_evaluations_around_the_cut_disturb_nothing(spec, of_fit):
    """Where training draws from every generator, too, and whatever it is that we evaluate on.

    Without dropout: Paddle reads data in a thread, whose draws and those of dropout come in any order.
    """
    ends = []
    for own in (False, None, Noisy(8, 2), shuffled(2), batches(8, 2)):
        model = build(spec=spec)
        random.seed(0)
        callback = quiet({1: 0.25, 2: 0.5}, eval_data=own)
        fit(model, callback, Noisy(), of_fit)
        ends.append([end(model), generators()])
        evaluated = own is not False and not (own is None and of_fit is None)
        assert all(bool(record.metrics_before and record.metrics_after) == evaluated for record in callback.history)
    assert all(same(ends[0], other) for other in ends[1:])


def test_evaluation_data_changes_nothing_but_what_is_known():
    ends = []
    for of_fit in (None, Images(8, 1)):
        model = build(lambda: Net(0.5))
        fit(model, quiet({1: 0.25, 2: 0.5}), eval_data=of_fit)
        ends.append(end(model))
    assert same(*ends)


class Remembering(paddle.metric.Accuracy):
    """Knows more than ``reset`` clears."""

    def __init__(self):
        super().__init__()
        self.updates = self.resets = 0

    def update(self, correct):
        self.updates += 1
        return super().update(correct)

    def reset(self):
        self.resets = getattr(self, "resets", 0) + 1
        super().reset()


class Held(Remembering):
    """Cannot be copied."""

    def __deepcopy__(self, memo):
        raise TypeError("cannot pickle '_thread.lock' object")


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["images", None])
@pytest.mark.parametrize("epoch", [0, 1, 2])
@pytest.mark.parametrize("metric", [Remembering, None])
def test_all_is_as_found_around_the_cut(spec, epoch, metric):
    """The very objects of hapi, its shared logs, metrics, modes and generators, hooks, names and parameters."""

    def mixed(model, number):  # modes that hapi would not leave by itself
        model.network.bn1.training, model.network.drop.training = number % 2 == 0, number % 2 == 1
        return as_found(model)

    sampler = paddle.io.DistributedBatchSampler(Images(8, 1), 2, num_replicas=1, rank=0, shuffle=True)
    loader = paddle.io.DataLoader(Images(8, 1), batch_sampler=sampler)
    for own, of_fit in ((None, loader), (loader, None), (Images(8, 2), Images(8, 1)), (None, None)):
        model = build(lambda: Net(0.5), spec=spec, metrics=metric and metric())
        before, after = At("on_epoch_begin", mixed), At("on_epoch_begin", as_found)
        began, begun = At("on_train_begin", as_found), At("on_train_begin", as_found)
        callback = quiet({epoch: 0.5}, eval_data=own, inputs=ONE)
        fit(model, [began, before, callback, begun, after], eval_data=of_fit)
        assert same(begun.found, began.found)
        assert len(before.found) == 3
        assert same(after.found, before.found)
        assert widths(model) == {"conv1": 4, "conv2": 6}
        assert sampler.epoch == (3 if of_fit is loader else 0)
        sampler.set_epoch(0)


def test_a_metric_that_cannot_be_copied_is_used_as_hapi_uses_it():
    ends = []
    for metric in (Held, paddle.metric.Accuracy):
        model, callback = build(metrics=metric()), quiet({1: 0.5})
        fit(model, callback, eval_data=Images(8, 1))
        ends.append([end(model), callback.history[0].metrics_before, callback.history[0].metrics_after])
    assert same(*ends)


def test_num_iters_is_not_counted_by_our_evaluations():
    model = build()
    left = At("on_train_batch_begin", lambda model, _: model.num_iters)
    fit(model, [quiet({0: 0.25, 1: 0.5}, eval_data=Images(8, 1)), left], num_iters=10)
    assert left.found == list(range(10, 0, -1))


def test_a_cut_leaves_no_gradients():
    def left(model, _):  # hapi leaves zeros
        gradients = [(p.grad, p) for p in model.network.parameters()]
        return [grad is None or (grad.shape == p.shape and float(grad.abs().max()) == 0) for grad, p in gradients]

    clean = At("on_epoch_begin", left)
    fit(build(), [quiet({1: 0.25, 2: 0.5}, eval_data=Images(8, 1)), clean])
    assert all(map(all, clean.found))
