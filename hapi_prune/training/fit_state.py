"""The state of a hapi run beside weights and optimizer: read for a checkpoint's note, and restored from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import paddle

from ..internals import random_state
from ..internals.hapi_frames import running_callbacks, variables_of_fit
from ..internals.optimizer_values import copied
from ..plan.json_reader import anything, below, checked, each, entries, optional, real, text

MEMORY = {
    "EarlyStopping": ("wait_epoch", "best_value", "stopped_epoch"),
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter", "epoch"),
}
"""The attributes in which hapi's own callbacks keep state from epoch to epoch."""

VALUES = ("best_value", "best")
"""Those of them that are values and no counts; they may be infinite."""

count = checked(lambda data: type(data) is float and data.is_integer(), "a count", float)
callback = {
    kind: entries(**{name: real if name in VALUES else count for name in names}) for kind, names in MEMORY.items()
}


def read_callback(data: Any) -> tuple[str, dict[str, float]]:
    """Reads the class of one of hapi's callbacks, and its state."""
    kind, values = each(text, anything)(data)
    return kind, callback[checked(lambda kind: kind in MEMORY, "one of hapi's callbacks")(kind)](values)


MEMORY_READER = entries(
    generators=anything,
    sampler=optional(below(2**31)),
    rate=optional(real),
    callbacks=each(read_callback),
)
"""Reads what `remembered` gives."""


def remembered(model: paddle.Model) -> dict[str, Any]:
    """Random generators, the shuffling of the training data, a learning rate without scheduler, hapi's callbacks."""
    rate = model._optimizer._learning_rate
    return {
        "generators": random_state.RandomState.now().to_plain(),
        "sampler": getattr(_sampler(), "epoch", None),
        "rate": float(rate) if isinstance(rate, (int, float)) else None,
        "callbacks": callbacks(),
    }


def callbacks() -> list[Any]:
    """The state of hapi's own callbacks of this run: ``[class, {name: value}]`` for each."""
    return [[kind, {name: float(getattr(each, name)) for name in MEMORY[kind]}] for kind, each in _known()]


def rewind_data(epoch: int | None) -> None:
    """Before the first epoch of a ``fit``: let hapi's sampler shuffle as it would have, had the run not stopped."""
    sampler = _sampler()
    if epoch is not None and hasattr(sampler, "set_epoch"):
        sampler.set_epoch(epoch)


def recall(model: paddle.Model, saved: dict[str, Any]) -> None:
    """At the beginning of the first epoch: restore the rest of what `remembered` gave."""
    if saved["rate"] is not None and isinstance(model._optimizer._learning_rate, (int, float)):
        model._optimizer.set_lr(saved["rate"])
    recall_callbacks(saved["callbacks"])
    random_state.restore(saved["generators"])


def recall_callbacks(saved: Sequence[Any]) -> None:
    """Restore the state of hapi's own callbacks that `callbacks` gave."""
    for (kind, values), (own, callback) in zip(saved, _known()):
        if kind == own:
            for name in MEMORY[kind]:
                number = values[name]
                setattr(callback, name, int(number) if isinstance(getattr(callback, name), int) else number)


def load_scaler(model: paddle.Model, base: str) -> None:
    """Hapi makes its GradScaler at the first batch, too late to load one."""
    if os.path.exists(f"{base}.pdscaler") and model._scaler is None:
        model._scaler = paddle.amp.GradScaler(**model._adapter._amp_configs)
        model._scaler.load_state_dict(paddle.load(f"{base}.pdscaler"))


def scaler_state(model: paddle.Model) -> dict[str, Any] | None:
    """The state of hapi's GradScaler; None where there is none, or not yet."""
    scaler = getattr(model, "_scaler", None)
    return None if scaler is None else copied(scaler.state_dict()) or None


def saved_scaler_state(base: str) -> dict[str, Any] | None:
    """The state of hapi's GradScaler in a checkpoint."""
    return dict(paddle.load(f"{base}.pdscaler")) if os.path.exists(f"{base}.pdscaler") else None


def put_scaler_back(model: paddle.Model, state: dict[str, Any] | None) -> None:
    """Restore hapi's GradScaler; if there was none, hapi will make a new one."""
    scaler = getattr(model, "_scaler", None)
    if scaler is not None and state is None:
        model._scaler = None
    elif scaler is not None:
        scaler.load_state_dict(state)


def save_folder() -> str | None:
    """Where the ``fit`` that is calling us writes its checkpoints; None where it is not said, or not there yet."""
    folder = variables_of_fit().get("save_dir")
    return os.fspath(folder) if folder is not None and os.path.isdir(folder) else None


def _known() -> list[tuple[str, Any]]:
    """The callbacks of this run that keep state: hapi's own, and subclasses of them."""
    found = [(_kind(callback), callback) for callback in running_callbacks()]
    return [(kind, callback) for kind, callback in found if kind]


def _kind(callback: Any) -> str:
    return next((kind for kind in MEMORY if isinstance(callback, getattr(paddle.callbacks, kind))), "")


def evaluation_follows() -> bool:
    """Whether ``fit`` evaluates at the end of the epoch that it is in."""
    variables = variables_of_fit()
    return bool(variables.get("do_eval")) and variables.get("epoch", 0) % variables.get("eval_freq", 1) == 0


def tell_evaluated(logs: dict[str, Any]) -> None:
    """Tell hapi's callbacks that keep state of an evaluation that was made up for."""
    for _, callback in _known():
        callback.on_eval_end(logs)


def start_anew() -> None:
    """After a cut: reset hapi's own callbacks, which would go on comparing with the larger network's best value."""
    for kind, callback in _known():
        # Not the method of a subclass, which may do what is meant for the beginning of a run only.
        getattr(paddle.callbacks, kind).on_train_begin(callback)


def best_models() -> list[str]:
    """The paths at which ``EarlyStopping`` callbacks have saved a best network since their last reset."""
    found = []
    for kind, callback in _known():
        if kind == "EarlyStopping" and callback.save_best_model and callback.save_dir is not None:
            start = [float("inf"), float("-inf"), callback.baseline]
            if callback.best_value not in start:
                found.append(os.path.join(callback.save_dir, "best_model"))
    return found


def _sampler() -> Any:
    """The batch sampler of the ``fit`` that is calling us."""
    return getattr(variables_of_fit().get("train_loader"), "batch_sampler", None)
