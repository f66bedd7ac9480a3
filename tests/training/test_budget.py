"""An accuracy budget: what fails is taken back as if it had not been, and what is left is the smallest that holds."""

from __future__ import annotations

import copy
import os
import signal
from pathlib import Path

import paddle
import pytest
from budgets import Falls, Wide, adam, at_least, built, tries
from callbacks import curves, quiet, reader
from fits import (
    BATCH,
    HARMLESS,
    SHAPE,
    At,
    Images,
    Net,
    build,
    end,
    fit,
    same,
    state,
    weights,
    widths,
)
from hypothesis import given
from hypothesis import strategies as st

from hapi_prune import History, PruneCallback, PruneError
from hapi_prune.cutting.snapshot import Snapshot
from hapi_prune.training import fit_state
from hapi_prune.training.budget import LEAST_STEP, Budget

pytestmark = HARMLESS

ONE = [1, *SHAPE]


# What is tried next: pure


def test_half_of_the_step_is_tried_after_one_that_failed():
    budget = Budget(0.01, "acc", 0.9, held=0.25, tried=0.5)
    failed, why = budget.judged(0.88)
    assert why == "acc 0.8800 is more than 0.01 below 0.9000"
    assert (failed.held, failed.failed, failed.tried) == (0.25, 0.5, None)
    assert failed.aim(0.5) == failed.aim(0.9) == 0.375
    assert failed.aim(0.3) == 0.3, "no more than is due"
    held, why = failed.begun(0.375, 0.895).judged(0.89)  # 0.9 - 0.89 is 0.010000000000000009
    assert not why
    assert held == Budget(0.01, "acc", 0.9, held=0.375, failed=0.5)
    assert held.aim(0.9) == 0.4375


def test_of_a_loss_it_is_how_far_it_rises_and_nan_never_holds():
    budget = Budget(0.1, "loss", 1.0, tried=0.5)
    assert budget.judged(0.2)[1] == budget.judged(1.1)[1] == ""
    assert budget.judged(1.2)[1] == "loss 1.2000 is more than 0.1 above 1.0000"
    assert budget.judged(float("nan"))[1] == "loss is nan, and was 1.0000"


def test_halving_ends():
    budget, tries = Budget(0.01, "acc", 0.9), []
    while (aim := budget.aim(0.8)) is not None:
        tries.append(aim)
        budget = budget.begun(aim, 0.9).judged(0.1)[0]
    assert tries == [0.8, 0.4, 0.2, 0.1, 0.05, 0.025, 0.0125]


@given(st.floats(0, 0.999), st.lists(st.floats(0.01, 0.99), max_size=30).map(sorted))
def test_never_is_anything_tried_that_is_known_to_fail(limit, schedule):
    budget, failed = Budget(0.01, "acc"), []
    for due in schedule:
        for _ in range(2):  # at the event: the try, and where it fails, half of its step
            aim = budget.aim(due)
            if aim is None or aim <= budget.held:
                break
            assert aim <= due
            assert all(aim < other for other in failed)
            assert aim - budget.held >= LEAST_STEP / 2 or not failed
            budget, why = budget.begun(aim, 0.9).judged(0.9 if aim <= limit else 0.5)
            failed += [aim] if why else []
            assert budget.held <= limit or not budget.held
            if not why:
                break


def test_each_layer_has_its_own_step():
    budget = Budget(0.01, "acc", 0.9, held={"*": 0.2, "a": 0.4}, failed={"*": 0.2, "a": 0.6, "b": 0.5})
    assert budget.aim({"*": 0.2, "a": 0.6, "b": 0.5}) == pytest.approx({"*": 0.2, "a": 0.5, "b": 0.35})
    assert budget.aim({"*": 0.2, "a": 0.6, "b": 0.5, "c": 0.9})["c"] == 0.9, "of this layer nothing is known to fail"
    assert Budget(0.01, "acc", 0.9, held=0.2, failed=0.4).aim({"*": 0.4, "a": 0.6}) == pytest.approx(
        {"*": 0.3, "a": 0.3}
    )
    assert Budget(0.01, "acc", 0.9, held={"a": 0.2}, failed={"a": 0.21}).aim({"a": 0.3}) is None


# Runs


def run(schedule, metric, epochs, network=Net, **options):
    """A run on a budget of one point."""
    model = built(metric, network=network)
    callback = quiet(schedule, max_drop=0.01, **options)
    fit(model, callback, eval_data=Images(8, 1), epochs=epochs)
    return model, callback.history


