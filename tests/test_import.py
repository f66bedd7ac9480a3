"""What `import hapi_prune` loads beyond Paddle: itself. What draws and writes comes when it is used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOADED = """
import json, sys
import paddle
before = set(sys.modules)
import hapi_prune
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def test_importing_loads_nothing_that_draws_or_writes():
    command = [sys.executable, "-W", "ignore", "-c", LOADED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "hapi_prune" in loaded
    assert not loaded & {"visualdl", "matplotlib", "PIL", "pandas", "scipy", "onnxruntime", "paddle2onnx"}
