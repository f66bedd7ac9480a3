"""Every test starts alike: seeded, on the CPU, fresh parameter names, in a directory of its own."""

from __future__ import annotations

import ctypes
import os

if "PYTEST_XDIST_WORKER" in os.environ:  # parallel tests: one thread each, decided before NumPy and Paddle load
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import hypothesis
import numpy as np
import paddle
import pytest

# No deadline: the first example of a test pays for Paddle's start. The same examples in every run of the CI.
hypothesis.settings.register_profile("default", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("default")

TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Lets glibc return free memory to the system: it would keep gigabytes of the networks of earlier tests."""


@pytest.hookimpl(tryfirst=True)  # before `-m` looks for marks
def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("slowest"):
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def _alike(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAPI_PRUNE_CACHE", str(tmp_path / "cache"))
    paddle.set_device("cpu")
    paddle.seed(0)
    np.random.seed(0)
    with paddle.utils.unique_name.guard():
        yield
    if TRIM is not None:
        TRIM(0)
