"""What the callback needs of ``paddle.Model``, some of it private: asked for and put back here alone."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any

import numpy as np
import paddle
from paddle.io.dataloader.collate import default_collate_fn

from ..errors import PruneError
from ..internals.hapi_frames import DATA, variables_of_fit
from ..internals.layers import named_layers
from ..internals.optimizer_state import NAMES, renamed
from ..internals.preserve import attributes, quiet, random_generators, training_flags

BATCH = 64
"""Batch size for evaluation data that is a Dataset and not a DataLoader."""


def input_shapes(model: paddle.Model) -> list[Any] | None:
    """The shapes that the network is fed with, batch 1; None where they are not known yet.

    They are known from the InputSpecs given to ``paddle.Model``, else from a sample of the training data, else from
    the last batch, else from a sample of the evaluation data.
    """
    for source in (_given, _sampled_to_train, _seen, _sampled_to_evaluate):
        specs = source(model)
        if specs and all(is_full(spec.shape) for spec in specs):
            return [_spec([1, *spec.shape[1:]], spec.dtype) for spec in specs]
    return None


def is_full(shape: Any) -> bool:
    """Whether every size but the batch is known."""
    return len(shape) > 0 and all(size is not None and int(size) > 0 for size in list(shape)[1:])


def _spec(shape: Any, dtype: Any) -> Any:
    return paddle.static.InputSpec(shape, dtype)


def _given(model: paddle.Model) -> list[Any] | None:
    """The user's InputSpecs; hapi makes some up where there are none."""
    return None if model._input_info is None or model._is_shape_inferred else model._inputs


def _seen(model: paddle.Model) -> list[Any] | None:
    """What the last batch was like."""
    seen = model._adapter._input_info
    return None if seen is None else [_spec(*pair) for pair in zip(*seen)]


def _sampled_to_train(model: paddle.Model) -> list[Any] | None:
    return _sampled(model, train_data(model))


def _sampled_to_evaluate(model: paddle.Model) -> list[Any] | None:
    return _sampled(model, eval_data(model))


def _sampled(model: paddle.Model, data: Any) -> list[Any] | None:
    """The inputs in one sample of ``data``; None where looking at one could disturb the data."""
    try:
        with random_generators():
            parts = paddle.utils.flatten(_one(data))[: len(model._inputs)]
        return [_spec(part.shape, part.dtype) for part in parts] if len(parts) == len(model._inputs) else None
    except Exception:  # the user's data may raise anything, and hapi will say so better than we can
        return None


def _one(data: Any) -> Any:
    """A batch of one, or the first of a list of batches. No loader is started, as that may start processes."""
    if isinstance(data, (list, tuple)):
        return data[0]
    if not isinstance(data, paddle.io.DataLoader):
        return ()
    sample = data.dataset[0]  # an IterableDataset raises here
    if data.batch_sampler is None:
        return sample
    if data.collate_fn is not None:
        return data.collate_fn([sample])
    return [np.asarray(part)[None] for part in paddle.utils.flatten(sample)]


def require_prunable(model: paddle.Model, epochs: int) -> None:
    """Raise if the model cannot be pruned while it trains."""
    if not paddle.in_dynamic_mode():
        raise PruneError(
            "PruneCallback", "static-graph mode", "dynamic mode", "call paddle.disable_static() before paddle.Model"
        )
    if epochs < 1:
        raise PruneError("fit(epochs=...)", f"{epochs}", "at least 1", "give the number of epochs to train")
    if model._optimizer is None:
        todo = "write model.prepare(paddle.optimizer.Adam(parameters=model.parameters()), loss)"
        raise PruneError("paddle.Model", "no optimizer", "one given to model.prepare before fit", todo)


def require_data(data: Any) -> None:
    """Raise if ``data`` is nothing that a network can be evaluated on, again and again."""
    where, allowed = "PruneCallback(eval_data=...)", "a Dataset, a DataLoader, a list of batches, False or None"
    if data is None or data is False:
        return
    if read_once(data):
        raise PruneError(where, f"a {type(data).__name__}, which can be read once only", allowed, "write list(...)")
    if isinstance(data, paddle.io.IterableDataset):
        raise PruneError(where, f"the IterableDataset {type(data).__name__}", allowed, "put it into a DataLoader")
    if isinstance(data, (str, bytes)) or not isinstance(data, (Iterable, paddle.io.Dataset)):
        raise PruneError(where, f"{data!r:.80}", allowed)
    if isinstance(data, Sized) and len(data) == 0:
        raise PruneError(where, "nothing in it", allowed, "give at least one batch, or False for no evaluation")


def read_once(data: Any) -> bool:
    """Whether ``data`` is a generator or another iterator, that is used up when it has been gone through."""
    return isinstance(data, Iterator)


class Retired(list[Any]):
    """Wrappers of a network as it was before its cuts, kept for as long as the network is.

    Their hooks stay on its parameters, and a backward pass with the hooks of a wrapper that is gone ends the process
    (Paddle 3.3). They are none of the network's own state: a copy of it starts without.
    """

    def __deepcopy__(self, memo: Any) -> Retired:
        return Retired()

    def __reduce__(self) -> Any:
        return Retired, ()


RETIRED = "_retired_by_hapi_prune"
"""The attribute of a network that holds its retired wrappers."""


def wrap_again(model: paddle.Model) -> None:
    """On many ranks: build hapi's DataParallel anew, over parameters that have other shapes now."""
    old = getattr(model._adapter, "ddp_model", None)
    if old is not None:
        vars(model.network).setdefault(RETIRED, Retired()).append(old)
        sizes = [size / 2**20 for size in (old.comm_buffer_size, old.last_comm_buffer_size)]
        model._adapter.ddp_model = paddle.DataParallel(
            model.network, old._strategy, *sizes, old.find_unused_parameters, old.group
        )


