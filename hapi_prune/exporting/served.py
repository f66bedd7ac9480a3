"""Paddle Inference in a process of its own, as it may crash or run for ever.

That process runs this file as a script, without the rest of the library.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

PATIENCE = 300.0
"""Seconds until the process is ended."""

ROUNDS = 30
"""How often each program runs to be timed, after one run for warming up."""

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
    with asked([(program, params)], tries, onednn, rounds=0) as folder:
        return [in_order(f"{folder}/out_{number}.npz") for number in range(len(tries))]


def timed(files: Sequence[tuple[str, str]], arrays: Arrays, onednn: bool) -> list[float]:
    """Milliseconds of a run of each of several programs: medians of runs that take turns.

    Args:
        files: for each program the files of its operations and of its parameters.
        arrays: the inputs by name, the same for all programs.
        onednn: as for `served`.

    Raises:
        RuntimeError: as `served`.
    """
    with asked(files, [arrays], onednn, rounds=ROUNDS) as folder:
        return [float(median) for median in np.median(np.load(f"{folder}/seconds.npy"), axis=0) * 1000]


@contextmanager
def asked(files: Sequence[tuple[str, str]], tries: Sequence[Arrays], onednn: bool, rounds: int) -> Iterator[str]:
    """A temporary folder with a task and, within the block, with its results."""
    with tempfile.TemporaryDirectory() as folder:
        for number, arrays in enumerate(tries):
            np.savez(f"{folder}/in_{number}.npz", *arrays.values())
        task = {"files": files, "names": list(tries[0]), "tries": len(tries), "onednn": onednn, "rounds": rounds}
        Path(folder, "task.json").write_text(json.dumps(task), encoding="utf-8")
        run_in_process(folder)
        yield folder


def run_in_process(folder: str) -> None:
    """Run the task in ``folder`` in another process.

    Raises:
        RuntimeError: it raised, crashed or did not end.
    """
    start = f"import runpy, sys; sys.path[:] = {sys.path!r}; sys.argv[1:] = [{folder!r}]"
    code = f"{start}; runpy.run_path({str(Path(__file__).resolve())!r}, run_name='__main__')"
    command = [sys.executable, "-W", "ignore", "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"no answer in {PATIENCE:.0f} seconds") from error
    if done.returncode:
        raise RuntimeError(done.stderr if done.returncode > 0 else f"it crashed (signal {-done.returncode})")


def in_order(path: str) -> list[Any]:
    """The arrays of a file, in the order in which they were saved."""
    with np.load(path) as file:
        return [file[f"arr_{number}"] for number in range(len(file.files))]


def main(folder: str) -> None:
    """Run the task in ``folder``; called in the other process."""
    from paddle import inference

    task = json.loads(Path(folder, "task.json").read_text(encoding="utf-8"))
    predictors = []
    for program, params in task["files"]:
        config = inference.Config(program, params)
        config.disable_glog_info()
        if not task["onednn"]:
            config.disable_mkldnn()
        predictors.append(inference.create_predictor(config))
    for number in range(task["tries"]):
        arrays = dict(zip(task["names"], in_order(f"{folder}/in_{number}.npz")))
        for predictor in predictors:
            for name in predictor.get_input_names():
                predictor.get_input_handle(name).copy_from_cpu(arrays[name])
            predictor.run()
        names = predictors[0].get_output_names()
        np.savez(f"{folder}/out_{number}.npz", *(predictors[0].get_output_handle(n).copy_to_cpu() for n in names))
    seconds = np.zeros([task["rounds"], len(predictors)])
    for turn in range(task["rounds"]):
        for number, predictor in enumerate(predictors):
            begun = time.perf_counter()
            predictor.run()
            seconds[turn, number] = time.perf_counter() - begun
    np.save(f"{folder}/seconds.npy", seconds)


if __name__ == "__main__":
    main(sys.argv[1])
