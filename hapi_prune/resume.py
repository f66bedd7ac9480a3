"""Go on where a run stopped, in one line."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import paddle

from . import hapi, hapi_state
from .checkpoint import load
from .errors import PruneError, PruneWarning
from .history import History
from .inputs import Slot
from .keeping import complete, read
from .pruning import Pruner


@dataclass(frozen=True)
class Resumed:
    """A run to go on with.

    Attributes:
        epochs: how many are done.
        history: what happened in them.
        pruner: the network, and what it was before the first cut.
        memory: what hapi remembered.
        evaluate: whether the run stopped between a checkpoint and the evaluation that was to follow it.
    """

    epochs: int
    history: History
    pruner: Pruner
    memory: dict[str, Any]
    evaluate: bool


def resume(model: paddle.Model, callback: Any, path: str | os.PathLike[str]) -> int:
    """Go on where a run stopped: structure, weights, optimizer, schedulers, generators, history and schedule.

    Call it before ``fit``, with a network that is built as it was at the start of the run::

        next_epoch = resume(model, callback, "ckpt")
        model.fit(train, val, epochs=total - next_epoch, save_dir="ckpt", callbacks=[callback])

    On CPU such a run ends with bitwise the weights of one that was not interrupted. Files in ``save_dir`` go on with
    the numbers of the run, not of the ``fit``.

    Args:
        model: prepared, around a dense network.
        callback: a PruneCallback with the arguments of the run.
        path: a checkpoint that a ``fit`` with a PruneCallback wrote, as in ``"ckpt/7"``, or its folder, for the last
            complete one. If a folder holds none, nothing is changed, and that is said in a PruneWarning.

    Returns:
        The epochs of the run that are done.

    Raises:
        PruneError: no such checkpoint, an incomplete one, or one of another network or version.
    """
    base = complete(os.fspath(path))
    if base is None:
        text = f"resume: no complete checkpoint in {os.fspath(path)!r}; the run starts at the beginning"
        warnings.warn(text, PruneWarning, stacklevel=2)
        return 0
    note = read(base)
    check_note(note, base)
    callback.go_on(model, prepared(model, callback, base, note))
    return int(note["epoch"]) + 1


def prepared(model: paddle.Model, callback: Any, base: str, note: dict[str, Any]) -> Resumed:
    """Load a checkpoint of a run; all that can be wrong with it is found before anything is changed."""
    hapi.check(model, 1)
    shapes = callback.settings.inputs if callback.settings.inputs is not None else hapi.input_shapes(model)
    if shapes is None and note["inputs"] is not None:
        shapes = [paddle.static.InputSpec(shape, dtype) for shape, dtype in note["inputs"]]
    if shapes is None:
        raise PruneError("resume", "no input shape to be had", "InputSpecs in paddle.Model(...), or inputs=")
    history = History.from_json(note["history"])
    with hapi.precision(model):
        pruner = Pruner(model.network, shapes, callback.settings.options)
    pruner.survey.graph.refused.update(note["refused"])
    load(model, base, inputs=shapes)
    pruner.survey.follow(pruner.network.tensors)
    hapi_state.load_scaler(model, base)
    return Resumed(int(note["epoch"]) + 1, history, pruner, note["memory"], note["evaluate"])


def note_of(model: paddle.Model, epoch: int, history: History, pruner: Pruner | None) -> dict[str, Any]:
    """What a checkpoint's note has to hold, beside its files."""
    given = pruner.network.given if pruner else None
    plain = given is not None and not given.kwargs and all(isinstance(arg, Slot) for arg in given.args)
    return {
        "epoch": epoch,
        "history": history.to_json(),
        "refused": dict(pruner.survey.graph.refused) if pruner else {},
        "inputs": [[list(t.shape), str(t.dtype).rpartition(".")[2]] for t in given.leaves] if plain and given else None,
        "memory": hapi_state.remembered(model),
        "evaluate": hapi_state.evaluation_follows() and not any(e == epoch for e, _ in history.evaluations[-1:]),
    }


def check_note(note: dict[str, Any], base: str) -> None:
    """Raise a PruneError if a note does not say all that it should."""
    where = f"checkpoint {base!r}"
    epoch, refused, inputs = note.get("epoch"), note.get("refused"), note.get("inputs")
    fine = type(epoch) is int and 0 <= epoch < 10**9 and isinstance(note.get("history"), str)
    fine = fine and type(note.get("evaluate")) is bool
    fine = fine and isinstance(refused, dict) and all(isinstance(why, str) for why in refused.values())
    fine = fine and (inputs is None or (isinstance(inputs, list) and all(is_spec(spec) for spec in inputs)))
    if not fine:
        raise PruneError(where, "its note is damaged", "a note as a run writes it", "give an earlier checkpoint")
    hapi_state.check(note.get("memory"), where)


def is_spec(spec: Any) -> bool:
    """Whether ``spec`` is a shape and an element type."""
    return (
        isinstance(spec, list)
        and len(spec) == 2
        and isinstance(spec[0], list)
        and all(type(size) is int and 0 < size < 2**31 for size in spec[0])
        and isinstance(spec[1], str)
    )
