"""The history of a run: one record for each cut, in order. Printed as a table, saved as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PruneError
from ..plan import Cost, Latency, LayerCost, PruningPlan
from ..plan.json_reader import Reader, each, made, named, number, text, whole
from . import tables
from .record import NOUNS, VERIFIED, PruneRecord, mark_text
from .run_table import columns, standing
from .tables import Metrics

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = 2
WIDEST = 100
"""Columns of a terminal that a table may take."""
_NOTHING = "Nothing was pruned."


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
        """Keep the evaluation at the end of ``epoch`` and attach it to the last record that was not taken back.

        Args:
            epoch: counted from 0.
            metrics: hapi's ``logs`` will do, see `tables.scalar_metrics`.
        """
        point = (epoch, tables.scalar_metrics(metrics))
        self.evaluations.append(point)
        for place, record in reversed(list(enumerate(self.records))):
            if not record.taken_back:
                self.records[place] = replace(record, recovered=(*record.recovered, point))
                break

    def take_back(self, reason: str) -> None:
        """Mark the last cut as taken back. Later evaluations belong to the record before it.

        Args:
            reason: why, in words.
        """
        self.records[-1] = replace(self.records[-1], taken_back=reason)

    @property
    def now(self) -> PruneRecord | None:
        """The record of the network as it is now: of the last cut that was not taken back; None if it is dense."""
        return standing(self.records)

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
        if self.now is not None:
            return self.now.best_at_this_size
        elsewhere = [point for record in self for point in record.recovered]
        return tables.best(point for point in self.evaluations if point not in elsewhere)

    def table(self) -> str:
        """The run as text: the dense network and each cut, a line each, at most 100 columns wide."""
        back = [f"epoch {mark_text(record)}: {record.taken_back}" for record in self if record.taken_back]
        if not self:
            return _NOTHING
        made = columns(self.records, self.metric, self.metrics_dense)
        for head in ("seconds", "before"):  # what can be left out where numbers are long
            if tables.wide(tables.table(made).partition("\n")[0]) > WIDEST:
                made = [column for column in made if column[1] != head]
        return tables.table(made, below=back)

    def markdown(self) -> str:
        """What `table` gives, in Markdown."""
        return tables.markdown(columns(self.records, self.metric, self.metrics_dense)) if self else _NOTHING

    def plot(self, path: str | os.PathLike[str] | None = None) -> Image:
        """The run as a picture: the metric over the epochs, before and after each cut and against FLOPs; cost; filters.

        Args:
            path: where to save it, if anywhere; the suffix says as what (``.png``).

        Returns:
            The picture, as PIL has it; notebooks show it.
        """
        from .story import picture

        image = picture(self)
        if path is not None:
            image.save(path)
        return image

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write the run as one page that needs nothing else: tables, pictures, and what became of each layer and why.

        Args:
            path: its name, as in ``"run.html"``; a file that is there is overwritten.
        """
        from .story import story

        Path(path).write_text(story(self), encoding="utf-8")

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


def _record(data: Any) -> PruneRecord:
    """A record; one that was written before these fields were there has none of it."""
    known: dict[str, Any] = {"latency": None, "rank_correlation": {}}
    record: PruneRecord = _made(PruneRecord)({**known, **data} if isinstance(data, dict) else data)
    if record.target not in NOUNS or record.verified not in VERIFIED:
        raise ValueError(f"target {record.target!r:.40}, verified by {record.verified!r:.40}")
    if record.target == "latency" and record.latency is None:
        raise ValueError("a latency is the target, and none is there")
    return record


_log = each(whole, named(number))
_READ |= {
    "int": whole,
    "int | None": lambda data: None if data is None else whole(data),
    "float": number,
    "float | dict[str, float]": lambda data: (named(number) if isinstance(data, dict) else number)(data),
    "str": text,
    "tuple[str, ...]": each(text),
    "dict[str, str]": named(text),
    "dict[str, tuple[int, int]]": named(each(whole, whole)),
    "Metrics": named(number),
    "PruningPlan": lambda data: PruningPlan.from_json(json.dumps(data)),
    "tuple[LayerCost, ...]": each(_made(LayerCost)),
    "Cost": _made(Cost),
    "Latency | None": lambda data: None if data is None else _made(Latency)(data),
    "tuple[tuple[int, Metrics], ...]": each(_log),
    "list[tuple[int, Metrics]]": lambda data: list(each(_log)(data)),
    "list[PruneRecord]": lambda data: list(each(_record)(data)),
}
