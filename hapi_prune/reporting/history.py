"""What happened in a run: one record for each cut, in order, printed as a table, saved as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from numbers import Integral, Real
from typing import Any

from ..errors import PruneError
from ..json_reader import Reader, each, made, named, number, text, whole
from ..plan import Cost, LayerCost, PruningPlan
from . import tables

VERSION = 2
Metrics = dict[str, float]
_NOTHING = "Nothing was pruned."


@dataclass(frozen=True)
class PruneRecord:
    """One cut: what was asked, what was removed, what it cost and what it did to the metrics.

    `prune` returns one; a PruneCallback keeps one for each cut in its ``history``. ``print(record)`` tells it in words.

    Attributes:
        epoch: the epoch at whose beginning it was made, from 0; None outside of a run.
        ratio_asked: share of the filters to be removed by now, in [0, 1), or that share by layer.
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
            operation, where removing is not zeroing or the network does not run in float64.

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
    verified: str = "values"

    def __str__(self) -> str:
        """The cut in words: how much was removed, the costs, the metrics, and what had to be said."""
        before, after = self.metrics_before, self.metrics_after
        flops, params = (tables.count(self.cost_before.flops), tables.count(self.cost_before.params))
        parts = [
            f"FLOPs {flops} -> {tables.count(self.cost_after.flops)} ({tables.percent(self.flops_kept)} kept)",
            f"params {params} -> {tables.count(self.cost_after.params)} ({tables.percent(self.params_kept)} kept)",
            *(f"{m} {tables.number(before.get(m))} -> {tables.number(after.get(m))}" for m in {**before, **after}),
        ]
        return " ".join([f"{self.title}: {', '.join(parts)}.", *(f"{note.rstrip('.')}." for note in self.notes)])

    @property
    def title(self) -> str:
        """How much was removed, how much was asked and, in a run, at which epoch, counted from 1 as hapi prints it."""
        done = f"{tables.percent(self.ratio)} of the filters removed (asked: {_asked(self)})"
        return done if self.epoch is None else f"epoch {_epoch(self)}: {done}"

    @property
    def flops_kept(self) -> float:
        """Share of the dense network's FLOPs that is left, 0 to 1."""
        return tables.share(self.cost_after.flops, self.cost_original.flops)

    @property
    def params_kept(self) -> float:
        """Share of the dense network's parameters that is left, 0 to 1."""
        return tables.share(self.cost_after.params, self.cost_original.params)

    @property
    def best_at_this_size(self) -> Metrics:
        """The best of each metric from this cut to the next: the highest, of losses the lowest; empty without any."""
        return tables.best(self.recovered)

    @property
    def metrics_recovered(self) -> Metrics:
        """The last evaluation before the next cut; empty where there was none."""
        return self.recovered[-1][1] if self.recovered else {}


