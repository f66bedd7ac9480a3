"""Copies of what an optimizer holds beside accumulators and master weights: numbers, loaded state, schedulers."""

from __future__ import annotations

import copy
from typing import Any

import paddle

from . import optimizer_state as stored


def copied(value: Any) -> Any:
    """A copy of nested dicts and lists with copies of their tensors; of all else a deep copy."""
    if isinstance(value, paddle.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        double = copy.copy(value)  # of its class: LBFGS keeps a defaultdict
        double.update({key: copied(item) for key, item in value.items()})
        return double
    if isinstance(value, (list, tuple)):
        return type(value)(copied(item) for item in value)
    return copy.deepcopy(value)


def values(optimizer: Any) -> dict[str, Any]:
    """Copies of the attributes that training or a cut changes, and that hold no accumulators."""
    own = vars(optimizer)
    found: dict[str, Any] = {
        name: value for name, value in own.items() if type(value) is float
    }  # a learning rate among them
    found |= {name: copied(own[name]) for name in (stored.CLOCK, stored.FLAT_SIZE) if name in own}
    if stored.flat(optimizer) is not None:
        found[stored.FLAT_STATE] = copied(own[stored.FLAT_STATE])
    if stored.LOADED in own:
        found[stored.LOADED] = dict(own[stored.LOADED])  # its tensors are the user's own, and nothing writes to them
    return found


def schedulers(optimizer: Any) -> list[Any]:
    """The learning-rate scheduler of an optimizer, and those that it wraps."""
    found: list[Any] = []
    waiting = [stored.scheduler(optimizer)]
    while waiting:
        scheduler = waiting.pop()
        if scheduler is not None and not any(scheduler is other for other in found):
            found.append(scheduler)
            waiting += [value for value in vars(scheduler).values() if is_scheduler(value)]
    return found


def scheduler_values(scheduler: Any) -> dict[str, Any]:
    """Copies of what a scheduler holds, except for other schedulers: these stay the objects that they are."""
    return {name: value if is_scheduler(value) else copied(value) for name, value in vars(scheduler).items()}


def is_scheduler(value: Any) -> bool:
    """Whether something is a learning-rate scheduler."""
    return isinstance(value, paddle.optimizer.lr.LRScheduler)
