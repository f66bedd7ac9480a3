"""History and evaluations on VisualDL's web page. A report that fails says so once, and training goes on."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from . import look
from .errors import PruneWarning
from .history import History, PruneRecord
from .plan import Cost

if TYPE_CHECKING:
    from PIL.Image import Image

# What nobody has promised: paddle.callbacks.VisualDL opens a writer at its first batch unless it has this attribute,
# and closes and deletes it when training ends; the callbacks of a run are called by an object of this class.
WRITER, CALLER = "writer", "CallbackList"
# VisualDL knows its files by this part of the name, shows the last of a directory by name, and never the others.
# A record in it is its size in eight bytes, little-endian, and its data.
RECORDS = "vdlrecords"
_AROUND = ("_before", "_after")


class SharedWriter:
    """A VisualDL writer for all that one process writes to a directory, as the page shows one file of it only.

    Where a second run counts its steps from the start again, its curves go on to the right of the first run's.

    Args:
        log_dir: the directory; it is made where there is none.
    """

    def __init__(self, log_dir: str) -> None:
        from visualdl import LogWriter

        name, known = _file(log_dir)
        self._last = _last_steps(Path(log_dir, name)) if known else {}
        self._shift: dict[str, int] = {}
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that the file is there already
            self._writer: Any = LogWriter(logdir=log_dir, file_name=name)
        self._writer.flush()  # from here on the file is there

    def __getattr__(self, name: str) -> Any:
        if name == "_writer":  # while an object is copied it has nothing yet
            raise AttributeError(name)
        return getattr(self._writer, name)

    def step(self, tag: str, step: int) -> int:
        """Where ``step`` of ``tag`` goes: behind what an earlier run wrote for the tags before the same slash."""
        family = tag.partition("/")[0]
        if family not in self._shift:
            last = self._last.get(family, -1)
            self._shift[family] = last + 1 if step <= last else 0
        return step + self._shift[family]

    def add_scalar(self, tag: str, value: float, step: int, walltime: int | None = None) -> None:
        """As LogWriter's, for any tag."""
        self._writer.add_scalar(clean(tag), value, self.step(tag, step), walltime)

    def size(self) -> int:
        """Bytes in the file; 0 where that cannot be known, as on a remote file system."""
        file = self._writer.file_name
        return 0 if "://" in file else os.path.getsize(file)

    def close(self) -> None:
        """For a callback that shares the writer and is done with it; the others may not be."""
        self._writer.flush()

    def end(self) -> None:
        """Close the file."""
        self._writer.close()


class Report:
    """What one run writes to VisualDL, all of it at ``prune/...`` by epoch, flushed at once. For rank 0 only.

    Nothing here raises: the first failure is a `PruneWarning`, and then the report is quiet.

    Args:
        log_dir: VisualDL's directory for this run.

    Example:
        >>> report = Report("log")                                      # on_train_begin    # doctest: +SKIP
        >>> report.attach()
        >>> report.hparams({"criterion": "l1_norm", "batch_size": 128})
        >>> report.event(record, history)                               # after each cut
        >>> report.evaluated(3, {"acc": 0.75}, cost, dense, 0.3)        # each epoch
        >>> report.close()                                              # on_train_end
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.log_dir = os.fspath(log_dir)
        self._writer: SharedWriter | None = None
        self._history = History()
        self._hparams: dict[str, object] = {}
        self._seen: dict[str, tuple[int, float]] = {}
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

    def hparams(self, values: Mapping[str, object]) -> None:
        """Hyper-parameters, written once it is known which metrics there are; None is left out."""
        self._hparams = {name: value for name, value in values.items() if value is not None}

    def event(self, record: PruneRecord, history: History) -> None:
        """One cut: cost, metrics before and after it, what happened in words, and the layers' filters as a picture."""
        self._history = history
        self._write(lambda writer: self._event(writer, record))

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
        self._write(lambda writer: self._points(writer, epoch, {**costs, **look.scalar_metrics(metrics)}))
        if metrics:
            self._write(self._late_hparams)

    def close(self) -> None:
        """Write what is left, such as the run as a picture, and close the file."""
        self._write(self._late_hparams)
        self._write(self._glance)
        self._write(SharedWriter.end)
        self._writer = None

    def _write(self, act: Callable[[SharedWriter], int | None]) -> None:
        """Let ``act`` write so many records, and see that they arrive: VisualDL's thread drops what it cannot write."""
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
        text = f"Report(log_dir={self.log_dir!r}): VisualDL failed ({said}). Training goes on without this report."
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
        for when, metrics in zip(_AROUND, (record.metrics_before, record.metrics_after)):
            points.update({f"{name}{when}": value for name, value in metrics.items()})
        written = self._points(writer, epoch, points)
        step = writer.step("prune/", epoch)
        writer.add_text("prune/event", str(record), step)
        writer.add_image("prune/widths", np.asarray(look.widths_picture(record.widths, record.title)), step)
        return written + 2

    def _glance(self, writer: SharedWriter) -> int:
        import numpy as np

        if self._history:
            last = max(epoch for epoch, _ in self._seen.values())
            writer.add_image("prune/run", np.asarray(picture(self._history)), writer.step("prune/", last))
        return len(self._history)

    def _late_hparams(self, writer: SharedWriter) -> int:
        """VisualDL's table shows the last value of the metrics that it is told here, and complains of missing ones."""
        if not self._hparams:
            return 0
        shown = [name for name in self._seen if name not in ("flops", "params") and not name.endswith(_AROUND)]
        values = {name: _hparam(value) for name, value in self._hparams.items()}
        writer.add_hparams(values, [clean(f"prune/{name}") for name in shown])
        self._hparams = {}
        return 1


