"""Repairs right after a cut, before any training: bias compensation and recalibration of BatchNorm."""

from __future__ import annotations

import paddle
from paddle import nn

from ..cutting import ranks
from ..internals import layers
from ..plan import Cut
from . import paddle_model
from .compensating import Compensation
from .settings import Settings


class Healing:
    """The repairs of one cut that the settings ask for.

    Args:
        model: the trained model; made in a hook of its ``fit``, right before the cut.
        settings: the checked arguments of the callback.
    """

    def __init__(self, model: paddle.Model, settings: Settings) -> None:
        self._model, self._settings = model, settings
        self._compensation = Compensation(model) if settings.compensate else None
        self._cut: Cut | None = None

    def on_cut(self, cut: Cut) -> None:
        """Keep the cut, and call the user's ``on_cut``."""
        if self._settings.on_cut is not None:
            self._settings.on_cut(cut)
        self._cut = cut

    def heal(self) -> bool:
        """Repair. Returns whether anything was done."""
        done = self._compensation is not None and self._cut is not None and self._compensation.apply(self._cut)
        batches = self._settings.recalibrate
        return bool(batches and recalibrate(self._model, batches)) or done


def recalibrate(model: paddle.Model, batches: int) -> int:
    """Estimate the statistics of BatchNorm anew, as the mean over some batches of the training data.

    The running mean and variance of each channel are those of the network before the cut. Random generators and
    everything but these statistics are left as they were.

    Args:
        model: the trained model; called from a hook of its ``fit``.
        batches: how many batches.

    Returns:
        How many batches there were; 0 if the network has no BatchNorm, or the data can be read only once.

    Source: Li, Wu, Su, Wang, "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning" (2020).
    """
    network, data = model.network, paddle_model.train_data(model)
    with paddle_model.extra_passes(model, training=True):
        norms = layers.batch_norms(network)
        if not norms or data is None or paddle_model.read_once(data):
            return 0
        done = 0
        for inputs in paddle_model.first_batches(model, data, batches):
            with layers.momentum(norms, done / (done + 1)):  # so that the statistics are the mean over the batches
                network(*inputs)
            done += 1
    _same_on_all_ranks(norms)
    return done


def _same_on_all_ranks(norms: list[nn.Layer]) -> None:
    if ranks.ranks() > 1:
        for norm in norms:
            for tensor in layers.statistics_of(norm):
                paddle.distributed.broadcast(tensor, 0)
