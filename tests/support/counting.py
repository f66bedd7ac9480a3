"""How much work a search for a plan that holds takes: counted in journeys and passes, not in seconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hapi_prune.analysis import channel_map
from hapi_prune.cutting import pruning, verify_outputs, verify_sizes

COUNTED = {
    "journeys": [(channel_map, "propagate")],
    "passes": [(verify_outputs, "outputs"), (verify_sizes, "traced_program")],
}
"""Journeys of the labels, and passes through the network, with numbers or symbolic values; what makes each of them."""


@dataclass
class Search:
    """What a cut has taken, from its first plan to the one that holds.

    Attributes:
        made: journeys and passes.
        turns: the same, when each plan was begun.
    """

    made: Counter[str] = field(default_factory=Counter)
    turns: list[Counter[str]] = field(default_factory=list)

    @property
    def plain(self) -> Counter[str]:
        """What its last plan has taken, from choosing to holding."""
        return self.made - self.turns[-1]

    @property
    def times_plain(self) -> float:
        """How often that, at most, all plans together have taken."""
        return max(self.made[kind] / max(self.plain[kind], 1) for kind in COUNTED)


def counted(monkeypatch) -> Search:
    """The search of each cut from here on, begun anew with each."""
    search, real = Search(), pruning.until_it_holds

    def count(owner, name, kind):
        function = getattr(owner, name)

        def call(*args, **kwargs):
            search.made[kind] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    def until_it_holds(channel_map, choose, attempt, skip):
        search.made.clear()
        search.turns.clear()

        def begun():
            search.turns.append(Counter(search.made))
            return choose()

        return real(channel_map, begun, attempt, skip)

    for kind, functions in COUNTED.items():
        for owner, name in functions:
            count(owner, name, kind)
    monkeypatch.setattr(pruning, "until_it_holds", until_it_holds)
    return search
