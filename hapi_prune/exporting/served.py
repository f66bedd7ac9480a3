"""Paddle Inference in a process of its own: it may crash, or run for ever, and the training goes on.

This file is also what that process runs, without the rest of the library.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PATIENCE = 300.0
"""So many seconds are waited for."""

Arrays = Mapping[str, Any]


def served(program: str, params: str, tries: Sequence[Arrays], onednn: bool) -> list[list[Any]]:
    """What Paddle Inference returns for each of several inputs by name.

    Args:
        program: the file of the operations.
        params: the file of the parameters.
        tries: the inputs.
        onednn: whether it may use oneDNN, as it does on CPUs by default.

    Raises:
        RuntimeError: it raised, crashed or did not end; the text says which.
    """
    with tempfile.TemporaryDirectory() as folder:
        for number, arrays in enumerate(tries):
            np.savez(f"{folder}/in_{number}.npz", *arrays.values())
        task = {"program": program, "params": params, "names": list(tries[0]), "tries": len(tries), "onednn": onednn}
        Path(folder, "task.json").write_text(json.dumps(task), encoding="utf-8")
        start = f"import runpy, sys; sys.path[:] = {sys.path!r}; sys.argv[1:] = [{folder!r}]"
        code = f"{start}; runpy.run_path({str(Path(__file__).resolve())!r}, run_name='__main__')"
        try:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"no answer in {PATIENCE:.0f} seconds") from error
        if done.returncode:
            raise RuntimeError(done.stderr if done.returncode > 0 else f"it crashed (signal {-done.returncode})")
        return [in_order(f"{folder}/out_{number}.npz") for number in range(len(tries))]


def in_order(path: str) -> list[Any]:
    """The arrays of a file, in the order in which they were given."""
    with np.load(path) as file:
        return [file[f"arr_{number}"] for number in range(len(file.files))]


def main(folder: str) -> None:
    """What the other process does: run the task in ``folder``."""
    from paddle import inference

    task = json.loads(Path(folder, "task.json").read_text(encoding="utf-8"))
    config = inference.Config(task["program"], task["params"])
    config.disable_glog_info()
    if not task["onednn"]:
        config.disable_mkldnn()
    predictor = inference.create_predictor(config)
    for number in range(task["tries"]):
        arrays = dict(zip(task["names"], in_order(f"{folder}/in_{number}.npz")))
        for name in predictor.get_input_names():
            predictor.get_input_handle(name).copy_from_cpu(arrays[name])
        predictor.run()
        outputs = [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]
        np.savez(f"{folder}/out_{number}.npz", *outputs)


if __name__ == "__main__":
    main(sys.argv[1])