def load(model: paddle.Model, base: str) -> None:
    """As ``Model.load``, which cannot read the optimizer's file where there are master weights in it.

    The optimizer's state goes by Paddle's own names, which count on from network to network of a process. The table
    of names in the file says which they were.
    """
    model.load(base, reset_optimizer=True)
    if os.path.exists(f"{base}.pdopt"):
        table = paddle.load(f"{base}.pdparams", keep_name_table=True).get(NAMES, {})
        own = {name: tensor.name for name, tensor in model.network.state_dict().items()}
        names = {was: own[name] for name, was in table.items() if name in own}
        model._adapter.load([], renamed(paddle.load(f"{base}.pdopt"), names))


def precision(model: paddle.Model) -> Any:
    """The context in which hapi trains where it has decorated the network (O2, on a GPU), which runs in no other."""
    decorated = model._adapter._amp_level == "O2" and paddle.is_compiled_with_cuda()
    return paddle.amp.auto_cast(**model._adapter._amp_custom_lists, level="O2") if decorated else nullcontext()


def optimizer(model: paddle.Model) -> Any:
    """The optimizer given to ``prepare``."""
    return model._optimizer


def metric_names(model: paddle.Model) -> list[str]:
    """What the metrics are called in the logs, the loss among them."""
    return list(model._metrics_name())


def train_data(model: paddle.Model) -> Any:
    """The training data of the ``fit`` that is calling us right now, which it keeps to itself; None where none is."""
    return variables_of_fit(model).get(DATA)


def first_batches(model: paddle.Model, data: Any, count: int) -> Iterator[list[paddle.Tensor]]:
    """The inputs of the first batches of the training data.

    A loader of a Dataset is not started: it reads on in a thread or in processes, and draws random numbers there.
    """
    loader = isinstance(data, paddle.io.DataLoader) and data.batch_sampler is not None
    if loader and not isinstance(data.dataset, paddle.io.IterableDataset):
        collate = data.collate_fn or default_collate_fn
        batches = (collate([data.dataset[index] for index in indices]) for indices in data.batch_sampler)
    else:
        batches = iter(data)
    for batch in islice(batches, count):
        yield [paddle.to_tensor(part) for part in paddle.utils.flatten(batch)[: len(model._inputs)]]


@contextmanager
def extra_passes(model: paddle.Model, training: bool) -> Iterator[None]:
    """For forward passes over the training data between two epochs, which leave nothing behind but running statistics.

    Args:
        model: the model; called from a hook of its ``fit``.
        training: the mode of the network.
    """
    sampler = getattr(train_data(model), "batch_sampler", None)  # one that shuffles counts how often it was asked
    counted = [(sampler, ("epoch",))] if sampler is not None else []
    flags = training_flags(named_layers(model.network).values(), training)
    with flags, random_generators(), quiet(), attributes(*counted), paddle.no_grad():
        yield


def eval_data(model: paddle.Model) -> Any:
    """The evaluation data given to ``fit``; None where there is none."""
    return model._test_dataloader


def is_first_rank() -> bool:
    """Whether this process is the one that prints and writes."""
    return bool(paddle.distributed.ParallelEnv().local_rank == 0)


def evaluate(model: paddle.Model, data: Any, advance_random: bool = False) -> dict[str, Any]:
    """Hapi's own evaluation in the middle of ``fit``, with everything put back that it changes on the way.

    Args:
        model: the model.
        data: what to evaluate on.
        advance_random: whether the random generators move on, as in an evaluation by ``fit`` itself.

    Returns:
        The metrics; empty if there was no batch.
    """
    logs = paddle.Model._run_one_epoch.__defaults__[-1]  # one dict, shared by all epochs of all runs
    said = dict(logs)
    still = nullcontext() if advance_random else random_generators()
    with _set_by_evaluation(model, data), training_flags(named_layers(model.network).values(), None), still:
        logs.clear()  # or what training said would pass for the evaluation of no data
        logs.update(dict.fromkeys(model._metrics_name()))
        try:
            result: dict[str, Any] = model.evaluate(data, batch_size=BATCH, verbose=0)
            return result if "step" in logs else {}
        finally:
            logs.clear()
            logs.update(said)


@contextmanager
def _set_by_evaluation(model: paddle.Model, data: Any) -> Iterator[None]:
    """Put back what an evaluation sets; the metrics and the adapter's counts, it gets copies of."""
    owned: list[tuple[object, tuple[str, ...]]] = [
        (model, ("_test_dataloader", "num_iters", "mode", "_metrics")),
        (model, ("_inputs", "_input_info", "_is_shape_inferred")),
        (model._adapter, ("_input_info", "_merge_count")),
    ]
    if hasattr(data, "batch_sampler"):  # one that shuffles counts how often it was asked
        owned.append((data.batch_sampler, ("epoch",)))
    with attributes(*owned):
        model._metrics, model._adapter._merge_count = _copies(model), dict(model._adapter._merge_count)
        yield


def _copies(model: paddle.Model) -> list[Any]:
    """Copies of the metrics, empty; a user's metric may remember more than ``reset`` clears."""
    try:
        metrics = copy.deepcopy(model._metrics, {id(model): model, id(model.network): model.network})
    except Exception:  # one that holds a lock or a file: as hapi does it, with the metric itself
        metrics = model._metrics
    for metric in metrics:
        metric.reset()
    found: list[Any] = metrics
    return found
