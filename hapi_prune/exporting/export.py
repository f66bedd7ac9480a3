"""`export`: saves a network as a program that runs without its Python code, and compares it with the network."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ..analysis.cost import cost
from ..analysis.example_input import Example, example
from ..cutting import verify_outputs
from ..errors import PruneError, PruneWarning, gist
from ..internals.layers import Inventory, named_layers
from ..internals.preserve import forwards, quiet, random_generators, training_flags
from ..plan import Array, Cost
from ..reporting import tables
from .program import program_file, save_program, specs_of
from .runtimes import Run, Tries, convert, latencies, runtimes

TOLERANCE = 1e-5
"""Largest difference to the network's own outputs, relative to the largest of them."""

BATCH = 3
"""A second batch size that is tried if the batch size is left open."""


@dataclass(frozen=True)
class ExportReport:
    """What `export` wrote, and how it was proven.

    Attributes:
        path: as given: the files are named after it.
        files: the size of each file in bytes, by its name.
        cost: FLOPs and parameters of the network, at the example input.
        differences: for each runtime that ran the files (``"paddle.inference"``, ``"onnxruntime"``), the largest
            difference to the network's own outputs, relative to the largest of them. ``"paddle.inference without
            oneDNN"``: only after ``config.disable_mkldnn()``, and a warning says why.
        latency: milliseconds of a run with Paddle Inference, by path: of the export that was given as ``beside``, and
            of this one. Empty without ``beside``.
        bytes_beside: how large the files of that one are together; 0 without.

    Example:
        >>> from hapi_prune import Cost, ExportReport
        >>> files = {"net.json": 900, "net.pdiparams": 100}
        >>> made = ExportReport("net", files, Cost(80, 75, 12, 12), {"onnxruntime": 0.0})
        >>> made.bytes
        1000
        >>> print(made)
        net: 1.00K bytes in 2 files, 80 FLOPs, 12 params; onnxruntime returns the network's outputs (difference 0e+00)
    """

    path: str
    files: Mapping[str, int]
    cost: Cost
    differences: Mapping[str, float]
    latency: Mapping[str, float] = field(default_factory=dict)
    bytes_beside: int = 0

    @property
    def bytes(self) -> int:
        """How large the files are together."""
        return sum(self.files.values())

    @property
    def difference(self) -> float:
        """The largest of the differences."""
        return max(self.differences.values())

    def __str__(self) -> str:
        """The report in one line."""
        size = f"{tables.count(self.bytes)} bytes in {len(self.files)} files"
        costs = f"{tables.count(self.cost.flops)} FLOPs, {tables.count(self.cost.params)} params"
        proofs = [f"{by} returns the network's outputs (difference {off:.0e})" for by, off in self.differences.items()]
        return f"{self.path}: {size}, {costs}; {', '.join([*proofs, *self._compared()])}"

    def _compared(self) -> Iterator[str]:
        own = sum(size for name, size in self.files.items() if not name.endswith(".onnx"))
        for path in (path for path in self.latency if path != self.path):
            took = f"{self.latency[self.path]:.3g} ms a run beside {self.latency[path]:.3g} ms of {path}"
            yield f"{took}, {own / self.bytes_beside:.1%} of its bytes"


