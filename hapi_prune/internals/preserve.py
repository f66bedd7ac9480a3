"""Context managers that restore what a call must leave as it found it, even if it raises."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle

from .layers import named_layers
from .random_state import RandomState
from .tensors import let_gradient_be, own_tensors, resize


@contextmanager
def forward_pass(layers: Iterable[paddle.nn.Layer], training: bool) -> Iterator[None]:
    """For a forward pass in training or evaluation mode that leaves nothing behind, and says nothing.

    Args:
        layers: all that are run.
        training: the mode.
    """
    layers = list(layers)
    with training_flags(layers, training), random_generators(), statistics(layers), forwards(layers), quiet():
        yield


@contextmanager
def everything(network: paddle.nn.Layer) -> Iterator[None]:
    """Put a network back bitwise, with the attributes of its layers, its gradients and the random generators.

    A deep copy would not do: a forward or hook that holds on to the network goes on with the original's tensors.
    """
    layers = list(named_layers(network).values())
    tensors = {id(tensor): tensor for layer in layers for tensor in own_tensors(layer).values()}.values()
    kept = [(t, np.array(t.numpy()), None if t.grad is None else t.grad.clone()) for t in tensors]
    held = [(space, dict(space)) for space in spaces(network, hooks=True)]
    with training_flags(layers, None), random_generators():
        try:
            yield
        finally:
            for space, before in held:
                space.clear()
                space.update(before)
            for tensor, array, grad in kept:
                if (now := tensor.numpy()).shape != array.shape or now.tobytes() != array.tobytes():
                    resize(tensor, array)
                if tensor.is_leaf:
                    let_gradient_be(tensor, grad)


def spaces(network: paddle.nn.Layer, hooks: bool = False) -> list[dict[Any, Any]]:
    """Where the layers of a network keep their attributes: the dict of each, and the dicts in it.

    Args:
        network: the network.
        hooks: whether those that hold hooks are among them.
    """
    layers = named_layers(network).values()
    inside = [(name, value) for layer in layers for name, value in vars(layer).items() if isinstance(value, dict)]
    return [*(vars(layer) for layer in layers), *(value for name, value in inside if hooks or "hook" not in name)]


@contextmanager
def training_flags(layers: Iterable[paddle.nn.Layer], training: bool | None) -> Iterator[None]:
    """Run with every layer in training or evaluation mode (None: as they are), and put back each layer's own."""
    flags = [(layer, layer.training) for layer in layers]
    try:
        if training is not None:
            for layer, _ in flags:
                set_training(layer, training)
        yield
    finally:
        for layer, flag in flags:
            set_training(layer, flag)


def set_training(layer: paddle.nn.Layer, flag: bool) -> None:
    """Set the mode of one layer, but not of its sublayers. Writing the attribute directly is much faster."""
    if "training" in vars(layer):
        vars(layer)["training"] = flag
    elif layer.training != flag:
        layer.training = flag


@contextmanager
def statistics(layers: Collection[paddle.nn.Layer]) -> Iterator[None]:
    """Put back what a forward pass writes: into tensors that are not trained, or other buffers in their places."""
    held = [(buffers, dict(buffers)) for buffers in [layer._buffers for layer in layers]]
    spaces = [space for layer in layers for space in (layer._parameters, layer._buffers) if space]
    still = {id(t): t for space in spaces for t in space.values() if t is not None and t.stop_gradient}
    kept = [(tensor, tensor.numpy()) for tensor in still.values()]
    try:
        yield
    finally:
        for buffers, before in held:
            if buffers or before:
                buffers.clear()
                buffers.update(before)
        for tensor, array in kept:
            if tensor.numpy().tobytes() != array.tobytes():
                tensor.set_value(array)


@contextmanager
def forwards(layers: Iterable[paddle.nn.Layer]) -> Iterator[None]:
    """Put back each layer's forward: Paddle 3.0 leaves the one that it has converted for a trace in its place.

    It cannot save that one, and a network that it was left on could not be exported after a cut.
    """
    # A layer may hold a forward of its own, and Paddle keeps the one that it has converted beside it.
    spaces = [space for layer in layers for space in (vars(layer), layer._original_funcs)]
    before = [space.get("forward") for space in spaces]
    try:
        yield
    finally:
        for space, forward in zip(spaces, before):
            if forward is None:
                space.pop("forward", None)
            elif space.get("forward") is not forward:
                space["forward"] = forward


@contextmanager
def random_generators() -> Iterator[None]:
    """Put the random generators back: Paddle's, NumPy's and Python's."""
    before = RandomState.now()
    try:
        yield
    finally:
        before.put_back()


@contextmanager
def attributes(*owned: tuple[object, Sequence[str]]) -> Iterator[None]:
    """Put back the attributes of these names of these objects; what was not there goes."""
    before = [(owner, name, getattr(owner, name, attributes)) for owner, names in owned for name in names]
    try:
        yield
    finally:
        for owner, name, value in before:
            if value is not attributes:
                setattr(owner, name, value)
            elif hasattr(owner, name):
                delattr(owner, name)


@contextmanager
def replaced(kind: type, methods: Mapping[str, object]) -> Iterator[None]:
    """A class of Paddle's with other methods, until the block ends."""
    before = {name: vars(kind)[name] for name in methods if name in vars(kind)}
    try:
        for name, method in methods.items():
            setattr(kind, name, method)
        yield
    finally:
        for name in methods:
            if name in before:
                setattr(kind, name, before[name])
            elif name in vars(kind):
                delattr(kind, name)


_IGNORE = ("ignore", None, Warning, None, 0)
"""A filter that lets every warning pass, as Python holds it."""


@contextmanager
def quiet() -> Iterator[None]:
    """Let warnings pass: what the user's network warns of, it says in the user's own training.

    The filter is put into Python's list by hand. Its own functions also make it forget which warnings were shown, and
    Paddle would say each of its own anew after every cut.
    """
    space = vars(warnings)  # whose type says that the list is never written to
    filters: list[Any] = space["filters"]
    before = list(filters)
    filters.insert(0, _IGNORE)
    try:
        yield
    finally:
        filters[:] = before
        space["filters"] = filters
