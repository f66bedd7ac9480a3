"""A ratio: the share of the original filters removed, in [0, 1), for every layer or ``{layer: share}``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Union

from ..analysis.layer_names import Match, match
from ..errors import PruneError

Ratio = Union[float, dict[str, float]]


def check_ratio(ratio: object, where: str = "ratio") -> Ratio:
    """The ratio as a plain float or a new plain dict; ``where`` names the place for the error.

    Raises:
        PruneError: not a number in [0, 1), nor layer names mapped to such numbers (NumPy scalars are fine).
    """
    if not isinstance(ratio, Mapping):
        return share_of(ratio, where)
    if not ratio or not all(isinstance(layer, str) and layer for layer in ratio):
        raise PruneError(where, f"{dict(ratio)!r:.200}", "{layer name, glob or parameter name: ratio}, not empty")
    return {str(layer): share_of(share, f"{where}, layer {layer!r}") for layer, share in ratio.items()}


def ratio_of(ratio: Ratio | None, *names: str) -> float | None:
    """The number that ``ratio`` holds for the layer that goes by ``names``: its own name's, or the last match's.

    Example:
        >>> ratio_of({"conv2d_3.w_0": 0.5, "features": 0.1, "features.*": 0.2}, "features.3", "conv2d_3.w_0")
        0.5
    """
    if not isinstance(ratio, dict):
        return ratio
    fits = {key: match(key, names) for key in ratio}
    own = [key for key, fit in fits.items() if fit is Match.OWN]
    rest = [key for key, fit in fits.items() if fit is not Match.NONE]
    return ratio[(own or rest)[-1]] if rest else None


def whole(value: object, where: str, least: int = 0, todo: str = "") -> int:
    """``value`` as an int, if it is a whole number of at least ``least``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        raise PruneError(where, f"{value!r:.80}", f"a whole number, at least {least}", todo)
    return int(value)


def real(value: object) -> float:
    """``value`` as a float; nan if it is no real number."""
    try:
        return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:  # a huge int
        return math.inf


def share_of(value: object, where: str) -> float:
    """``value`` as a float, if it is in [0, 1)."""
    share, todo = real(value), ""
    if 0 <= share < 1:
        return share
    if share >= 1:
        todo = f"did you mean {share / 100:g}?" if 2 <= share < 100 else "leave at least one filter: use less than 1"
    raise PruneError(where, f"{value!r:.80}", "a number in [0, 1), the share of the original filters removed", todo)


def merge(due: Ratio | None, ratio: Ratio) -> Ratio:
    """What is due once ``ratio`` came after ``due``; a new object. Later entries go last, where they win."""
    if not isinstance(ratio, dict):
        return ratio
    below = due if isinstance(due, dict) else {"*": due} if due else {}
    return {**{layer: share for layer, share in below.items() if layer not in ratio}, **ratio}


def rising(events: list[tuple[int, Ratio]], where: str) -> list[tuple[int, Ratio]]:
    """The events at which more is due of some layer, with all that is due then. No layer's ratio may fall."""
    events_rising: list[tuple[int, Ratio]] = []
    due: Ratio = 0.0
    for epoch, ratio in events:
        before, due = due, merge(due, ratio)
        layers = [layer for either in (before, due) for layer in (either if isinstance(either, dict) else ["*"])]
        changes = [(layer, ratio_of(before, layer) or 0.0, ratio_of(due, layer) or 0.0) for layer in layers]
        _check_no_fall(changes, f"{where}, epoch {epoch}")
        if any(new > old for _, old, new in changes):
            events_rising.append((epoch, due))
    return events_rising


def _check_no_fall(changes: list[tuple[str, float, float]], where: str) -> None:
    for layer, old, new in changes:
        if new < old - 1e-12:  # what rounding does is no fall
            got = f"the ratio of {layer!r} falls from {old} to {new}"
            todo = "give the share of the original filters removed by then, not the share to add or to keep"
            raise PruneError(where, got, "ratios that stay or rise", todo)
