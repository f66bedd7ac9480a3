"""What reaches VisualDL is read back from its files; training never stops for a report."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import paddle
import pytest
from daily import slow
from PIL import Image
from visualdl import LogReader, LogWriter
from visualdl.io.bfile import LocalFileSystem

import hapi_prune
from hapi_prune.errors import PruneWarning
from hapi_prune.internals.hapi_frames import running_callbacks
from hapi_prune.plan import Cost, PruningPlan
from hapi_prune.reporting import plots
from hapi_prune.reporting.dashboard import Dashboard
from hapi_prune.reporting.history import History
from hapi_prune.reporting.record import PruneRecord
from hapi_prune.reporting.visualdl_writer import SharedWriter

# hapi copies the labels in this way, at the first batch of a process.
pytestmark = pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")

DENSE, CUT = Cost(1000, 900, 500, 490), Cost(640, 600, 300, 290)


def record(epoch=1, **other):
    return PruneRecord(
        epoch, 0.2, 0.19, PruningPlan({"a": (0,)}), DENSE, DENSE, CUT, {"conv1": (8, 6), "conv2": (16, 16)},
        {"acc": 0.75, "loss": 0.5}, {"acc": 0.5, "loss": 0.75}, seconds=0.5, **other,
    )  # fmt: skip


class Made(paddle.callbacks.Callback):
    """Stands in for PruneCallback: calls a Dashboard when it would, with made-up records."""

    def __init__(self, log_dir):
        super().__init__()
        self.log_dir = log_dir

    def on_train_begin(self, logs=None):
        self.history = History()
        self.report = Dashboard(self.log_dir)
        self.report.attach()
        self.report.hparams({"criterion": "l1_norm", "batch_size": 4})

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if epoch == 1:
            self.history.add(record(epoch))
            self.report.event(self.history[-1], self.history)

    def on_eval_end(self, logs=None):
        self.history.evaluated(self.epoch, logs)
        self.report.evaluated(self.epoch, logs, CUT if self.history else DENSE, DENSE, 0.19 * len(self.history))

    def on_train_end(self, logs=None):
        self.report.close()


class Points(paddle.io.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return np.full(4, index / 8, "float32"), np.array([index % 2])


def fit(callbacks, epochs=3):
    data = Points()
    model = paddle.Model(paddle.nn.Linear(4, 2))
    model.prepare(paddle.optimizer.SGD(0.1, model.parameters()), paddle.nn.CrossEntropyLoss(), paddle.metric.Accuracy())
    model.fit(data, data, batch_size=4, epochs=epochs, verbose=0, callbacks=callbacks)


def files(log_dir):
    return sorted(name for name in os.listdir(log_dir) if "vdlrecords" in name)


def reader(log_dir):
    """The file that VisualDL's page shows."""
    return LogReader(file_path=os.path.join(log_dir, files(log_dir)[-1]))


def curves(log_dir):
    """Scalars by tag, as ``[(step, value)]``."""
    read = reader(log_dir)
    return {t: [(p.id, p.value) for p in read.get_data("scalar", t)] for t in read.get_tags().get("scalar", [])}


