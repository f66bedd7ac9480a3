"""The table of versions in both READMEs is what `scripts/matrix.json` says, and the script knows what it is told."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("matrix", ROOT / "scripts" / "matrix.py")
matrix = importlib.util.module_from_spec(spec)
spec.loader.exec_module(matrix)


@pytest.mark.parametrize("page", matrix.PAGES)
def test_the_table_is_what_the_results_say(page):
    shown = matrix.TABLE.search((ROOT / page).read_text(encoding="utf-8"))
    assert shown.group() == matrix.table(matrix.load())


def test_every_cell_that_was_tried_passed_or_says_why_it_could_not():
    cells = {(cell["paddle"], cell["python"], cell["numpy"]): cell for cell in matrix.load()}
    wanted = {(p, python, numpy) for p in matrix.PADDLES for python in matrix.PYTHONS for numpy in matrix.NUMPYS}
    assert cells
    assert set(cells) <= wanted
    assert {cell["result"] for cell in cells.values()} <= {"passed", "no wheel", "no Python"}
    assert all(cell["said"] for cell in cells.values())
    assert all(re.fullmatch(r"[\d.]+", c["numpy_version"]) for c in cells.values() if c["result"] == "passed")


def test_the_pythons_are_those_that_the_package_declares():
    declared = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert declared == list(matrix.PYTHONS)


def test_a_table_shows_what_passed_what_failed_and_what_was_not_tried():
    cell = {"paddle": "3.0.0", "python": "3.9"}
    cells = [
        {**cell, "numpy": "oldest", "result": "passed", "said": "1 passed", "numpy_version": "1.21.0"},
        {**cell, "numpy": "newest", "result": "failed", "said": "1 failed", "numpy_version": "2.0.2"},
    ]
    row = next(line for line in matrix.table(cells).splitlines() if line.startswith("| 3.0.0"))
    assert row == "| 3.0.0 | ✓ 1.21.0; failed | not run | not run | not run | not run |"


def test_a_python_is_only_found_where_it_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    here = "{}.{}".format(*sys.version_info)
    assert matrix.interpreter(here) is None
    broken = tmp_path / f"python{here}"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert matrix.interpreter(here) is None
    kept = tmp_path / "versions" / f"{here}.1" / "bin" / "python"
    kept.parent.mkdir(parents=True)
    kept.symlink_to(sys.executable)
    assert matrix.interpreter(here) == str(kept)
