"""How far a group may shrink, whatever is asked of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Limits:
    """What holds for every group, after rounding and all together.

    Attributes:
        min_filters: no group gets smaller than this.
        round_to: the units kept are a multiple of this, rounded up, where there are as many.
        max_ratio: no group loses a larger share of its original units than this.
    """

    min_filters: int = 1
    round_to: int = 1
    max_ratio: float = 1.0

    def lowest(self, size: int) -> int:
        """How many of ``size`` original units must stay."""
        floor = math.ceil(size * (1 - self.max_ratio) - 1e-9)  # 5 * (1 - 0.8) is a little more than 1
        return min(size, self.up(max(floor, self.min_filters, 1)))

    def kept(self, size: int, share: float) -> int:
        """How many of ``size`` original units stay when ``share`` of them is removed."""
        return max(min(size, self.up(size - round(size * share))), self.lowest(size))

    def up(self, count: int) -> int:
        """The next multiple of `round_to`."""
        return -(-count // self.round_to) * self.round_to

    def below(self, size: int, now: int) -> range:
        """The counts, largest first, that a group of ``size`` original units may shrink to from ``now``."""
        return range((now - 1) // self.round_to * self.round_to, self.lowest(size) - 1, -self.round_to)

    def allow(self, size: int, counts: Counts) -> Flags:
        """Whether a layer with ``size`` original filters may have as many as each of ``counts``."""
        fits: Flags = (counts == size) | ((counts >= self.lowest(size)) & (counts % self.round_to == 0))
        return fits
