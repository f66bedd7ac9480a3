"""The record of one cut: the ratio asked for, what was removed, and the cost and metrics before and after."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..plan import Cost, Latency, PruningPlan
from . import tables
from .tables import Metrics

NOUNS = {"filters": "filters", "flops": "FLOPs", "params": "params", "latency": "latency"}
"""The noun for each target."""
VALUES, VALUES_IN_FLOAT64, SIZES = VERIFIED = ("values", "values in float64", "sizes")
"""What a cut network can have been held against."""


@dataclass(frozen=True)
class PruneRecord:
    """One cut: what was asked, what was removed, what it cost and what it did to the metrics.

    `prune` returns one; a PruneCallback keeps one for each cut in its ``history``. ``print(record)`` tells it in words.

    Attributes:
        epoch: the epoch at whose beginning it was made, from 0; None outside of a run.
        ratio_asked: share to be removed by now, of what `target` says, in [0, 1); or that share of filters by layer.
        ratio: share of the prunable filters removed by now, of the original count, in [0, 1).
        plan: the units kept.
        cost_original: cost of the dense network.
        cost_before, cost_after: cost before and after this cut.
        widths: for each layer, ``(original filters, filters now)``.
        metrics_before, metrics_after: evaluations just before and after the cut; empty where none was made.
        recovered: the evaluations from this cut to the next one, ``(epoch from 0, metrics)``.
        seconds: how long the cut took.
        notes: what had to be said, such as which layers stay and why, and which attributes of layers were set.
        verified: what the cut network was held against: ``"values"``, the outputs of the masked one; ``"values in
            float64"``, the same where float32 turns rounding into noise; ``"sizes"``, those of the plan, operation by
            operation, where removing is not zeroing, float64 does not run or is noise too, or no output is finite.
        metrics_healed: the evaluation after ``recalibrate`` and ``compensate``, before training; empty without these.
        target: what `ratio_asked` is a share of: ``"filters"``, ``"flops"``, ``"params"`` or ``"latency"``.
        stays: for each layer that was asked to shrink and cannot, why.
        taken_back: why the cut was taken back, as a run with an accuracy budget does; empty where it was not.
        latency: how long a forward pass takes, predicted beside measured; None where that is not the target.
        rank_correlation: how far the ranking of the units agrees, from -1 to 1, with that of the ``"last cut"``, for
            those that it left, and with that of the ``"l1_norm"``: Spearman's correlation, the mean over the groups
            that lose units. A ranking that is noise agrees with neither.

    Example:
        >>> import paddle
        >>> from hapi_prune import prune
        >>> record = prune(paddle.vision.models.LeNet(), [1, 1, 28, 28], 0.5)
        >>> print(record.title)
        50.0% of the filters removed (asked: 50.0%)
        >>> record.cost_before.flops, record.cost_after.flops
        (347560, 119240)
    """

    epoch: int | None
    ratio_asked: float | dict[str, float]
    ratio: float
    plan: PruningPlan
    cost_original: Cost
    cost_before: Cost
    cost_after: Cost
    widths: dict[str, tuple[int, int]] = field(default_factory=dict)
    metrics_before: Metrics = field(default_factory=dict)
    metrics_after: Metrics = field(default_factory=dict)
    recovered: tuple[tuple[int, Metrics], ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    verified: str = VALUES
    target: str = "filters"
    metrics_healed: Metrics = field(default_factory=dict)
    stays: dict[str, str] = field(default_factory=dict)
    taken_back: str = ""
    latency: Latency | None = None
    rank_correlation: Metrics = field(default_factory=dict)

    def __str__(self) -> str:
        """The cut in words: how much was removed, the costs, the metrics, and the notes."""
        before, after, back = self.metrics_before, self.metrics_after, self.taken_back
        flops, params = (tables.count(self.cost_before.flops), tables.count(self.cost_before.params))
        parts = [
            f"FLOPs {flops} -> {tables.count(self.cost_after.flops)} ({tables.percent(self.flops_kept)} kept)",
            f"params {params} -> {tables.count(self.cost_after.params)} ({tables.percent(self.params_kept)} kept)",
            *latency_text(self.latency),
            *(f"{m} {tables.number(before.get(m))} -> {tables.number(after.get(m))}" for m in {**before, **after}),
            *(f"{m} healed at once {tables.number(value)}" for m, value in self.metrics_healed.items()),
        ]
        notes = [*self.notes, *([f"It was taken back: {back}"] if back else [])]
        return " ".join([f"{self.title}: {', '.join(parts)}.", *(f"{note.rstrip('.')}." for note in notes)])

    @property
    def title(self) -> str:
        """How much was removed, how much was asked and, in a run, at which epoch, counted from 1 as hapi prints it."""
        done = f"{tables.percent(self.reached)} of the {NOUNS[self.target]} removed (asked: {asked_text(self)})"
        return done if self.epoch is None else f"epoch {epoch_text(self)}: {done}"

    @property
    def reached(self) -> float:
        """Share of what was asked for (filters, FLOPs, parameters or latency) that is removed by now, 0 to 1."""
        if self.latency is not None:
            return 1 - self.latency.kept
        kept = {"flops": self.flops_kept, "params": self.params_kept}
        return 1 - kept[self.target] if self.target in kept else self.ratio

    @property
    def flops_kept(self) -> float:
        """Share of the dense network's FLOPs that is left, 0 to 1."""
        return tables.share(self.cost_after.flops, self.cost_original.flops)

    @property
    def params_kept(self) -> float:
        """Share of the dense network's parameters that is left, 0 to 1."""
        return tables.share(self.cost_after.params, self.cost_original.params)

    @property
    def metrics_begun(self) -> Metrics:
        """The metrics with which training goes on: after recalibration and compensation, or right after the cut."""
        return self.metrics_healed or self.metrics_after

    @property
    def best_at_this_size(self) -> Metrics:
        """The best of each metric from this cut to the next: the highest, of losses the lowest; empty without any."""
        return tables.best(self.recovered)

    @property
    def metrics_recovered(self) -> Metrics:
        """The last evaluation before the next cut; empty where there was none."""
        return self.recovered[-1][1] if self.recovered else {}


