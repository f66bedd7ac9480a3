"""A run that was interrupted ends as one that was not, bitwise, however it was interrupted."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import backbones_attention
import fits
import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hapi_prune
from hapi_prune import PruneCallback, PruneError, PruneWarning, resume
from hapi_prune.internals import random_state
from hapi_prune.training.atomic_save import NOTE, last_complete, read_note

pytestmark = fits.HARMLESS

SCRIPT = Path(fits.__file__).with_name("training_run.py")
KILLS = int(os.environ.get("HAPI_PRUNE_KILLS", "4"))  # a long run sets it to 100 and more


def start(folder, result, *stop):
    command = [sys.executable, str(SCRIPT), str(folder), str(result), *map(str, stop)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()[-2000:]


def result(path):
    found = json.loads(Path(f"{path}.0").read_text(encoding="utf-8"))
    del found["done"]
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing interrupts: its checkpoints, what it ended with, and how many seconds it took."""
    folder, began = tmp_path_factory.mktemp("whole"), time.time()
    finish(start(folder / "ckpt", folder / "end"))
    return folder / "ckpt", result(folder / "end"), time.time() - began


@pytest.mark.slow
def test_a_run_in_parts_ends_as_one_run(whole, tmp_path):
    for stop in (2, 3):  # between cuts, and right before one
        finish(start(tmp_path / "ckpt", tmp_path / "end", stop))
    finish(start(tmp_path / "ckpt", tmp_path / "end"))
    assert result(tmp_path / "end") == whole[1]
    names = {path.name for path in (tmp_path / "ckpt").iterdir()}
    assert {f"{epoch}{suffix}" for epoch in range(8) for suffix in (".pdparams", ".pdopt", NOTE)} <= names


@pytest.mark.slowest
def test_kill_9_at_any_moment(whole, tmp_path):
    """Inside a cut, inside a save, between two files of a checkpoint: wherever it hits."""
    moments = random.Random(0 if KILLS < 10 else None)
    killed = runs = 0
    while killed < KILLS or runs == 0:
        process = start(tmp_path / str(runs), tmp_path / "end")
        try:
            _, errors = process.communicate(timeout=moments.uniform(0.3, 1.0) * whole[2] if killed < KILLS else 300)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
            continue
        assert process.returncode == 0, errors.decode()[-2000:]
        if (tmp_path / "end.0").exists():  # else the last kill hit after the last checkpoint
            assert result(tmp_path / "end") == whole[1]
            (tmp_path / "end.0").unlink()
        runs += 1


@pytest.mark.parametrize("what", ["half of the weights", "half of the note", "no weights", "another note"])
def test_the_last_complete_checkpoint_counts(whole, tmp_path, what):
    folder = tmp_path / "ckpt"
    shutil.copytree(whole[0], folder)
    assert last_complete(str(folder)) == str(folder / "7")
    weights, note = folder / "7.pdparams", folder / f"7{NOTE}"
    if what == "half of the weights":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif what == "half of the note":
        note.write_text(note.read_text(encoding="utf-8")[:-50], encoding="utf-8")
    elif what == "no weights":
        weights.unlink()
    else:
        shutil.copy(folder / f"6{NOTE}", note)
    assert last_complete(str(folder)) == str(folder / "6")
    with pytest.raises(PruneError, match=r"7'.*earlier checkpoint, or the folder"):
        read_note(str(folder / "7"))


def small_model():
    network = paddle.nn.Sequential(
        paddle.nn.Conv2D(3, 4, 3), paddle.nn.ReLU(), paddle.nn.Flatten(), paddle.nn.Linear(400, 5)
    )
    model = paddle.Model(network, [paddle.static.InputSpec([None, 3, 12, 12], "float32", "image")])
    model.prepare(paddle.optimizer.SGD(0.1, parameters=model.parameters()), paddle.nn.CrossEntropyLoss())
    return model


def test_a_folder_without_a_checkpoint_is_said_and_changes_nothing(tmp_path):
    with pytest.warns(PruneWarning, match="no complete checkpoint"):
        assert resume(small_model(), hapi_prune.PruneCallback({1: 0.5}), tmp_path) == 0


@pytest.mark.slow
def test_another_network_is_refused_and_left_alone(whole):
    model = small_model()
    before = {name: tensor.numpy().copy() for name, tensor in model.network.state_dict().items()}
    with pytest.raises(PruneError, match="not one of this Sequential"):
        resume(model, hapi_prune.PruneCallback({1: 0.5}), whole[0] / "7")
    after = model.network.state_dict()
    assert all(np.array_equal(before[name], after[name].numpy()) for name in before)


