"""What changes with each cut, what trying cuts has shown, and what a planned cut would leave: plain data."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..plan import Axis, Cut, Reason
from .groups import Family, Grouping
from .held_counts import Count
from .propagation import Propagation

T = TypeVar("T")


@dataclass(frozen=True)
class Findings:
    """What trying cuts has shown, beyond what the rules can see.

    Attributes:
        families: groups whose sizes depend on each other, by the rules or by the user's code.
        coupled: groups that are tried together with others, and why they cannot shrink without them.
        refused: groups that cannot be cut, and why.
    """

    families: tuple[Family, ...]
    coupled: Mapping[str, Reason] = field(default_factory=dict)
    refused: Mapping[str, Reason] = field(default_factory=dict)

    def family_of(self, key: str) -> frozenset[str]:
        """The groups that a group depends on, itself among them; empty where it depends on none."""
        return next((members for members, _ in self.families if key in members), frozenset())


@dataclass
class CutState:
    """The part of a channel map that changes with each cut.

    Attributes:
        propagation, grouping: the labels and the groups at the sizes of now.
        findings: what trying cuts has shown.
        fits: a cache of `selection.counts.fitted`: the units of each group at sizes that were tried for families, or
            the groups that do not fit there.
        known: a cache of `once`.
    """

    propagation: Propagation
    grouping: Grouping
    findings: Findings
    fits: dict[tuple[frozenset[tuple[Axis, int]], bool], dict[str, int] | frozenset[str]] = field(default_factory=dict)
    known: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` computes from the labels and groups alone: once, until the next cut."""
        if key not in self.known:
            self.known[key] = make()
        found: T = self.known[key]
        return found


@dataclass(frozen=True)
class PlannedCut:
    """What a plan removes, and the network after it.

    Attributes:
        cut, propagation, grouping: what is removed; the labels and the groups that are left.
        counts: the attributes of layers that have to be set with the cut; empty unless the cut fails without.
    """

    cut: Cut
    propagation: Propagation
    grouping: Grouping
    counts: tuple[Count, ...] = ()
