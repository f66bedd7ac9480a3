"""One VisualDL writer for each directory: the page shows its newest file only, so a second one would hide it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# What nobody has promised: paddle.callbacks.VisualDL opens a writer at its first batch unless it has this attribute,
# and closes and deletes it when training ends.
WRITER = "writer"
# VisualDL knows its files by this part of the name, shows the last of a directory by name, and never the others.
# A record in it is its size in eight bytes, little-endian, and its data.
RECORDS = "vdlrecords"
# A network is a file of its own, with JSON in it; the page shows the last of a directory by name, and remembers it.
GRAPH = "vdlgraph"


class SharedWriter:
    """The VisualDL writer that all parts of a process share for a directory.

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
        self._graph: Path | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "_writer":  # while an object is copied it has nothing yet
            raise AttributeError(name)
        return getattr(self._writer, name)

    def step(self, tag: str, step: int) -> int:
        """The step to write for ``step`` of ``tag``: after those of an earlier run for tags with the same prefix."""
        family = tag.partition("/")[0]
        if family not in self._shift:
            last = self._last.get(family, -1)
            self._shift[family] = last + 1 if step <= last else 0
        return step + self._shift[family]

    def add_scalar(self, tag: str, value: float, step: int, walltime: int | None = None) -> None:
        """The method of LogWriter with this name, for any tag."""
        self._writer.add_scalar(clean(tag), value, self.step(tag, step), walltime)

    def show_network(self, drawn: Mapping[str, object]) -> None:
        """Show a network in the GRAPHS tab instead of the previous one; not on a remote file system."""
        if "://" in self._writer.logdir:
            return
        folder, before = Path(self._writer.logdir), self._graph
        stamps = [int(name.split(".")[1]) for name in os.listdir(folder) if re.match(rf"{GRAPH}\.\d+\.log$", name)]
        draft = folder / f".network.{os.getpid()}"
        draft.write_text(json.dumps(drawn), encoding="utf-8")
        self._graph = draft.replace(folder / f"{GRAPH}.{max(int(time.time()), 1 + max(stamps, default=0)):010d}.log")
        if before is not None:
            before.unlink()

    def size(self) -> int:
        """Bytes in the file; 0 if that is unknown, as on a remote file system."""
        file = self._writer.file_name
        return 0 if "://" in file else os.path.getsize(file)

    def close(self) -> None:
        """Does nothing: a callback that shares the writer is done with it, and others may not be."""
        self._writer.flush()

    def end(self) -> None:
        """Close the file."""
        self._writer.close()


def share(writer: SharedWriter, callbacks: Iterable[object]) -> None:
    """Give ``writer`` to each ``paddle.callbacks.VisualDL`` of the same directory, before it opens its own."""
    import paddle

    for callback in callbacks:
        if isinstance(callback, paddle.callbacks.VisualDL) and _real(str(callback.log_dir)) == _real(writer.logdir):
            own = getattr(callback, WRITER, None)
            if own is not None:
                own.flush()
            setattr(callback, WRITER, writer)


def clean(tag: str) -> str:
    """``tag`` as VisualDL takes it: a percent sign is its own code for a slash."""
    return tag.replace("%", "_percent")


def _file(log_dir: str) -> tuple[str, bool]:
    """The name of the file to write, and whether it exists and is continued; a new name sorts after all existing ones.

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
