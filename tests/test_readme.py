"""Every code block of the README runs, in order, in one session; what it says is printed is printed."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import paddle
import pytest

import hapi_prune

README = Path(__file__).resolve().parent.parent / "README.md"

# hapi copies the labels that its own DataLoader made.
pytestmark = pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")


class Digits(paddle.io.Dataset):
    """Images that tell their class: a few pixels that are bright for one of ten."""

    def __getitem__(self, index):
        image = np.random.RandomState(index).standard_normal((1, 28, 28)).astype("float32")
        image[0, index % 10 * 2] += 3
        return image, np.array([index % 10])

    def __len__(self):
        return 128


def blocks():
    return re.findall(r"```(python|text)\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


def test_every_code_block_runs_and_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = {"train": Digits(), "val": Digits(), "PruneCallback": hapi_prune.PruneCallback}
    printed = ""
    for kind, text in blocks():
        if kind == "text":
            assert printed.strip() == text.strip()
            continue
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(text, str(README), "exec"), session)
        printed = out.getvalue()
    assert [len(record.plan.kept) for record in session["callback"].history] == [2, 2, 2]


def test_the_readme_has_code():
    assert [kind for kind, _ in blocks()].count("python") >= 3


def test_what_it_links_to_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if "://" not in link and not (README.parent / link).exists()] == []
