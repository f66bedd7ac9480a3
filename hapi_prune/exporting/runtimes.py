"""The runtimes for a saved program: Paddle Inference, and onnxruntime for ONNX."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import paddle

from ..errors import PruneError, gist
from ..plan import Array
from .program import program_file
from .served import served, timed

INFERENCE, PLAIN, LOADED = "paddle.inference", "paddle.inference without oneDNN", "paddle.jit.load"
ONNX = "onnxruntime"

Tries = Sequence[Mapping[str, Array]]
Run = Callable[[Tries], "list[list[Array]]"]
"""Runs a program on several inputs by name; returns the outputs for each."""


def runtimes(draft: str, onnx: bool) -> list[list[tuple[str, Run]]]:
    """The runtimes for the files. Of each list one must return the right outputs; the default one comes first."""
    if find_spec("paddle.inference") is None:  # a build of Paddle without it
        found = [[(LOADED, lambda tries: loaded(draft, tries))]]
    else:
        files = program_file(draft), f"{draft}.pdiparams"
        default: Run = lambda tries: served(*files, tries, onednn=True)  # noqa: E731
        found = [[(INFERENCE, default), (PLAIN, lambda tries: served(*files, tries, onednn=False))]]
    return [*found, [(ONNX, lambda tries: converted(draft, tries))]] if onnx else found


def latencies(paths: Sequence[str], arrays: Mapping[str, Array], runtime: str) -> dict[str, float]:
    """Milliseconds of a run of each exported program with Paddle Inference; empty without it."""
    if runtime not in (INFERENCE, PLAIN):
        return {}
    files = [(program_file(path), f"{path}.pdiparams") for path in paths]
    return dict(zip(paths, timed(files, arrays, runtime == INFERENCE)))


def loaded(draft: str, tries: Tries) -> list[list[Array]]:
    """What the program returns when Paddle loads it again."""
    network = paddle.jit.load(draft)
    network.eval()
    return [flat_outputs(network(*map(paddle.to_tensor, arrays.values()))) for arrays in tries]


def converted(draft: str, tries: Tries) -> list[list[Array]]:
    """What onnxruntime returns for the file of ONNX."""
    session = needed("onnxruntime").InferenceSession(f"{draft}.onnx", providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return [session.run(None, {name: arrays[name] for name in names}) for arrays in tries]


def flat_outputs(tree: Any) -> list[Array]:
    """The tensors in what a network returned, as arrays."""
    return [leaf.numpy() for leaf in paddle.utils.flatten(tree) if isinstance(leaf, paddle.Tensor)]


def convert(draft: str) -> None:
    """Write the program as ONNX too.

    Raises:
        PruneError: the tools are not there, or cannot.
    """
    tool = needed("paddle2onnx")
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            tool.export(program_file(draft), f"{draft}.pdiparams", f"{draft}.onnx")
    except BaseException as error:  # it ends the process where it cannot go on
        if isinstance(error, KeyboardInterrupt):
            raise
        todo = "leave out onnx=True: Paddle Inference runs the network without a conversion"
        raise PruneError("export(onnx=True)", f"paddle2onnx cannot convert it ({gist(error)})", todo=todo) from error


def needed(name: str) -> Any:
    """Import a module that is no dependency of this library.

    Raises:
        PruneError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        todo = 'pip install "hapi-prune[onnx]"'
        raise PruneError("export(onnx=True)", f"{name} is not installed", todo=todo) from error
