"""A learning rate that begins low after a cut, and rises to where the user's scheduler has it."""

from __future__ import annotations

import paddle

from ..reporting.history import History

OWN = "own_learning_rate"
"""Where a parameter's own rate is kept, beside the scaled one."""


class Rewarming:
    """Scales the learning rate of each parameter for a while; the optimizer and its scheduler are not touched.

    Paddle multiplies the optimizer's rate by that of the parameter (``ParamAttr(learning_rate=...)``), whatever the
    optimizer and the scheduler are.

    Args:
        network: whose parameters.
        epochs: how many epochs of training it takes until the rate is the whole one again.
        since: how many of them are over.
    """

    def __init__(self, network: paddle.nn.Layer, epochs: int, since: int = 0) -> None:
        self._network, self._epochs, self._since = network, epochs, since
        for attributes in _attributes(network):
            attributes.setdefault(OWN, attributes["learning_rate"])

    def at(self, done: float) -> None:
        """Set the rate for a batch.

        Args:
            done: the share of the epoch that is over at the end of this batch, in (0, 1].
        """
        factor = min((self._since + done) / self._epochs, 1.0)
        for attributes in _attributes(self._network):
            own = attributes[OWN]
            attributes["learning_rate"] = own * factor if factor < 1 else own

    def close(self) -> None:
        """Give each parameter its own rate back."""
        give_back(self._network)


def warming_up(network: paddle.nn.Layer, epochs: int, epoch: int, history: History) -> Rewarming | None:
    """What scales the rates in this epoch; None, and each parameter has its own, where no cut is so recent."""
    give_back(network)
    since = epoch - (history[-1].epoch or 0) if history else epochs
    return Rewarming(network, epochs, since) if since < epochs else None


def give_back(network: paddle.nn.Layer) -> None:
    """Give each parameter its own rate back, also after a run that was broken off, of which nobody heard the end."""
    for attributes in _attributes(network):
        attributes["learning_rate"] = attributes.pop(OWN, attributes["learning_rate"])


def _attributes(network: paddle.nn.Layer) -> list[dict[str, float]]:
    """Where the parameters have their rates, each place once; a rate that is a Tensor is the user's own business."""
    found = {}
    for parameter in network.parameters():
        attributes = getattr(parameter, "optimize_attr", None)
        if not parameter.stop_gradient and attributes and isinstance(attributes.get("learning_rate"), (int, float)):
            found[id(attributes)] = attributes
    return list(found.values())