@dataclass
class History:
    """The records of a run in order, and its evaluations. It is read as a list of records is, and falsy without any.

    Attributes:
        records: one for each cut, see `PruneRecord`.
        evaluations: all of the run: ``(epoch from 0, metrics)``.

    Example:
        >>> from hapi_prune import History
        >>> history = History()
        >>> history.evaluated(0, {"loss": [0.5], "acc": 0.75, "batch_size": 64})
        >>> history.evaluations
        [(0, {'loss': 0.5, 'acc': 0.75})]
        >>> print(history.table())
        Nothing was pruned.
    """

    records: list[PruneRecord] = field(default_factory=list)
    evaluations: list[tuple[int, Metrics]] = field(default_factory=list)

    def __iter__(self) -> Iterator[PruneRecord]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> PruneRecord:
        return self.records[index]

    def add(self, record: PruneRecord) -> None:
        """Append a record; the evaluations that follow are attached to it.

        Args:
            record: the cut that was made.
        """
        self.records.append(record)

    def evaluated(self, epoch: int, metrics: Mapping[str, object]) -> None:
        """Keep the evaluation at the end of ``epoch`` and attach it to the last record.

        Args:
            epoch: counted from 0.
            metrics: hapi's ``logs`` will do, see `tables.scalar_metrics`.
        """
        point = (epoch, tables.scalar_metrics(metrics))
        self.evaluations.append(point)
        if self.records:
            self.records[-1] = replace(self.records[-1], recovered=(*self.records[-1].recovered, point))

    @property
    def metric(self) -> str | None:
        """The metric to show: ``acc_top1``, else ``acc``, else the first that is no loss, else None."""
        logs = [log for record in self for log in (record.metrics_before, record.metrics_after)]
        logs += [log for source in (self.evaluations, *(record.recovered for record in self)) for _, log in source]
        names = dict.fromkeys(name for log in logs for name in log if not tables.is_loss(name))
        return next((name for name in ("acc_top1", "acc", *names) if name in names), None)

    @property
    def metrics_dense(self) -> Metrics:
        """The last evaluation of the dense network; empty where there was none."""
        if self and self[0].metrics_before:
            return self[0].metrics_before
        healing = len(self.evaluations) - sum(len(record.recovered) for record in self)
        return self.evaluations[healing - 1][1] if healing > 0 else {}

    @property
    def best_at_this_size(self) -> Metrics:
        """The best of each metric since the last cut, or since the start: the highest, of losses the lowest."""
        return self[-1].best_at_this_size if self else tables.best(self.evaluations)

    def table(self) -> str:
        """The run as text: the dense network and each cut, a line each, at most 100 columns wide."""
        return tables.table(_columns(self)) if self else _NOTHING

    def markdown(self) -> str:
        """What `table` gives, in Markdown."""
        return tables.markdown(_columns(self)) if self else _NOTHING

    def to_json(self) -> str:
        """The history as JSON; `from_json` gives an equal one back."""
        return json.dumps({"version": VERSION, **_encode(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> History:
        """The history that `to_json` wrote.

        Args:
            text: what it wrote.

        Returns:
            An equal history.

        Raises:
            PruneError: the text is damaged, is something else, or is of another version.
        """
        try:
            data = json.loads(text)
            version = data.pop("version", None) if isinstance(data, dict) else None
            if type(version) is not int or version != VERSION:
                raise ValueError(f"version {version!r:.40}")
            done: History = _made(cls)(data)
        except (ValueError, TypeError, RecursionError, OverflowError, PruneError) as error:
            allowed = f"JSON of version {VERSION}, as History.to_json writes it"
            raise PruneError("History.from_json", f"not readable ({str(error)[:200]})", allowed) from error
        return done


def event_table(record: PruneRecord) -> str:
    """One cut for the terminal: the costs, the metrics, the layers that lost most, and what had to be said."""
    costs = (record.cost_original, record.cost_before, record.cost_after)
    counts = {"FLOPs": [cost.flops for cost in costs], "params": [cost.params for cost in costs]}
    rows = tables.event_rows(counts, record.metrics_before, record.metrics_after, record.widths)
    return tables.table([("", *cells) for cells in zip(*rows)], [record.title], record.notes, names=24)


def _columns(history: History) -> list[tables.Column]:
    """The columns of the table; the first cell of each is the dense network's."""
    records, metric = history.records, history.metric
    dense = records[0].cost_original
    costs = [dense, *(record.cost_after for record in records)]
    columns: list[tables.Column] = [
        ("", "epoch", "dense", *map(_epoch, records)),
        ("filters", "asked", "-", *map(_asked, records)),
        ("filters", "removed", "-", *(tables.percent(record.ratio) for record in records)),
        ("FLOPs", "", *(tables.count(cost.flops) for cost in costs)),
        ("FLOPs", "kept", *(tables.percent(tables.share(cost.flops, dense.flops)) for cost in costs)),
        ("params", "", *(tables.count(cost.params) for cost in costs)),
        ("params", "kept", *(tables.percent(tables.share(cost.params, dense.params)) for cost in costs)),
    ]
    logs: dict[str, list[Metrics]] = {
        "before": [{}, *(record.metrics_before for record in records)],
        "after": [{}, *(record.metrics_after for record in records)],
        "recovered": [history.metrics_dense, *(record.metrics_recovered for record in records)],
    }
    if metric:
        columns += [(metric, head, *(tables.number(log.get(metric)) for log in part)) for head, part in logs.items()]
    return [*columns, ("", "seconds", "-", *(tables.seconds(record.seconds) for record in records))]


def _epoch(record: PruneRecord) -> str:
    return "-" if record.epoch is None else tables.count(record.epoch + 1)


def _asked(record: PruneRecord) -> str:
    return "by layer" if isinstance(record.ratio_asked, dict) else tables.percent(record.ratio_asked)


def _encode(data: Any) -> Any:
    """What JSON can hold. It has no word for inf and nan: they travel as text."""
    if isinstance(data, PruningPlan):
        return json.loads(data.to_json())
    if is_dataclass(data):
        return {part.name: _encode(getattr(data, part.name)) for part in fields(data)}
    if isinstance(data, Mapping):
        return {key: _encode(item) for key, item in data.items()}
    if isinstance(data, (list, tuple)):
        return [_encode(item) for item in data]
    if isinstance(data, Real) and not isinstance(data, Integral):
        return float(data) if math.isfinite(data) else str(float(data))
    return int(data) if isinstance(data, Integral) else data


_READ: dict[str, Reader] = {}


def _made(kind: type[Any]) -> Reader:
    return made(kind, _READ)


_log = each(whole, named(number))
_READ |= {
    "int": whole,
    "int | None": lambda data: None if data is None else whole(data),
    "float": number,
    "float | dict[str, float]": lambda data: (named(number) if isinstance(data, dict) else number)(data),
    "str": text,
    "tuple[str, ...]": each(text),
    "dict[str, tuple[int, int]]": named(each(whole, whole)),
    "Metrics": named(number),
    "PruningPlan": lambda data: PruningPlan.from_json(json.dumps(data)),
    "tuple[LayerCost, ...]": each(_made(LayerCost)),
    "Cost": _made(Cost),
    "tuple[tuple[int, Metrics], ...]": each(_log),
    "list[tuple[int, Metrics]]": lambda data: list(each(_log)(data)),
    "list[PruneRecord]": lambda data: list(each(_made(PruneRecord))(data)),
}