@pytest.mark.slow
@pytest.mark.smoke
def test_everything_is_read_back():
    history = History([record()])
    report = Dashboard("log")
    report.hparams({"criterion": "fpgm"})
    report.evaluated(0, {"acc": 0.75, "loss": [0.5], "batch_size": 4}, DENSE, DENSE, 0.0)
    report.event(history[0], history)
    report.evaluated(1, {"acc": 0.625, "loss": [0.25]}, CUT, DENSE, 0.19)
    flushed = curves("log")  # before anything is closed
    report.close()
    assert curves("log") == flushed
    ratio = float(np.float32(0.19))
    assert flushed == {
        "prune/flops": [(0, 1000), (1, 640)],
        "prune/params": [(0, 500), (1, 300)],
        "prune/flops_kept": [(0, 1), (1, float(np.float32(0.64)))],
        "prune/params_kept": [(0, 1), (1, float(np.float32(0.6)))],
        "prune/ratio": [(0, 0), (1, ratio)],
        "prune/acc": [(0, 0.75), (1, 0.625)],
        "prune/loss": [(0, 0.5), (1, 0.25)],
        "prune/acc_before": [(1, 0.75)],
        "prune/acc_after": [(1, 0.5)],
        "prune/loss_before": [(1, 0.5)],
        "prune/loss_after": [(1, 0.75)],
    }
    read = reader("log")
    (text,) = read.get_data("text", "prune/event")
    assert text.text.encoded_text_string == str(history[0])
    (image,) = read.get_data("image", "prune/widths")
    drawn = np.asarray(Image.open(io.BytesIO(image.image.encoded_image_string)))
    assert (drawn == np.asarray(plots.widths_picture(history[0].widths, history[0].title))).all()
    (run,) = read.get_data("image", "prune/run")
    assert (np.asarray(Image.open(io.BytesIO(run.image.encoded_image_string))) == np.asarray(history.plot())).all()
    assert text.id == image.id == run.id == 1


def hparams(values, metrics=None):
    report = Dashboard("log")
    report.hparams(values)
    if metrics:
        report.evaluated(0, metrics, DENSE, DENSE, 0.0)
    report.close()
    (found,) = reader("log").get_data("hyper_parameters", "hparam")
    shown = {info.name: getattr(info, info.WhichOneof("type")) for info in found.hparam.hparamInfos}
    return shown, [info.name for info in found.hparam.metricInfos]


def test_hyper_parameters_of_any_type_are_kept(capsys):
    given = {"a": 1, "b": 0.5, "c": "l1", "d": True, "e": None, "f": {1: 0.5}, "g": 10**30, "h": np.float32(0.25),
             "i": np.int64(3), "j": float("nan")}  # fmt: skip
    shown = {"a": 1, "b": 0.5, "c": "l1", "d": "True", "f": "{1: 0.5}", "g": str(10**30), "h": "0.25", "i": "3",
             "j": "nan"}  # fmt: skip
    assert hparams(given)[0] == shown
    assert capsys.readouterr().out == ""


