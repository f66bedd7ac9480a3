"""What a call must leave as it found it: the warnings that were shown, and Python's way to tell the stack."""

from __future__ import annotations

import contextlib
import inspect
import traceback
import warnings

import numpy as np
import paddle
import pytest

from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.errors import PruneError
from hapi_prune.internals.layers import named_layers
from hapi_prune.internals.preserve import everything, quiet, statistics


def warn():
    warnings.warn("said once", UserWarning, stacklevel=1)


def test_what_was_shown_is_not_shown_again_after_a_quiet_block():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        warn()
        with quiet():
            warn()
        warn()
    assert [str(warning.message) for warning in shown] == ["said once"]


def test_a_quiet_block_swallows_nothing_that_comes_after_it():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        with quiet():
            warnings.warn("said inside", UserWarning, stacklevel=1)
        warnings.warn("said later", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["said later"]


def test_what_a_quiet_block_has_swallowed_is_said_where_it_happens_again():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for block in (quiet(), contextlib.nullcontext()):
            with block:
                warn()
    assert [str(warning.message) for warning in shown] == ["said once"]


def test_a_quiet_block_puts_back_the_filters_that_the_network_has_changed():
    with warnings.catch_warnings():
        before, own = list(warnings.filters), warnings.filters
        with quiet():
            warnings.resetwarnings()
            warnings.filters = []
        assert warnings.filters is own
        assert warnings.filters == before


@pytest.mark.smoke  # Paddle 3.0 takes no None for a gradient
def test_a_leaf_has_its_gradient_again_or_none():
    layer = paddle.nn.Linear(2, 2)
    layer(paddle.ones([1, 2])).sum().backward()
    grad = layer.weight.grad.numpy()
    layer.bias.clear_gradient(False)
    with everything(layer):
        (layer(paddle.ones([1, 2])) * 3).sum().backward()
        assert layer.bias.grad is not None
    np.testing.assert_array_equal(layer.weight.grad.numpy(), grad)
    assert layer.bias.grad is None


class Line(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 3)

    def forward(self, x):
        return paddle.tanh(self.conv(x))


class Failing(Line):
    def forward(self, x):
        raise ValueError("the user's own")


def test_while_tracing_the_users_line_is_kept_and_then_the_stack_is_whole_again():
    before, line = traceback.extract_stack, inspect.getsourcelines(Line.forward)[1] + 1
    channel_map = ChannelMap(Line(), [1, 3, 8, 8])
    assert traceback.extract_stack is before
    tanh = next(op for op in channel_map.graph.evaluation.ops if op.name == "tanh")
    assert tanh.where == f"{__file__}:{line}"
    with pytest.raises(PruneError, match="the user's own"):
        ChannelMap(Failing(), [1, 3, 8, 8])
    assert traceback.extract_stack is before


def test_buffers_that_come_and_go_in_a_forward_are_put_back_as_they_were():
    """Also one that held nothing, and in their order."""
    network = paddle.nn.Sequential(paddle.nn.BatchNorm2D(2), paddle.nn.ReLU())
    norm, plain = network
    norm.register_buffer("empty", None)
    norm.register_buffer("seen", paddle.zeros([1]))
    norm.register_buffer("other", paddle.zeros([3]))
    before, mean = dict(norm._buffers), norm._mean.numpy()
    with statistics(named_layers(network).values()):
        norm._buffers["empty"], norm._buffers["seen"] = paddle.ones([1]), paddle.ones([2])
        norm._buffers["new"] = norm._buffers.pop("other")
        norm._mean.set_value(paddle.ones([2]))
        plain.register_buffer("made", paddle.ones([1]))
    assert list(norm._buffers) == list(before)
    assert all(norm._buffers[name] is before[name] for name in before)
    assert not plain._buffers
    assert np.array_equal(norm._mean.numpy(), mean)