def picture(history: History, path: str | os.PathLike[str] | None = None) -> Image:
    """A run at a glance: the metric and the cost over the epochs, and the filters of each layer.

    Args:
        history: any, also one without records.
        path: where to save it, if anywhere; the suffix says as what (``.png``).
    """
    metric = history.metric or next((name for _, log in history.evaluations for name in log), "")
    points = [(epoch + 1, 0, log) for epoch, log in history.evaluations]
    for record in history:
        points += [(record.epoch or 0, 1, record.metrics_before), (record.epoch or 0, 2, record.metrics_after)]
    curve = [(x, log[metric]) for x, _, log in sorted(points, key=lambda point: point[:2]) if metric in log]
    cuts = [(record.epoch or 0, record.flops_kept, record.params_kept) for record in history]
    image = look.run_picture(metric, curve, cuts, history[-1].widths if history else {})
    if path is not None:
        image.save(path)
    return image


def share(writer: SharedWriter, callbacks: Iterable[object]) -> None:
    """Give ``writer`` to each ``paddle.callbacks.VisualDL`` of the same directory, before it opens its own."""
    import paddle

    for callback in callbacks:
        if isinstance(callback, paddle.callbacks.VisualDL) and _real(str(callback.log_dir)) == _real(writer.logdir):
            own = getattr(callback, WRITER, None)
            if own is not None:
                own.flush()
            setattr(callback, WRITER, writer)


def running_callbacks() -> list[object]:
    """The callbacks of the hapi run that is calling us right now; none where none is. hapi does not tell them."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller: Any = frame.f_locals.get("self")
        if type(caller).__name__ == CALLER:
            return list(caller)
        frame = frame.f_back
    return []


def clean(tag: str) -> str:
    """``tag`` as VisualDL takes it: a percent sign is its own code for a slash."""
    return tag.replace("%", "_percent")


def _file(log_dir: str) -> tuple[str, bool]:
    """The name of the file to write, and whether it is one to go on with; a new one sorts behind all that are there.

    Gone on with is a file that this process has written to (a run before, or a writer that is still open), unless
    its end is damaged: what is appended to half a record cannot be read.
    """
    import psutil  # type: ignore[import-untyped]

    names = sorted(name for name in os.listdir(log_dir) if RECORDS in name) if os.path.isdir(log_dir) else []
    newest = Path(log_dir, names[-1]) if names else None
    if newest and newest.stat().st_mtime >= psutil.Process().create_time() and _whole(newest):
        return newest.name, True
    name = f"{RECORDS}.{time.time():010.0f}.log"
    return (f"{newest.name}.{name}" if newest and newest.name >= name else name), False


def _whole(file: Path) -> bool:
    """Whether the file ends where a record ends."""
    place, end = 0, file.stat().st_size
    with file.open("rb") as data:
        while place < end:
            data.seek(place)
            place += 8 + int.from_bytes(data.read(8), "little")
    return place == end


def _last_steps(file: Path) -> dict[str, int]:
    """The last step of each family of scalars in a file."""
    from visualdl import LogReader

    reader = LogReader(file_path=os.fspath(file))
    last: dict[str, int] = {}
    for tag in reader.get_tags().get("scalar", ()):
        family = tag.partition("/")[0]
        last[family] = max(last.get(family, -1), *(point.id for point in reader.get_data("scalar", tag)))
    return last


def _real(log_dir: str) -> str:
    return log_dir.rstrip("/") if "://" in log_dir else os.path.realpath(log_dir)


def _costs(now: Cost, dense: Cost, ratio: float) -> dict[str, float]:
    kept = {"flops_kept": look.share(now.flops, dense.flops), "params_kept": look.share(now.params, dense.params)}
    return {"flops": now.flops, "params": now.params, **kept, "ratio": ratio}


def _hparam(value: object) -> int | float | str:
    """VisualDL takes numbers and text, prints that it drops all else, and its page fails on nan."""
    plain = isinstance(value, str) or (type(value) in (int, float) and abs(value) < 2**63)  # type: ignore[arg-type]
    return value if plain else str(value)  # type: ignore[return-value]
