"""What a test holds against the library: networks masked, compared and looked at without the library's own means.

Nothing here uses hapi_prune. A plan and the index maps of its groups say which slices go; they are set to zero
with NumPy in a copy of the network, and the copy is run. Whatever the cut network computes must be that.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812

Gone = dict[str, dict[int, np.ndarray]]
"""For each tensor and axis the positions that go."""


def tensors(network):
    """Parameters and buffers by structured name; what several layers share appears once, under its first name."""
    found, seen = {}, set()
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def arrays(network):
    """Copies of all parameters and buffers."""
    return {name: np.array(tensor.numpy(), copy=True) for name, tensor in tensors(network).items()}


def gone(groups: Mapping[str, Any], plan: Any) -> Gone:
    """What a plan removes, from the index maps of the groups it was made for."""
    found: Gone = {}
    for key, kept in plan.kept.items():
        units = np.setdiff1d(np.arange(groups[key].size), kept)
        for (name, axis), index in groups[key].index.items():
            axes = found.setdefault(name, {})
            axes[axis] = np.union1d(axes.get(axis, np.zeros(0, np.int64)), np.asarray(index)[units].ravel())
    return found


def masked(network, removed: Gone, dtype: str = "float32"):
    """A copy of ``network`` in which every slice of ``removed`` is zero."""
    twin = copied(network, dtype)
    zero(twin, removed)
    return twin


def zero(network, removed: Gone) -> None:
    """Set every slice of ``removed`` to zero."""
    own = tensors(network)
    for name, axes in removed.items():
        array = np.array(own[name].numpy(), copy=True)
        for axis, positions in axes.items():
            np.moveaxis(array, axis, 0)[positions] = 0
        own[name].set_value(array)


def normalised_over_what_stays(network, removed: Gone):
    """A masked network whose LayerNorms and GroupNorms leave out what is gone, so that removing is zeroing there too.

    Only those with a scale say by it which of their channels are gone.
    """
    own = {id(tensor): name for name, tensor in tensors(network).items()}
    for layer in network.sublayers(include_self=True):
        weight = getattr(layer, "weight", None) if isinstance(layer, (nn.LayerNorm, nn.GroupNorm)) else None
        gone_there = removed.get(own.get(id(weight), ""), {}).get(0, ())
        if len(gone_there):
            norm_left(layer, np.setdiff1d(np.arange(weight.shape[0]), gone_there))
    return network


def norm_left(layer, kept):
    """Let a norm see the channels ``kept`` alone; the others are zero behind it."""
    index = paddle.to_tensor(kept)
    weight, bias = layer.weight[index], layer.bias[index]

    def forward(x):
        last = isinstance(layer, nn.LayerNorm) and len(layer._normalized_shape) == 1
        axis = x.ndim - 1 if last else 1
        left = paddle.index_select(x, index, axis)
        if isinstance(layer, nn.LayerNorm):
            shape = [len(kept)] if last else [len(kept), *layer._normalized_shape[1:]]
            out = F.layer_norm(left, shape, weight, bias, layer._epsilon)
        else:
            out = F.group_norm(left, layer._num_groups, layer._epsilon, weight, bias)
        return paddle.moveaxis(paddle.scatter(zeros(x, axis), index, paddle.moveaxis(out, axis, 0)), 0, axis)

    layer.forward = forward


def zeros(x, axis):
    """As large as ``x``, with ``axis`` in front."""
    return paddle.zeros_like(paddle.moveaxis(x, axis, 0))


def copied(network, dtype: str = "float32"):
    """A copy with tensors of its own."""
    twin = copy.deepcopy(network)
    if dtype != "float32":
        twin.to(dtype=dtype)
    return twin


def outputs(network, inputs, training: bool = False):
    """What a network returns, as arrays in the order of the flattened output."""
    own = next(iter(network.parameters())).dtype
    args = paddle.utils.map_structure(lambda x: x.astype(own) if "float" in str(x.dtype) else x, list(inputs))
    flags = [(layer, layer.training) for layer in network.sublayers(include_self=True)]
    for layer, _ in flags:
        layer.training = training
    try:
        with paddle.no_grad():
            tree = network(*args)
    finally:
        for layer, flag in flags:
            layer.training = flag
    return [leaf.numpy() for leaf in paddle.utils.flatten(tree) if isinstance(leaf, paddle.Tensor)]


def distance(ours, theirs) -> float:
    """The largest difference between two lists of outputs, relative to the largest entry of each output."""
    assert [a.shape for a in ours] == [b.shape for b in theirs], "outputs of different shapes"
    assert all(np.isfinite(a).all() for a in [*ours, *theirs]), "outputs that are not finite say nothing"
    return max(float(np.abs(a - b).max()) / (float(np.abs(b).max()) or 1.0) for a, b in zip(ours, theirs))


def randomise(network, seed: int = 0, weights: bool = False):
    """The network with numbers in whatever starts as zeros or ones (statistics, scales, tables), to hide no mistake.

    ``weights``: whether all others are drawn anew too, at a size that keeps values near 1.
    """
    rng = np.random.RandomState(seed)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        shape = list(tensor.shape)
        if "float" not in str(tensor.dtype) or (not weights and np.ptp(tensor.numpy())):
            continue
        if len(shape) > 1 and weights:
            array = rng.standard_normal(shape) / np.sqrt(max(np.prod(shape) / max(shape[:2]), 1))
        elif name.endswith(("_variance", "weight", "scale")):
            array = rng.uniform(0.5, 1.5, shape)
        else:
            array = 0.1 * rng.standard_normal(shape)
        tensor.set_value(np.asarray(array, "float32"))
    return network


def narrow_classifier(network):
    """The network; of a VGG the two wide Linears, which hold 120 of 130 million parameters, are narrow ones now.

    They take gigabytes in float64, and prove no more than these.
    """
    if isinstance(network, paddle.vision.models.VGG):
        layers = [paddle.nn.Linear(512 * 7 * 7, 128), paddle.nn.ReLU(), paddle.nn.Linear(128, 64), paddle.nn.ReLU()]
        network.classifier = paddle.nn.Sequential(*layers, paddle.nn.Linear(64, 10))
    return network


def convolutions(network):
    """Every convolution by name, and its weight."""
    base = paddle.nn.layer.conv._ConvNd
    return {name: layer.weight for name, layer in network.named_sublayers() if isinstance(layer, base)}


def filters(network):
    """The size of each convolution's filter axis: the second one of a transposed convolution, else the first."""
    layers = dict(network.named_sublayers())
    return {
        name: weight.shape["Transpose" in type(layers[name]).__name__] for name, weight in convolutions(network).items()
    }


