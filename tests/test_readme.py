"""Every code block of the README runs, in order, in one session; what it says is printed is printed. In Chinese too."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import paddle
import pytest
from languages import numbers, quoted, shape, turned_to_each_other

import hapi_prune

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "README_CN.md")

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


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page):
    return re.findall(r"```(python|text)\n(.*?)```", text_of(page), re.S)


@pytest.mark.slow
@pytest.mark.smoke
def test_every_code_block_runs_and_prints_what_it_says(tmp_path, monkeypatch):
    """Those of the Chinese page are the same, see `test_both_languages_say_the_same`."""
    monkeypatch.chdir(tmp_path)
    session = {"train": Digits(), "val": Digits(), "PruneCallback": hapi_prune.PruneCallback}
    printed = ""
    for kind, text in blocks("README.md"):
        if kind == "text":
            assert printed.strip() == text.strip()
            continue
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(text, "README.md", "exec"), session)
        printed = out.getvalue()
    assert [len(record.plan.kept) for record in session["callback"].history] == [2, 2, 2]


def test_the_readme_has_code():
    assert [kind for kind, _ in blocks("README.md")].count("python") >= 3


@pytest.mark.parametrize("page", PAGES)
def test_what_it_links_to_is_there(page):
    links = re.findall(r"\]\(([^)#]+)\)", text_of(page))
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_both_languages_say_the_same():
    """The same code but for its comments, the same headings, tables, links, names, numbers and printed runs."""
    english, chinese = (ROOT / page for page in PAGES)
    assert shape(chinese) == shape(english)
    assert quoted(chinese) == quoted(english)
    assert numbers(chinese) == numbers(english)
    assert turned_to_each_other(english, chinese)
