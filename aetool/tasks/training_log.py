"""What became of each epoch, as a CSV table and as events for TensorBoard."""

import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework.summary_pb2 import Summary
from tensorflow.core.util.event_pb2 import Event, SessionLog

from aetool.errors import OutputError
from aetool.storage.tables import write_table
from aetool.training.settings import Settings
from aetool.training.state import RunState

_NAME = re.compile(r"(?P<held_out>val_)?(stage(?P<stage>\d+)_)?(?P<metric>.+)")


def epoch_rows(state: RunState, settings: Settings) -> Iterator[dict[str, float]]:
    """Of each epoch so far: `epoch` from 1, `stage`, the timeline's values, then the metrics.

    A metric has the same name in all stages. Where an older version trained, the timeline's values
    are missing.
    """
    unknown = state.epoch - len(state.timeline)
    for epoch in range(state.epoch):
        phase = settings.phase(epoch)
        row = {"epoch": epoch + 1, "stage": phase.stage}
        row |= state.timeline[epoch - unknown] if epoch >= unknown else {}
        for name, values in state.history.items():
            parts = _NAME.fullmatch(name)
            if int(parts["stage"] or 0) == phase.stage:
                row[f"{parts['held_out'] or ''}{parts['metric']}"] = values[epoch - phase.first]
        yield row


def write_log(path: Path, state: RunState, settings: Settings) -> None:
    """Write the table of all epochs so far, whole: no row is torn, doubled or missing."""
    rows = list(epoch_rows(state, settings))
    columns = ["epoch", *(["stage"] if settings.stages else []), "learning_rate", "seconds"]
    metrics = dict.fromkeys(name for row in rows for name in row)
    columns += [name for name in metrics if name not in (*columns, "stage", "end")]
    write_table(path, columns, ([row.get(name) for name in columns] for row in rows))


class Events:
    """Event files that TensorBoard reads, as two runs: `train` and `validation`.

    Every session of a training writes a file of its own that begins with the epochs of the earlier
    ones, at their own times, and tells TensorBoard to forget what it has read of them.

    Args:
        folder: made if need be.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._written = 0
        self._writers: dict[str, tf.io.TFRecordWriter] = {}

    def write(self, state: RunState, settings: Settings) -> None:
        """Write the epochs that are not yet written.

        Raises:
            OutputError: the folder cannot be written.
        """
        try:
            for row in list(epoch_rows(state, settings))[self._written :]:
                self._write_epoch(row)
            for writer in self._writers.values():
                writer.flush()
        except (OSError, tf.errors.OpError) as error:
            raise OutputError(f"cannot write {self._folder}: {_reason(error)}") from error
        self._written = state.epoch

    def _write_epoch(self, row: dict[str, float]) -> None:
        runs: dict[str, list[Summary.Value]] = {}
        for name, value in row.items():
            if name not in ("epoch", "stage", "end"):
                run = "validation" if name.startswith("val_") else "train"
                point = Summary.Value(tag=name.removeprefix("val_"), simple_value=value)
                runs.setdefault(run, []).append(point)
        for run, points in runs.items():
            event = Event(
                wall_time=row.get("end", time.time()),
                step=row["epoch"],
                summary=Summary(value=points),
            )
            self._writer(run).write(event.SerializeToString())

    def _writer(self, run: str) -> tf.io.TFRecordWriter:
        if run not in self._writers:
            folder = self._folder / run
            folder.mkdir(parents=True, exist_ok=True)
            now = time.time()
            name = f"events.out.tfevents.{now:.6f}.{socket.gethostname()}.{os.getpid()}"
            writer = tf.io.TFRecordWriter(str(folder / name))
            version = Event(wall_time=now, file_version="brain.Event:2")
            start = Event(wall_time=now, session_log=SessionLog(status=SessionLog.START))
            for event in (version, start):
                writer.write(event.SerializeToString())
            self._writers[run] = writer
        return self._writers[run]


def _reason(error: OSError | tf.errors.OpError) -> str:
    text = error.strerror if isinstance(error, OSError) else error.message
    return (text or str(error)).lower()
