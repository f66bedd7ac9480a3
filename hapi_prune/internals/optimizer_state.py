"""Where Paddle's optimizers keep their state: every private attribute that the library stands on, named once.

Read by `optimizers.py` only. Nothing here writes to an optimizer.
"""

from __future__ import annotations

import copy
import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle.base.framework import default_main_program

from ..errors import PruneError
from ..plan import Array, Cut, Index

SUPPORTED = (
    "SGD, Momentum, Adam, AdamW, Adamax, Adagrad, Adadelta, RMSProp, Lamb, NAdam, RAdam, ASGD, Rprop, LBFGS of"
    " paddle.optimizer, paddle.incubate.LookAhead around one of these, and subclasses that keep their state in Paddle's"
    " accumulators (Optimizer._add_accumulator)"
)
MASTER = "master weight"
LOADED = "_accumulators_holder"
MASTERS = "_master_weights"
FLAT_STATE = "state"
FLAT_SIZE = "_numel_cache"
FUSED = "fusion_storage"
FUSE_AGAIN = "_need_refuse"
CLOCK = "_global_step_var"
"""LookAhead's step count: at one it copies the parameters, so a slow copy made anew needs it to start again."""

CURVATURE = 1e-10
"""LBFGS keeps a pair (y, s) only while y . s is above this."""

# What paddle.load finds among the arrays of a file: a table of names.
NAMES = "StructuredToParameterName@@"
# Attributes with tensors that belong to no parameter (Rprop's bounds and factors), or that are read elsewhere.
_NO_MIRROR = frozenset({"_learning_rate_range", "_etas", "_accumulators", "_master_weights", LOADED})


@dataclass(frozen=True)
class Mirror:
    """One tensor of state, shape ``[*any, *shape of the parameter]`` or one element.

    Attributes:
        what: Paddle's name of the accumulator, or `MASTER`.
        parameter: Paddle's name of the parameter it belongs to.
        tensor: the state.
    """

    what: str
    parameter: str
    tensor: paddle.Tensor


def describe(optimizer: Any) -> str:
    """The optimizer as an error's ``where`` names it."""
    return f"optimizer {type(optimizer).__name__}"


def chain(optimizer: Any) -> tuple[Any, ...]:
    """The optimizer and the ones it wraps, the outermost first.

    Raises:
        PruneError: one of them does not keep its state where Paddle's optimizers do.
    """
    found = []
    while optimizer is not None:
        attributes = getattr(optimizer, "__dict__", {})  # not getattr: wrappers forward unknown attributes
        if not isinstance(attributes.get("_accumulators"), dict) or not attributes.get("_param_groups"):
            todo = "train with a supported optimizer, or prune before the optimizer is made"
            raise PruneError(describe(optimizer), "its state cannot be seen", SUPPORTED, todo)
        found.append(optimizer)
        optimizer = attributes.get("inner_optimizer")
    return tuple(found)


def parameters(optimizer: Any) -> list[paddle.Tensor]:
    """Every parameter of the optimizer, as often as it stands in its list or groups."""
    groups = optimizer._param_groups
    return [p for group in groups for p in (group["params"] if isinstance(group, dict) else (group,))]


def scheduler(optimizer: Any) -> Any:
    """The learning-rate scheduler; None where the rate is a number."""
    rate = getattr(optimizer, "_learning_rate", None)
    return rate if isinstance(rate, paddle.optimizer.lr.LRScheduler) else None


def mirrors(optimizer: Any) -> list[Mirror]:
    """Every accumulator and master weight. State under multi-precision is filed under the master weight's name.

    Raises:
        PruneError: state of something that is no parameter of the optimizer.
    """
    masters = getattr(optimizer, "_master_weights", {})
    owner = {p.name: p.name for p in parameters(optimizer)}
    owner |= {tensor.name: name for name, tensor in masters.items() if name in owner}
    filed = [(MASTER, name, tensor) for name, tensor in masters.items()]
    filed += [(what, name, t) for what, entries in optimizer._accumulators.items() for name, t in entries.items()]
    for what, name, tensor in filed:
        if name not in owner or not isinstance(tensor, paddle.Tensor):
            got = f"{what!r} holds a {type(tensor).__name__} for {name!r}, which is no parameter of the optimizer"
            got = got if name not in owner else f"{what!r} of parameter {name!r} is a {type(tensor).__name__}"
            raise PruneError(describe(optimizer), got, "a Tensor for each parameter that the optimizer holds")
    return [Mirror(what, owner[name], tensor) for what, name, tensor in filed]


