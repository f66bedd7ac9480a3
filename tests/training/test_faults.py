"""Every fault while a run trains: what was saved stays, a cut is whole or not there, and the next run goes through."""

from __future__ import annotations

import errno
import functools
import glob
import itertools
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import paddle
import pytest
from daily import slow, some
from fits import HARMLESS, SHAPE, At, Images, build, end, fit, same, widths

import hapi_prune
from hapi_prune import PruneCallback, PruneWarning, load, prune, resume
from hapi_prune.cutting import interrupts
from hapi_prune.plan import Reason, ReasonKind
from hapi_prune.training.atomic_save import NOTE, last_complete, read_note

pytestmark = HARMLESS


@pytest.fixture(scope="module", autouse=True)
def ctrl_c():
    """Python's own answer to ctrl-C, which a process started in the background comes without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


ONE = [1, *SHAPE]


def adamw(parameters):
    return paddle.optimizer.AdamW(0.01, parameters=parameters, weight_decay=0.1)


def quiet(schedule, **options):
    return PruneCallback(schedule, verbose=0, **options)


def resumed(folder, total=4):
    """A new process, as far as Paddle's names go, that goes on with the last complete checkpoint."""
    with paddle.utils.unique_name.guard():
        model, callback = build(optimizer=adamw), quiet({1: 0.25, 2: 0.5})
        done = resume(model, callback, folder)
        fit(model, callback, epochs=total - done, save_dir=folder, eval_data=Images(8, 1))
        return done, end(model)


@functools.cache
def unhurt():
    """What a run of 4 epochs with two cuts ends with."""
    with paddle.utils.unique_name.guard():
        model = build(optimizer=adamw)
        fit(model, quiet({1: 0.25, 2: 0.5}), epochs=4, eval_data=Images(8, 1))
        return end(model)


# The disk is full


def full(monkeypatch, owner, name, when):
    """Call number ``when`` of a function finds the disk full."""
    calls, real = itertools.count(), getattr(owner, name)

    def fails(*args, **options):
        if next(calls) == when:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **options)

    monkeypatch.setattr(owner, name, fails)


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


# In each epoch: two files, three times forced to disk and renamed, then the folder; and the note once more after the
# evaluation. What is counted here begins with the second epoch.
PLACES = [(paddle, "save", 2 + k) for k in range(2)]
PLACES += [(os, "fsync", 6 + k) for k in range(6)]
PLACES += [(os, "replace", 4 + k) for k in range(4)]
PLACES += [(Path, "write_text", 2 + k) for k in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[1]} {place[2]}")
def test_a_full_disk_costs_the_checkpoint_that_is_being_written_and_no_other(place, monkeypatch):
    """The error is the user's: a run that cannot save is of no use. What was complete before still is."""
    model, owner = build(optimizer=adamw), place[0]  # under names of its own, see conftest.py
    first = At("on_epoch_begin", lambda model, epoch: epoch == 1 and files("save"))
    with monkeypatch.context() as patch:
        full(patch, *place)
        with pytest.raises(OSError, match="No space left"):
            fit(model, [first, quiet({1: 0.25, 2: 0.5})], epochs=4, save_dir="save", eval_data=Images(8, 1))
    left = files("save")
    assert {name: left.get(name) for name in first.found[1]} == first.found[1]
    assert not [name for name in left if name.startswith(".")], "a draft was left"
    assert read_note("save/0")["epoch"] == 0
    done, ended = resumed("save")
    assert done == (2 if complete_after(owner, place) else 1)
    assert same(ended, unhurt())


def complete_after(owner, place):
    """Whether the checkpoint of the second epoch was complete before the fault hit."""
    return place[1:] in {("fsync", 9), ("fsync", 10), ("fsync", 11), ("replace", 7), ("write_text", 3)}


def test_a_disk_that_really_is_full():
    """A file system of its own, with room for one checkpoint and a half."""
    os.mkdir("small")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", "small"], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"needs the right to mount: {made.stderr.strip()}")
    try:
        with pytest.raises(OSError, match="No space left"):
            fit(build(optimizer=adamw), quiet({1: 0.25}), epochs=20, save_dir="small")
        last = last_complete("small")
        assert last is not None
        assert not [name for name in os.listdir("small") if name.startswith(".")]
        model, callback = build(optimizer=adamw), quiet({1: 0.25})
        assert resume(model, callback, "small") == int(os.path.basename(last)) + 1
    finally:
        subprocess.run(["umount", "small"], check=True)


