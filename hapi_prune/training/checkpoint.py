"""A pruned checkpoint back into a network: the shapes in the file say how wide each layer is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle

from ..analysis.channel_map import ChannelMap
from ..analysis.example_input import example
from ..analysis.graph import tensors_of
from ..analysis.labels import Mismatch
from ..analysis.propagation import Propagation
from ..cutting import attributes, interrupts, optimizers, surgery, verify_outputs
from ..cutting.undo_log import UndoLog
from ..errors import PruneError, gist
from ..internals import layers
from ..internals.tensors import as_type, own_tensors
from ..plan import Array, Cut
from . import paddle_model

BACKUP = "_backup"
"""PaddleSlim keeps a dense copy of each tensor that it cut, under a name that ends so."""


def load(target: paddle.nn.Layer | paddle.Model, path: str | os.PathLike[str], inputs: Any = None) -> None:
    """Give a dense network the structure and the weights of a pruned checkpoint.

    Nothing but the file is needed: no plan, no flags, no pruning again. The file is one that ``model.save``,
    ``ModelCheckpoint`` or ``paddle.save(network.state_dict(), ...)`` wrote, or PaddleSlim.

    Args:
        target: a network of the class that was pruned, dense, or wider than the file; or a ``paddle.Model`` around
            one, whose optimizer and GradScaler are then loaded too, as ``paddle.Model.load`` does.
        path: with or without ``.pdparams``.
        inputs: an example input; with it, the widths in the file are checked against each other by following the
            channels, before anything is changed. A ``paddle.Model`` with InputSpecs needs none. A network with a
            LayerNorm without parameters needs one, as nothing in the file says how wide that is; so does one whose code
            holds numbers of channels in attributes that followed the cut, as the record of the cut says.

    Raises:
        PruneError: no such file, not a checkpoint, or one of another network; nothing has been changed.

    Example:
        >>> import os, paddle, tempfile
        >>> from hapi_prune import load, prune
        >>> pruned = paddle.vision.models.LeNet()
        >>> record = prune(pruned, [1, 1, 28, 28], 0.5)
        >>> path = os.path.join(tempfile.mkdtemp(), "lenet.pdparams")
        >>> paddle.save(pruned.state_dict(), path)
        >>> fresh = paddle.vision.models.LeNet()
        >>> load(fresh, path)
        >>> fresh.features[0].weight.shape[0]
        3
    """
    model = target if isinstance(target, paddle.Model) else None
    network = target if model is None else model.network
    base = strip(os.fspath(path))
    arrays = fitting(network, read_arrays(base), base)
    if model is not None and inputs is None:
        inputs = paddle_model.input_shapes(model)
    widths = None if inputs is None else followed_widths(network, inputs, arrays, base)
    undo_log = UndoLog()
    with interrupts.held():
        try:
            put(network, model, arrays, undo_log)
            set_bare_widths(network, inputs, undo_log)
            if widths is not None:
                attributes.set_needed(*widths, undo_log)
            if model is not None:
                fill(model, base, undo_log)
        except BaseException as error:
            undo_log.undo()
            if isinstance(error, PruneError) or not isinstance(error, Exception):
                raise
            got = f"it does not load ({gist(error)})"
            todo = "nothing was changed; take an earlier checkpoint"
            raise PruneError(f"checkpoint {base!r}", got, "a complete checkpoint", todo) from error
        network.clear_gradients(set_to_zero=False)  # they were those of other weights


def fill(model: paddle.Model, base: str, undo_log: UndoLog) -> None:
    """Weights, optimizer and GradScaler, now that the sizes fit; what does not fit each other is refused."""
    optimizer, tensors = paddle_model.optimizer(model), tensors_of(model.network)
    if optimizer is not None:
        optimizers.keep(optimizer, undo_log)
    paddle_model.load(model, base)
    if optimizer is not None:
        optimizers.verify(optimizer, tensors, optimizers.covered(optimizer, tensors))


def strip(path: str) -> str:
    """A path without the suffix that hapi adds."""
    return path[: -len(".pdparams")] if path.endswith(".pdparams") else path


def read_arrays(base: str) -> dict[str, Array]:
    """The arrays of a checkpoint, by name.

    Raises:
        PruneError: there is none, or it cannot be read.
    """
    path = next((p for p in (f"{base}.pdparams", base) if os.path.isfile(p)), None)
    if path is None:
        raise PruneError(f"checkpoint {base!r}", "no such file", f"{base}.pdparams", "give the path that was saved to")
    allowed = "a file that model.save or paddle.save(network.state_dict(), ...) wrote"
    try:
        state = paddle.load(path, return_numpy=True)
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        raise PruneError(f"checkpoint {path!r}", f"it cannot be read ({gist(error)})", allowed) from error
    if not isinstance(state, Mapping):
        raise PruneError(f"checkpoint {path!r}", f"it holds a {type(state).__name__}", allowed)
    return {str(name): np.asarray(value) for name, value in state.items() if is_array(value)}


def is_array(value: Any) -> bool:
    """Whether an entry of a checkpoint is a tensor, and not Paddle's table of names."""
    return isinstance(value, (np.ndarray, paddle.Tensor))


