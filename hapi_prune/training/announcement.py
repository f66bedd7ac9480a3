"""The planned cuts, as printed at the beginning of a run, and warnings of those that will not happen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import paddle

from ..errors import PruneWarning
from ..reporting.record import NOUNS
from ..selection.ratios import Ratio
from . import paddle_model
from .settings import Settings


def announced(model: paddle.Model, settings: Settings, events: Sequence[tuple[int, Ratio]], epochs: int) -> str:
    """The planned cuts in words; warns of those that will not happen.

    Args:
        model: the trained model.
        settings: the checked arguments of the callback.
        events: the planned cuts, ``(epoch, ratio)``.
        epochs: how many epochs the run has.
    """
    last = settings.schedule.last_epoch
    if last is not None and last >= epochs:
        text = f"PruneCallback: the schedule goes on to epoch {last}, but the run ends with epoch {epochs - 1}"
        warn(f"{text} (counted from 0); what is due later will not be removed. Train longer, or end it earlier.")
    if events and settings.eval_data is None and paddle_model.read_once(paddle_model.eval_data(model)):
        text = "the eval_data of fit can be read once only, so there is no evaluation before and after the cuts"
        warn(f"PruneCallback: {text}. Give a list of batches or a DataLoader.")
    if not events:
        return "No cut is due."
    parts = [f"{epoch + 1}: {'by layer' if isinstance(r, dict) else f'{r:.1%}'}" for epoch, r in events]
    what = NOUNS[settings.options.target]
    what = what[0].upper() + what[1:]
    said = f"{what} removed by the beginning of epoch {', '.join(parts)}"
    return (
        said
        if settings.max_drop is None
        else f"{said}, as far as the metric falls by no more than {settings.max_drop:g}"
    )


def warn(text: str) -> None:
    """A PruneWarning, at the line that called."""
    warnings.warn(text, PruneWarning, stacklevel=3)