def test_a_file_size_limit_stops_the_run_and_leaves_no_half_file():
    """The same for the system's own error, where nobody may mount."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def shut(model, epoch):
        if epoch == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    try:
        with pytest.raises(OSError, match="File too large"):
            fit(build(), [quiet({1: 0.25}), At("on_epoch_begin", shut)], save_dir="save")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(files("save")) == [f"0{suffix}" for suffix in (".pdopt", ".pdparams", NOTE)]
    assert last_complete("save") == "save/0"


def test_a_checkpoint_that_is_written_again_is_the_old_or_the_new_one(monkeypatch):
    """As ``best_model`` is: the old one goes only when the new one is there."""
    model, saved = build(), []

    def again(model, epoch):
        if epoch < 2:
            model.save("best")
            saved.append(files("."))
            return
        with monkeypatch.context() as patch:
            full(patch, Path, "write_text", 0)
            with pytest.raises(OSError, match="No space left"):
                model.save("best")
        saved.append(files("."))

    fit(model, [quiet({1: 0.25}), At("on_epoch_end", again)])
    assert saved[0] != saved[1]
    assert saved[1] == saved[2]
    assert read_note("best")["epoch"] == 1


# VisualDL fails


def broken_writer(monkeypatch, method, after):
    from visualdl import LogWriter

    calls, real = itertools.count(), getattr(LogWriter, method)

    def fails(self, *args, **options):
        if next(calls) >= after:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, *args, **options)

    monkeypatch.setattr(LogWriter, method, fails)


@pytest.mark.parametrize(
    ("method", "after"),
    [
        ("add_scalar", 7),
        slow("add_scalar", 0),
        slow("add_text", 0),
        slow("add_image", 1),
        slow("add_hparams", 0),
        slow("flush", 5),
    ],
)
def test_a_writer_that_fails_midway_is_said_once_and_training_goes_on(method, after, monkeypatch):
    ends = []
    for fails in (True, False):
        model = build(optimizer=adamw)
        with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", PruneWarning)
            if fails:
                broken_writer(patch, method, after)
            fit(model, quiet({1: 0.25, 2: 0.5}, log_dir=f"log{fails}"), epochs=4, eval_data=Images(8, 1))
        said = [str(each.message) for each in said if each.category is PruneWarning]
        assert len(said) == fails
        assert all("Input/output error" in text and "Training goes on" in text for text in said)
        ends.append(end(model))
    assert same(*ends)


@pytest.mark.parametrize("obstacle", ["a file", "a link to nowhere", "no right to write"])
def test_a_log_directory_that_cannot_be_made(obstacle):
    log = Path("log")
    if obstacle == "a file":
        log.write_text("mine", encoding="utf-8")
    elif obstacle == "a link to nowhere":
        log.symlink_to("/proc/nowhere")
    else:
        log.mkdir(mode=0o500)
        if os.access(log, os.W_OK):
            pytest.skip("this user may write everywhere")
    model, callback = build(), quiet({1: 0.5}, log_dir="log")
    with pytest.warns(PruneWarning, match=r"PruneCallback\(log_dir='log'\).*Training goes on") as said:
        fit(model, callback, eval_data=Images(8, 1))
    assert len([each for each in said if each.category is PruneWarning]) == 1
    assert widths(model) == {"conv1": 4, "conv2": 6}
    if obstacle == "a file":
        assert log.read_text(encoding="utf-8") == "mine"


# Another callback fails


class Failing(paddle.callbacks.Callback):
    def __init__(self, hook, error):
        super().__init__()
        setattr(self, hook, self.fail)
        self.error, self.calls = error, 0

    def fail(self, *args):
        self.calls += 1
        if self.calls >= (1 if "train_begin" in str(args) else 2):
            raise self.error("stop")


HOOKS = ["on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end"]
HOOKS += ["on_eval_begin", "on_eval_batch_begin", "on_eval_batch_end", "on_eval_end"]


@pytest.mark.parametrize("hook", some(HOOKS, first=3))
def test_after_an_error_of_another_callback_all_is_as_found(hook):
    """Hapi then tells nobody that the run has ended."""
    callback, failing = quiet({0: 0.25, 1: 0.5}, log_dir="log"), Failing(hook, ValueError)
    model, last = build(), HOOKS.index(hook) % 2  # of each pair of hooks, one behind ours and one before it
    before = set(vars(model))
    with pytest.raises(ValueError, match="stop"):
        fit(model, [callback, failing] if last else [failing, callback], eval_data=Images(8, 1))
    assert set(vars(model)) - before <= {"stop_training", "num_iters", "_accumulate"}
    assert model.save.__func__ is paddle.Model.save
    assert "prune/run" in tags("log", "image")  # the report is closed: that is its last picture
    model.save("mine")
    assert sorted(glob.glob("mine*")) == ["mine.pdopt", "mine.pdparams"]
    fit(model, callback, eval_data=Images(8, 1))
    assert [record.epoch for record in callback.history] == [0, 1]
    assert "save" not in vars(model)


@pytest.mark.slow
@pytest.mark.parametrize("hook", ["on_train_begin", "on_train_end"])
@pytest.mark.parametrize("last", [True, False])
def test_after_an_error_at_the_beginning_or_the_end(hook, last):
    callback, failing = quiet({1: 0.5}, log_dir="log"), Failing(hook, ValueError)
    failing.calls = 1
    model = build()
    with pytest.raises(ValueError, match="stop"):
        fit(model, [callback, failing] if last else [failing, callback])
    assert "save" not in vars(model)
    fit(model, callback)
    assert len(callback.history) == 1


def test_an_error_that_is_kept_does_not_make_saving_ours():
    """A traceback holds on to all of the run that it is of."""
    model, callback = build(), quiet({1: 0.5})
    kept = []
    try:
        fit(model, [callback, Failing("on_train_batch_end", ValueError)], save_dir="save")
    except ValueError as error:
        kept.append(error)
    assert "save" in vars(model)
    model.save("7")
    assert sorted(glob.glob("7*")) == ["7.pdopt", "7.pdparams"]
    fit(model, callback, save_dir="save")  # a second run, and then the first one's error goes
    seen = At("on_epoch_end", lambda model, epoch: epoch == 1 and kept.clear())
    fit(model, [callback, seen], save_dir="save")
    assert read_note("save/2")["epoch"] == 2
    assert "save" not in vars(model)


def tags(folder, kind):
    from visualdl import LogReader

    (file,) = glob.glob(f"{folder}/*vdlrecords*")
    return LogReader(file_path=file).get_tags().get(kind, [])


# Ctrl-C in the middle of a cut


def trained():
    """A model between two epochs, with gradients left over as an accumulation leaves them."""
    model = build(optimizer=adamw)
    fit(model, epochs=1, shuffle=False)
    batch = [np.stack(part) for part in zip(*[Images()[number] for number in range(4)])]
    model.train_batch([batch[0]], [batch[1]], update=False)
    return model


def everything(model):
    """Weights, gradients, state, attributes: what a cut changes."""
    layers = model.network.sublayers()
    told = ("_in_channels", "_out_channels", "_num_features", "in_features", "out_features")
    return {
        **end(model),
        "gradients": {n: p.grad.numpy().copy() for n, p in model.network.named_parameters() if p.grad is not None},
        "sizes": [{name: getattr(layer, name) for name in told if hasattr(layer, name)} for layer in layers],
        "modes": [layer.training for layer in layers],
        "handler": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    }


def events_of(act, only=None):
    """How many lines of ours ``act`` runs through; at line number ``only``, SIGINT arrives."""
    count, home = itertools.count(), os.path.dirname(hapi_prune.__file__)

    def trace(frame, event, arg):
        if not frame.f_code.co_filename.startswith(home):
            return None
        if event == "line" and next(count) == only:
            os.kill(os.getpid(), signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(None)
    return next(count)


@pytest.fixture(scope="module")
def cut_states():
    """A model before and after a cut, and how many lines the cut is."""
    with paddle.utils.unique_name.guard():
        model = trained()
        before = everything(model)
        prune(model.network, ONE, 0.5, optimizer=model._optimizer)
        after = everything(model)
        model = trained()
        lines = events_of(lambda: prune(model.network, ONE, 0.5, optimizer=model._optimizer))
    return before, after, lines


PARTS_OF_A_CUT = int(os.environ.get("HAPI_PRUNE_INTERRUPTS", "40"))  # a long run sets it to some thousand


@pytest.mark.slowest
def test_ctrl_c_at_any_line_of_a_cut(cut_states):
    """Complete or undone: weights, gradients, state and attributes, bit by bit."""
    before, after, lines = cut_states
    moments = random.Random(0)
    found = Counter()
    start = lines // 3  # the first part only looks
    for number in range(PARTS_OF_A_CUT):
        model = trained()
        act = functools.partial(prune, model.network, ONE, 0.5, optimizer=model._optimizer)
        try:
            events_of(act, moments.randrange(0 if number % 10 == 0 else start, lines))
        except KeyboardInterrupt:
            found["stopped"] += 1  # a cut may be some lines shorter where something is known already
        now = everything(model)
        found["complete" if same(now, after) else "undone" if same(now, before) else "between"] += 1
    assert found["stopped"] >= PARTS_OF_A_CUT - 2, found
    assert found["between"] == 0, found
    assert found["undone"] > 0, found


def test_ctrl_c_again_and_again_while_a_cut_is_taken_back(cut_states, monkeypatch):
    """At every single write of the undoing."""
    from hapi_prune.cutting import verify_outputs
    from hapi_prune.internals import tensors as storage

    real, model = storage.become, trained()

    def become(*args):
        if refused:
            os.kill(os.getpid(), signal.SIGINT)
        real(*args)

    def attempt(*args):
        refused.append(True)
        raise verify_outputs.Refused(Reason(ReasonKind.OTHER_VALUES, "for the test"))

    refused = []
    monkeypatch.setattr(storage, "become", become)
    monkeypatch.setattr(verify_outputs, "attempt", attempt)
    with pytest.raises(KeyboardInterrupt):
        prune(model.network, ONE, 0.5, optimizer=model._optimizer)
    assert refused
    assert same(everything(model), cut_states[0])


@pytest.mark.parametrize("seconds", [0.002, 0.005, 0.01, 0.02, 0.05, 0.1])
def test_ctrl_c_by_the_clock_in_a_fit(seconds):
    """The history knows of the cut if it was made, and only then; and the next run goes through."""
    model, callback = build(optimizer=adamw), quiet({1: 0.25, 2: 0.5})
    before = At("on_epoch_begin", lambda model, epoch: end(model))

    def wait(model, epoch):  # for an alarm that comes after the cut
        if epoch == 2:
            time.sleep(0.3)

    def start(model, epoch):
        if epoch == 2:
            signal.signal(signal.SIGALRM, lambda number, frame: signal.raise_signal(signal.SIGINT))
            signal.setitimer(signal.ITIMER_REAL, seconds)

    try:
        fit(model, [before, At("on_epoch_begin", start), callback, At("on_epoch_begin", wait)])
    except KeyboardInterrupt:
        assert widths(model)  # wherever it hit
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    made = len(callback.history) == 2
    assert widths(model) == ({"conv1": 4, "conv2": 6} if made else {"conv1": 6, "conv2": 9})
    if not made:
        assert same(end(model), before.found[2])
    fit(model, callback)
    assert [record.epoch for record in callback.history] == [1, 2]


def test_ctrl_c_right_after_a_cut_does_not_make_the_history_forget_it(monkeypatch):
    model, callback = build(), quiet({1: 0.5}, eval_data=False)
    monkeypatch.setattr(
        "hapi_prune.training.paddle_model.wrap_again", lambda model: os.kill(os.getpid(), signal.SIGINT)
    )
    with pytest.raises(KeyboardInterrupt):
        fit(model, callback)
    assert widths(model) == {"conv1": 4, "conv2": 6}
    assert [record.epoch for record in callback.history] == [1]


def test_ctrl_c_while_a_checkpoint_is_loaded(monkeypatch):
    models = []
    for _ in range(2):
        with paddle.utils.unique_name.guard():
            models.append(trained())
    pruned, dense = models
    fit(dense, epochs=1)
    prune(pruned.network, ONE, 0.5, optimizer=pruned._optimizer)
    pruned.save("pruned")
    before = end(dense)

    real = type(dense._optimizer).set_state_dict

    def stop(*args):  # when everything is in its place
        real(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(dense._optimizer), "set_state_dict", stop)
        with pytest.raises(KeyboardInterrupt):
            load(dense, "pruned")
    assert same(end(dense), before)
    load(dense, "pruned")
    assert same(end(dense)["weights"], end(pruned)["weights"])


def test_signals_have_their_own_handlers_again():
    heard = []
    old = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    mine = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        with interrupts.held():
            signal.raise_signal(signal.SIGTERM)
            assert heard == []
            with interrupts.let_through():
                assert heard == [signal.SIGTERM]
                signal.raise_signal(signal.SIGTERM)
                assert len(heard) == 2
            with interrupts.held():  # one inside of another
                signal.raise_signal(signal.SIGTERM)
            assert len(heard) == 2
        assert len(heard) == 3
        assert {number: signal.getsignal(number) for number in signal.valid_signals()} == mine
        with pytest.raises(KeyboardInterrupt), interrupts.held():  # noqa: PT012  # how far it comes is the test
            signal.raise_signal(signal.SIGINT)
            heard.append("went on")
        assert heard[-1] == "went on"
        assert {number: signal.getsignal(number) for number in signal.valid_signals()} == mine
    finally:
        signal.signal(signal.SIGTERM, old)


def test_a_signal_waits_for_the_handler_of_the_one_before():
    """From the moment that a handler is called, whatever it stops can be taken back without another one."""
    heard = []

    def handler(number, frame):
        heard.append("in")
        if len(heard) == 1:
            signal.raise_signal(signal.SIGTERM)
        heard.append("out")

    old = signal.signal(signal.SIGTERM, handler)
    try:
        with interrupts.held(), interrupts.let_through():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, old)
    assert heard == ["in", "out", "in", "out"]


def test_in_another_thread_nothing_is_held():
    found = []

    def run():
        model = trained()
        with interrupts.held(), interrupts.let_through():
            prune(model.network, ONE, 0.5, optimizer=model._optimizer)
        found.append(widths(model))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [{"conv1": 4, "conv2": 6}]


# A worker of the DataLoader dies


WORKER = """
import os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, paddle
sys.path.insert(0, {support!r})
from fits import BATCH, Images, build, fit, weights
import hapi_prune

