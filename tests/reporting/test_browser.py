"""The page of a history, opened in a real browser where there is one: the curves are there to see."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest
from fits import HARMLESS, Images, build, fit
from PIL import Image

from hapi_prune import PruneCallback

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
QUIET = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
CURVE = (232, 89, 12)
"""The colour in which the metric is drawn."""

pytestmark = [
    *HARMLESS,
    pytest.mark.slow,
    pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine: apt-get install chromium"),
]


def seen(page, tmp_path):
    """What a person would see of a page, ``[height, width, 3]``."""
    options = [
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1200,3000",
        f"--screenshot={tmp_path}/seen.png",
    ]
    command = [BROWSER, *QUIET.split(), *options, page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120, env={**os.environ, "HOME": str(tmp_path)})
    return np.asarray(Image.open(tmp_path / "seen.png").convert("RGB")).astype(int)


def test_the_page_of_a_history_shows_its_curves(tmp_path):
    model, callback = build(), PruneCallback({1: 0.25, 2: 0.5}, verbose=0)
    fit(model, callback, eval_data=Images(8, 1))
    page = tmp_path / "run.html"
    callback.history.to_html(page)
    image = seen(page, tmp_path)
    drawn = (np.abs(image - CURVE).max(axis=2) < 12).sum()
    assert drawn > 200, f"{drawn} pixels have the colour of the curve"

    bare = tmp_path / "bare.html"
    bare.write_text("<html><body><h1>nothing</h1></body></html>", encoding="utf-8")
    assert not (np.abs(seen(bare, tmp_path) - CURVE).max(axis=2) < 12).any()