def loaded(optimizer: Any, names: Collection[str]) -> list[tuple[str, str, Array]]:
    """What ``set_state_dict`` left for accumulators still to be made: ``(key, parameter's name, value)``.

    One element is left out: it belongs to all of a parameter alike. LBFGS never reads what was loaded.

    Args:
        optimizer: the optimizer.
        names: Paddle's names of the parameters that may own an entry.

    Raises:
        PruneError: an entry that belongs to none of ``names``.
    """
    entries = {} if flat(optimizer) is not None else getattr(optimizer, LOADED)
    arrays = {
        key: value.numpy() if isinstance(value, paddle.Tensor) else np.asarray(value)
        for key, value in entries.items()
        if key != NAMES
    }
    found = [
        (key, _owner(key, names), array) for key, array in arrays.items() if array.size != 1 or array.dtype == object
    ]
    for key, name, array in found:
        if not name or array.dtype == object:
            allowed = "arrays named '<parameter>_<accumulator>_<number>', for this network's parameters"
            todo = "load the state of this network's optimizer only"
            raise PruneError(describe(optimizer), f"loaded state {key!r} belongs to no parameter", allowed, todo)
    return found


def _owner(key: str, names: Collection[str]) -> str:
    """The parameter whose accumulator Paddle would call ``key``: ``<parameter>_<accumulator>_<number>``."""
    fits = [name for name in names if key.startswith(name + "_") and re.fullmatch(r".+_\d+", key[len(name) + 1 :])]
    return max(fits, key=len, default="")


def renamed(state: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """An optimizer's ``state_dict`` for parameters with other names.

    Args:
        state: as ``paddle.load`` gives it.
        names: Paddle's old name of each parameter -> its name now.
    """
    result: dict[str, Any] = {}
    for key, value in state.items():
        owner = _owner(key, names)
        result[names[owner] + key[len(owner) :] if owner else key] = value
    if isinstance(state.get("master_weights"), Mapping):
        result["master_weights"] = {names.get(key, key): value for key, value in state["master_weights"].items()}
    return result


def flat(optimizer: Any) -> list[paddle.Tensor] | None:
    """LBFGS: the parameters whose elements, end to end, are the axis of each vector of its state. Else None."""
    return getattr(optimizer, "_params", None) if hasattr(optimizer, FLAT_SIZE) else None


def tensors_in(value: Any, seen: set[int] | None = None) -> Iterator[paddle.Tensor]:
    """Every tensor in nested dicts, lists, tuples and sets, each container once."""
    seen = set() if seen is None else seen
    if isinstance(value, paddle.Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple, set)) and id(value) not in seen:
        seen.add(id(value))
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(item, seen)


def refuse_strays(optimizer: Any, tensors: Mapping[str, paddle.Tensor]) -> None:
    """Prove that all tensors of the optimizer are accounted for, the lists of ``use_multi_tensor`` among them.

    Raises:
        PruneError: a tensor of several elements in an attribute that is not known to mirror anything.
    """
    mine = [*tensors.values(), *parameters(optimizer), *(mirror.tensor for mirror in mirrors(optimizer))]
    known = {id(tensor) for tensor in mine}
    skip = _NO_MIRROR | ({FLAT_STATE} if flat(optimizer) is not None else set())
    for name, value in vars(optimizer).items():
        for tensor in () if name in skip else tensors_in(value):
            if id(tensor) not in known and tensor.size != 1:
                got = f"attribute {name!r} holds a tensor of shape {list(tensor.shape)} that mirrors no known parameter"
                raise PruneError(
                    describe(optimizer), got, SUPPORTED, "keep such state in accumulators, by parameter name"
                )