def test_the_smallest_network_within_the_budget_is_left():
    model, history = run({1: 0.25, 2: 0.5, 3: 0.6, 4: 0.7}, at_least(5), 6)
    # 0.25 leaves 6 filters, 0.5 only 4; half-way there are 5, and half-way from there to 0.5 there are 4 again or 5.
    assert tries(history)[:3] == [(1, 0.25, True), (2, 0.5, False), (3, 0.375, True)]
    assert widths(model)["conv1"] == 5
    assert history[1].taken_back == "acc 0.5000 is more than 0.01 below 0.9000"
    assert history[2].cost_before == history[0].cost_after == history[1].cost_before
    assert history[2].metrics_before == history[1].metrics_before
    assert [epoch for epoch, _ in history[1].recovered] == [2]


def test_a_run_in_which_all_holds_is_as_one_without_a_budget():
    ends = []
    for options in ({}, {"max_drop": 0.01}):
        model = built(at_least(1))
        fit(model, quiet({1: 0.25, 2: 0.5}, **options), eval_data=Images(8, 1), epochs=4)
        ends.append(end(model))
    assert same(*ends)


def test_a_run_goes_on_as_if_the_failed_cut_had_not_been():
    """Weights, state and learning rate at the end of the event's roll back, against those right before the cut."""
    model, found = built(at_least(5), adam), {}

    def look(name):
        def keep(model, epoch):
            found[name, epoch] = [weights(model), state(model), copy.deepcopy(vars(model._optimizer._learning_rate))]

        return At("on_epoch_begin", keep)

    callback = quiet({1: 0.25, 3: 0.5, 5: 0.505}, max_drop=0.01)
    callback.history  # noqa: B018
    fit(model, [look("before"), callback, look("after")], eval_data=Images(8, 1), epochs=6)
    assert tries(callback.history) == [(1, 0.25, True), (3, 0.5, False), (5, 0.375, True)]
    # At epoch 5 the cut to 0.375 is made from the network of epoch 3: what is kept of it is that, bit by bit.
    dense, now, plan = found["before", 3], found["after", 5], callback.history[2].plan
    first, second = (list(kept) for kept in plan.kept.values())
    assert same(now[0]["conv1.weight"], dense[0]["conv1.weight"][first].copy())
    assert same(now[0]["conv2.weight"], dense[0]["conv2.weight"][second][:, first].copy())
    assert same(now[1]["conv2d_1.w_0_moment1"], dense[1]["conv2d_1.w_0_moment1"][second][:, first].copy())
    assert now[2]["last_epoch"] == dense[2]["last_epoch"] and now[2]["last_lr"] == dense[2]["last_lr"]


@pytest.mark.parametrize("options", [{}, {"compensate": True, "recalibrate": 2}])
def test_the_last_phase_is_judged_too_and_nothing_is_tried_after_it(options):
    model, found = built(at_least(5), adam), []
    callback = quiet({1: 0.25, 3: 0.5}, max_drop=0.01, **options)
    look = At("on_epoch_begin", lambda model, epoch: found.append(end(model)))
    fit(model, [look, callback], eval_data=Images(8, 1), epochs=5)
    assert tries(callback.history) == [(1, 0.25, True), (3, 0.5, False)]
    assert same(end(model), found[3])
    assert widths(model) == {"conv1": 6, "conv2": 9}


def test_where_no_cut_holds_the_dense_network_is_left():
    model, history = run({1: 0.5, 2: 0.6, 3: 0.7}, at_least(8), 5)
    assert tries(history) == [(1, 0.5, False), (2, 0.25, False), (3, 0.125, False)]
    assert widths(model) == {"conv1": 8, "conv2": 12}
    assert history.now is None
    (now,) = [line.split() for line in history.table().splitlines() if "now" in line]
    assert now == ["now", "0.0%", "0.0%", "72.43K", "100.0%", "1.33K", "100.0%", "-", "-", "-", "0.00"]


def test_halving_stops_where_a_step_is_too_small():
    schedule = dict(enumerate([0.5, 0.51, 0.52, 0.53, 0.54, 0.55, 0.56], start=1))
    model, history = run(schedule, at_least(65), 9, network=Wide)
    tried = [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625]
    assert tries(history) == [(epoch, ratio, False) for epoch, ratio in enumerate(tried, start=1)]
    assert model.network.conv1.weight.shape[0] == 65 and history.now is None


@pytest.mark.parametrize("options", [{"target": "flops", "scope": "global"}, {"target": "params"}, {"scope": "global"}])
def test_with_any_target_and_scope(options):
    model, history = run({1: 0.2, 2: 0.6, 3: 0.7}, at_least(6), 5, **options)
    assert widths(model)["conv1"] >= 6
    for record in history:
        assert bool(record.taken_back) == (record.widths["conv1"][1] < 6)
    sizes = history.now.widths if history.now else {name: (size, size) for name, size in widths(model).items()}
    assert widths(model) == {name: sizes[name][1] for name in ("conv1", "conv2")}
    assert history and not all(record.taken_back == "" for record in history), "or it has shown nothing"


