"""Checkpoints that are whole or not there: a note beside each holds what ``.pdparams`` and ``.pdopt`` cannot."""

from __future__ import annotations

import hashlib
import json
import os
import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paddle

from ..errors import PruneError
from ..internals.hapi_frames import calling, is_running

VERSION = 2
NOTE = ".prune.json"
WEIGHTS = ".pdparams"
OWN = (WEIGHTS, ".pdopt", ".pdscaler")
EARLIER = "_before"
BEFORE = tuple(EARLIER + part for part in OWN)
"""The same right before the last cut, as long as an accuracy budget may have it taken back."""
PARTS = (*OWN, *BEFORE)


class AtomicSaver:
    """While a run lasts, makes each ``model.save`` whole or nothing, and writes the note beside it.

    hapi writes its files in place, so a process that is killed leaves half of one. Here they are written under
    another name, forced to disk, and renamed; the note comes last and knows their digests, so a checkpoint with a
    note that fits is complete.

    Args:
        model: the model whose ``save`` is looked after until `release`.
        first: epochs of the run before this ``fit``; ``ModelCheckpoint`` counts from 0 again, its files go on.
        note: what to write, asked for at each save.
        beside: writes more parts of a checkpoint, under the name that it is given; None where there are none.
    """

    def __init__(
        self,
        model: paddle.Model,
        first: int,
        note: Callable[[], dict[str, Any]],
        beside: Callable[[str], None] | None = None,
    ) -> None:
        self._model, self._first, self._note, self._beside = model, first, note, beside
        self._last: tuple[str, dict[str, Any]] | None = None
        model.save = self.save
        caller = calling()
        if caller is not None:  # hapi tells nobody of a run that an error ends, but lets go of its list of callbacks
            weakref.finalize(caller, self.release).atexit = False

    def release(self) -> None:
        """Give the model its own ``save`` back."""
        if self._model.__dict__.get("save") == self.save:
            del self._model.save

    def save(self, path: str, training: bool = True) -> None:
        """As ``paddle.Model.save``."""
        if not training or not is_running(self._model):  # an error that ended the run may be kept, and the run with it
            type(self._model).save(self._model, path, training)
            return
        folder, name = os.path.split(os.fspath(path))
        if name.isdigit():
            name = str(int(name) + self._first)
        base, draft = os.path.join(folder, name), os.path.join(folder, f".{name}.{os.getpid()}")
        with drafts(draft):
            type(self._model).save(self._model, draft, training)
            if self._beside is not None:
                self._beside(draft)
            parts = [part for part in PARTS if os.path.exists(draft + part)]
            for part in parts:
                force(draft + part)
            self._last = (base, {part: digest(draft + part) for part in parts})
            self._write_note(draft)
            for part in (*parts, NOTE):  # there is room for all of them, now that they are there
                os.replace(draft + part, base + part)
            for part in set(BEFORE) - set(parts):  # of an older checkpoint of this name
                with suppress(FileNotFoundError):
                    os.unlink(base + part)
        force(folder or ".")

    def rename(self, old: str, new: str) -> None:
        """Give a checkpoint another name; nothing happens where it is not there."""
        for part in (NOTE, *PARTS):
            if os.path.exists(old + part):
                os.replace(old + part, new + part)
        if self._last is not None and self._last[0] == old:
            self._last = (new, self._last[1])

    def write(self) -> None:
        """Write the note of the last checkpoint anew, as after the evaluation that followed it."""
        if self._last is None:
            return
        folder, name = os.path.split(self._last[0])
        draft = os.path.join(folder, f".{name}.{os.getpid()}")
        with drafts(draft):
            self._write_note(draft)
            os.replace(draft + NOTE, self._last[0] + NOTE)
        force(folder or ".")

    def _write_note(self, draft: str) -> None:
        files = self._last[1] if self._last else {}
        text = json.dumps({"version": VERSION, "files": files, **self._note()})
        Path(draft + NOTE).write_text(text, encoding="utf-8")
        force(draft + NOTE)


@contextmanager
def drafts(draft: str) -> Iterator[None]:
    """Leave no draft behind, should the disk be full or the run be stopped."""
    try:
        yield
    finally:
        for part in (*PARTS, NOTE):
            with suppress(FileNotFoundError):
                os.unlink(draft + part)


def force(path: str) -> None:
    """Wait until a file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path: str) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def last_complete(path: str) -> str | None:
    """The checkpoint that ``path`` means: itself, or in a folder the complete one with the highest number."""
    if not os.path.isdir(path):
        return path[: -len(".pdparams")] if path.endswith(".pdparams") else path
    found = [name[: -len(NOTE)] for name in os.listdir(path) if name.endswith(NOTE)]
    numbers = sorted((int(name) for name in found if re.fullmatch(r"\d{1,9}", name)), reverse=True)
    for number in numbers:
        base = os.path.join(path, str(number))
        try:
            read_note(base)
        except PruneError:
            continue
        return base
    return None


def read_note(base: str) -> dict[str, Any]:
    """The note of a checkpoint, checked against its files.

    Raises:
        PruneError: there is no note, it is damaged or of another version, or it does not fit the files.
    """
    path, where = base + NOTE, f"checkpoint {base!r}"
    todo = "give an earlier checkpoint, or the folder, for the last complete one"
    try:
        note = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PruneError(where, f"no {path}", "a checkpoint written in a fit with a PruneCallback", todo) from error
    except (OSError, ValueError, RecursionError) as error:
        raise PruneError(where, f"its note cannot be read ({error})", "JSON as a run writes it", todo) from error
    if not isinstance(note, dict) or type(note.get("version")) is not int or note["version"] != VERSION:
        got = note.get("version") if isinstance(note, dict) else type(note).__name__
        raise PruneError(where, f"its note has version {got!r:.40}", f"version {VERSION}", todo)
    files = note.get("files")
    if not isinstance(files, dict) or WEIGHTS not in files or not set(files) <= set(PARTS):
        raise PruneError(where, "its note names no files", ", ".join(PARTS), todo)
    for part, told in files.items():
        if not os.path.isfile(base + part) or digest(base + part) != told:
            raise PruneError(where, f"{base + part} is not the file that the note was written for", "", todo)
    return note
