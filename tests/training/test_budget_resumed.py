"""A run with an accuracy budget, interrupted at any point, ends as one that was not."""

from __future__ import annotations

import json
import random
import shutil

import paddle
import pytest
from budgets import Wide, adam, at_least, built, tries
from callbacks import quiet
from fits import (
    HARMLESS,
    SHAPE,
    At,
    Images,
    Net,
    end,
    fit,
    momentum,
    same,
    weights,
)

from hapi_prune import Global, PruneError, resume
from hapi_prune.training import fit_state
from hapi_prune.training.atomic_save import BEFORE, read_note

pytestmark = HARMLESS

ONE = [1, *SHAPE]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (adam, {}),
        (momentum, {"criterion": "taylor"}),
        (momentum, {"target": "flops", "scope": Global(cost_power=1.0)}),
        (adam, {"compensate": True}),
    ],
    ids=["adam", "taylor", "flops", "compensated"],
)
def test_a_run_on_a_budget_is_resumed_bitwise_from_any_epoch(optimizer, options, tmp_path):
    """Between cuts, in a phase that will fail, in one that follows it, and after the last."""
    schedule, epochs = {1: 0.25, 2: 0.5, 4: 0.6, 6: 0.7}, 7

    def prepared():
        model = built(at_least(5), optimizer, lambda: Net(0.3))
        watch = [paddle.callbacks.EarlyStopping("acc", "max", patience=99, verbose=0, save_best_model=False)]
        if optimizer is momentum:
            watch.append(paddle.callbacks.ReduceLROnPlateau("acc", patience=2, mode="max", verbose=0))
        return model, quiet(schedule, max_drop=0.01, **options), watch

    def go(start, folder):
        with paddle.utils.unique_name.guard():  # as in a process of its own
            model, callback, watch = prepared()
            done = resume(model, callback, start) if start else 0
            remembered = At("on_train_end", lambda *_: fit_state.callbacks())
            everyone = [*watch, callback, remembered]
            fit(model, everyone, eval_data=Images(8, 1), epochs=epochs - done, save_dir=str(folder))
        history = json.loads(callback.history.to_json())
        for record in history["records"]:
            record["seconds"] = record["notes"] = 0  # what has to be said is said once in a process
        return [end(model), history, remembered.found, model._optimizer.get_lr()]

    whole = go(None, tmp_path / "whole")
    failed = [record["taken_back"] != "" for record in whole[1]["records"]]
    assert True in failed and False in failed
    with_before = {epoch for epoch in range(epochs) if (tmp_path / "whole" / f"{epoch}{BEFORE[0]}").exists()}
    assert with_before == {1, 2, 3, 4, 5, 6}
    assert not list((tmp_path / "whole").glob(".*"))
    for stop in range(epochs):
        folder = tmp_path / str(stop)
        folder.mkdir()
        for file in [*(tmp_path / "whole").glob(f"{stop}.*"), *(tmp_path / "whole").glob(f"{stop}_before.*")]:
            shutil.copy(file, folder)
        random.seed(stop)
        found = go(folder, folder)
        assert found[1] == whole[1], f"resumed after epoch {stop}"
        assert same(found[0]["weights"], whole[0]["weights"]), f"resumed after epoch {stop}"
        if stop < epochs - 1:
            assert same(found[0]["state"], whole[0]["state"]), f"resumed after epoch {stop}"
            assert found[2:] == whole[2:], f"resumed after epoch {stop}"


def test_a_run_that_is_resumed_twice_in_one_phase_ends_alike(tmp_path):
    """The second time, what was before the cut comes from a checkpoint of a run that had itself loaded it."""

    def go(start, folder):
        with paddle.utils.unique_name.guard():
            model, callback = built(at_least(5), adam, lambda: Net(0.3)), quiet({1: 0.5, 4: 0.6}, max_drop=0.01)
            done = resume(model, callback, start) if start else 0
            fit(model, callback, eval_data=Images(8, 1), epochs=5 - done, save_dir=str(tmp_path / folder))
        return end(model), tries(callback.history)

    ends = [go(None, "0"), go(tmp_path / "0/1", "1"), go(tmp_path / "1/2", "2"), go(tmp_path / "2/3", "3")]
    assert ends[0][1] == [(1, 0.5, False), (4, 0.25, True)]
    assert all(same(list(ends[0]), list(each)) for each in ends)


@pytest.mark.parametrize("evaluated", [True, False])
def test_a_run_that_was_killed_before_its_last_cut_was_judged_is_judged_once_it_is_resumed(evaluated, tmp_path):
    model, callback = built(at_least(5)), quiet({1: 0.25, 3: 0.5}, max_drop=0.01)
    fit(model, callback, eval_data=Images(8, 1), epochs=5, save_dir=str(tmp_path))
    ended, history = weights(model), callback.history
    note = tmp_path / "4.prune.json"
    if not evaluated:  # killed right after the checkpoint was written, before the evaluation that follows it
        said = json.loads(note.read_text(encoding="utf-8"))
        kept = json.loads(said["history"])
        kept["evaluations"].pop()
        kept["records"][1]["recovered"].pop()
        note.write_text(json.dumps({**said, "history": json.dumps(kept), "evaluate": True}), encoding="utf-8")
    model, callback = built(at_least(5)), quiet({1: 0.25, 3: 0.5}, max_drop=0.01)
    assert resume(model, callback, tmp_path / "4") == 5
    fit(model, callback, eval_data=Images(8, 1), epochs=0)
    assert same(weights(model), ended)
    assert tries(callback.history) == tries(history)


def test_the_note_says_what_is_known_and_a_damaged_one_is_refused(tmp_path):
    model, callback = built(at_least(5)), quiet({1: 0.25, 2: 0.5, 3: 0.6}, max_drop=0.01)
    fit(model, callback, eval_data=Images(8, 1), epochs=4, save_dir=str(tmp_path))
    budget = read_note(str(tmp_path / "3"))["budget"]
    assert {name: budget[name] for name in ("monitor", "dense", "held", "failed", "tried")} == {
        "monitor": "acc",
        "dense": 0.9,
        "held": 0.25,
        "failed": 0.5,
        "tried": 0.375,
    }
    path = tmp_path / f"3{BEFORE[0]}"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(PruneError, match="is not the file that the note was written for"):
        resume(built(at_least(5)), quiet({1: 0.25, 2: 0.5, 3: 0.6}, max_drop=0.01), tmp_path / "3")
    model, other = built(at_least(5)), quiet({1: 0.25, 2: 0.5, 3: 0.6}, max_drop=0.01, monitor="loss")
    resume(model, other, tmp_path / "2")
    with pytest.raises(PruneError, match="a run that has gone by 'acc'"):
        fit(model, other, eval_data=Images(8, 1), epochs=2)


def test_a_checkpoint_that_is_written_again_has_nothing_left_of_an_older_one(tmp_path):
    """The first cut fails, and half of it would be too small a step: from then on no cut is provisional."""
    model, seen = built(at_least(65), network=Wide), []

    def save(model, epoch):
        model.save(str(tmp_path / "last"))
        files = [path.suffix for path in tmp_path.iterdir() if "_before" in path.name]
        seen.append((len(files), "_before.pdparams" in read_note(str(tmp_path / "last"))["files"]))

    fit(model, [quiet({1: 0.018, 3: 0.02}, max_drop=0.01), At("on_epoch_end", save)], eval_data=Images(8, 1), epochs=4)
    assert seen == [(0, False), (2, True), (2, True), (0, False)]