def fresh(optimizer: Any) -> dict[tuple[str, str], Array]:
    """The state that a new optimizer would start from, by ``(what, parameter)``, for what has state now.

    Paddle makes it, on a shallow copy, so that each optimizer's own initial values hold. Were the live state
    dropped instead, Paddle would number the new accumulators on (``_moment1_0``, ``_moment1_1``), and a
    checkpoint of it would not load in a new process.
    """
    double = copy.copy(optimizer)
    double._accumulators, double._master_weights = defaultdict(dict), {}
    double._already_create_accumulator, double._accumulators_holder, double._opti_name_list = set(), {}, []
    wanted = {mirror.parameter for mirror in mirrors(optimizer)}
    program: Any = default_main_program()
    with paddle.utils.unique_name.guard(), paddle.no_grad():
        for group in _groups(optimizer, wanted):
            double._create_accumulators(program.global_block(), group)
    return {(mirror.what, mirror.parameter): mirror.tensor.numpy() for mirror in mirrors(double)}


def _groups(optimizer: Any, wanted: Collection[str]) -> list[Any]:
    """The parameters named, as ``step`` hands them on: a list, or each group with its own options."""
    groups = optimizer._param_groups
    if not isinstance(groups[0], dict):
        return [[p for p in groups if p.name in wanted]]
    return [{**group, "params": [p for p in group["params"] if p.name in wanted]} for group in groups]


def gathered_flat(optimizer: Any, cut: Cut, names: Mapping[str, str]) -> dict[str, Any] | None:
    """LBFGS: its state with each vector over all parameters gathered, or None where no vector changes."""
    parameters = flat(optimizer)
    if parameters is None or not any(parameter.name in names for parameter in parameters):
        return None
    positions, size = _flat_positions(parameters, cut, names)

    def follow(label: str, value: Any) -> Any:
        if isinstance(value, list):
            return [follow(label, item) for item in value]
        if not isinstance(value, paddle.Tensor) or value.size == 1:
            return value
        check_vector(optimizer, label, value, size)
        return paddle.to_tensor(value.numpy()[positions], place=value.place)

    state = {label: follow(label, value) for label, value in getattr(optimizer, FLAT_STATE).items()}
    return defaultdict(dict, _curved(state))


def _flat_positions(parameters: list[paddle.Tensor], cut: Cut, names: Mapping[str, str]) -> tuple[Index, int]:
    """Where the elements that stay lie in the parameters of before, end to end, and how many those had."""
    positions, offset = [], 0
    for parameter in parameters:
        name = names.get(parameter.name)
        shape = tuple(parameter.shape) if name is None else cut.before[name]
        index = np.arange(offset, offset + math.prod(shape)).reshape(shape)
        positions.append((index if name is None else cut.gather(name, index)).ravel())
        offset += math.prod(shape)
    return np.concatenate(positions), offset


def _curved(state: dict[str, Any]) -> dict[str, Any]:
    """What LBFGS derives from its pairs, derived again: ``ro = 1 / y.s``, ``H = y.s / y.y`` of the newest.

    A pair that has lost its positive curvature with the elements cut off goes, as it would never have come in.
    """
    if not state.get("old_yk"):
        return state
    pairs = [(y, s, (y * s).sum()) for y, s in zip(state["old_yk"], state["old_sk"])]
    pairs = [pair for pair in pairs if pair[2] > CURVATURE]
    diagonal = pairs[-1][2] / (pairs[-1][0] ** 2).sum() if pairs else paddle.ones_like(state["H_diag"])
    derived = {"old_yk": [y for y, _, _ in pairs], "old_sk": [s for _, s, _ in pairs]}
    return {**state, **derived, "ro": [1.0 / ys for _, _, ys in pairs], "H_diag": diagonal}


def check_vector(optimizer: Any, label: str, tensor: paddle.Tensor, size: int) -> None:
    """LBFGS: refuse state that is neither one element nor a vector over all parameters."""
    if tensor.size != 1 and tuple(tensor.shape) != (size,):
        where = f"{describe(optimizer)}, state {label!r}"
        raise PruneError(
            where, f"shape {list(tensor.shape)}", f"one element, or [{size}]: all its parameters end to end"
        )
