"""What runs a saved program: Paddle Inference, and onnxruntime where ONNX is asked for."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import paddle
from paddle.static import InputSpec

from ..errors import PruneError, gist
from ..plan import Array
from .program import program_file

INFERENCE, LOADED, ONNX = "paddle.inference", "paddle.jit.load", "onnxruntime"

Run = Callable[[Mapping[str, Array]], "list[Array]"]


def runtimes(draft: str, specs: Sequence[InputSpec], onnx: bool) -> Iterator[tuple[str, Run]]:
    """What runs the files: each is a function from arrays by name to the outputs."""
    try:
        from paddle import inference
    except ImportError:  # a build of Paddle without it
        loaded = paddle.jit.load(draft)
        loaded.eval()
        yield LOADED, lambda arrays: flat_outputs(loaded(*[paddle.to_tensor(arrays[spec.name]) for spec in specs]))
    else:
        yield INFERENCE, predictor(inference, draft)
    if onnx:
        session = needed("onnxruntime").InferenceSession(f"{draft}.onnx", providers=["CPUExecutionProvider"])
        yield ONNX, lambda arrays: session.run(None, {one.name: arrays[one.name] for one in session.get_inputs()})


def predictor(inference: Any, draft: str) -> Run:
    """Paddle Inference with the files, as it is by default."""
    config = inference.Config(program_file(draft), f"{draft}.pdiparams")
    config.disable_glog_info()
    made = inference.create_predictor(config)

    def run(arrays: Mapping[str, Array]) -> list[Array]:
        for name in made.get_input_names():
            made.get_input_handle(name).copy_from_cpu(arrays[name])
        made.run()
        return [made.get_output_handle(name).copy_to_cpu() for name in made.get_output_names()]

    return run


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
        raise PruneError("export(onnx=True)", f"paddle2onnx cannot convert it ({gist(error)})") from error


def needed(name: str) -> Any:
    """A module that is no dependency of this library.

    Raises:
        PruneError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        todo = 'pip install "hapi-prune[onnx]"'
        raise PruneError("export(onnx=True)", f"{name} is not installed", todo=todo) from error
