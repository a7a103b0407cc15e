"""A table that a job adds to as pictures arrive: each picture once, whatever ends a run."""

import hashlib
import json
import threading
from pathlib import Path

from aetool.errors import UsageError
from aetool.images.source import Source
from aetool.storage.checkpoint import Checkpoint
from aetool.storage.journal import Journal
from aetool.tasks.judge import Judge

# What tells whether a picture's row is there already, behind the table's own columns.
COLUMNS = ("bytes", "modified", "model")
# Rows that are written, and on the disk, at once.
BATCH = 64


class Watch:
    """The rows of one run, added to those of the runs before.

    Args:
        path: the table; its lock is the caller's.
        header: the columns of `add`'s rows, "path" first.
        pictures: the source, of files.
        stored: the model.
        judge: how it judges; other scores or thresholds make other rows.

    Raises:
        OutputError: the table cannot be written, or has other columns.
        UsageError: the pictures are no files.
    """

    def __init__(
        self,
        path: Path,
        header: tuple[str, ...],
        pictures: Source,
        stored: Checkpoint,
        judge: Judge,
    ):
        if any(pictures.path(i) is None for i in range(min(1, len(pictures)))):
            raise UsageError("--append is for files, whose changes can be seen")
        self._pictures = pictures
        self._model = identity(stored, judge)
        self._journal = Journal(path, (*header, *COLUMNS))
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple] = {}
        self._seen: dict[int, tuple[int, int]] = {}

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *error) -> None:
        try:
            self._flush()
        finally:
            self._journal.close()

    def todo(self) -> list[int]:
        """The pictures without a row for their file as it is now and this model."""
        done = {tuple(row[name] for name in ("path", *COLUMNS)) for row in self._journal.rows()}
        todo = []
        for i in range(len(self._pictures)):
            try:
                about = self._pictures.path(i).stat()
            except OSError:
                todo.append(i)  # the reader will say what is wrong with it
                continue
            # As it was before it is read: what is written to it meanwhile is noticed next time.
            self._seen[i] = (about.st_size, about.st_mtime_ns)
            key = (self._pictures.name(i), *map(str, self._seen[i]), self._model)
            if key not in done:
                todo.append(i)
        return todo

    def add(self, i: int, row: tuple) -> None:
        """Take the row of picture i; it is written with others, in the order of the source."""
        with self._lock:
            self._waiting[i] = (*row, *self._seen.get(i, (None, None)), self._model)
            if len(self._waiting) >= BATCH:
                self._flush()

    def _flush(self) -> None:
        rows = [self._waiting[i] for i in sorted(self._waiting)]
        self._waiting.clear()
        self._journal.append(rows)


def identity(stored: Checkpoint, judge: Judge) -> str:
    """Sixteen digits that name all that a row follows from, besides the picture."""
    digest = hashlib.sha256(stored.digest.encode())
    about = [judge.score, judge.threshold, judge.tile]
    digest.update(json.dumps(about).encode())
    if judge.calibration is not None:
        digest.update(judge.calibration.tobytes())
    return digest.hexdigest()[:16]