def fitting(network: paddle.nn.Layer, state: dict[str, Array], base: str) -> dict[str, Array]:
    """The arrays for the network's tensors, if the file is one of such a network.

    Raises:
        PruneError: it is of another one; the text says in what they differ.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in state]
    extra = [name for name in state if name not in own and not name.endswith(BACKUP)]
    wrong = [
        f"{name!r} {list(state[name].shape)} for {list(own[name].shape)}"
        for name in own
        if name in state and not fits(state[name].shape, tuple(own[name].shape))
    ]
    told = [
        f"{what} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in (("without", missing), ("with unknown", extra), ("with", wrong))
        if names
    ]
    if told:
        raise PruneError(
            f"checkpoint {base!r}",
            f"it is not one of this {type(network).__name__}: {'; '.join(told)}",
            "the same tensors, each as large as the network's or smaller",
            "build the network as it was before it was pruned",
        )
    return {name: state[name] for name in own}


def fits(shape: tuple[int, ...], own: tuple[int, ...]) -> bool:
    """Whether a tensor can shrink to ``shape``."""
    return len(shape) == len(own) and all(0 < ours <= size for ours, size in zip(shape, own))


def followed_widths(
    network: paddle.nn.Layer, inputs: Any, arrays: dict[str, Array], base: str
) -> tuple[ChannelMap, Propagation]:
    """Follow the channels at the file's widths.

    Returns:
        The network as it is, and its labels at these widths.

    Raises:
        PruneError: they do not fit each other.
    """
    channel_map = ChannelMap(network, inputs)
    sizes = dict(channel_map.sizes)
    for name, axis in sizes:
        if name in arrays:
            sizes[name, axis] = arrays[name].shape[axis]
    try:
        return channel_map, channel_map.at(sizes, picks=channel_map.picks_in(arrays)[0])[0]
    except Mismatch as error:
        got, todo = f"its widths do not fit each other ({error})", "build the network as it was before it was pruned"
        raise PruneError(f"checkpoint {base!r}", got, "a checkpoint of this network", todo) from error


def set_bare_widths(network: paddle.nn.Layer, inputs: Any, undo_log: UndoLog) -> None:
    """Run the network once, if it has layers whose width no tensor tells.

    Raises:
        PruneError: it has, and there is no example input to run it on.
    """
    unsure = [name for name, layer in network.named_sublayers() if layers.takes_any_width(layer)]
    if unsure and inputs is None:
        todo = "write load(..., inputs=[1, 3, 32, 32]), with the shape of your images"
        got = f"no example input, and nothing in the file says how wide {unsure[0]!r} is"
        raise PruneError("load(inputs=...)", got, "an example input for such a network", todo)
    if unsure:
        held = layers.Inventory.of(network)
        with surgery.widths_follow(held, undo_log):
            verify_outputs.outputs(held, example(network, inputs), training=False)


def put(network: paddle.nn.Layer, model: paddle.Model | None, arrays: dict[str, Array], undo_log: UndoLog) -> None:
    """Resize every tensor, tell the layers, fill in the values, and make room in the optimizer."""
    held = layers.Inventory.of(network)
    tensors = held.tensors
    state = {id(tensor): name for name, tensor in network.state_dict().items()}
    shapes = {name: arrays[state[id(t)]].shape for name, t in tensors.items() if id(t) in state}
    smaller = {name: shape for name, shape in shapes.items() if shape != tuple(tensors[name].shape)}
    cut = Cut(
        {name: tuple(tensors[name].shape) for name in smaller},
        {name: {axis: np.arange(size) for axis, size in enumerate(shape)} for name, shape in smaller.items()},
    )
    own = {id(t) for la in network.sublayers() if layers.is_depthwise(la) for t in own_tensors(la).values()}
    depthwise = {name for name, tensor in tensors.items() if id(tensor) in own}
    optimizer = paddle_model.optimizer(model) if model is not None else None
    if optimizer is not None:
        optimizers.carry(optimizer, cut, tensors, undo_log)
    surgery.shrink(held, cut, depthwise, undo_log)
    for name in shapes:
        array = arrays[state[id(tensors[name])]]
        undo_log.resize(tensors[name], as_type(array, tensors[name].dtype))
