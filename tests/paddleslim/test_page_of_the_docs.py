"""docs/paddleslim.md: every code block runs, in order, in one session, and prints what it says."""

import contextlib
import io
import re
import warnings
from pathlib import Path

import numpy as np
import paddle
import pytest
from fits import HARMLESS

from hapi_prune import PruneWarning

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "paddleslim.md"
TEXT = PAGE.read_text(encoding="utf-8")

pytestmark = HARMLESS


class Colours(paddle.io.Dataset):
    """Images that tell their class by how bright they are."""

    def __getitem__(self, index):
        image = np.random.RandomState(index).standard_normal((3, 32, 32)).astype("float32")
        return image + index % 10, np.array([index % 10])

    def __len__(self):
        return 32


@pytest.mark.slow
def test_every_code_block_runs_and_prints_what_it_says():
    session = {"train": Colours(), "val": Colours(), "np": np}
    printed = ""
    for kind, text in re.findall(r"```(python|text)\n(.*?)```", TEXT, re.S):
        if kind == "text":
            assert printed.strip() == text.strip()
            continue
        with contextlib.redirect_stdout(io.StringIO()) as out, warnings.catch_warnings():
            warnings.simplefilter("error", PruneWarning)  # nothing is left out on the page
            exec(compile(text, str(PAGE), "exec"), session)
        printed = out.getvalue()
    assert session["plan"].pruned_flops == pytest.approx(0.1, abs=0.02)
    assert Path("sensitivities.json").is_file()


def test_what_it_links_to_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert [link for link in links if "://" not in link and not (PAGE.parent / link).exists()] == []
