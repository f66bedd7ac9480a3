"""Global state, put back as it was found."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import paddle

from . import _paddle


@contextmanager
def mode(network: paddle.nn.Layer, training: bool | None) -> Iterator[None]:
    """Run with every layer in training or evaluation mode (None: as they are), and put back each layer's own."""
    layers = [network, *network.sublayers()]
    flags = [layer.training for layer in layers]
    try:
        if training is not None:
            for layer in layers:
                layer.training = training
        yield
    finally:
        for layer, flag in zip(layers, flags):
            layer.training = flag


@contextmanager
def buffers(network: paddle.nn.Layer) -> Iterator[None]:
    """Put back the buffers that a forward pass replaces by others; what is written into them is not looked at."""
    layers = [(layer, _paddle.own_tensors(layer)) for layer in [network, *network.sublayers()]]
    try:
        yield
    finally:
        for layer, tensors in layers:
            _paddle.hold(layer, tensors)


@contextmanager
def rng() -> Iterator[None]:
    """Put the random generators back: Paddle's, NumPy's and Python's."""
    states, numbers, python = paddle.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        paddle.set_rng_state(states)
        np.random.set_state(numbers)
        random.setstate(python)


@contextmanager
def quiet() -> Iterator[None]:
    """Let warnings pass: what the user's network warns of, it says in the user's own training."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
