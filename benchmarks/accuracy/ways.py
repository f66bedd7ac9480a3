"""The ways of pruning that are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hapi_prune import Global, OneShot, Polynomial, Schedule


@dataclass(frozen=True)
class Way:
    """One way.

    Attributes:
        name: what it is called.
        schedule: goal and epochs left -> schedule; None to train the dense network to the end.
        options: makes the other arguments of PruneCallback.
        two_programs: whether the dense network is trained to the end by a program of its own, and the pruned one by a
            second one with a new optimizer.
        rate: learning rate of the second program; None for that of the first.
        first: how many epochs are dense before the callback is there; None for what the command says.
        fading: whether what a cut takes fades to zero in the epoch before it.
        by_sensitivity: whether the layers lose the more the less sensitive they are, measured on training images right
            before the callback is there.
    """

    name: str
    schedule: Callable[[float, int], Schedule] | None = None
    options: Callable[[], dict[str, Any]] = field(default=dict)
    two_programs: bool = False
    rate: float | None = None
    first: int | None = None
    fading: bool = False
    by_sensitivity: bool = False


def at_once(goal: float, epochs: int) -> Schedule:
    """In one cut, at the beginning."""
    return OneShot(0, goal)


def gradual(goal: float, epochs: int) -> Schedule:
    """In four cuts, at the beginning of the first four epochs, large steps first."""
    return Polynomial(goal, start=0, end=min(3, epochs - 2), initial=goal * 0.4)


def later(goal: float, epochs: int) -> Schedule:
    """`gradual`, an epoch later: before the first cut there is an epoch in which gradients can be gathered."""
    return Polynomial(goal, start=1, end=min(4, epochs - 2), initial=goal * 0.4)


def inside_blocks() -> dict[str, Any]:
    """Only what no other block sees: the channels that the residual sums share stay."""
    return {"criterion": "bn_scale", "skip": ["0", "*.conv2"], "max_ratio": 0.9}


ALL = [
    Way("dense"),
    Way("two programs", at_once, two_programs=True),
    Way("two programs, low rate", at_once, two_programs=True, rate=0.02),
    Way("narrow from the start", at_once, first=0),
    Way("one-shot", at_once),
    Way("gradual", gradual),
    Way("gradual, global", gradual, lambda: {"scope": "global"}),
    Way("gradual, global, per cost", gradual, lambda: {"scope": Global("mean", 1.0)}),
    Way("gradual, global, l2, per cost", gradual, lambda: {"scope": Global("l2", 1.0)}),
    Way("gradual, global, max, per cost", gradual, lambda: {"scope": Global("max", 1.0)}),
    Way("gradual, global, isomorphic", gradual, lambda: {"scope": Global(isomorphic=True)}),
    Way("gradual, l2_norm", gradual, lambda: {"criterion": "l2_norm"}),
    Way("gradual, recalibrated", gradual, lambda: {"recalibrate": 20}),
    Way("gradual, compensated", gradual, lambda: {"compensate": True}),
    Way("gradual, rewarmed", gradual, lambda: {"rewarm": 1}),
    Way("gradual, healed", gradual, lambda: {"recalibrate": 20, "compensate": True, "rewarm": 1}),
    Way("gradual, by sensitivity", gradual, by_sensitivity=True),
    Way("gradual, inside blocks", gradual, lambda: {"skip": ["0", "*.conv2"], "max_ratio": 0.9}),
    Way("gradual, global, recalibrated", gradual, lambda: {"scope": "global", "recalibrate": 20}),
    Way("one-shot, recalibrated", at_once, lambda: {"recalibrate": 20}),
    Way("gradual, group_l2_norm", gradual, lambda: {"criterion": "group_l2_norm"}),
    Way("gradual, group_l2_norm, compensated", gradual, lambda: {"criterion": "group_l2_norm", "compensate": True}),
    Way("gradual, bn_scale", gradual, lambda: {"criterion": "bn_scale"}),
    Way("gradual, bn_scale, compensated", gradual, lambda: {"criterion": "bn_scale", "compensate": True}),
    Way("early, bn_scale", gradual, lambda: {"criterion": "bn_scale"}, first=2),
    Way("gradual, bn_scale, inside blocks", gradual, inside_blocks),
    Way("early, bn_scale, inside blocks", gradual, inside_blocks, first=2),
    Way("gradual, random", gradual, lambda: {"criterion": "random"}),
    Way("gradual, fpgm", gradual, lambda: {"criterion": "fpgm"}),
    Way("earlier", gradual, first=1),
    Way("early", gradual, first=2),
    Way("later", later),
    Way("later, softened", later, fading=True),
    Way("later, taylor", later, lambda: {"criterion": "taylor"}),
]
WAYS = {way.name: way for way in ALL}
