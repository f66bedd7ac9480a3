"""Fifty cuts in one process: nothing grows that should shrink, and a cut holds on to nothing when it is made."""

from __future__ import annotations

import gc
import math
import os
import threading
import weakref
from pathlib import Path

import numpy as np
import paddle
import pytest
from fits import HARMLESS, SHAPE, At, Images, build, fit
from paddle import nn
from paddle.base import core

from hapi_prune import PruneCallback, prune
from hapi_prune.analysis.graph import tensors_of
from hapi_prune.cutting import optimizers
from hapi_prune.cutting.undo_log import UndoLog

pytestmark = HARMLESS

ONE = [1, *SHAPE]
CUTS, WIDTH = 50, 60


class Wide(nn.Layer):
    """Enough filters to take one away fifty times."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn, self.conv2 = nn.Conv2D(3, WIDTH, 3), nn.BatchNorm2D(WIDTH), nn.Conv2D(WIDTH, WIDTH, 3)
        self.pool, self.fc = nn.AdaptiveAvgPool2D(1), nn.Linear(WIDTH, 4)

    def forward(self, image):
        return self.fc(self.pool(self.conv2(nn.functional.relu(self.bn(self.conv1(image))))).flatten(1))


def adam(parameters):
    return paddle.optimizer.Adam(0.001, parameters=parameters)


def allocated():
    """Bytes of all tensors that are alive."""
    gc.collect()
    return core.host_memory_stat_current_value("Allocated", 0)


def resident():
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def counted(model):
    """What a leak would show in."""
    gc.collect()
    layers = [model.network, *model.network.sublayers()]
    return {
        "parameters": sum(isinstance(each, paddle.base.framework.EagerParamBase) for each in gc.get_objects()),
        "layers": sum(isinstance(each, nn.Layer) for each in gc.get_objects()),
        "hooks": sum(len(la._forward_pre_hooks) + len(la._forward_post_hooks) for la in layers),
        "buffers": len(model.network.buffers()),
        "attributes": sum(len(vars(layer)) for layer in layers),
        "state": len(optimizers.states(model._optimizer)),
        "accumulators": len(model._optimizer._accumulators),
        "descriptors": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
        "threads": threading.active_count(),
        "logs": len(os.listdir("log")) if os.path.isdir("log") else 0,
    }


@pytest.mark.slowest
def test_fifty_cuts_leave_nothing_behind():
    """Looked at after the second cut, when all is there that there ever is, and after the last one."""

    def looked(model, epoch):
        # To collect garbage and go through all objects of the process at every cut takes minutes in a long session.
        if epoch in (2, CUTS):
            count = counted(model)
            needs = 4 * 4 * sum(p.size for p in model.network.parameters())  # and gradients, and two moments
            found.append((count, allocated(), resident(), needs))

    found = []
    model = build(Wide, adam)
    callback = PruneCallback(lambda epoch: epoch / WIDTH, verbose=0, log_dir="log")
    callbacks = [callback, At("on_epoch_end", looked)]
    fit(model, callbacks, Images(4), Images(4, 1), epochs=CUTS + 1, save_dir="save", save_freq=10)
    assert len(callback.history) == CUTS
    assert model.network.conv1.weight.shape[0] == WIDTH - CUTS
    (count, held, pages, needs), (count_now, held_now, pages_now, needs_now) = found
    assert count_now == count
    assert held - held_now == pytest.approx(needs - needs_now, rel=0.1)
    assert pages_now - pages < 64 * 2**20  # VisualDL's and the allocator's; 48 cuts
    assert {name.partition(".")[0] for name in os.listdir("save")} == {*map(str, range(0, CUTS + 1, 10)), "final"}


def test_files_shrink_in_proportion():
    model = build(Wide, adam)
    sizes = At("on_epoch_end", lambda model, _: sum(tensor.size for tensor in model.network.state_dict().values()))
    fit(model, [PruneCallback({1: 0.3, 2: 0.6, 3: 0.9}, verbose=0), sizes], Images(4), epochs=4, save_dir="save")
    for suffix, copies in ((".pdparams", 1), (".pdopt", 2)):
        for epoch, elements in enumerate(sizes.found):
            size = os.path.getsize(f"save/{epoch}{suffix}")
            assert 0 <= size - 4 * copies * elements < 4096, (epoch, suffix)  # names, and what else a pickle needs
    assert sizes.found[3] < sizes.found[0] / 20


def touched(model, record):
    """Bytes of the parameters, buffers, gradients and state that a cut changes, before it."""
    found = 0
    names = {}
    for name, tensor in tensors_of(model.network).items():
        if record["shapes"][name] != list(tensor.shape):
            names[tensor.name] = name
            found += 4 * int(np.prod(record["shapes"][name])) * (1 if tensor.stop_gradient else 2)
    for what in ("moment1", "moment2"):
        owners = [key for key in model._optimizer._accumulators[what] if key in names]
        found += sum(4 * int(np.prod(record["shapes"][names[key]])) for key in owners)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("refused", [False, True])
def test_a_cut_keeps_what_it_touches_once_and_lets_go_of_it(refused, monkeypatch):
    model = build(Wide, adam)
    fit(model, (), Images(4), epochs=1)
    journals, most = [], []

    class Watched(UndoLog):
        def __init__(self):
            super().__init__()
            journals.append(weakref.ref(self))

        def resize(self, *args):
            super().resize(*args)
            kept = [old for _, old in self._held.values()]
            most.append(sum(math.prod(old.shape()) * np.array(old).itemsize for old in kept))

    monkeypatch.setattr("hapi_prune.cutting.cut.UndoLog", Watched)
    record = {"shapes": {name: list(tensor.shape) for name, tensor in tensors_of(model.network).items()}}
    total = 4 * sum(tensor.size for tensor in model.network.state_dict().values())
    before, held = allocated(), [weakref.ref(parameter) for parameter in model.network.parameters()]
    if refused:
        monkeypatch.setattr(optimizers, "verify", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prune(model.network, ONE, 0.5, optimizer=model._optimizer)
        assert allocated() == before
    else:
        prune(model.network, ONE, 0.5, optimizer=model._optimizer)
        assert max(most) <= touched(model, record)
        left = 4 * sum(tensor.size for tensor in model.network.state_dict().values())
        assert before - allocated() == pytest.approx(4 * (total - left), rel=0.02)
    assert max(most) <= 4 * total
    assert journals
    gc.collect()
    assert [undo_log() for undo_log in journals] == [None] * len(journals)
    assert all(parameter() is not None for parameter in held)  # the very same objects


@pytest.mark.slow
def test_a_model_that_is_dropped_goes():
    """No list, cache or writer of ours holds on to it after the run."""
    gone = []
    for _ in range(2):
        model, callback = build(Wide, adam), PruneCallback({1: 0.5}, verbose=0, log_dir="log")
        fit(model, callback, Images(4), Images(4, 1), epochs=2)
        gone.append((weakref.ref(model.network), weakref.ref(model)))
        del callback
    del model
    gc.collect()
    # hapi keeps the callbacks' list of a run nowhere; its logs are one dict for all runs, and hold numbers.
    assert [[each() for each in pair] for pair in gone] == [[None, None]] * 2
