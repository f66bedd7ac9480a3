"""Go on where a run stopped, in one line."""

from __future__ import annotations

import inspect
import os
import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import paddle

from ..errors import PruneError, PruneWarning
from ..pruning import Pruner
from ..reporting.history import History
from . import fit_state, gathering, paddle_model
from .atomic_save import last_complete, read_note
from .checkpoint import load
from .note import Note, note_from


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
        The epochs of the run that are done. Where that is all of them, ``fit(epochs=0)`` says so and does nothing.

    Raises:
        PruneError: no such checkpoint, an incomplete one, or one of another network or version.

    Example:
        >>> import paddle, tempfile
        >>> from hapi_prune import PruneCallback, resume
        >>> def prepared():
        ...     model = paddle.Model(paddle.nn.Sequential(paddle.nn.Conv2D(1, 8, 3), paddle.nn.ReLU(),
        ...         paddle.nn.Conv2D(8, 4, 3), paddle.nn.Flatten(), paddle.nn.Linear(16, 2)))
        ...     model.prepare(paddle.optimizer.Adam(parameters=model.parameters()), paddle.nn.CrossEntropyLoss())
        ...     return model, PruneCallback({1: 0.5}, verbose=0)
        >>> data, folder = [(paddle.randn([4, 1, 6, 6]), paddle.zeros([4, 1], "int64"))], tempfile.mkdtemp()
        >>> model, callback = prepared()
        >>> model.fit(data, epochs=2, verbose=0, save_dir=folder, callbacks=[callback])
        save checkpoint at ...0
        save checkpoint at ...1
        save checkpoint at ...final
        >>> model, callback = prepared()  # in another process, after a crash
        >>> resume(model, callback, folder)
        2
        >>> model.network[0].weight.shape[0]
        4
    """
    base = last_complete(os.fspath(path))
    if base is None:
        text = f"resume: no complete checkpoint in {os.fspath(path)!r}; the run starts at the beginning"
        warnings.warn(text, PruneWarning, stacklevel=2)
        return 0
    note = note_from(read_note(base), base)
    resumed = prepared(model, callback, base, note)
    callback.go_on(model, resumed)
    complete_without_epochs(model, callback, resumed)
    return note.epoch + 1


def complete_without_epochs(model: paddle.Model, callback: Any, resumed: Resumed) -> None:
    """Let the next ``fit``, if no epoch is left for it, say that the run is complete; hapi itself fails at that."""
    whole = partial(type(model).fit, model)

    def fit(*args: Any, **options: Any) -> Any:
        vars(model).pop("fit", None)
        if inspect.signature(whole).bind(*args, **options).arguments.get("epochs", 1) > 0:
            return whole(*args, **options)
        callback.complete(resumed)
        return None

    model.fit = fit


def prepared(model: paddle.Model, callback: Any, base: str, note: Note) -> Resumed:
    """Load a checkpoint of a run; all that can be wrong with it is found before anything is changed."""
    paddle_model.require_prunable(model, 1)
    shapes = callback.settings.inputs if callback.settings.inputs is not None else paddle_model.input_shapes(model)
    shapes = note.specs() if shapes is None else shapes
    if shapes is None:
        raise PruneError("resume", "no input shape to be had", "InputSpecs in paddle.Model(...), or inputs=")
    history = History.from_json(note.history)
    with paddle_model.precision(model):
        pruner = Pruner(model.network, shapes, callback.settings.options)
    channel_map = pruner.channel_map
    channel_map.state.findings = replace(channel_map.findings, refused=note.refused)
    load(model, base, inputs=shapes)
    channel_map.catch_up()
    pruner.gathered = gathering.read(note.gathered)
    fit_state.load_scaler(model, base)
    return Resumed(note.epoch + 1, history, pruner, note.memory, note.evaluate)
