"""What became of each epoch, as events for TensorBoard."""

import os
import socket
import time
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework.summary_pb2 import Summary
from tensorflow.core.util.event_pb2 import Event, SessionLog

from aetool.errors import OutputError
from aetool.tasks.training_log import epoch_rows
from aetool.training.settings import Settings
from aetool.training.state import RunState


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
