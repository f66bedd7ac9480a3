"""When how much is due: pure functions from an epoch to the share of filters removed by then.

A *ratio* is the share of the **original** filters removed so far, in [0, 1): a number for every layer, or
``{layer: number}``, a layer named by structured name, block, glob or Paddle parameter name. It is cumulative: a run
that was resumed catches up with one cut. Arguments out of range raise `PruneError` at construction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

from .errors import PruneError
from .selection.ratios import Ratio, check_ratio, merge, real, rising, share_of, whole


@runtime_checkable
class Schedule(Protocol):
    """When how much is due: the protocol that every schedule follows. It is pure: the same epoch, the same answer.

    To write your own, write a function of the epoch, as below: it returns the share of the original filters removed by
    then, in [0, 1) and never falling, or None where nothing is due yet. A class of your own needs the three members
    of the protocol; there is nothing to inherit from.

    Example:
        >>> from hapi_prune import PruneCallback
        >>> def an_eighth_every_other_epoch(epoch):
        ...     return min(0.125 * (epoch // 2), 0.5)
        >>> callback = PruneCallback(an_eighth_every_other_epoch)
        >>> callback.settings.schedule.preview(epochs=8)
        [(2, 0.125), (4, 0.25), (6, 0.375)]
    """

    def __call__(self, epoch: int) -> Ratio | None:
        """The ratio due by an epoch.

        Args:
            epoch: counted from 0.

        Returns:
            The share of the original filters removed by the beginning of that epoch, in [0, 1), or ``{layer: share}``;
            None where nothing is due that was not due before.
        """

    @property
    def last_epoch(self) -> int | None:
        """The epoch of the last event that is configured; None where only calling tells."""

    def preview(self, epochs: int) -> list[tuple[int, Ratio]]:
        """The events of a run.

        Args:
            epochs: how long the run is, at least 0.

        Returns:
            Each epoch at which more is due than before, with the ratio due then, in order.
        """


class _Table:
    """A table of events is a schedule. Not by inheritance: Python 3.9.7 breaks a dataclass that inherits a Protocol."""

    def _events(self) -> list[tuple[int, Ratio]]:
        raise NotImplementedError

    def __call__(self, epoch: int) -> Ratio | None:
        """The ratio due by an epoch.

        Args:
            epoch: counted from 0.

        Returns:
            That of the last event up to then, as a number in [0, 1) or ``{layer: number}``; None before the first.
        """
        due = [ratio for event, ratio in self._events() if event <= epoch]
        return merge(None, due[-1]) if due else None

    @property
    def last_epoch(self) -> int:
        """The epoch of the last event."""
        return self._events()[-1][0]

    def preview(self, epochs: int) -> list[tuple[int, Ratio]]:
        """The events of a run.

        Args:
            epochs: how long the run is, at least 0; anything else is a PruneError.

        Returns:
            Each epoch at which more is due than before, with the ratio due then, in order.
        """
        whole(epochs, "preview(epochs=...)")
        return rising([event for event in self._events() if event[0] < epochs], type(self).__name__)


@dataclass(frozen=True)
class OneShot(_Table):
    """One cut: nothing is due before ``epoch``, ``s(t) = ratio`` from then on.

    Args:
        epoch: when, counted from 0.
        ratio: the share removed, in [0, 1), or ``{layer: share}``.

    Raises:
        PruneError: an argument out of range.

    Example:
        >>> from hapi_prune import OneShot
        >>> [OneShot(2, 0.5)(epoch) for epoch in range(4)]
        [None, None, 0.5, 0.5]
    """

    epoch: int
    ratio: Ratio

    def __post_init__(self) -> None:
        epoch, ratio = whole(self.epoch, "OneShot(epoch=...)"), check_ratio(self.ratio, "OneShot(ratio=...)")
        vars(self).update(epoch=epoch, ratio=ratio)

    def _events(self) -> list[tuple[int, Ratio]]:
        return [(self.epoch, self.ratio)]


@dataclass(frozen=True)
class Explicit(_Table):
    """Every event by hand: ``{epoch: ratio}`` or ``{epoch: {layer: ratio}}``, or both mixed.

    Entries add up name by name and the later one wins; a plain number is for every layer, so it replaces what
    stood before, and stays (as ``"*"``) beneath the layers named after it. A layer's own name counts for more than
    a block or a glob. No layer's ratio may fall.

    Args:
        ratios: epoch, from 0 -> the share removed by then, in [0, 1), or ``{layer: share}``. At least one entry.

    Raises:
        PruneError: an epoch or a ratio out of range, or a ratio that falls.

    Example:
        >>> from hapi_prune import Explicit
        >>> [Explicit({1: 0.2, 3: {"conv1": 0.5}})(epoch) for epoch in range(4)]
        [None, 0.2, 0.2, {'*': 0.2, 'conv1': 0.5}]
    """

    ratios: Mapping[int, Ratio]

    def __post_init__(self) -> None:
        if not isinstance(self.ratios, Mapping) or not self.ratios:
            raise PruneError("schedule", f"{self.ratios!r:.200}", "{epoch: ratio}, {epoch: {layer: ratio}}, not empty")
        todo = "put the epoch first, as in {4: 0.2} or {4: {'conv1': 0.5}}"
        given = {whole(epoch, "schedule, its epoch", 0, todo): ratio for epoch, ratio in self.ratios.items()}
        ratios = {epoch: check_ratio(given[epoch], f"schedule, epoch {epoch}") for epoch in sorted(given)}
        vars(self).update(ratios=ratios)
        rising(self._events(), "schedule")

    def _events(self) -> list[tuple[int, Ratio]]:
        return list(zip(self.ratios, accumulate(self.ratios.values(), merge)))


@dataclass(frozen=True)
class Linear(_Table):
    """Equal steps: ``s(t) = s_i + (s_f - s_i) p``, with ``p = (t - start) / (end - start)``.

    ``t`` is the last event so far of ``start, start + every, ...`` and ``end``, which is always one. Exactly at the
    boundaries: None before ``start``, ``s_i`` at it (0.0 removes nothing yet), ``s_f`` from ``end`` on.

    Args:
        ratio: ``s_f``, share removed at the end, in [0, 1), or ``{layer: share}``.
        start: epoch of the first event, from 0.
        end: epoch of the last event, at least ``start``.
        every: epochs between events, at least 1.
        initial: ``s_i``, share removed at ``start`` of every layer concerned, in [0, ``ratio``].

    Raises:
        PruneError: an argument out of range.

    Example:
        >>> from hapi_prune import Linear
        >>> [Linear(0.5, start=1, end=5, every=2)(epoch) for epoch in range(7)]
        [None, 0.0, 0.0, 0.25, 0.25, 0.5, 0.5]
    """

    ratio: Ratio
    start: int
    end: int
    every: int = 1
    initial: float = 0.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        start, every = whole(self.start, f"{name}(start=...)"), whole(self.every, f"{name}(every=...)", 1)
        end = whole(self.end, f"{name}(start={start}, end=...)", start)
        ratio, initial = check_ratio(self.ratio, f"{name}(ratio=...)"), share_of(self.initial, f"{name}(initial=...)")
        lowest = min(ratio.values()) if isinstance(ratio, dict) else ratio
        if initial > lowest:
            raise PruneError(f"{name}(initial=...)", f"{initial}", f"from 0 to the final ratio, {lowest}")
        vars(self).update(ratio=ratio, start=start, end=end, every=every, initial=initial)

    def _events(self) -> list[tuple[int, Ratio]]:
        return [(epoch, self._ratio(epoch)) for epoch in (*range(self.start, self.end, self.every), self.end)]

    def _ratio(self, epoch: int) -> Ratio:
        if isinstance(self.ratio, dict):
            return {layer: self._due(final, epoch) for layer, final in self.ratio.items()}
        return self._due(self.ratio, epoch)

    def _due(self, final: float, epoch: int) -> float:
        if epoch in (self.start, self.end):
            return final if epoch == self.end else self.initial
        share = self._between(final, (epoch - self.start) / (self.end - self.start))
        return min(max(share, self.initial), final)  # rounding must not step over the boundaries

    def _between(self, final: float, progress: float) -> float:
        return self.initial + (final - self.initial) * progress


@dataclass(frozen=True)
class Polynomial(Linear):
    """Large steps first: ``s(t) = s_f + (s_i - s_f) (1 - p) ** power``, with ``t`` and ``p`` as for `Linear`.

    Args:
        ratio, start, end, every, initial: as for `Linear`.
        power: above 0. The 3 of automated gradual pruning (AGP) unless told; at 1 this is `Linear`.

    Example:
        >>> from hapi_prune import Polynomial
        >>> [Polynomial(0.5, start=0, end=2)(epoch) for epoch in range(4)]
        [0.0, 0.4375, 0.5, 0.5]

    Source: Zhu, Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression" (2017).
    """

    power: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < real(self.power) < math.inf:
            raise PruneError("Polynomial(power=...)", f"{self.power!r:.80}", "a finite number above 0")
        vars(self).update(power=float(self.power))

    def _between(self, final: float, progress: float) -> float:
        return final + (self.initial - final) * float((1 - progress) ** self.power)


@dataclass(frozen=True)
class Exponential(Linear):
    """The share **kept** falls by the same factor each time: ``1 - s(t) = (1 - s_i) ((1 - s_f) / (1 - s_i)) ** p``.

    Args:
        ratio, start, end, every, initial: as for `Linear`, and so are ``t`` and ``p``.

    Example:
        >>> from hapi_prune import Exponential
        >>> [Exponential(0.75, start=0, end=2)(epoch) for epoch in range(3)]
        [0.0, 0.5, 0.75]
    """

    def _between(self, final: float, progress: float) -> float:
        kept = 1 - self.initial
        return 1 - kept * float(((1 - final) / kept) ** progress)


@dataclass(frozen=True)
class FromFunction:
    """Your own function ``epoch -> ratio due by then, or None``; each value is checked when it is returned.

    Example:
        >>> FromFunction(lambda epoch: epoch / 8 if epoch > 2 else None).preview(5)
        [(3, 0.375), (4, 0.5)]
    """

    function: Callable[[int], Any]
    last_epoch = None

    def __call__(self, epoch: int) -> Ratio | None:
        """What the function returns for ``epoch``."""
        ratio = self.function(epoch)
        return None if ratio is None else check_ratio(ratio, f"schedule {self.function!r:.80} at epoch {epoch}")

    def preview(self, epochs: int) -> list[tuple[int, Ratio]]:
        """The epochs of a run of ``epochs`` epochs at which more is due; calls the function for each."""
        calls = [(epoch, self(epoch)) for epoch in range(whole(epochs, "preview(epochs=...)"))]
        return rising([(epoch, ratio) for epoch, ratio in calls if ratio is not None], "schedule")


def as_schedule(schedule: object) -> Schedule:
    """The Schedule that a user's value stands for: itself, `Explicit` for a dict, `FromFunction` for a function.

    Raises:
        PruneError: anything else.
    """
    if isinstance(schedule, Mapping):
        return Explicit(schedule)
    if callable(schedule) and not isinstance(schedule, type):
        return schedule if isinstance(schedule, Schedule) else FromFunction(schedule)
    allowed = "{epoch: ratio}, {epoch: {layer: ratio}}, a Schedule, a function epoch -> ratio | None"
    raise PruneError("schedule", f"{schedule!r:.200}", allowed, "say when and how much, as in {4: 0.2, 8: 0.4}")
