"""The dashboard: history and evaluations for VisualDL. If it fails, it warns once, and training goes on."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping

from ..analysis.channel_map import ChannelMap
from ..analysis.propagation import Propagation
from ..criteria.filters import Scores
from ..errors import PruneWarning, gist
from ..internals.hapi_frames import calling, running_callbacks
from ..plan import Cost
from . import plots, tables
from .history import History
from .network_graph import drawn
from .record import PruneRecord
from .visualdl_writer import SharedWriter, clean, share

_AROUND = ("_before", "_after", "_healed")


class Dashboard:
    """What one run writes to VisualDL, all of it at ``prune/...`` by epoch, flushed at once. For rank 0 only.

    Its methods never raise: the first failure is a `PruneWarning`, and nothing is written after it.

    Args:
        log_dir: VisualDL's directory for this run.

    Example:
        >>> import tempfile
        >>> report = Dashboard(tempfile.mkdtemp())
        >>> report.attach()
        >>> report.hparams({"criterion": "l1_norm", "batch_size": 128})
        >>> report.evaluated(0, {"acc": 0.75}, Cost(64, 60, 9, 9), Cost(80, 75, 12, 12), ratio=0.2)
        >>> report.close()
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.log_dir = os.fspath(log_dir)
        self._writer: SharedWriter | None = None
        self._history = History()
        self._hparams: dict[str, object] = {}
        self._seen: dict[str, tuple[int, float]] = {}
        self._drawn: Propagation | None = None
        self._draws = True
        try:
            self._writer = SharedWriter(self.log_dir)
        except Exception as error:
            self._fail(error)

    def attach(self, callbacks: Iterable[object] | None = None) -> None:
        """Share the writer with each ``paddle.callbacks.VisualDL`` that writes to the same directory.

        Args:
            callbacks: those of the run; found by themselves in ``on_train_begin``, when hapi is calling.
        """
        self._write(lambda writer: share(writer, running_callbacks() if callbacks is None else callbacks))
        caller = calling()
        if caller is not None:  # an error that ends the run is told to nobody, but hapi's list of callbacks goes then
            weakref.finalize(caller, self.close).atexit = False

    def hparams(self, values: Mapping[str, object]) -> None:
        """Hyper-parameters, written once it is known which metrics there are; None is left out."""
        self._hparams = {name: value for name, value in values.items() if value is not None}

    def event(self, record: PruneRecord, history: History, scores: Mapping[str, Scores] | None = None) -> None:
        """One cut: cost, metrics before and after it, what happened in words, and the layers' filters as a picture.

        Args:
            record: the cut.
            history: the run, with it.
            scores: of the units of each group that lost some, right before it; shown as histograms.
        """
        self._history = history
        self._write(
            lambda writer: self._event(writer, record) + self._histograms(writer, record.epoch or 0, scores or {})
        )

    def network(self, channel_map: ChannelMap) -> None:
        """Show the current network, if it has changed; if that fails, everything else is still written."""
        before, self._drawn = self._drawn, channel_map.state.propagation
        if self._writer is None or self._drawn is before or not self._draws:
            return
        try:
            self._writer.show_network(drawn(channel_map))
        except Exception as error:
            self._draws = False
            text = f"the network cannot be shown in VisualDL ({gist(error)}). The curves go on."
            warnings.warn(f"PruneCallback(log_dir={self.log_dir!r}): {text}", PruneWarning, stacklevel=3)

    def taken_back(self, record: PruneRecord, epoch: int, history: History) -> None:
        """A cut was taken back at ``epoch``: write the costs from before it again, and why."""
        self._history = history
        ratio = history.now.ratio if history.now else 0.0
        costs = _costs(record.cost_before, record.cost_original, ratio)

        def act(writer: SharedWriter) -> int:
            points = self._points(writer, epoch, costs)
            writer.add_text("prune/event", str(record), writer.step("prune/", epoch))
            return points + 1

        self._write(act)

    def evaluated(
        self, epoch: int, metrics: Mapping[str, object], cost_now: Cost, cost_original: Cost, ratio: float
    ) -> None:
        """The points of an epoch.

        Args:
            epoch: counted from 0.
            metrics: hapi's ``logs`` will do; empty for an epoch without an evaluation.
            cost_now: cost at the end of the epoch.
            cost_original: cost of the dense network.
            ratio: share of the prunable filters removed by now, in [0, 1).
        """
        costs = _costs(cost_now, cost_original, ratio)
        self._write(lambda writer: self._points(writer, epoch, {**costs, **tables.scalar_metrics(metrics)}))
        if metrics:
            self._write(self._late_hparams)

    def replay(self, history: History) -> None:
        """Write what happened before a run was resumed, as the page shows the newest file of a directory only."""
        for epoch, metrics in history.evaluations:
            made = [record for record in history if (record.epoch or 0) <= epoch and was_there(record, epoch)]
            if made:
                self.evaluated(epoch, metrics, made[-1].cost_after, made[-1].cost_original, made[-1].ratio)
            elif history:
                self.evaluated(epoch, metrics, history[0].cost_original, history[0].cost_original, 0.0)

    def close(self) -> None:
        """Write the rest, such as the picture of the run, and close the file."""
        self._write(self._late_hparams)
        self._write(self._glance)
        self._write(SharedWriter.end)
        self._writer = None

    def _write(self, act: Callable[[SharedWriter], int | None]) -> None:
        """Let ``act`` write records, and check that they reach the file: VisualDL drops what it cannot write."""
        if self._writer is None:
            return
        try:
            before = self._writer.size()
            records = act(self._writer)
            self._writer.flush()
            if records and self._writer.size() <= before and self._writer.size():
                raise OSError("what was written did not reach the file; is the disk full?")
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._writer = None
        said = f"{type(error).__name__}: {error}"
        where = f"PruneCallback(log_dir={self.log_dir!r})"
        text = f"{where}: VisualDL failed ({said}). Training goes on without this report."
        warnings.warn(text, PruneWarning, stacklevel=4)

    def _points(self, writer: SharedWriter, epoch: int, points: Mapping[str, float]) -> int:
        """Write the points that are new."""
        fresh = {name: value for name, value in points.items() if self._seen.get(name) != (epoch, value)}
        for name, value in fresh.items():
            writer.add_scalar(f"prune/{name}", value, epoch)
            self._seen[name] = (epoch, value)
        return len(fresh)

    def _event(self, writer: SharedWriter, record: PruneRecord) -> int:
        import numpy as np

        epoch = record.epoch or 0
        points = _costs(record.cost_after, record.cost_original, record.ratio)
        for when, metrics in zip(_AROUND, (record.metrics_before, record.metrics_after, record.metrics_healed)):
            points.update({f"{name}{when}": value for name, value in metrics.items()})
        if record.latency is not None:
            points |= {"latency_ms": record.latency.after, "latency_ms_measured": record.latency.measured}
        points |= {f"rank_correlation_{name.replace(' ', '_')}": rho for name, rho in record.rank_correlation.items()}
        written = self._points(writer, epoch, points)
        step = writer.step("prune/", epoch)
        writer.add_text("prune/event", str(record), step)
        writer.add_image("prune/widths", np.asarray(plots.widths_picture(record.widths, record.title)), step)
        return written + 2

    def _histograms(self, writer: SharedWriter, epoch: int, scores: Mapping[str, Scores]) -> int:
        step = writer.step("prune/", epoch)
        for key, values in scores.items():
            writer.add_histogram(clean(f"prune/scores/{key}"), values, step)
        return len(scores)

    def _glance(self, writer: SharedWriter) -> int:
        import numpy as np

        if self._history:
            last = max(epoch for epoch, _ in self._seen.values())
            writer.add_image("prune/run", np.asarray(self._history.plot()), writer.step("prune/", last))
        return len(self._history)

    def _late_hparams(self, writer: SharedWriter) -> int:
        """Write the hyper-parameters with the names of the metrics to show; VisualDL complains of missing ones."""
        if not self._hparams:
            return 0
        shown = [name for name in self._seen if name not in ("flops", "params") and not name.endswith(_AROUND)]
        values = {name: _hparam(value) for name, value in self._hparams.items()}
        writer.add_hparams(values, [clean(f"prune/{name}") for name in shown])
        self._hparams = {}
        return 1


def was_there(record: PruneRecord, epoch: int) -> bool:
    """Whether a cut that was made by ``epoch`` was still in place then."""
    return not record.taken_back or any(when == epoch for when, _ in record.recovered)


def _costs(now: Cost, dense: Cost, ratio: float) -> dict[str, float]:
    kept = {"flops_kept": tables.share(now.flops, dense.flops), "params_kept": tables.share(now.params, dense.params)}
    return {"flops": now.flops, "params": now.params, **kept, "ratio": ratio}


def _hparam(value: object) -> int | float | str:
    """A hyper-parameter as VisualDL accepts it: a number or text; its page fails on nan."""
    plain = isinstance(value, str) or (type(value) in (int, float) and abs(value) < 2**63)  # type: ignore[arg-type]
    return value if plain else str(value)  # type: ignore[return-value]