def export(
    network: paddle.nn.Layer,
    path: str | os.PathLike[str],
    inputs: Any,
    *,
    onnx: bool = False,
    tolerance: float = TOLERANCE,
    beside: str | os.PathLike[str] | None = None,
) -> ExportReport:
    """Save ``network`` for Paddle Inference, and prove that what was saved computes what the network computes.

    The files are written whole or not at all: they take their names after they were run, in a process of their own on
    the CPU, and compared with the network itself in evaluation mode. The network is left as it was.

    Args:
        network: any ``paddle.nn.Layer``, pruned or not.
        path: what the files are named after: ``<path>.json`` and ``<path>.pdiparams``, as ``paddle.jit.save`` does.
        inputs: an example input, as for `prune`. With None for the batch, as in ``[None, 3, 224, 224]``, the program
            takes any batch, and is run at two.
        onnx: also write ``<path>.onnx``, and prove it with onnxruntime; needs ``pip install "hapi-prune[onnx]"``.
        tolerance: the largest difference that is accepted, relative to the network's largest output. It is for
            float32; a network in a lower precision needs more.
        beside: the path of an earlier export, as of the dense network, that takes the same inputs: both are then run in
            turn on the example, and the report says how long each takes. On a machine that does nothing else.

    Returns:
        The files, their sizes, the cost of the network and the largest difference; with ``beside``, the times.

    Raises:
        PruneError: the network cannot be traced, or a runtime does not return its outputs; nothing has been written.

    Example:
        >>> import os, paddle, tempfile
        >>> from hapi_prune import export, prune
        >>> network = paddle.vision.models.LeNet()
        >>> record = prune(network, [1, 1, 28, 28], 0.5)
        >>> report = export(network, os.path.join(tempfile.mkdtemp(), "lenet"), [None, 1, 28, 28])
        >>> sorted(report.files), report.cost == record.cost_after, report.difference < 1e-5
        (['lenet.json', 'lenet.pdiparams'], True, True)
    """
    base = Path(os.fspath(path))
    other = None if beside is None else earlier(os.fspath(beside), base)
    given = example(network, inputs)
    counted = cost(network, inputs)
    specs, is_open = specs_of(inputs, given)
    tries = [given.leaves, *([[repeated(leaf) for leaf in given.leaves]] if is_open else [])]
    base.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{base.name}.", dir=base.parent) as folder, preserved(network):
        draft = os.path.join(folder, base.name)
        save_program(network, given, draft, specs)
        if onnx:
            convert(draft)
        own = [outputs_of(network, replace(given, leaves=leaves)) for leaves in tries]
        arrays = [{one.name: np.ascontiguousarray(t.numpy()) for one, t in zip(specs, leaves)} for leaves in tries]
        proofs = [proven(each, arrays, own, tolerance) for each in runtimes(draft, onnx)]
        taken = compared(other, draft, arrays[0], proofs[0][0]) if other else {}
        files = {name: os.path.getsize(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}
        for name in files:
            os.replace(os.path.join(folder, name), base.parent / name)
    for runtime, _, failed in proofs:
        for text in failed:
            warnings.warn(f"export: {text}. With {runtime} it is right.", PruneWarning, stacklevel=2)
    latency = {other if name == other else os.fspath(path): took for name, took in taken.items()}
    off = {runtime: each for runtime, each, _ in proofs}
    return ExportReport(os.fspath(path), files, counted, off, latency, bytes_of(other) if other else 0)


def earlier(path: str, base: Path) -> str:
    """The path of an earlier export.

    Raises:
        PruneError: there is none, or it would be overwritten.
    """
    where, allowed = "export(beside=...)", "the path of an earlier export, without the suffix of its files"
    if Path(path) == base:
        raise PruneError(where, f"{path!r}, which is written now", allowed, "give the two exports names of their own")
    try:
        bytes_of(path)
    except (OSError, StopIteration) as error:
        raise PruneError(where, f"{path!r}, where no program is", allowed) from error
    return path


def bytes_of(path: str) -> int:
    """How large the program of an export and its parameters are."""
    return sum(os.path.getsize(file) for file in (program_file(path), f"{path}.pdiparams"))


def compared(other: str, draft: str, arrays: Mapping[str, Array], runtime: str) -> dict[str, float]:
    """Milliseconds of a run of another export, and of this one.

    Raises:
        PruneError: they cannot be run side by side.
    """
    try:
        return latencies([other, draft], arrays, runtime)
    except RuntimeError as error:
        got = f"{other!r} does not run on the inputs of this export ({gist(error)[:300]})"
        todo = "export both with the same inputs, or leave beside out"
        raise PruneError("export(beside=...)", got, "one that takes the same inputs", todo) from error


@contextmanager
def preserved(network: paddle.nn.Layer) -> Iterator[None]:
    """For a forward pass in evaluation mode, silent, that leaves nothing behind."""
    layers = list(named_layers(network).values())
    with training_flags(layers, False), random_generators(), forwards(layers), quiet():
        yield


def repeated(leaf: paddle.Tensor) -> paddle.Tensor:
    """The example with another batch size."""
    return paddle.concat([leaf[:1]] * BATCH) if leaf.ndim else leaf


def outputs_of(network: paddle.nn.Layer, given: Example) -> list[Array]:
    """What the network itself returns.

    Raises:
        PruneError: it does not run.
    """
    try:
        return verify_outputs.outputs(Inventory.of(network), given, training=False)
    except Exception as error:  # the user's forward may raise anything
        sizes = ", ".join(str(list(leaf.shape)) for leaf in given.leaves)
        got = f"the network does not run on {sizes} ({gist(error)})"
        todo = "give the batch that it is written for, as in [1, 3, 224, 224]"
        raise PruneError("export(inputs=...)", got, "", todo) from error


def proven(
    candidates: Sequence[tuple[str, Run]], arrays: Tries, own: Sequence[list[Array]], tolerance: float
) -> tuple[str, float, list[str]]:
    """The first of the runtimes that returns the network's outputs, how far off it is, and why those before it do not.

    Raises:
        PruneError: none does.
    """
    failed: list[str] = []
    for runtime, run in candidates:
        try:
            off = difference(run(arrays), own)
        except Exception as error:  # a runtime may raise anything
            failed.append(f"{runtime}: {gist(error)[:300]}")
            continue
        if off <= tolerance:
            return runtime, off, failed
        failed.append(f"{runtime} returns other values than the network, by {off:.1e} of the largest")
    todo = "if it is rounding, raise tolerance; nothing was written"
    raise PruneError("export", "; ".join(failed), f"the network's own outputs, to tolerance={tolerance:.0e}", todo)


def difference(theirs: Sequence[list[Array]], own: Sequence[list[Array]]) -> float:
    """How far outputs are from the network's own, relative to the largest of each.

    Raises:
        ValueError: they have other shapes.
    """
    offs = [0.0]
    for ours, others in zip(own, theirs):
        shapes = [[list(array.shape) for array in arrays] for arrays in (others, ours)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"it returns shapes {shapes[0]}, the network {shapes[1]}")
        pairs = [(np.asarray(other, dtype=np.float32), one) for other, one in zip(others, ours)]
        offs += [verify_outputs.distance(other, one) for other, one in pairs if one.size]
    return max(offs)
