"""Runs of their own for the tests of many ranks; not a test itself.

    python -m paddle.distributed.launch ... ranks_run.py RESULT [PART ...]

Each part is a function below; what they find is written to RESULT.<rank>, as JSON.
"""

import gc
import hashlib
import json
import sys
import traceback
import warnings
import weakref

import numpy as np
import paddle
from paddle import nn
from paddle.base import core

import hapi_prune
from hapi_prune.analysis import replay
from hapi_prune.training.paddle_model import RETIRED

SHAPE = [3, 8, 8]


class Data(paddle.io.Dataset):
    def __init__(self, size=40):
        self.size = size

    def __getitem__(self, index):
        image = np.random.RandomState(index).standard_normal(SHAPE).astype("float32")
        return image, np.array([index % 4])

    def __len__(self):
        return self.size


def network(width=8):
    layers = [nn.Conv2D(3, width, 3), nn.BatchNorm2D(width), nn.ReLU(), nn.Conv2D(width, width, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(width, 4))


def build(layers, optimizer=None, metrics=None):
    paddle.seed(0)
    model = paddle.Model(layers, [paddle.static.InputSpec([None, *SHAPE], "float32", "image")])
    optimizer = optimizer or paddle.optimizer.Momentum(0.05, 0.9, parameters=model.parameters())
    model.prepare(optimizer, nn.CrossEntropyLoss(), metrics or paddle.metric.Accuracy())
    return model


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def trained(layers):
    return {name: digest(p.numpy()) for name, p in layers.named_parameters() if not p.stop_gradient}


def fit(model, schedule, callbacks=(), **options):
    callback = hapi_prune.PruneCallback(schedule, verbose=0)
    model.fit(Data(), epochs=3, batch_size=4, verbose=0, callbacks=[callback, *callbacks], **options)
    return callback.history


class Falls(paddle.metric.Metric):
    """Low where the network is small; each rank says so of another size."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def __deepcopy__(self, memo):
        return Falls(self.layers)

    def compute(self, prediction, label):
        return prediction

    def reset(self):
        pass

    def update(self, *args):
        return self.accumulate()

    def accumulate(self):
        least = 5 if paddle.distributed.get_rank() == 0 else 8
        return 0.9 if self.layers[0].weight.shape[0] >= least else 0.5

    def name(self):
        return "acc"


def budget():
    """Rank 0's metric decides which cuts are taken back, whatever the other ranks measure."""
    with paddle.utils.unique_name.guard():
        layers = network()
        model = build(layers, metrics=Falls(layers))
        callback = hapi_prune.PruneCallback({1: 0.25, 2: 0.5, 3: 0.6}, max_drop=0.01, verbose=0)
        model.fit(Data(), Data(8), epochs=5, batch_size=4, verbose=0, callbacks=[callback])
    tries = [[record.ratio_asked, bool(record.taken_back)] for record in callback.history]
    return {"trained": trained(layers), "tries": tries, "width": layers[0].weight.shape[0]}


def latency():
    """Each rank has a clock of its own; the table of rank 0 counts on all, and the others measure nothing."""
    rank, asked = paddle.distributed.get_rank(), []

    def seconds(op, args):
        asked.append(op.name)
        return 1e-6 * (1 + rank) * args[1].size if op.name == "conv2d" else None

    replay.seconds_of_op, replay.seconds_of_network = seconds, lambda channel_map: 0.01 * (1 + rank)
    with paddle.utils.unique_name.guard():
        layers = network(32)
        model = build(layers)
        callback = hapi_prune.PruneCallback({1: 0.3}, target="latency", verbose=0)
        model.fit(Data(8), epochs=2, batch_size=4, verbose=0, callbacks=[callback])
    record = callback.history[0]
    predicted = [record.latency.original, record.latency.after]
    return {"trained": trained(layers), "predicted": predicted, "measured": asked.count("conv2d")}


def sync_batch_norm():
    """A network whose BatchNorm is that of all ranks."""
    with paddle.utils.unique_name.guard():
        paddle.seed(0)
        model = build(nn.SyncBatchNorm.convert_sync_batchnorm(network()))
        assert type(model.network[1]) is nn.SyncBatchNorm
        history = fit(model, {1: 0.25, 2: 0.5})
    norm = model.network[1]
    return {"trained": trained(model.network), "cuts": len(history), "norm": [norm._num_features, *norm._mean.shape]}


class Left(paddle.callbacks.Callback):
    """The largest gradient that is left at the beginning of an epoch."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_epoch_begin(self, epoch, logs=None):
        grads = [p.grad for p in self.model.network.parameters() if not p.stop_gradient and p.grad is not None]
        self.found.append(max((float(grad.abs().max()) for grad in grads), default=0.0))


def accumulate():
    """5 batches a rank and epoch, 2 a step: hapi steps with the rest at the end of the epoch."""
    with paddle.utils.unique_name.guard():
        paddle.seed(0)
        model, left = build(network()), Left()
        history = fit(model, {1: 0.25, 2: 0.5}, [left], accumulate_grad_batches=2)
    return {"trained": trained(model.network), "cuts": len(history), "left": left.found}


def no_sync():
    """A loop of its own, and a cut between two batches of an accumulation."""
    with paddle.utils.unique_name.guard():
        paddle.seed(0)
        layers = network()
        optimizer = paddle.optimizer.Adam(0.01, parameters=layers.parameters())
        wrapped, retired = paddle.DataParallel(layers), []
        rank, found = paddle.distributed.get_rank(), {}
        for step in range(9):
            batch = [Data()[16 * step + 4 * rank + number] for number in range(4)]
            images, labels = (paddle.to_tensor(np.stack(part)) for part in zip(*batch))
            if step == 4:  # one batch of three has been seen
                before = {name: p.grad.numpy() for name, p in layers.named_parameters() if p.grad is not None}
                record = hapi_prune.prune(layers, [1, *SHAPE], 0.5, optimizer=optimizer)
                retired.append(wrapped)  # its hooks stay on the parameters
                wrapped = paddle.DataParallel(layers)
                first = list(next(iter(record.plan.kept.values())))
                now = layers[0].weight.grad.numpy()
                found["gathered"] = bool(np.array_equal(now, before["0.weight"][first]) and np.abs(now).max() > 0)
                found["local"] = digest(now)
            if step % 3 != 2:
                with wrapped.no_sync():
                    nn.functional.cross_entropy(wrapped(images), labels).backward()
            else:
                nn.functional.cross_entropy(wrapped(images), labels).backward()
                optimizer.step()
                optimizer.clear_grad()
    return {"trained": trained(layers), **found}


class Memory(paddle.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.found = []

    def on_epoch_end(self, epoch, logs=None):
        gc.collect()
        held = sum(p.size for p in self.model.network.parameters()) * 4
        self.found.append([core.host_memory_stat_current_value("Allocated", 0), held])


def retired():
    """What the wrappers of before a cut cost, and that they go with their network."""
    with paddle.utils.unique_name.guard():
        paddle.seed(0)
        model, memory = build(network(96)), Memory()
        callback = hapi_prune.PruneCallback(lambda epoch: epoch / 16, verbose=0)
        model.fit(Data(8), epochs=13, batch_size=4, verbose=0, callbacks=[callback, memory])
    count, layers = len(vars(model.network)[RETIRED]), weakref.ref(model.network)
    del model, callback.model, memory.model
    gc.collect()
    return {"memory": memory.found, "count": count, "gone": layers() is None}


def main(result, *parts):
    warnings.simplefilter("ignore")
    paddle.set_device("cpu")
    np.random.seed(0)
    found = {}
    build(network())  # starts the ranks
    for part in parts or ("sync_batch_norm", "accumulate", "no_sync", "retired", "budget", "latency"):
        try:
            found[part] = globals()[part]()
        except Exception:  # noqa: PERF203  # told by the test
            found[part] = {"error": traceback.format_exc()[-3000:]}
    rank = paddle.distributed.get_rank()
    with open(f"{result}.{rank}", "w", encoding="utf-8") as file:
        json.dump({"world": paddle.distributed.get_world_size(), **found}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
