"""The optimizer's state through a cut: gathered by the indices of its parameter, or reset.

Parameters keep object and name through a cut, so the optimizer's lists and groups, its learning-rate scheduler,
regularizers and gradient clips stay valid as they are. Only the state has to follow.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import paddle

from ..errors import PruneError
from ..internals import optimizer_state as stored
from ..internals.tensors import view
from ..plan import Array, Cut
from .undo_log import UndoLog


def carry(
    optimizer: Any, cut: Cut, tensors: Mapping[str, paddle.Tensor], undo_log: UndoLog, state: str = "carry"
) -> None:
    """Bring the optimizer's state along with a cut, before or after the parameters themselves are resized.

    Args:
        optimizer: a Paddle optimizer over all or some of the network's parameters.
        cut: what is removed.
        tensors: the network's parameters and buffers, by structured name.
        undo_log: takes down each write.
        state: ``"carry"`` gathers the state by the same indices as its parameter, element for element;
            ``"reset"`` puts all state back to what a new optimizer starts from. Learning-rate schedulers,
            options and parameter groups are left alone by both.

    Raises:
        PruneError: unknown ``state``, an unsupported optimizer, or state that cannot be told to fit; nothing of
            that optimizer has been written then, and ``undo_log.undo()`` takes back the rest.
    """
    if state not in _MODES:
        raise PruneError("carry(state=...)", f"got {state!r}", " or ".join(map(repr, _MODES)))
    for each in stored.chain(optimizer):
        _check_objects(each, tensors)
        stored.refuse_strays(each, tensors)
        _MODES[state](each, cut, tensors, undo_log)
        forget_fused(each, undo_log)


def covered(optimizer: Any, tensors: Mapping[str, paddle.Tensor]) -> frozenset[str]:
    """The structured names of those of ``tensors`` that the optimizer holds.

    Raises:
        PruneError: the optimizer is not supported.
    """
    held = {id(parameter) for each in stored.chain(optimizer) for parameter in stored.parameters(each)}
    return frozenset(name for name, tensor in tensors.items() if id(tensor) in held)


def states(optimizer: Any) -> dict[str, paddle.Tensor]:
    """Every piece of state that belongs to a parameter, under a name that says which."""
    return {
        f"{mirror.what} of {mirror.parameter}": mirror.tensor
        for each in stored.chain(optimizer)
        for mirror in stored.mirrors(each)
    }


def masters(optimizer: Any, tensors: Mapping[str, paddle.Tensor]) -> dict[str, paddle.Tensor]:
    """In mixed precision, the float32 weights that training changes, by structured name of the low ones."""
    names = {tensor.name: name for name, tensor in tensors.items()}
    found = [mirror for each in stored.chain(optimizer) for mirror in stored.mirrors(each)]
    return {names[m.parameter]: m.tensor for m in found if m.what == stored.MASTER and m.parameter in names}


def keep(optimizer: Any, undo_log: UndoLog) -> None:
    """Note in the undo log all that ``set_state_dict`` may overwrite, so that one that fails half-way is undone."""
    for each in stored.chain(optimizer):
        for mirror in stored.mirrors(each):
            undo_log.resize(mirror.tensor, mirror.tensor.numpy())
        for name in {stored.LOADED, stored.MASTERS} & vars(each).keys():
            undo_log.assign(each, name, getattr(each, name))
        scheduler = stored.scheduler(each)
        if scheduler is not None:
            undo_log.remember(partial(vars(scheduler).update, copy.deepcopy(vars(scheduler))))


def verify(optimizer: Any, tensors: Mapping[str, paddle.Tensor], expected: Collection[str] | None = None) -> None:
    """Prove that the optimizer fits the network as it is now.

    Args:
        optimizer: a Paddle optimizer.
        tensors: the network's parameters and buffers, by structured name.
        expected: names that must be in the optimizer, as `covered` gave them before the cut; None for every
            trainable parameter.

    Raises:
        PruneError: a parameter that is missing, twice there or not the network's own object; state that does
            not fit its parameter; state of something that is not there.
    """
    if expected is None:
        expected = [name for name, tensor in tensors.items() if _trainable(tensor)]
    for each in stored.chain(optimizer):
        _check_objects(each, tensors)
        _check_members(each, tensors, expected)
        stored.refuse_strays(each, tensors)
        _check_shapes(each, tensors)
        _check_flat(each)


def _carry(optimizer: Any, cut: Cut, tensors: Mapping[str, paddle.Tensor], undo_log: UndoLog) -> None:
    """Gather all state; every array is made before the first is written."""
    names = _cut_names(cut, tensors)
    writes = []
    for mirror in stored.mirrors(optimizer):
        if mirror.parameter in names and mirror.tensor.size != 1:
            where = f"{stored.describe(optimizer)}, {mirror.what!r} of {mirror.parameter!r}"
            writes.append((mirror.tensor, _gathered(cut, names[mirror.parameter], view(mirror.tensor), where)))
    loaded = _gathered_loaded(optimizer, cut, names, tensors)
    flat = stored.gathered_flat(optimizer, cut, names)
    while writes:  # an array goes as soon as its tensor holds the numbers
        undo_log.resize(*writes.pop())
    if loaded:  # a new dict: the tensors in the old one are the user's own state dict
        undo_log.assign(optimizer, stored.LOADED, {**getattr(optimizer, stored.LOADED), **loaded})
    if flat is not None:
        undo_log.assign(optimizer, stored.FLAT_STATE, flat)
        undo_log.assign(optimizer, stored.FLAT_SIZE, None)


def _reset(optimizer: Any, cut: Cut, tensors: Mapping[str, paddle.Tensor], undo_log: UndoLog) -> None:
    """Overwrite all state with a new optimizer's: names, and references to the tensors, stay valid."""
    names, fresh = _cut_names(cut, tensors), stored.fresh(optimizer)
    writes = []
    for mirror in stored.mirrors(optimizer):
        where = f"{stored.describe(optimizer)}, {mirror.what!r} of {mirror.parameter!r}"
        if (mirror.what, mirror.parameter) not in fresh:
            got = "a new optimizer has none, so its first value is not known"
            raise PruneError(where, got, todo="use optimizer_state='carry'")
        array, name = fresh[mirror.what, mirror.parameter], names.get(mirror.parameter)
        resized = name is None or array.size == 1 or _fits(array.shape, cut.after(name))
        writes.append((mirror.tensor, array if resized or name is None else _gathered(cut, name, array, where)))
    for tensor, array in writes:
        undo_log.resize(tensor, array)
    anew: dict[str, Any] = {stored.LOADED: {}, stored.CLOCK: None}
    if stored.flat(optimizer) is not None:
        anew |= {stored.FLAT_STATE: defaultdict(dict), stored.FLAT_SIZE: None}
    for attribute in anew.keys() & vars(optimizer).keys():
        undo_log.assign(optimizer, attribute, anew[attribute])


