"""The experiments on accuracy: what their seeds say they are."""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks" / "accuracy"
MODULES = ("run", "ways", "images", "fading", "show")


@pytest.fixture
def module(monkeypatch):
    """A script of the folder, which imports the others by their names."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")
def test_each_seed_begins_by_itself_and_is_the_same_when_it_is_kept(module, tmp_path):
    run = module("run")
    args = Namespace(out=str(tmp_path), blocks=1, images=8, batch_size=4, rate=0.1, weight_decay=0.0)

    def begun(seed):
        experiment = object.__new__(run.Experiment)  # without the archive of images
        experiment.args, experiment.seed, experiment.steps = args, seed, 2
        images = np.random.default_rng(0).standard_normal((8, 3, 32, 32)).astype("float32")
        experiment.train = (images, np.arange(8).reshape(8, 1))
        network, momentum = experiment.dense(epochs=2, last=1, rate=0.1)
        return [*(tensor.numpy() for tensor in network.state_dict().values()), *momentum]

    first, kept, other = begun(0), begun(0), begun(1)
    assert all(map(np.array_equal, first, kept))
    assert not np.allclose(first[0], other[0])
    assert len(list(tmp_path.glob("*.pkl"))) == 2


def test_runs_are_compared_with_dense_ones_of_the_same_beginning(module):
    show = module("show")

    def made(way, seed, top1, before, one_beginning):
        settings = {"blocks": 1, "epochs": 10, "test_images": 5000}
        return {"way": way, "goal": 0.0, "seed": seed, "top1": top1, "top1_before_the_first_cut": before,
                "top1_after_each_cut": [], "flops_removed": 0.0, "settings": settings,
                "one_beginning": one_beginning}  # fmt: skip

    old = [made("dense", 0, 0.6, 0.39, True), made("dense", 3, 0.7, 0.32, True), made("gradual", 0, 0.65, 0.32, True)]
    new = [made("dense", 0, 0.5, 0.4, False), made("gradual", 0, 0.45, 0.4, False)]
    runs = {(show.network_of(run), run["way"], 0.0): [] for run in [*old, *new]}
    for run in [*old, *new]:
        runs[show.network_of(run), run["way"], 0.0].append(run)
    gradual = [line for line in show.table(runs).splitlines() if "gradual" in line]
    assert [line.split("|")[8].strip() for line in gradual] == ["-5.0", "-5.0"]
    assert "one beginning" in gradual[0]
    assert "one beginning" not in gradual[1]