class Deadly(Images):
    def __getitem__(self, index):
        if paddle.io.get_worker_info() is not None and os.path.exists("die") and index == 9:
            os.unlink("die")
            os._exit(1)
        return super().__getitem__(index)

class Trap(paddle.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2 and sys.argv[1] == "die":
            open("die", "w").close()

model = build()
callback = hapi_prune.PruneCallback({{1: 0.25, 2: 0.5}}, verbose=0)
done = hapi_prune.resume(model, callback, "save") if os.path.isdir("save") else 0
loader = paddle.io.DataLoader(Deadly(), batch_size=BATCH, num_workers=1, shuffle=False)
print("from", done, flush=True)
fit(model, [callback, Trap()], loader, epochs=4 - done, save_dir="save")
paddle.save(weights(model), sys.argv[2])
"""


@pytest.mark.slow
def test_the_death_of_a_worker_gets_through_and_the_run_can_be_resumed():
    def run(*args):
        script = WORKER.format(support=str(Path(__file__).parent.parent / "support"))
        return subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, timeout=120)

    killed = run("die", "killed")
    assert killed.returncode != 0
    assert "from 0" in killed.stdout
    assert "exit" in killed.stderr.lower()
    assert not os.path.exists("killed")
    assert not [name for name in os.listdir("save") if name.startswith(".")]
    assert run("live", "resumed").stdout.startswith("from 2\n")
    os.rename("save", "old")
    assert run("live", "whole").stdout.startswith("from 0\n")
    ends = [paddle.load(name, return_numpy=True) for name in ("resumed", "whole")]
    assert same(*ends)