def test_by_layer_each_share_is_halved():
    model, history = run({1: {"conv1": 0.5, "conv2": 0.25}, 2: {"conv1": 0.6}}, at_least(6), 4)
    assert tries(history) == [(1, {"conv1": 0.5, "conv2": 0.25}, False), (2, {"conv1": 0.25, "conv2": 0.125}, True)]
    assert widths(model)["conv1"] == 6


@pytest.mark.parametrize("fits_own", [{}, {"eval_data": Images(4, 2), "eval_freq": 2}], ids=["none", "every second"])
def test_a_loss_on_data_of_ones_own(fits_own):
    """Whatever ``fit`` evaluates on, and when: both ends are measured on the same data."""
    model = built(Falls(lambda now: 0.5 if now >= 5 else 0.9, "val_loss"))
    callback = quiet({1: 0.25, 2: 0.5, 3: 0.6}, max_drop=0.01, monitor="val_loss", eval_data=Images(8, 1))
    fit(model, callback, epochs=5, **fits_own)
    assert tries(callback.history) == [(1, 0.25, True), (2, 0.5, False), (3, 0.375, True)]
    assert callback.history[1].taken_back == "val_loss 0.9000 is more than 0.01 above 0.5000"
    assert widths(model)["conv1"] == 5


def test_where_fit_evaluates_seldom_a_phase_is_evaluated_at_its_end():
    model = built(at_least(5))
    callback = quiet({1: 0.25, 3: 0.5, 5: 0.6}, max_drop=0.01)
    fit(model, callback, eval_data=Images(8, 1), epochs=7, eval_freq=4)
    assert tries(callback.history) == [(1, 0.25, True), (3, 0.5, False), (5, 0.375, True)]


def test_gradients_that_were_gathered_are_put_back_too():
    model, history = run({1: 0.25, 3: 0.5, 5: 0.6}, at_least(5), 7, criterion="taylor")
    assert tries(history) == [(1, 0.25, True), (3, 0.5, False), (5, 0.375, True)]
    assert widths(model)["conv1"] == 5


def test_early_stopping_and_the_best_files_go_back_too():
    values = {8: 0.9, 6: 0.895, 4: 0.5}
    model = built(Falls(lambda now: values[now]))
    stop = paddle.callbacks.EarlyStopping("acc", "max", patience=9, verbose=0)
    callback, best = quiet({1: 0.25, 3: 0.5}, max_drop=0.01), []
    look = At("on_train_end", lambda model, _: best.append(stop.best_value))
    fit(model, [stop, callback, look], eval_data=Images(8, 1), epochs=5, save_dir="save")
    assert best == [0.895], "what it knew before the cut that failed"
    sizes = [record.cost_after.params for record in callback.history]
    names = {path.name for path in Path("save").glob("best_model*.pdparams") if "_before" not in path.name}
    assert names == {
        f"best_model_{callback.history[0].cost_before.params}_params.pdparams",
        "best_model.pdparams",
        f"best_model_{sizes[1]}_params.pdparams",
    }
    assert paddle.load("save/best_model.pdparams")["conv1.weight"].shape[0] == 6


def test_ctrl_c_waits_until_all_is_put_back(monkeypatch):
    put_back, found = Snapshot.put_back, []

    def interrupted(self):
        os.kill(os.getpid(), signal.SIGINT)
        put_back(self)
        found.append(self)

    monkeypatch.setattr(Snapshot, "put_back", interrupted)
    model = built(at_least(5))
    callback = quiet({1: 0.25, 2: 0.5, 3: 0.6}, max_drop=0.01)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(model, callback, eval_data=Images(8, 1), epochs=4)
    finally:
        signal.signal(signal.SIGINT, before)
    assert found and widths(model) == {"conv1": 6, "conv2": 9}
    assert callback.history[1].taken_back
    assert "save" not in vars(model)


def test_people_see_what_was_taken_back(capsys):
    model = built(at_least(5))
    callback = PruneCallback({1: 0.25, 2: 0.5}, max_drop=0.01, log_dir="log")
    fit(model, callback, eval_data=Images(8, 1), epochs=4)
    said, history, why = capsys.readouterr().out, callback.history, "acc 0.5000 is more than 0.01 below 0.9000"
    assert "as far as the metric falls by no more than 0.01" in said
    assert f"The cut of epoch 3 is taken back: {why}." in said
    assert f"It was taken back: {why}." in str(history[1])
    lines = history.table().splitlines()
    assert any(line.split()[:2] == ["3", "back"] for line in lines) and f"epoch 3 back: {why}" in history.table()
    assert any(line.split()[0] == "now" and "43.96K" in line for line in lines)
    history.to_html("run.html")
    page = Path("run.html").read_text(encoding="utf-8")
    assert why in page and "FLOPs 72.43K -&gt; 43.96K" in page
    assert curves("log")["prune/flops"][-1][1] == history[0].cost_after.flops
    assert why in reader("log").get_data("text", "prune/event")[-1].text.encoded_text_string


