"""An accuracy budget: which ratios kept the metric, which did not, and what to try next. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..reporting.tables import is_loss, number
from ..selection.ratios import Ratio, ratio_of

LEAST_STEP = 0.01
"""Smaller steps are not worth a phase of training."""

ROUNDING = 1e-12
"""0.9 - 0.89 is a little more than 0.01 in floating point, which must not count as a larger drop."""


@dataclass(frozen=True)
class Budget:
    """The ratios that are known to keep the metric within the budget, or not to.

    Attributes:
        max_drop: how far the metric may fall below that of the dense network (a loss: rise above).
        monitor: the metric's name.
        dense: its value right before the first cut; None before that.
        held: the ratio of the last cut that kept the metric; 0.0 for the dense network.
        failed: the smallest ratio that did not keep it; None if there is none.
        tried: the ratio of the provisional cut, which is not judged yet; None if there is none.
    """

    max_drop: float
    monitor: str
    dense: float | None = None
    held: Ratio = 0.0
    failed: Ratio | None = None
    tried: Ratio | None = None

    def aim(self, due: Ratio) -> Ratio | None:
        """The ratio to cut to if ``due`` is due: at most half-way to `failed`; None if that step would be too small.

        Example:
            >>> Budget(0.01, "acc", held=0.25, failed=0.5).aim(0.6)
            0.375
            >>> Budget(0.01, "acc", held=0.25, failed=0.265).aim(0.6)
        """
        if self.failed is None:
            return due
        if not any(isinstance(ratio, dict) for ratio in (due, self.held, self.failed)):
            aim, step = self._aim(due, "*")
            return aim if step >= LEAST_STEP - ROUNDING else None
        aims = {layer: self._aim(due, layer) for layer in _layers(self.held, self.failed, due)}
        if max(step for _, step in aims.values()) < LEAST_STEP - ROUNDING:
            return None
        return {layer: aim for layer, (aim, _) in aims.items()}

    def _aim(self, due: Ratio, layer: str) -> tuple[float, float]:
        """The ratio to try for one layer, and how much larger that is than its `held`."""
        held, failed, most = (ratio_of(ratio, layer) for ratio in (self.held, self.failed, due))
        held = held or 0.0
        most = held if most is None else most
        if failed is not None and failed > held:  # else another layer's share was too large
            most = min(most, (held + failed) / 2)
        aim = max(held, most)
        return aim, aim - held

    def begun(self, ratio: Ratio, value: float) -> Budget:
        """The budget after a cut to ``ratio``, before which the metric was ``value``."""
        return replace(self, tried=ratio, dense=value if self.dense is None else self.dense)

    def was_nothing(self, ratio: Ratio) -> Budget:
        """The budget after a cut to ``ratio`` that removed nothing, and so keeps the metric."""
        return replace(self, held=ratio, tried=None)

    def judged(self, value: float) -> tuple[Budget, str]:
        """The budget after a phase that ended with the metric at ``value``.

        Returns:
            The budget, and why the cut has to be rolled back; empty if it may stay.
        """
        if self.tried is None or self.dense is None:
            return self, ""
        drop = value - self.dense if is_loss(self.monitor) else self.dense - value
        if drop <= self.max_drop + ROUNDING:  # false for nan
            return replace(self, held=self.tried, tried=None), ""
        side = "above" if is_loss(self.monitor) else "below"
        values = number(value), number(self.dense)
        why = f"{self.monitor} {values[0]} is more than {self.max_drop:g} {side} {values[1]}"
        if math.isnan(value):
            why = f"{self.monitor} is nan, and was {values[1]}"
        return replace(self, failed=self.tried, tried=None), why


def _layers(*ratios: Ratio) -> list[str]:
    """All layers that the ratios name, in the order of the last one; ``"*"``, for a plain number, comes first."""
    *older, newest = [list(ratio) if isinstance(ratio, dict) else ["*"] if ratio else [] for ratio in ratios]
    extra = [layer for names in older for layer in names if layer not in newest]
    return sorted(dict.fromkeys([*extra, *newest]), key=lambda layer: layer != "*")
