"""The table and the events of a training, whole however often it was interrupted."""

import struct

import numpy as np
import pytest
from interrupted import train_in_pieces
from tensorflow.core.util.event_pb2 import Event

from aetool.storage.checkpoint import read_checkpoint
from aetool.storage.tables import read_table
from aetool.tasks import training_run
from aetool.tasks.plan import make_plan
from aetool.tasks.train import train_model


def tiny(**options):
    given = {"epochs": 4, "batch_size": 512, "precision": "float32", "arguments": {"widths": (2,)}}
    return make_plan(**({"model": "conv-ae"} | given | options))


def columns(path) -> dict[str, list[str]]:
    header, rows = read_table(path)
    return dict(zip(header, zip(*rows, strict=True), strict=True))


def events(folder) -> list[list[Event]]:
    """Those of each file, the oldest first."""
    files = []
    for path in sorted(folder.iterdir()):
        data, read = path.read_bytes(), []
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            read.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
        files.append(read)
    return files


def test_the_table_says_what_the_model_remembers(tmp_path):
    log = tmp_path / "logs" / "epochs.csv"
    plan = tiny(schedule="cosine")
    train_model("sklearn:digits", tmp_path / "m.h5", plan, log=log)
    table = columns(log)
    assert list(table) == ["epoch", "learning_rate", "seconds", "loss", "val_loss"]
    assert table["epoch"] == ("1", "2", "3", "4")
    history = read_checkpoint(tmp_path / "m.h5").arrays
    for name in ("loss", "val_loss"):
        np.testing.assert_array_equal(
            np.float32(table[name]), np.float32(history[f"history/{name}"])
        )
    rates = [float(text) for text in table["learning_rate"]]
    assert rates == sorted(rates, reverse=True) and all(0 < rate < 1e-3 for rate in rates)
    assert all(0 < float(text) < 600 for text in table["seconds"])


def test_interruptions_leave_no_trace_in_table_or_events(tmp_path):
    given = {"log": tmp_path / "log.csv", "tensorboard": tmp_path / "events"}
    train_in_pieces("sklearn:digits", tmp_path / "m.h5", tiny(), 6, 3, **given)
    table = columns(tmp_path / "log.csv")
    assert table["epoch"] == ("1", "2", "3", "4")
    for run, name in (("train", "loss"), ("validation", "val_loss")):
        files = events(tmp_path / "events" / run)
        assert len(files) == 3
        for version, start, *_ in files:
            assert version.file_version == "brain.Event:2"
            assert start.session_log.status == start.session_log.START and start.step == 0
        *_, last = files
        assert [event.step for event in last[2:]] == [1, 2, 3, 4]
        points = [{v.tag: v.simple_value for v in event.summary.value} for event in last[2:]]
        losses = np.float32([point["loss"] for point in points])
        np.testing.assert_array_equal(losses, np.float32(table[name]))
        times = [event.wall_time for event in last[2:]]
        assert times == sorted(times)
        # An earlier session's epochs are told again as they were.
        assert files[0][2] == last[2]
    assert set(points[0]) == {"loss"}


def test_the_stages_of_a_greedy_training_share_their_columns(tmp_path):
    plan = tiny(
        model="stacked-ae", arguments={"widths": (2, 2), "kernels": (3, 3)}, stages=(1, 2),
        epochs=1, only=("1",), learning_rate=0.5, stage_rates=(0.1, 0.2),
    )  # fmt: skip
    train_model("sklearn:digits", tmp_path / "m.h5", plan, log=tmp_path / "log.csv")
    table = columns(tmp_path / "log.csv")
    assert list(table) == ["epoch", "stage", "learning_rate", "seconds", "loss", "val_loss"]
    assert table["stage"] == ("1", "2", "2", "0")
    assert table["learning_rate"] == ("0.1", "0.2", "0.2", "0.5")
    history = read_checkpoint(tmp_path / "m.h5").arrays
    losses = [*history["history/stage1_loss"], *history["history/stage2_loss"]]
    np.testing.assert_array_equal(np.float32(table["loss"][:3]), np.float32(losses))


def test_tensorboard_reads_the_events(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    given = {"tensorboard": tmp_path / "events"}
    train_in_pieces("sklearn:digits", tmp_path / "m.h5", tiny(), 6, **given)
    run = accumulator.EventAccumulator(str(tmp_path / "events" / "train")).Reload()
    assert run.Tags()["scalars"] == ["learning_rate", "seconds", "loss"]
    assert [point.step for point in run.Scalars("loss")] == [1, 2, 3, 4]


def test_who_has_no_tensorboard_is_told_what_to_install(tmp_path, aetool, monkeypatch):
    monkeypatch.setattr(training_run, "find_spec", lambda name: None)
    words = ("train", "sklearn:digits", "-o", tmp_path / "m.h5", "--epochs", 1, "--only", "1")
    done = aetool(*words, "--tensorboard", tmp_path / "events")
    assert done.status == 0
    (line,) = (line for line in done.stderr.splitlines() if "pip install" in line)
    assert line == (
        f"to look at {tmp_path}/events: pip install 'aetool[tensorboard]', "
        f"then tensorboard --logdir {tmp_path}/events"
    )
    assert len(list((tmp_path / "events" / "train").iterdir())) == 1


def test_what_cannot_be_written_is_one_line(tmp_path, aetool):
    (tmp_path / "file").touch()
    for option in ("--log", "--tensorboard"):
        output = tmp_path / f"{option}.h5"
        words = ("train", "sklearn:digits", "-o", output, "--epochs", 1, "--only", "1", "-q")
        done = aetool(*words, option, tmp_path / "file" / "below")
        assert done.status == 1
        message, hint = done.stderr.splitlines()
        assert message.startswith(f"aetool: error: cannot write {tmp_path}/file/below")
        assert hint.endswith("the same command with --resume goes on")