def test_a_checkpoint_without_a_note_is_refused(tmp_path):
    model = small_model()
    model.save(str(tmp_path / "3"))
    with pytest.raises(PruneError, match="a checkpoint written in a fit with a PruneCallback"):
        resume(model, hapi_prune.PruneCallback({1: 0.5}), tmp_path / "3")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("kind", ["text", "bytes", "one field"])
def test_no_note_does_anything_but_raise_a_prune_error(whole, tmp_path, kind):
    shutil.copytree(whole[0], tmp_path / "ckpt")
    base = tmp_path / "ckpt" / "3"
    note = base.with_name(f"3{NOTE}")
    sane = json.loads(note.read_text(encoding="utf-8"))
    drawn = {
        "text": json_values.map(json.dumps).map(str.encode),
        "bytes": st.binary(max_size=60),
        "one field": st.tuples(st.sampled_from(sorted(sane)), json_values).map(
            lambda pair: json.dumps({**sane, pair[0]: pair[1]}).encode()
        ),
    }[kind]
    model, callback = small_model(), hapi_prune.PruneCallback({1: 0.5})

    @settings(max_examples=int(os.environ.get("HAPI_PRUNE_EXAMPLES", "100")), deadline=None, derandomize=True)
    @given(drawn)
    def refuses(data):
        note.write_bytes(data)
        with pytest.raises(PruneError):  # at the latest since it is one of another network
            resume(model, callback, base)

    refuses()


def test_generators_go_back_to_where_they_were():
    saved = json.loads(json.dumps(random_state.RandomState.now().to_plain()))
    drawn = [(random.random(), np.random.standard_normal(), paddle.rand([2]).numpy().tolist()) for _ in range(2)]
    random_state.restore(saved)
    assert [
        (random.random(), np.random.standard_normal(), paddle.rand([2]).numpy().tolist()) for _ in range(2)
    ] == drawn


@pytest.mark.parametrize("place", ["python", "numpy", "paddle"])
@pytest.mark.parametrize("value", [None, 3, [], [1, 2], [[1, 2, 3, [300]]], ["MT19937", [1], 2, 3, 4.0]])
def test_a_damaged_generator_changes_none(place, value):
    saved = {**random_state.RandomState.now().to_plain(), place: value}
    if place == "paddle" and value == []:
        return  # no device to restore is fine
    before = random_state.RandomState.now().to_plain()
    with pytest.raises(PruneError, match="random generators"):
        random_state.restore(saved)
    assert random_state.RandomState.now().to_plain() == before


OPTIMIZERS = {
    "momentum": lambda parameters: paddle.optimizer.Momentum(0.1, 0.9, parameters=parameters),
    "adamw": lambda parameters: paddle.optimizer.AdamW(0.01, parameters=parameters),
}


class Large(fits.Images):
    """Images of 32 x 32."""

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return np.tile(image, (1, 4, 4)), label


def attention():
    """A transformer whose tokens and heads only the code of its forward holds together, behind a convolution."""
    return backbones_attention.VisionTransformer()


@pytest.mark.slow
# The first of the two runs ends before the second cut, and says so.
@pytest.mark.filterwarnings("ignore:PruneCallback. the schedule goes on to epoch 3:hapi_prune.PruneWarning")
@pytest.mark.parametrize("network", [lambda: fits.Net(0.2), attention], ids=["convolutions", "attention"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_network_built_anew_in_the_same_process_has_other_names_and_resumes_all_the_same(name, network, tmp_path):
    """Paddle numbers its parameters on and on, and the optimizer's file goes by these names."""
    data = fits.Images() if network is not attention else Large()

    def run(epochs, **options):
        model.fit(data, batch_size=fits.BATCH, epochs=epochs, verbose=0, callbacks=[callback], **options)

    ends = []
    for stop in (None, 2):
        for first in (True, False) if stop else (True,):
            paddle.seed(0)
            np.random.seed(0)
            spec = [paddle.static.InputSpec([None, *data[0][0].shape], "float32", "image")]
            model = paddle.Model(network(), spec)
            model.prepare(OPTIMIZERS[name](model.parameters()), paddle.nn.CrossEntropyLoss())
            callback = PruneCallback({1: 0.25, 3: 0.5}, verbose=0)
            if stop and first:
                run(stop, save_dir=str(tmp_path))
            else:
                run(5 - (0 if first else resume(model, callback, tmp_path)))
        state = model._optimizer.state_dict()
        ends.append([fits.weights(model), [t.numpy() for t in state.values() if isinstance(t, paddle.Tensor)]])
    assert fits.same(*ends)