def channels(network):
    """How many channels each convolution makes: of a transposed one in groups, each of them makes as many."""
    layers = dict(network.named_sublayers())
    return {
        name: width * (layers[name]._groups if "Transpose" in type(layers[name]).__name__ else 1)
        for name, width in filters(network).items()
    }


def draws():
    """The next numbers of the three random generators, which are left where they were."""
    states = paddle.get_rng_state(), np.random.get_state(), random.getstate()
    numbers = paddle.rand([4]).numpy().tolist(), np.random.rand(4).tolist(), random.random()
    paddle.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])
    return numbers


PLAIN = (int, float, str, bool, type(None))
AT_THE_FIRST_CALL = {"_built", "_data_format"}
"""What Paddle's layers write down of themselves when they are called for the first time."""


def attributes(network):
    """The plain attributes of every layer: its sizes, flags and names."""

    def plain(value):
        return isinstance(value, PLAIN) or (isinstance(value, (list, tuple)) and all(map(plain, value)))

    return {
        name: {k: copy.deepcopy(v) for k, v in vars(layer).items() if plain(v) and k not in AT_THE_FIRST_CALL}
        for name, layer in network.named_sublayers(include_self=True)
    }


def state_of(optimizer):
    """The optimizer's state as arrays and plain values."""

    def read(value):
        if isinstance(value, paddle.Tensor):
            return np.array(value.numpy(), copy=True)
        return {key: read(part) for key, part in value.items()} if isinstance(value, dict) else value

    return read(optimizer.state_dict())


def everything(network, optimizer=None):
    """All that a cut may touch, to be compared with `same`."""
    own = tensors(network)
    return {
        "arrays": arrays(network),
        "names": {name: (id(tensor), tensor.name, tensor.stop_gradient) for name, tensor in own.items()},
        "keys": list(network.state_dict()),
        "attributes": attributes(network),
        "hooks": {
            name: (list(layer._forward_pre_hooks.values()), list(layer._forward_post_hooks.values()))
            for name, layer in network.named_sublayers(include_self=True)
        },
        "optimizer": state_of(optimizer) if optimizer is not None else None,
        "members": [id(p) for p in optimizer._parameter_list] if optimizer is not None else None,
        "draws": draws(),
    }


def same(one, other, where: str = "") -> None:
    """Assert that two results of `everything` are equal, arrays bit by bit."""
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, where
        assert one.shape == other.shape, where
        assert one.tobytes() == other.tobytes(), f"{where}: other values"
    else:
        assert one == other, where


@contextmanager
def as_found(network, optimizer=None) -> Iterator[None]:
    """Assert that what is done inside leaves everything bit by bit as it was."""
    before = everything(network, optimizer)
    yield
    same(before, everything(network, optimizer))
