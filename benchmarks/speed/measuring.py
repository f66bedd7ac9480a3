"""What all speed benchmarks share: sides measured in turn, medians, the machine, JSON, memory at its peak."""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
ROOT = HERE.parent.parent
PACKAGES = ("paddlepaddle", "numpy", "visualdl")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def arguments(text: str | None, repeats: int = 5) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes; ``text``: its docstring."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats, help="rounds of all sides (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (default: %(default)s)")
    return parser


def in_turn(
    sides: Mapping[str, Callable[[], float]], repeats: int, limit: float = 0.0, warm: bool = True
) -> dict[str, list[float]]:
    """What each side returns, round by round, every other round in reverse order.

    Args:
        sides: functions that measure once.
        repeats: rounds that count.
        limit: no further round is begun after so many seconds; 0 for none.
        warm: whether there is a round before that does not count.
    """
    for side in sides.values() if warm else ():
        side()
    found: dict[str, list[float]] = {name: [] for name in sides}
    start = time.perf_counter()
    for number in range(repeats):
        if number and limit and time.perf_counter() - start > limit:
            break
        for name in list(sides)[:: -1 if number % 2 else 1]:
            found[name].append(sides[name]())
    return found


def seconds(function: Callable[[], object]) -> Callable[[], float]:
    """A function that calls ``function`` and returns how long that took."""

    def measure() -> float:
        gc.collect()
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return measure


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median of ``theirs`` divided by that of ``ours``: how many times as fast we are."""
    return median(theirs) / median(ours)


def save(out: Path, name: str, found: Mapping[str, Any], started: float, **more: Any) -> None:
    """Write what was found, with all that is needed to judge it.

    Args:
        out: the folder.
        name: of the benchmark.
        found: the results.
        started: when it began, as ``time.time()`` gives it.
        more: settings.
    """
    words = [Path(sys.argv[0]).resolve().relative_to(ROOT).as_posix(), *sys.argv[1:]]
    told = {
        "benchmark": name,
        "command": " ".join(["python", *words]),
        "minutes": round((time.time() - started) / 60, 1),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **versions(PACKAGES), **commit()},
        **more,
        **found,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"{name}: {told['minutes']} minutes", flush=True)


def machine() -> dict[str, Any]:
    """The processor, and whether it had other things to do."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    threads = {name: os.environ[name] for name in THREADS if name in os.environ}
    return {"cpu": cpu, "cores": os.cpu_count(), "load": [round(each, 1) for each in os.getloadavg()], **threads}


def versions(names: Sequence[str]) -> dict[str, str]:
    """The versions of the packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # noqa: PERF203  # it is left out
            continue
    return found


def commit() -> dict[str, str]:
    """The commit of this checkout; empty where there is none."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {"commit": done.stdout.strip()} if not done.returncode else {}


def fresh(script: str, *words: object) -> dict[str, Any]:
    """What a script prints as JSON in its last line, run in a process of its own with ``words`` as arguments.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    command = [sys.executable, "-W", "ignore", script, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def settle() -> None:
    """Give back what is free, so that what is used is what is needed. Linux with glibc only, like `peak`."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew


def peak() -> int:
    """Most bytes of memory that this process has had since `settle`."""
    return _status("VmHWM")


def now() -> int:
    """Bytes of memory that this process has."""
    return _status("VmRSS")


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))
