"""What the callback needs of ``paddle.Model``, some of it private: asked for and put back here alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle

from .errors import PruneError
from .state import mode, rng

BATCH = 64
"""Batch size for evaluation data that is a Dataset and not a DataLoader."""


def input_shapes(model: paddle.Model) -> list[Any] | None:
    """The shapes that the network is fed with, batch 1; None where they are not known yet.

    They are known from the InputSpecs given to ``paddle.Model``, from the first batch on, or from a sample of the
    evaluation data.
    """
    specs = [spec for spec in model._inputs or [] if spec.shape is not None]
    if specs and len(specs) == len(model._inputs) and all(is_full(spec.shape) for spec in specs):
        return [paddle.static.InputSpec([1, *spec.shape[1:]], spec.dtype) for spec in specs]
    dataset = getattr(model._test_dataloader, "dataset", None)
    if dataset is None or isinstance(dataset, paddle.io.IterableDataset) or not model._inputs:
        return None
    with rng():
        sample = dataset[0]
    parts = list(sample) if isinstance(sample, (list, tuple)) else [sample]
    arrays = parts[: len(model._inputs)]
    if len(arrays) < len(model._inputs) or not all(isinstance(a, (np.ndarray, paddle.Tensor)) for a in arrays):
        return None
    return [paddle.static.InputSpec([1, *a.shape], paddle.to_tensor(a).dtype) for a in arrays]


def is_full(shape: Any) -> bool:
    """Whether every size but the batch is known; hapi writes ``[None]`` where the user said nothing."""
    return len(shape) > 1 and all(size is not None and int(size) > 0 for size in list(shape)[1:])


def check(model: paddle.Model) -> None:
    """Raise if the model cannot be pruned while it trains."""
    if not paddle.in_dynamic_mode():
        raise PruneError(
            "PruneCallback", "static-graph mode", "dynamic mode", "call paddle.disable_static() before paddle.Model"
        )
    if paddle.distributed.ParallelEnv().nranks > 1:
        raise PruneError(
            "PruneCallback",
            "training on several ranks",
            "one rank, in this version",
            "train on one device, or prune with hapi_prune.prune() before the run",
        )


def optimizer(model: paddle.Model) -> Any:
    """The optimizer given to ``prepare``."""
    return model._optimizer


def eval_data(model: paddle.Model) -> Any:
    """The evaluation data given to ``fit``; None where there is none."""
    return model._test_dataloader


def is_first_rank() -> bool:
    """Whether this process is the one that prints and writes."""
    return bool(paddle.distributed.ParallelEnv().local_rank == 0)


def evaluate(model: paddle.Model, data: Any) -> dict[str, Any]:
    """Hapi's own evaluation in the middle of ``fit``, with everything put back that it resets on the way."""
    with _evaluation_kept(model), mode(model.network, None), rng():
        result: dict[str, Any] = model.evaluate(data, batch_size=BATCH, verbose=0)
    return result


@contextmanager
def _evaluation_kept(model: paddle.Model) -> Iterator[None]:
    names = ("_test_dataloader", "num_iters", "stop_training")
    kept = {name: getattr(model, name) for name in names if hasattr(model, name)}
    adapter = model._adapter
    info, counts, running = adapter._input_info, dict(adapter._merge_count), model.mode
    logs = type(model)._run_one_epoch.__defaults__[-1]  # one dict, shared by all epochs of all runs
    said = dict(logs)
    try:
        yield
    finally:
        for name in names:
            if name in kept:
                setattr(model, name, kept[name])
            elif hasattr(model, name):
                delattr(model, name)
        adapter._input_info, adapter._merge_count, model.mode = info, counts, running
        logs.clear()
        logs.update(said)
