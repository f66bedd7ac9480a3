"""What the tests of the callback have in common: short ways to make it, and what it may not change."""

from __future__ import annotations

import glob
import os

import paddle
from fits import BATCH, SHAPE, Images, generators, state
from visualdl import LogReader

from hapi_prune import PruneCallback

ONE = [1, *SHAPE]


def quiet(schedule, *args, **options):
    return PruneCallback(schedule, *args, verbose=0, **options)


def batches(size=16, seed=0, data=Images):
    """A list of batches, as arrays."""
    loader = paddle.io.DataLoader(data(size, seed), batch_size=BATCH)
    return [[part.numpy() for part in batch] for batch in loader]


def adamw(parameters):
    return paddle.optimizer.AdamW(0.01, parameters=parameters, weight_decay=0.1)


def sgd(rate=1.0, **options):
    return lambda parameters: paddle.optimizer.SGD(rate, parameters=parameters, **options)


def as_found(model, _=None):
    """All that hapi and the random generators know, apart from the network's weights and the optimizer's state."""

    def plain(owner):
        return {
            name: repr(value) if isinstance(value, (int, str, dict, list, tuple, type(None))) else id(value)
            for name, value in vars(owner).items()
            if not (owner is model and name == "save")  # looked after while the run lasts
        }

    layers = [model.network, *model.network.sublayers()]
    return {
        "model": plain(model),
        "adapter": plain(model._adapter),
        "metrics": [(id(metric), plain(metric)) for metric in model._metrics],
        "logs": dict(paddle.Model._run_one_epoch.__defaults__[-1]),
        "modes": [layer.training for layer in layers],
        "hooks": [len(hooks) for layer in layers for hooks in (layer._forward_pre_hooks, layer._forward_post_hooks)],
        "keys": list(model.network.state_dict()),
        "parameters": [(id(p), p.name, p.stop_gradient, p.trainable) for p in model.network.parameters()],
        "attributes": [sorted(vars(layer)) for layer in layers],
        "optimizer": [id(model._optimizer), [id(p) for p in model._optimizer._param_groups], sorted(state(model))],
        "generators": generators(),
        "static": paddle.in_dynamic_mode(),
        "grad": paddle.is_grad_enabled(),
    }


def reader(log_dir):
    """The file that VisualDL's page shows."""
    return LogReader(file_path=sorted(glob.glob(os.path.join(log_dir, "*vdlrecords*")))[-1])


def curves(log_dir):
    """Scalars by tag, ``[(step, value)]``."""
    read = reader(log_dir)
    return {tag: [(p.id, p.value) for p in read.get_data("scalar", tag)] for tag in read.get_tags().get("scalar", [])}