_MODES: Mapping[str, Callable[[Any, Cut, Mapping[str, paddle.Tensor], UndoLog], None]] = {
    "carry": _carry,
    "reset": _reset,
}


def _cut_names(cut: Cut, tensors: Mapping[str, paddle.Tensor]) -> dict[str, str]:
    """Structured name of each tensor that is cut, by Paddle's name, under which optimizers file their state."""
    return {tensors[name].name: name for name in cut.kept}


def _fits(shape: tuple[int, ...], parameter: tuple[int, ...]) -> bool:
    """Whether state of ``shape`` mirrors a parameter: its shape comes last, as in ASGD's ``[batches, *shape]``."""
    lead = len(shape) - len(parameter)
    return lead >= 0 and tuple(shape[lead:]) == tuple(parameter)


def _gathered(cut: Cut, name: str, array: Array, where: str) -> Array:
    """What stays of state that mirrors tensor ``name``.

    A tensor that is cut has two elements or more, so state of one element is never taken for its mirror.
    """
    before = cut.before[name]
    if not _fits(array.shape, before):
        got = f"shape {list(array.shape)} cannot be matched to its parameter {name!r}"
        raise PruneError(where, got, f"one element, or [..., {str(list(before))[1:]} (the shape before the cut)")
    return cut.gather(name, array, array.ndim - len(before))


