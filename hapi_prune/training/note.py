"""The note of a checkpoint: what is needed to resume its run, beside weights and optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import paddle

from ..analysis.example_input import Slot
from ..cutting.pruning import Pruner
from ..errors import PruneError
from ..plan import Array, Axis, Reason, ReasonKind
from ..plan.json_reader import Reader, below, each, entries, made, member, named, number, optional, text, truth, whole
from ..reporting.history import History
from . import fit_state, gathering
from .rollback import Rollback

READ: dict[str, Reader] = {"str": text, "ReasonKind": member(ReasonKind)}
REFUSED = named(made(Reason, READ))


def ratio(data: Any) -> Any:
    """Reads a ratio, for all layers or by layer."""
    return named(number)(data) if isinstance(data, dict) else number(data)


UNIT_RANKS = named(each(whole))
"""Reads `Ranking.unit_ranks`."""

BUDGET = entries(
    monitor=text,
    dense=optional(number),
    held=ratio,
    failed=optional(ratio),
    tried=optional(ratio),
    refused=REFUSED,
    gathered=gathering.READER,
    unit_ranks=UNIT_RANKS,
    callbacks=each(fit_state.read_callback),
)
"""Reads an accuracy budget, and what files of weights do not hold of the run before the provisional cut."""

NOTE = entries(
    epoch=below(10**9),
    history=text,
    refused=REFUSED,
    inputs=optional(each(each(each(below(2**31)), text))),
    memory=fit_state.MEMORY_READER,
    evaluate=truth,
    gathered=gathering.READER,
    budget=optional(BUDGET),
    times=optional(named(whole)),
    unit_ranks=UNIT_RANKS,
)


@dataclass(frozen=True)
class Note:
    """The state of a run, without weights and optimizer.

    Attributes:
        epoch: the last completed epoch.
        history: the history, as JSON.
        refused: groups that cannot be cut, and why.
        inputs: shape and element type of each example tensor; None where they are not known, or not plain arguments.
        memory: what hapi remembered, see `fit_state.remembered`.
        evaluate: whether the evaluation of that epoch is still to come.
        gathered: what the criterion gathered from gradients for the next cut.
        budget: what `BUDGET` reads; None if the run has no budget.
        times: how long the ops of the network take; None if latency is not the target.
        unit_ranks: the ranking of the units at the last cut.
    """

    epoch: int
    history: str
    refused: dict[str, Reason]
    inputs: tuple[tuple[tuple[int, ...], str], ...] | None
    memory: dict[str, Any]
    evaluate: bool
    gathered: tuple[Any, ...] = ()
    budget: dict[str, Any] | None = None
    times: dict[str, int] | None = None
    unit_ranks: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def specs(self) -> list[Any] | None:
        """The inputs as InputSpecs."""
        return None if self.inputs is None else [paddle.static.InputSpec(list(s), dtype) for s, dtype in self.inputs]


def note_of(
    model: paddle.Model,
    epoch: int,
    history: History,
    pruner: Pruner | None,
    gathered: Mapping[Axis, Array],
    rollback: Rollback | None = None,
) -> dict[str, Any]:
    """The note of a run, as plain data for JSON."""
    given = pruner.channel_map.example if pruner else None
    plain = given is not None and not given.kwargs and all(isinstance(arg, Slot) for arg in given.args)
    refused = pruner.channel_map.findings.refused if pruner else {}
    return {
        "epoch": epoch,
        "history": history.to_json(),
        "refused": written(refused),
        "inputs": [[list(t.shape), str(t.dtype).rpartition(".")[2]] for t in given.leaves] if plain and given else None,
        "memory": fit_state.remembered(model),
        "evaluate": fit_state.evaluation_follows() and not any(e == epoch for e, _ in history.evaluations[-1:]),
        "gathered": gathering.written(gathered),
        "unit_ranks": dict(pruner.ranking.unit_ranks) if pruner else {},
        "times": pruner.times.asked if pruner and pruner.times else None,
        "budget": None if rollback is None else budget_of(rollback),
    }


def budget_of(rollback: Rollback) -> dict[str, Any]:
    """An accuracy budget, as plain data for JSON."""
    budget, before = rollback.budget, rollback.before
    return {
        **{name: getattr(budget, name) for name in ("monitor", "dense", "held", "failed", "tried")},
        "refused": written(before.state.findings.refused) if before else {},
        "gathered": gathering.written(before.gathered) if before else [],
        "unit_ranks": dict(before.unit_ranks) if before else {},
        "callbacks": before.callbacks if before else [],
    }


def written(refused: Mapping[str, Reason]) -> dict[str, Any]:
    """Reasons, as plain data for JSON."""
    return {key: {**asdict(why), "kind": why.kind.value} for key, why in refused.items()}


def note_from(data: dict[str, Any], base: str) -> Note:
    """The note of checkpoint ``base``.

    Raises:
        PruneError: the note is damaged.
    """
    try:
        return Note(**NOTE(data))
    except ValueError as error:
        todo = "give an earlier checkpoint"
        raise PruneError(
            f"checkpoint {base!r}", f"its note is damaged ({error})", "a note as a run writes it", todo
        ) from error