def event_table(record: PruneRecord) -> str:
    """The table of one cut for the terminal: the costs, the metrics, the layers that lost most, and the notes."""
    costs = (record.cost_original, record.cost_before, record.cost_after)
    counts = {"FLOPs": [cost.flops for cost in costs], "params": [cost.params for cost in costs]}
    rows = tables.event_rows(counts, record.metrics_before, record.metrics_after, record.widths, record.metrics_healed)
    place = 1 + len(counts)
    ranks = [
        (f"rank correlation, {name}", "", "", tables.number(rho), "") for name, rho in record.rank_correlation.items()
    ]
    rows[place:place] = [*latency_rows(record.latency), *ranks]
    return tables.table([("", *cells) for cells in zip(*rows)], [record.title], record.notes, names=24)


def epoch_text(record: PruneRecord) -> str:
    """The epoch, counted from 1 as hapi prints it."""
    return "-" if record.epoch is None else tables.count(record.epoch + 1)


def mark_text(record: PruneRecord) -> str:
    """The epoch, and whether the cut was taken back."""
    return f"{epoch_text(record)} back" if record.taken_back else epoch_text(record)


def asked_text(record: PruneRecord) -> str:
    """What was asked for, in a word."""
    return "by layer" if isinstance(record.ratio_asked, dict) else tables.percent(record.ratio_asked)


def latency_rows(latency: Latency | None) -> list[tables.Column]:
    """The rows of a table of one cut: predicted, and measured below it."""
    if latency is None:
        return []
    times = (latency.original, latency.before, latency.after)
    measured = ("  measured", tables.number(latency.measured_original), "", tables.number(latency.measured), "")
    return [("latency, ms", *map(tables.number, times), tables.percent(latency.kept)), measured]


def latency_text(latency: Latency | None) -> list[str]:
    """How long a forward pass takes, predicted and measured, as parts of a sentence."""
    if latency is None:
        return []
    before, after, measured = map(tables.number, (latency.before, latency.after, latency.measured))
    return [f"latency {before} -> {after} ms ({tables.percent(latency.kept)} kept; measured {measured} ms)"]
