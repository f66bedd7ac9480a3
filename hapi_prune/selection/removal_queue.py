"""The queue of all that may be removed, least important first, and the beginning of it that meets a goal best."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

FEW = 24
"""With no more single moves than this, pairs of moves are tried too: the network is small, and each step is large."""


@dataclass(frozen=True)
class Step:
    """One step of the queue: a block loses its next units.

    Attributes:
        importance: of these units.
        block: the number of the group, or of the family of groups, that loses them.
        counts: how many units each of its groups keeps after the step.
        share: the share of the block that is gone then.
    """

    importance: float
    block: int
    counts: Mapping[str, int]
    share: float


Taken = dict[int, Step]
"""The last step that each block has taken."""


class _Costs:
    """The costs of all beginnings of a queue, negated so that they ascend, each computed when it is asked for."""

    def __init__(self, length: int, cost: Callable[[int], int]) -> None:
        self._length, self._cost = length, cost

    def __len__(self) -> int:
        return self._length + 1

    def __getitem__(self, count: int) -> float:
        return -self._cost(count)


def nearest_beginning(
    queue: Sequence[Step], goal: float, cost: Callable[[Mapping[str, int]], int], near: float, rounds: int = 1
) -> Taken:
    """The beginning of a queue whose cost is nearest to ``goal``.

    Args:
        queue: the steps, least important first.
        goal: a cost.
        cost: the cost where groups keep so many units.
        near: a difference from the goal that is small enough.
        rounds: how often single blocks are moved by a step to get nearer.

    Returns:
        The last step of each block in that beginning.
    """

    def cost_of(taken: Taken) -> int:
        return cost({key: count for step in taken.values() for key, count in step.counts.items()})

    def off(taken: Taken) -> float:
        return abs(cost_of(taken) - goal)

    def beginning(length: int) -> Taken:
        return {step.block: step for step in queue[:length]}

    length = bisect_left(_Costs(len(queue), lambda count: cost_of(beginning(count))), -goal)
    nearest = min([beginning(length), beginning(max(length - 1, 0))], key=off)
    for _ in range(rounds):
        nearest = moved_nearer(nearest, queue, off, near)
    return nearest


def moved_nearer(taken: Taken, queue: Sequence[Step], off: Callable[[Taken], float], near: float) -> Taken:
    """``taken`` with one step more or less of some blocks, as long as that gets nearer to the goal.

    In a small network a step is large. No block is moved by more than one step: who loses how much is for the
    importances to say.
    """
    steps: dict[int, list[Step]] = {}
    for step in queue:
        steps.setdefault(step.block, []).append(step)
    last = {block: own.index(taken[block]) if block in taken else -1 for block, own in steps.items()}
    moves = [(block, last[block] + by) for block, own in steps.items() for by in (1, -1)]
    moves = [(block, number) for block, number in moves if -1 <= number < len(steps[block])]

    def moved(chosen: Iterable[tuple[int, int]]) -> Taken:
        found = dict(taken)
        for block, number in chosen:
            found.pop(block, None)
            if number >= 0:
                found[block] = steps[block][number]
        return found

    now = off(taken)
    while now > near and moves:
        together = 2 if len(moves) <= FEW else 1
        options = [option for count in range(1, together + 1) for option in combinations(moves, count)]
        best = min(options, key=lambda option: off(moved(option)))
        if off(moved(best)) >= now:
            break
        taken, now = moved(best), off(moved(best))
        moves = [move for move in moves if move[0] not in dict(best)]
    return taken