def _gathered_loaded(
    optimizer: Any, cut: Cut, names: Mapping[str, str], tensors: Mapping[str, paddle.Tensor]
) -> dict[str, Any]:
    """State loaded but not yet taken up, gathered, as it was loaded: tensor or array."""
    entries, gathered = getattr(optimizer, stored.LOADED, {}), {}
    for key, parameter, array in stored.loaded(optimizer, _known(optimizer, tensors)):
        if parameter in names:
            array = _gathered(cut, names[parameter], array, f"{stored.describe(optimizer)}, loaded {key!r}")
            tensor = isinstance(entries[key], paddle.Tensor)
            gathered[key] = paddle.to_tensor(array, place=entries[key].place) if tensor else array
    return gathered


def _known(optimizer: Any, tensors: Mapping[str, paddle.Tensor]) -> set[str]:
    """Paddle's names of everything that state may belong to."""
    return {tensor.name for tensor in [*tensors.values(), *stored.parameters(optimizer)]}


def forget_fused(optimizer: Any, undo_log: UndoLog) -> None:
    """Fused storage is one buffer that the state lies in; resized state lies outside, so Paddle must fuse again."""
    if getattr(optimizer, stored.FUSED, None) is not None:
        undo_log.assign(optimizer, stored.FUSED, None)
        undo_log.assign(optimizer, stored.FUSE_AGAIN, True)


def _trainable(tensor: paddle.Tensor) -> bool:
    return bool(getattr(tensor, "trainable", False))  # buffers have no such attribute


def _check_objects(optimizer: Any, tensors: Mapping[str, paddle.Tensor]) -> None:
    """State is filed by name: a name must mean one object."""
    ours = {tensor.name: (name, tensor) for name, tensor in tensors.items()}
    for parameter in stored.parameters(optimizer):
        name, tensor = ours.setdefault(parameter.name, (parameter.name, parameter))
        if tensor is not parameter:
            got = f"holds another parameter called {parameter.name!r} than the network's {name!r}"
            todo = "make the optimizer over this network's parameters, and give each its own name"
            raise PruneError(stored.describe(optimizer), got, todo=todo)


def _check_members(optimizer: Any, tensors: Mapping[str, paddle.Tensor], expected: Collection[str]) -> None:
    held: dict[int, str] = {}
    for parameter in stored.parameters(optimizer):
        if id(parameter) in held:
            raise PruneError(stored.describe(optimizer), f"holds parameter {parameter.name!r} twice", "each once")
        held[id(parameter)] = parameter.name
    for name in sorted(expected):
        if name not in tensors or id(tensors[name]) not in held:
            todo = "leave the optimizer's parameters as they are, and the network's parameters the same objects"
            raise PruneError(stored.describe(optimizer), f"parameter {name!r} is not in it", todo=todo)


def _check_shapes(optimizer: Any, tensors: Mapping[str, paddle.Tensor]) -> None:
    shapes = {p.name: tuple(p.shape) for p in [*tensors.values(), *stored.parameters(optimizer)]}
    state = [(repr(m.what), m.parameter, tuple(m.tensor.shape)) for m in stored.mirrors(optimizer)]
    state += [(f"loaded {key!r}", name, array.shape) for key, name, array in stored.loaded(optimizer, shapes)]
    for what, name, shape in state:
        if math.prod(shape) != 1 and not _fits(shape, shapes[name]):
            got = f"shape {list(shape)} does not fit its parameter {name!r}, {list(shapes[name])}"
            raise PruneError(
                f"{stored.describe(optimizer)}, {what}", got, todo="carry the optimizer along with the cut"
            )


def _check_flat(optimizer: Any) -> None:
    size = sum(parameter.size for parameter in stored.flat(optimizer) or ())
    if stored.flat(optimizer) is None:
        return
    for label, value in getattr(optimizer, stored.FLAT_STATE).items():
        for tensor in stored.tensors_in(value):
            stored.check_vector(optimizer, label, tensor, size)
    cached = getattr(optimizer, stored.FLAT_SIZE)
    if cached is not None and int(cached) != size:
        raise PruneError(f"{stored.describe(optimizer)}, number of elements", f"got {int(cached)}", str(size))
