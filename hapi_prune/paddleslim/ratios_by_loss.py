"""The ratios at which each variable loses as much of the metric as the others, and those that meet a share of FLOPs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .asked import aligned
from .engine import Engine
from .said import say
from .sensitivities import Sensitivities, ratio_at

HALVINGS = 20
"""How often the loss that is allowed is narrowed down to meet a share of FLOPs."""

CLOSE = 0.01
"""How far from the share that is asked nobody minds."""

Found = tuple[dict[str, float], float]
"""The ratio of each variable, and the share of the FLOPs that goes with them."""


def by_loss(known: Mapping[str, Mapping[float, float]], most: float) -> dict[str, float]:
    """The largest ratio of each variable that loses no more than ``most`` of the metric; those that can lose none stay.

    Example:
        >>> by_loss({"conv2d_0.w_0": {0.2: 0.0, 0.3: 0.5}, "conv2d_1.w_0": {0.2: 0.5}}, 0.25)
        {'conv2d_0.w_0': 0.25}
    """
    ratios = {variable: ratio_at(losses, most) for variable, losses in known.items()}
    return {variable: ratio for variable, ratio in ratios.items() if ratio}


def by_flops(engine: Engine, known: Sensitivities, wanted: float, align: int | None) -> Found:
    """The ratios of one loss for all that remove a share of the FLOPs.

    Args:
        engine: the network.
        known: the sensitivities of the variables that may shrink.
        wanted: the share.
        align: let the number of filters that stay be a multiple of this.
    """
    ratios, share = nearest(engine, lambda most: by_loss(known, most), wanted, align)
    if share > wanted + CLOSE:  # that much goes without any loss: less of the same then
        free = ratios
        return nearest(engine, lambda part: {v: r * part for v, r in free.items()}, wanted, align)
    if share < wanted - CLOSE and share >= engine.share_removed(by_loss(known, 1.0)):
        say([f"{share:.1%} of the FLOPs is the most that these sensitivities give; asked: {wanted:.1%}"])
    return ratios, share


def nearest(engine: Engine, ratios_at: Callable[[float], dict[str, float]], wanted: float, align: int | None) -> Found:
    """Of the ratios at a level between 0 and 1 those whose share of the FLOPs is nearest what is wanted."""
    low, high, best = 0.0, 1.0, (dict[str, float](), 0.0)
    for _ in range(HALVINGS):
        level = (low + high) / 2
        ratios = ratios_at(level) if align is None else aligned(engine, ratios_at(level), align)
        share = engine.share_removed(ratios)
        if not best[0] or abs(share - wanted) < abs(best[1] - wanted):
            best = ratios, share
        low, high = (level, high) if share < wanted else (low, level)
        if abs(share - wanted) < 1e-5:
            break
    return best
