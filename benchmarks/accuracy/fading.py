"""Soft first: what the next cut will take fades to zero in the epoch before it. An experiment, not in the library."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import paddle

from hapi_prune import Schedule, prune
from hapi_prune.analysis.channel_map import ChannelMap


class Fading(paddle.callbacks.Callback):
    """Multiplies the filters of the next cut by a factor that falls to zero, batch by batch; stands behind the cuts.

    Args:
        schedule: of the cuts, in shares of the FLOPs.
        inputs: an example input.
    """

    def __init__(self, schedule: Schedule, inputs: list[int]) -> None:
        super().__init__()
        self.schedule, self.inputs = schedule, inputs
        self.fading: list[tuple[paddle.Tensor, Any]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        now, due = self.schedule(epoch) or 0.0, self.schedule(epoch + 1) or 0.0
        self.fading = []
        if due > now:
            share = 1 - (1 - due) / (1 - now)
            plan = prune(copy.deepcopy(self.model.network), self.inputs, share, target="flops").plan
            channels = ChannelMap(self.model.network, self.inputs)
            for key, kept in plan.kept.items():
                group = channels.groups[key]
                gone = np.setdiff1d(np.arange(group.size), kept)
                for (name, axis), index in group.index.items():
                    if axis == 0 and not channels.tensors[name].stop_gradient:
                        self.fading.append((channels.tensors[name], index[gone].ravel()))

    def on_train_batch_end(self, step: int, logs: Any = None) -> None:
        steps = self.params["steps"]
        for tensor, rows in self.fading:
            array = tensor.numpy()
            array[rows] *= (steps - step - 1) / (steps - step)
            tensor.set_value(array)