def test_hyper_parameters_name_the_metrics_that_are_there():
    metrics = hparams({"a": 1}, {"loss": [0.5], "top%1": 0.5})[1]
    assert metrics == [f"prune/{n}" for n in ("flops_kept", "params_kept", "ratio", "loss", "top_percent1")]
    assert set(metrics) <= curves("log").keys()


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
def test_one_file_holds_the_curves_of_both_callbacks(first, capsys):
    made, theirs = Made("log"), paddle.callbacks.VisualDL("./log/")
    fit([made, theirs] if first else [theirs, made])
    assert len(files("log")) == 1
    found = curves("log")
    assert [step for step, _ in found["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in found["eval/acc"]] == [0, 1, 2]
    assert found["prune/acc"] == found["eval/acc"]
    assert found["prune/flops"] == [(0, 1000), (1, 640), (2, 640)]
    assert not hasattr(theirs, "writer")
    assert capsys.readouterr().out == ""


def test_a_callback_of_another_directory_is_left_alone():
    fit([paddle.callbacks.VisualDL("theirs"), Made("ours")])
    assert {tag.partition("/")[0] for tag in curves("theirs")} == {"train", "eval"}
    assert {tag.partition("/")[0] for tag in curves("ours")} == {"prune"}


def test_a_link_to_the_directory_is_the_same_directory():
    os.mkdir("log")
    os.symlink("log", "link", target_is_directory=True)
    fit([paddle.callbacks.VisualDL("link"), Made("log")])
    assert {tag.partition("/")[0] for tag in curves("log")} == {"train", "eval", "prune"}


@pytest.mark.slow
def test_a_second_fit_continues_the_curves(capsys):
    made = [Made("log"), paddle.callbacks.VisualDL("log")]
    fit(made)
    fit(made, epochs=2)
    assert len(files("log")) == 1
    found = curves("log")
    assert [step for step, _ in found["eval/acc"]] == [0, 1, 2, 3, 4]
    assert [step for step, _ in found["prune/flops"]] == [0, 1, 2, 3, 4]
    assert [step for step, _ in found["prune/acc_after"]] == [1, 4]
    assert [point.id for point in reader("log").get_data("image", "prune/widths")] == [1, 4]
    steps = [step for step, _ in found["train/loss"]]
    assert len(steps) == 10
    assert steps == sorted(set(steps))
    assert capsys.readouterr().out == ""


def test_a_run_that_counts_on_is_not_shifted():
    for epoch in (0, 1):
        report = Dashboard("log")
        report.evaluated(epoch, {"acc": 0.5}, DENSE, DENSE, 0.0)
        report.close()
    assert [step for step, _ in curves("log")["prune/acc"]] == [0, 1]


def test_a_writer_that_is_already_open_stays_visible():
    own = LogWriter("log")
    own.add_scalar("mine", 1.0, 0)
    own.flush()
    report = Dashboard("log")
    report.evaluated(0, {"acc": 0.5}, DENSE, DENSE, 0.0)
    own.add_scalar("mine", 2.0, 1)
    own.close()
    report.close()
    assert curves("log")["mine"] == [(0, 1.0), (1, 2.0)]
    assert curves("log")["prune/acc"] == [(0, 0.5)]


def test_a_callback_that_was_interrupted_joins_again():
    theirs = paddle.callbacks.VisualDL("log")
    theirs.writer = LogWriter("log")
    theirs.writer.add_scalar("train/loss", 1.0, 1)
    theirs.writer.flush()
    fit([theirs, Made("log")])
    assert len(files("log")) == 1
    assert curves("log")["train/loss"][0] == (1, 1.0)
    assert len(curves("log")["train/loss"]) == 7


def old_file(name="vdlrecords.0000000001.log"):
    """A file that another process has written."""
    writer = LogWriter("log", file_name=name)
    writer.add_scalar("prune/acc", 0.25, 7)
    writer.close()
    os.utime(f"log/{name}", (1, 1))


@pytest.mark.parametrize("name", ["vdlrecords.0000000001.log", "vdlrecords.mine.log"])
def test_another_process_gets_a_new_file_and_is_shown(name):
    old_file(name)
    report = Dashboard("log")
    report.evaluated(0, {"acc": 0.5}, DENSE, DENSE, 0.0)
    report.close()
    assert len(files("log")) == 2
    assert curves("log")["prune/acc"] == [(0, 0.5)]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_nothing_is_appended_to_half_a_record(cut):
    old_file()
    os.truncate("log/vdlrecords.0000000001.log", os.path.getsize("log/vdlrecords.0000000001.log") - cut)
    report = Dashboard("log")
    report.evaluated(8, {"acc": 0.5}, DENSE, DENSE, 0.0)
    report.close()
    assert curves("log")["prune/acc"] == [(8, 0.5)]


def test_a_point_is_written_once():
    history = History([record()])
    report = Dashboard("log")
    report.event(history[0], history)
    report.evaluated(1, {}, CUT, DENSE, 0.19)
    report.evaluated(1, {"acc": 0.5}, CUT, DENSE, 0.19)
    report.close()
    assert {tag: len(points) for tag, points in curves("log").items()} == dict.fromkeys(curves("log"), 1)


def test_values_without_a_place_on_a_curve_do_no_harm():
    history = History([record(None)])
    report = Dashboard("log")
    report.event(history[0], history)
    report.evaluated(1, {"acc": float("nan"), "psnr": float("inf"), "note": "text"}, CUT, DENSE, 0.19)
    report.close()
    assert np.isnan(curves("log")["prune/acc"][0][1])
    assert "prune/note" not in curves("log")


def said(caught):
    return [str(warning.message) for warning in caught if warning.category is PruneWarning]


def full(*_args, **_kwargs):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("broken", ["directory", "disk", "writer", "drawing"])
def test_a_failing_report_says_so_once_and_training_goes_on(broken, monkeypatch, capsys):
    if broken == "directory":
        open("log", "w").close()
    elif broken == "disk":
        monkeypatch.setattr(LocalFileSystem, "append", full)
    elif broken == "writer":
        monkeypatch.setattr(LogWriter, "add_text", full)
    else:
        monkeypatch.setattr(plots, "widths_picture", full)
    made = Made("log")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(made)
    assert len(said(caught)) == 1
    assert "PruneCallback(log_dir='log')" in said(caught)[0]
    assert [epoch for epoch, _ in made.history.evaluations] == [0, 1, 2]


def test_an_unwritable_report_leaves_the_other_callback_alone(monkeypatch):
    monkeypatch.setattr(LogWriter, "add_image", full)
    with pytest.warns(PruneWarning):
        fit([Made("log"), paddle.callbacks.VisualDL("log")])
    assert [step for step, _ in curves("log")["train/loss"]] == [1, 2, 3, 4, 5, 6]


def test_a_percent_sign_in_a_tag_is_written_out():
    theirs = paddle.callbacks.VisualDL("log")
    report = Dashboard("log")
    report.attach([theirs])
    theirs.writer.add_scalar(tag="train/top%", value=0.5, step=1)
    report.evaluated(0, {"top%": 0.5}, DENSE, DENSE, 0.0)
    theirs.on_train_end()
    report.close()
    assert {"train/top_percent", "prune/top_percent"} <= curves("log").keys()


def test_callbacks_are_found_only_in_a_run():
    class Look(paddle.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.found = running_callbacks()

    looking = Look()
    assert running_callbacks() == []
    fit(looking, epochs=1)
    assert looking in looking.found
    assert any(isinstance(one, paddle.callbacks.ModelCheckpoint) for one in looking.found)


def test_a_shared_writer_is_closed_by_its_owner_only():
    writer = SharedWriter("log")
    writer.add_scalar("a", 1.0, 0)
    writer.close()
    writer.add_scalar("a", 2.0, 1)
    writer.end()
    writer.close()
    assert curves("log")["a"] == [(0, 1.0), (1, 2.0)]


def dark_bars(image):
    """How many there are, by their upper left corners."""
    dark = np.pad((np.asarray(image) == [28, 93, 153]).all(-1), 1)
    return (dark & ~np.roll(dark, 1, 0) & ~np.roll(dark, 1, 1)).sum()


@pytest.mark.parametrize("layers", [0, 1, 3, slow(45), slow(200)])
def test_the_widths_are_drawn(layers):
    image = plots.widths_picture({f"block{i}.$conv_{i}$.层": (97, 2**i % 53) for i in range(layers)}, "title")
    assert image.mode == "RGB"
    assert dark_bars(image) == layers
    assert image.width <= 2700
    assert image.height <= 1500


def test_more_kept_is_more_dark():
    def dark(kept):
        pixels = np.asarray(plots.widths_picture({"a": (64, kept)}))
        return (pixels == [28, 93, 153]).all(-1).sum()

    assert 0 == dark(0) < dark(16) < dark(32) < dark(64)
    assert dark(32) == pytest.approx(2 * dark(16), rel=0.03)


@pytest.mark.slow
def test_visualdl_and_matplotlib_are_loaded_when_they_are_needed():
    code = "import sys, hapi_prune.reporting.dashboard; print(sorted({'visualdl', 'matplotlib'} & sys.modules.keys()))"
    root = Path(hapi_prune.__file__).parent.parent
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert run.stdout.split("\n")[-2] == "[]"
