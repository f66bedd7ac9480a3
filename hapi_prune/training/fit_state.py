"""What a run of hapi remembers beside weights and optimizer: read for a checkpoint's note, and put back from it."""

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
"""What hapi's own callbacks remember from epoch to epoch."""

VALUES = ("best_value", "best")
"""Those of them that are no counts, and infinite at first."""

count = checked(lambda data: type(data) is float and data.is_integer(), "a count", float)
callback = {
    kind: entries(**{name: real if name in VALUES else count for name in names}) for kind, names in MEMORY.items()
}


def read_callback(data: Any) -> tuple[str, dict[str, float]]:
    """The class of one of hapi's callbacks, and what it remembers."""
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
    """Generators, the shuffling of the training data, a learning rate without scheduler, and hapi's own callbacks."""
    rate = model._optimizer._learning_rate
    return {
        "generators": random_state.RandomState.now().to_plain(),
        "sampler": getattr(_sampler(), "epoch", None),
        "rate": float(rate) if isinstance(rate, (int, float)) else None,
        "callbacks": callbacks(),
    }


def callbacks() -> list[Any]:
    """What hapi's own callbacks of this run remember: ``[class, {name: value}]`` for each."""
    return [[kind, {name: float(getattr(each, name)) for name in MEMORY[kind]}] for kind, each in _known()]


def rewind_data(epoch: int | None) -> None:
    """Before the first epoch of a ``fit``: let hapi's sampler shuffle as it would have, had the run not stopped."""
    sampler = _sampler()
    if epoch is not None and hasattr(sampler, "set_epoch"):
        sampler.set_epoch(epoch)


def recall(model: paddle.Model, saved: dict[str, Any]) -> None:
    """At the beginning of the first epoch: put back the rest of what `remembered` gave."""
    if saved["rate"] is not None and isinstance(model._optimizer._learning_rate, (int, float)):
        model._optimizer.set_lr(saved["rate"])
    recall_callbacks(saved["callbacks"])
    random_state.restore(saved["generators"])


def recall_callbacks(saved: Sequence[Any]) -> None:
    """Let hapi's own callbacks remember what `callbacks` gave."""
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
    """The same, as a checkpoint has it."""
    return dict(paddle.load(f"{base}.pdscaler")) if os.path.exists(f"{base}.pdscaler") else None


def put_scaler_back(model: paddle.Model, state: dict[str, Any] | None) -> None:
    """Let hapi's GradScaler be as it was; where there was none, hapi makes it anew."""
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
    """Hapi's own callbacks of this run that remember something, and a user's that are made from them."""
    found = [(_kind(callback), callback) for callback in running_callbacks()]
    return [(kind, callback) for kind, callback in found if kind]


def _kind(callback: Any) -> str:
    return next((kind for kind in MEMORY if isinstance(callback, getattr(paddle.callbacks, kind))), "")


def evaluation_follows() -> bool:
    """Whether ``fit`` evaluates at the end of the epoch that it is in."""
    variables = variables_of_fit()
    return bool(variables.get("do_eval")) and variables.get("epoch", 0) % variables.get("eval_freq", 1) == 0


def tell_evaluated(logs: dict[str, Any]) -> None:
    """Let those of hapi's callbacks that remember something know of an evaluation that was made up for."""
    for _, callback in _known():
        callback.on_eval_end(logs)


def start_anew() -> None:
    """After a cut: hapi's own callbacks forget the larger network's best value, and wait for this one's from here."""
    for kind, callback in _known():
        # Not what a subclass makes of it: that may do more than once in a run is good for.
        getattr(paddle.callbacks, kind).on_train_begin(callback)


def best_models() -> list[str]:
    """Where ``EarlyStopping`` has kept its best network since it began, or began anew."""
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
