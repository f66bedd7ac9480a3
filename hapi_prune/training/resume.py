"""Resume an interrupted run, in one line."""

from __future__ import annotations

import inspect
import os
import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import paddle

from ..cutting.pruning import Pruner
from ..errors import PruneError, PruneWarning
from ..reporting.history import History
from . import fit_state, gathering, paddle_model
from .atomic_save import EARLIER, last_complete, read_note
from .budget import Budget
from .checkpoint import fitting, load, read_arrays
from .note import Note, note_from
from .rollback import RestorePoint


@dataclass(frozen=True)
class Resumed:
    """An interrupted run, loaded from a checkpoint.

    Attributes:
        epochs: how many epochs are done.
        history: the history so far.
        pruner: the pruner of the run, whose ratios count from before its first cut.
        memory: what hapi remembered.
        evaluate: whether the run stopped between a checkpoint and the evaluation that was to follow it.
        budget: what is known of its accuracy budget; None where it has none.
        before: the run right before the provisional cut; None where none is.
    """

    epochs: int
    history: History
    pruner: Pruner
    memory: dict[str, Any]
    evaluate: bool
    budget: Budget | None = None
    before: RestorePoint | None = None


def resume(model: paddle.Model, callback: Any, path: str | os.PathLike[str]) -> int:
    """Resume an interrupted run: structure, weights, optimizer, schedulers, generators, history and schedule.

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
    """Let the next ``fit`` say that the run is complete if it has no epochs left; hapi itself fails at that."""
    whole = partial(type(model).fit, model)

    def fit(*args: Any, **options: Any) -> Any:
        vars(model).pop("fit", None)
        given = inspect.signature(whole).bind(*args, **options).arguments
        if given.get("epochs", 1) > 0:
            return whole(*args, **options)
        callback.complete(resumed, given.get("eval_data"))
        return None

    model.fit = fit


def prepared(model: paddle.Model, callback: Any, base: str, note: Note) -> Resumed:
    """Load a checkpoint of a run. All mistakes are found before anything is changed."""
    paddle_model.require_prunable(model, 1)
    shapes = callback.settings.inputs if callback.settings.inputs is not None else paddle_model.input_shapes(model)
    shapes = note.specs() if shapes is None else shapes
    if shapes is None:
        todo = "write PruneCallback(..., inputs=[1, 3, 32, 32]), with the shape of your images"
        raise PruneError("resume", "no input shape to be had", "InputSpecs in paddle.Model(...), or inputs=", todo)
    history = History.from_json(note.history)
    with paddle_model.precision(model):
        pruner = Pruner(model.network, shapes, callback.settings.options, note.times)
    channel_map = pruner.channel_map
    before = before_the_cut(model, callback, base, note, pruner, shapes)
    channel_map.state.findings = replace(channel_map.findings, refused=note.refused)
    load(model, base, inputs=shapes)
    channel_map.catch_up()
    pruner.gathered, pruner.ranking.unit_ranks = gathering.gathered_from(note.gathered), note.unit_ranks
    fit_state.load_scaler(model, base)
    return Resumed(note.epoch + 1, history, pruner, note.memory, note.evaluate, budget_in(note), before)


def budget_in(note: Note) -> Budget | None:
    """The accuracy budget in a note, without its size, which the callback was given."""
    known = note.budget
    names = ("monitor", "dense", "held", "failed", "tried")
    return None if known is None else Budget(0.0, **{name: known[name] for name in names})


def before_the_cut(
    model: paddle.Model, callback: Any, base: str, note: Note, pruner: Pruner, shapes: Any
) -> RestorePoint | None:
    """Load the run right before the provisional cut, and copy it. The model is left in that state."""
    known = note.budget
    if known is None or known["tried"] is None or callback.settings.max_drop is None:
        return None
    fitting(model.network, read_arrays(base), base)  # before anything is changed
    channel_map, earlier = pruner.channel_map, base + EARLIER
    channel_map.state.findings = replace(channel_map.findings, refused=known["refused"])
    load(model, earlier, inputs=shapes)
    channel_map.catch_up()
    pruner.gathered, pruner.ranking.unit_ranks = gathering.gathered_from(known["gathered"]), known["unit_ranks"]
    found = RestorePoint.now(model, pruner, os.path.dirname(base) or ".")
    scaler, callbacks = fit_state.saved_scaler_state(earlier), list(known["callbacks"])
    return replace(found, scaler=scaler, callbacks=callbacks)
