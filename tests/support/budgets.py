"""Metrics that fall where the network is small, for the tests of accuracy budgets."""

from __future__ import annotations

import paddle
from fits import Net, build, momentum


class Falls(paddle.metric.Metric):
    """A metric that is what a function says of the filters of conv1, whatever the network computes."""

    def __init__(self, says, name="acc"):
        super().__init__()
        self.says, self.called, self.model = says, name, [None]

    def __deepcopy__(self, memo):
        double = Falls(self.says, self.called)
        double.model = self.model
        return double

    def compute(self, prediction, label):
        return prediction

    def update(self, *args):
        return self.accumulate()

    def reset(self):
        pass

    def accumulate(self):
        return self.says(self.model[0].network.conv1.weight.shape[0])

    def name(self):
        return self.called


def at_least(filters, name="acc"):
    """0.9 down to so many filters of conv1, of which there are 8; then 0.5."""
    return Falls(lambda now: 0.9 if now >= filters else 0.5, name)


def built(metric, optimizer=momentum, network=Net, **prepare):
    """A model that is measured by ``metric``."""
    model = build(network, optimizer, metrics=metric, **prepare)
    metric.model[0] = model
    return model


def adam(parameters):
    return paddle.optimizer.Adam(paddle.optimizer.lr.StepDecay(0.01, 3), parameters=list(parameters))


def tries(history):
    """What was tried when, and whether it held."""
    return [(record.epoch, record.ratio_asked, not record.taken_back) for record in history]


class Wide(Net):
    """Wide enough that each step removes a filter."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = paddle.nn.Conv2D(3, 65, 3, padding=1), paddle.nn.BatchNorm2D(65)
        self.conv2 = paddle.nn.Conv2D(65, 12, 3, padding=1)
