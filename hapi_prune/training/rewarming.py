"""Rewarming: after a cut the learning rate rises linearly from zero to the value of the user's scheduler."""

from __future__ import annotations

import paddle

from ..reporting.history import History

OWN = "own_learning_rate"
"""The key of a parameter's own rate, kept beside the scaled one."""


class Rewarming:
    """Scales the learning rates of the parameters for a while; the optimizer and its scheduler are not touched.

    Paddle multiplies the optimizer's rate by that of the parameter (``ParamAttr(learning_rate=...)``), whatever the
    optimizer and the scheduler are.

    Args:
        network: the network with these parameters.
        epochs: after how many epochs the full rate is reached.
        since: how many of them are over.
    """

    def __init__(self, network: paddle.nn.Layer, epochs: int, since: int = 0) -> None:
        self._network, self._epochs, self._since = network, epochs, since
        for attributes in _attributes(network):
            attributes.setdefault(OWN, attributes["learning_rate"])

    def at(self, done: float) -> None:
        """Set the rates for a batch.

        Args:
            done: the share of the epoch that is done at the end of this batch, in (0, 1].
        """
        factor = min((self._since + done) / self._epochs, 1.0)
        for attributes in _attributes(self._network):
            own = attributes[OWN]
            attributes["learning_rate"] = own * factor if factor < 1 else own

    def close(self) -> None:
        """Restore the parameters' own rates."""
        give_back(self._network)


def warming_up(network: paddle.nn.Layer, epochs: int, epoch: int, history: History) -> Rewarming | None:
    """The rewarming of this epoch; None, with the parameters' own rates restored, if no cut is recent enough."""
    give_back(network)
    since = epoch - (history[-1].epoch or 0) if history else epochs
    return Rewarming(network, epochs, since) if since < epochs else None


def give_back(network: paddle.nn.Layer) -> None:
    """Restore the parameters' own rates, also those left scaled by a run that was broken off."""
    for attributes in _attributes(network):
        attributes["learning_rate"] = attributes.pop(OWN, attributes["learning_rate"])


def _attributes(network: paddle.nn.Layer) -> list[dict[str, float]]:
    """The dicts with the parameters' rates, each once, without those whose rate is a Tensor."""
    found = {}
    for parameter in network.parameters():
        attributes = getattr(parameter, "optimize_attr", None)
        if not parameter.stop_gradient and attributes and isinstance(attributes.get("learning_rate"), (int, float)):
            found[id(attributes)] = attributes
    return list(found.values())
