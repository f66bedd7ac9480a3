"""What `import hapi_prune` loads beyond Paddle: itself. What draws and writes comes when it is used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import hapi_prune

ROOT = Path(__file__).resolve().parent.parent
LOADED = """
import json, sys
import paddle
before = set(sys.modules)
import hapi_prune
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


@pytest.mark.slow
def test_importing_loads_nothing_that_draws_or_writes():
    command = [sys.executable, "-W", "ignore", "-c", LOADED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "hapi_prune" in loaded
    assert not loaded & {"visualdl", "matplotlib", "PIL", "pandas", "scipy", "onnxruntime", "paddle2onnx"}


LATER = """
import sys
import hapi_prune
loaded = [name for name in sys.modules if name.startswith("hapi_prune.")]
from hapi_prune import PruneCallback
later = ("hapi_prune.cutting", "hapi_prune.analysis.channel_map", "hapi_prune.diagnostics", "hapi_prune.exporting")
PruneCallback({1: 0.5}, criterion="fpgm", target="flops", log_dir="log")
loaded += [name for name in sys.modules if name.startswith(later)]
missing = [name for name in hapi_prune.__all__ if getattr(hapi_prune, name).__name__ != name]
print(loaded, missing)
"""


@pytest.mark.slow
def test_a_module_is_loaded_when_it_is_needed_and_no_earlier():
    command = [sys.executable, "-W", "ignore", "-c", LATER]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] []"


def test_other_names_are_none():
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = hapi_prune.nothing_of_this_name
