"""The notebook runs top to bottom on few images, and holds what it printed and drew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
CELLS = json.loads((EXAMPLES / "prune_while_training.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_it_runs_top_to_bottom(tmp_path):
    (tmp_path / "cells.py").write_text("\n".join("".join(cell["source"]) for cell in CODE), encoding="utf-8")
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "cells.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "EPOCHS": "6", "IMAGES": "64"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert process.stdout.count("of the FLOPs removed (asked") == 2, "cuts"
    assert (tmp_path / "pruning.png").stat().st_size > 10_000


def test_it_holds_what_it_printed_and_its_picture():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1)), "run once, top to bottom"
    outputs = [output for cell in CODE for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    assert "Top-1 of the pruned network" in "".join(outputs[-1]["text"])
