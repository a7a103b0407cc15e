"""What became of each epoch, as a CSV table."""

import re
from collections.abc import Iterator
from pathlib import Path

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
