"""A copy of a network and its optimizer, to restore them bitwise later in the run.

An undo log keeps single writes. Training writes to everything, so a snapshot copies everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import paddle

from ..internals import optimizer_state as stored
from ..internals import optimizer_values
from ..internals.layers import named_layers
from ..internals.preserve import spaces, training_flags
from ..internals.tensors import gradient_places, let_gradient_be, own_tensors
from ..plan import Array
from . import optimizers
from .array_store import ArrayStore
from .undo_log import UndoLog


@dataclass(frozen=True)
class Stored:
    """A tensor in the store: its number there, and Paddle's name of it."""

    number: int
    name: str


class Snapshot:
    """Copies of all tensors of a network and its optimizer, and of the attributes that a cut or training changes.

    Args:
        network: the network.
        optimizer: over its parameters, or some of them; None for none.
        folder: where large snapshots go on disk; None for the default of `tempfile`.
        leave: attributes of layers that stay as they are when the snapshot is put back.
    """

    def __init__(
        self, network: paddle.nn.Layer, optimizer: Any = None, folder: str | None = None, leave: Sequence[str] = ()
    ) -> None:
        self._network, self._optimizer, self._leave = network, optimizer, frozenset(leave)
        layers = list(named_layers(network).values())
        tensors = {id(tensor): tensor for layer in layers for tensor in own_tensors(layer).values()}
        # Parameters outside of the network, as a loss may have: their optimizer state is restored, so they are as well.
        tensors |= {id(tensor): tensor for each in stored.chain(optimizer) for tensor in stored.parameters(each)}
        state = {} if optimizer is None else optimizers.states(optimizer)
        size = sum(t.size * t.element_size() for t in [*tensors.values(), *state.values()])
        self.store = ArrayStore(size, folder)
        self._copies: dict[int, Stored] = {}
        self._tensors = [(tensor, self.put(tensor), self._gradients(tensor)) for tensor in tensors.values()]
        self._spaces = [(space, dict(space)) for space in spaces(network)]
        self._optimizers = [_Optimizer(each, self) for each in stored.chain(optimizer)]
        self._state = self._told(network.state_dict())
        self._optimizer_state = {} if optimizer is None else self._told(optimizer.state_dict())

    def put(self, tensor: paddle.Tensor) -> Stored:
        """Store a copy of a tensor, once for each tensor."""
        if id(tensor) not in self._copies:
            self._copies[id(tensor)] = Stored(self.store.put(tensor.numpy()), tensor.name)
        return self._copies[id(tensor)]

    def _gradients(self, tensor: paddle.Tensor) -> dict[str, int]:
        found = gradient_places(tensor)
        return {place: self.store.put(gradient.numpy()) for place, gradient in found.items()}

    def _told(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A ``state_dict`` with its tensors in the store, and copies of the rest."""
        found: dict[str, Any] = {}
        for name, value in state.items():
            if isinstance(value, paddle.Tensor):
                found[name] = self.put(value)
            else:
                found[name] = self._told(value) if isinstance(value, Mapping) else optimizer_values.copied(value)
        return found

    def state_dicts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What ``network.state_dict()`` and ``optimizer.state_dict()`` were, as tensors with Paddle's names."""
        return self._tensors_of(self._state), self._tensors_of(self._optimizer_state)

    def _tensors_of(self, told: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in told.items():
            if isinstance(value, Stored):
                found[name] = paddle.to_tensor(self.store.get(value.number), place=paddle.CPUPlace())
                found[name].name = value.name
            else:
                found[name] = self._tensors_of(value) if isinstance(value, Mapping) else value
        return found

    def put_back(self) -> None:
        """Restore network and optimizer bitwise, completely or not at all. Flags, hooks and names are left alone."""
        undo_log = UndoLog()
        try:
            with training_flags(named_layers(self._network).values(), None):
                self._put_network_back(undo_log)
            for each in self._optimizers:
                each.put_back(undo_log)
        except BaseException:
            undo_log.undo()
            raise

    def _put_network_back(self, undo_log: UndoLog) -> None:
        for space, before in self._spaces:
            now = dict(space)
            undo_log.remember(partial(refill, space, now))
            left = {name: now[name] for name in self._leave if name in now}
            refill(space, {**before, **left})
        for tensor, kept, gradients in self._tensors:
            undo_log.resize(tensor, self.store.get(kept.number))
            now = gradient_places(tensor)
            for place in now.keys() | gradients.keys():
                undo_log.remember(partial(let_gradient_be, tensor, now.get(place), place))
                array = self.store.get(gradients[place]) if place in gradients else None
                gradient = None if array is None else paddle.to_tensor(array, place=tensor.place)
                let_gradient_be(tensor, gradient, place)


class _Optimizer:
    """The part of a snapshot that belongs to one optimizer of the chain."""

    def __init__(self, optimizer: Any, snapshot: Snapshot) -> None:
        self._optimizer, self._store = optimizer, snapshot.store
        mirrors = stored.mirrors(optimizer)
        self._mirrors = {(each.what, each.parameter): snapshot.put(each.tensor) for each in mirrors}
        self._values = optimizer_values.values(optimizer)
        schedulers = optimizer_values.schedulers(optimizer)
        self._schedulers = [(each, optimizer_values.scheduler_values(each)) for each in schedulers]

    def put_back(self, undo_log: UndoLog) -> None:
        optimizer = self._optimizer
        for mirror in stored.mirrors(optimizer):
            undo_log.resize(mirror.tensor, self._array(mirror))
        for name, value in self._values.items():
            undo_log.assign(optimizer, name, value)
        for scheduler, values in self._schedulers:
            undo_log.remember(partial(refill, vars(scheduler), dict(vars(scheduler))))
            vars(scheduler).update(values)
        optimizers.forget_fused(optimizer, undo_log)

    def _array(self, mirror: stored.Mirror) -> Array:
        """The stored value of a piece of state; one that did not exist yet is as loaded from a file, or as new."""
        kept = self._mirrors.get((mirror.what, mirror.parameter))
        if kept is not None:
            return self._store.get(kept.number)
        held = self._values.get(stored.LOADED, {}).get(mirror.tensor.name)
        if held is not None:
            array: Array = held.numpy() if isinstance(held, paddle.Tensor) else held
            return array
        return stored.fresh(self._optimizer)[mirror.what, mirror.parameter]


def refill(space: dict[Any, Any], content: Mapping[Any, Any]) -> None:
    """Let a dict hold ``content``, and nothing else."""
    space.clear()
    space.update(content)