def test_the_history_comes_back_from_json():
    _, history = run({1: 0.25, 2: 0.5}, at_least(5), 3)
    again = History.from_json(history.to_json())
    assert again == history and again[1].taken_back == history[1].taken_back != ""


def test_evaluations_after_it_belong_to_the_network_that_is_there():
    """The second cut fails, and half of its step is too small to be tried."""
    _, history = run({1: 0.2, 2: 0.218, 4: 0.22}, at_least(52), 6, network=Wide)
    assert tries(history) == [(1, 0.2, True), (2, 0.218, False)]
    assert [[epoch for epoch, _ in record.recovered] for record in history] == [[1, 4, 5], [2, 3]]
    assert history.now is history[0]
    assert history.now.metrics_recovered["acc"] == history.best_at_this_size["acc"] == 0.9
    _, history = run({1: 0.018, 3: 0.02}, Falls(lambda now: now / 65), 5, network=Wide)
    assert [[epoch for epoch, _ in record.recovered] for record in history] == [[1, 2]]
    assert history.best_at_this_size["acc"] == 1.0 and history.metrics_dense["acc"] == 1.0


# What is refused


@pytest.mark.parametrize("max_drop", [0, -0.1, 1, 1.5, True, "0.1", float("nan"), [0.1]])
def test_a_drop_that_is_none_is_refused_at_once(max_drop):
    with pytest.raises(PruneError, match=r"max_drop=...\).*a number between 0 and 1"):
        PruneCallback({1: 0.5}, max_drop=max_drop)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"monitor": "acc"}, "None without max_drop"),
        ({"max_drop": 0.1, "monitor": ""}, "the name of a metric"),
        ({"max_drop": 0.1, "monitor": 3}, "the name of a metric"),
        ({"max_drop": 0.1, "on_cut": print}, "no on_cut beside max_drop"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_once(options, match):
    with pytest.raises(PruneError, match=match):
        PruneCallback({1: 0.5}, **options)


@pytest.mark.parametrize(
    ("options", "data", "metrics", "match"),
    [
        ({}, None, "accuracy", "no evaluation data"),
        ({"eval_data": False}, Images(8, 1), "accuracy", "no evaluation data"),
        ({"monitor": "acc_top5"}, Images(8, 1), "accuracy", "'acc_top5'.*one of 'loss', 'acc'"),
        ({}, Images(8, 1), None, "was given no metric"),
    ],
)
def test_a_run_that_could_not_be_judged_ends_before_it_begins(options, data, metrics, match):
    model = build(metrics=metrics)
    before = end(model)
    with pytest.raises(PruneError, match=match):
        fit(model, quiet({1: 0.5}, max_drop=0.1, **options), eval_data=data)
    assert same(end(model), before)
    assert "save" not in vars(model)


def test_data_that_can_be_read_once_only_is_refused():
    model = build()
    loader = iter(paddle.io.DataLoader(Images(8, 1), batch_size=BATCH))
    with pytest.raises(PruneError, match="can be read once only"):
        fit(model, quiet({1: 0.5}, max_drop=0.1), eval_data=loader)


def test_a_metric_that_is_nan_before_the_first_cut_ends_the_run():
    with pytest.raises(PruneError, match="nan for 'acc'"):
        run({1: 0.5}, Falls(lambda now: float("nan")), 3)


def test_hapis_grad_scaler_goes_back(monkeypatch):
    model = built(at_least(5))
    model._scaler = paddle.amp.GradScaler(init_loss_scaling=8.0) if paddle.is_compiled_with_cuda() else Scaler()
    kept = fit_state.scaler_state(model)
    model._scaler.scale = 2.0
    fit_state.put_scaler_back(model, kept)
    assert model._scaler.state_dict() == kept == {"scale": 8.0}
    fit_state.put_scaler_back(model, None)
    assert model._scaler is None


class Scaler:
    """As much of a GradScaler as is asked for: on a CPU, Paddle's own is switched off and has no state."""

    scale = 8.0

    def state_dict(self):
        return {"scale": self.scale}

    def load_state_dict(self, state):
        self.scale = state["scale"]
