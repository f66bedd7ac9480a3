"""What a run of hapi remembers beside weights and optimizer: read for a checkpoint's note, and put back from it."""

from __future__ import annotations

import os
import sys
from typing import Any

import paddle

from . import generators
from .errors import PruneError
from .writer import frames, running_callbacks

MEMORY = {
    "EarlyStopping": ("wait_epoch", "best_value", "stopped_epoch"),
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter", "epoch"),
}
"""What hapi's own callbacks remember from epoch to epoch."""

VALUES = ("best_value", "best")
"""Those of them that are no counts, and infinite at first."""


def remembered(model: paddle.Model) -> dict[str, Any]:
    """Generators, the shuffling of the training data, a learning rate without scheduler, and hapi's own callbacks."""
    rate = model._optimizer._learning_rate
    return {
        "generators": generators.states(),
        "sampler": getattr(_sampler(), "epoch", None),
        "rate": float(rate) if isinstance(rate, (int, float)) else None,
        "callbacks": [
            [kind, {name: float(getattr(callback, name)) for name in MEMORY[kind]}] for kind, callback in _known()
        ],
    }


def rewind_data(epoch: int | None) -> None:
    """Before the first epoch of a ``fit``: let hapi's sampler shuffle as it would have, had the run not stopped."""
    sampler = _sampler()
    if epoch is not None and hasattr(sampler, "set_epoch"):
        sampler.set_epoch(epoch)


def recall(model: paddle.Model, saved: dict[str, Any]) -> None:
    """At the beginning of the first epoch: put back the rest of what `remembered` gave."""
    if saved["rate"] is not None and isinstance(model._optimizer._learning_rate, (int, float)):
        model._optimizer.set_lr(saved["rate"])
    for (kind, values), (own, callback) in zip(saved["callbacks"], _known()):
        if kind == own:
            for name in MEMORY[kind]:
                number = values[name]
                setattr(callback, name, int(number) if isinstance(getattr(callback, name), int) else number)
    generators.restore(saved["generators"])


def load_scaler(model: paddle.Model, base: str) -> None:
    """Hapi makes its GradScaler at the first batch, too late to load one."""
    if os.path.exists(f"{base}.pdscaler") and model._scaler is None:
        model._scaler = paddle.amp.GradScaler(**model._adapter._amp_configs)
        model._scaler.load_state_dict(paddle.load(f"{base}.pdscaler"))


def check(saved: Any, where: str) -> None:
    """Raise a PruneError if ``saved`` is not what `remembered` gives."""
    try:
        fine = saved["sampler"] is None or (type(saved["sampler"]) is int and 0 <= saved["sampler"] < 2**31)
        fine &= saved["rate"] is None or type(saved["rate"]) is float
        fine &= isinstance(saved["generators"], dict)
        for kind, values in saved["callbacks"]:
            fine &= all(type(values[name]) is float for name in MEMORY[kind])
            fine &= all(values[name].is_integer() for name in MEMORY[kind] if name not in VALUES)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise PruneError(where, f"its note is damaged ({error!r:.80})", "a note as a run writes it") from error
    if not fine:
        raise PruneError(where, "its note is damaged", "a note as a run writes it")


def _known() -> list[tuple[str, Any]]:
    """Hapi's own callbacks of this run that remember something, and a user's that are made from them."""
    found = [(_kind(callback), callback) for callback in running_callbacks()]
    return [(kind, callback) for kind, callback in found if kind]


def _kind(callback: Any) -> str:
    return next((kind for kind in MEMORY if isinstance(callback, getattr(paddle.callbacks, kind))), "")


def evaluation_follows() -> bool:
    """Whether ``fit`` evaluates at the end of the epoch that it is in."""
    here = _fit()
    return bool(here.get("do_eval")) and here.get("epoch", 0) % here.get("eval_freq", 1) == 0


def evaluated(logs: dict[str, Any]) -> None:
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
    return getattr(_fit().get("train_loader"), "batch_sampler", None)


def _fit() -> dict[str, Any]:
    """The variables of the ``fit`` that is calling us; hapi does not tell a callback what it trains on."""
    found = (frame for frame in frames(sys._getframe(1)) if frame.f_code.co_name == "fit")
    return next((frame.f_locals for frame in found if "train_loader" in frame.f_locals), {})
