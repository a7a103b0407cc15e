"""A folder that grows, scored again and again by runs of which some are killed."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from untrained import write_untrained

from aetool.errors import OutputError, UsageError
from aetool.storage.atomic import locked
from aetool.tasks.anomaly import calibrate_model, score_images

ROOT = Path(__file__).parents[1]

# Dies at the second write of rows, all but the end of which it has written.
KILLED = """
import os, signal, sys
from pathlib import Path
from aetool.cli.silence import silence_tensorflow
silence_tensorflow()
from aetool.storage.journal import Journal
from aetool.tasks import watch
from aetool.tasks.anomaly import score_images
watch.BATCH = 4
whole, writes = Journal._write, 0
def torn(self, data):
    global writes
    writes += 1
    if writes == 2:
        os.write(self._file, data[:-7])
        os.kill(os.getpid(), signal.SIGKILL)
    whole(self, data)
Journal._write = torn
score_images(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), append=True)
"""


def picture(path, seed):
    rng = np.random.default_rng(seed)
    pixels = np.uint8(np.clip(rng.normal(120, 10, (12, 12)), 0, 255))
    if seed % 7 == 3:
        pixels[3:7, 3:7] = 255
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    spec = {"name": "conv-ae", "size": (12, 12), "channels": 1, "widths": (2, 2)}
    bare = write_untrained(folder / "bare.h5", spec, "reconstruct")
    rng = np.random.default_rng(1000)
    np.save(folder / "normal.npy", np.uint8(rng.normal(120, 10, (40, 12, 12))))
    calibrate_model(str(folder / "normal.npy"), bare, folder / "m.h5")
    return folder / "m.h5"


def read(table):
    with open(table, newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_picture_once_whatever_kills_the_runs(model, tmp_path):
    parts, table = tmp_path / "parts", tmp_path / "scores.csv"
    parts.mkdir()
    for run in range(10):
        for seed in range(6 * run, 6 * run + 6):
            picture(parts / f"{seed * 37 % 100:03d}.png", seed)
        if run in (1, 4, 8):
            words = [sys.executable, "-c", KILLED, str(parts), str(table), str(model)]
            killed = subprocess.run(words, cwd=ROOT, capture_output=True)
            assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
            assert not table.read_bytes().endswith(b"\n")
        else:
            score_images(str(parts), table, model, append=True)
    score_images(str(parts), tmp_path / "whole.csv", model)
    rows, expected = read(table), read(tmp_path / "whole.csv")
    assert len(rows) == 60 and len({row["path"] for row in rows}) == 60
    columns = ("path", "label", "score", "p_value", "anomaly")
    assert sorted(tuple(row[name] for name in columns) for row in rows) == sorted(
        tuple(row[name] for name in columns) for row in expected
    )
    assert {row["anomaly"] for row in rows} == {"0", "1"}


def test_what_changed_is_scored_again_and_what_did_not_is_not(aetool, model, tmp_path):
    parts, table = tmp_path / "parts", tmp_path / "scores.csv"
    parts.mkdir()
    for seed in range(5):
        picture(parts / f"{seed}.png", seed)
    words = ["anomaly", parts, "-c", model, "-o", table, "--append", "--json"]
    first = aetool(*words).json
    assert (first["written"], first["skipped"]) == (5, 0)
    again = aetool(*words).json
    assert (again["written"], again["skipped"], again["anomalies"]) == (0, 5, 0)
    picture(parts / "2.png", 17)
    os.utime(parts / "4.png", ns=(1, 1))
    assert aetool(*words).json["written"] == 2
    assert [row["path"] for row in read(table)][5:] == ["2.png", "4.png"]
    assert aetool(*words, "--false-alarms", "0.2").json["written"] == 5
    assert aetool(*words).json["written"] == 0


def test_a_run_with_nothing_to_do_builds_no_network(model, tmp_path):
    (tmp_path / "parts").mkdir()
    picture(tmp_path / "parts" / "a.png", 1)
    words = [tmp_path / "parts", tmp_path / "scores.csv", model]
    score_images(str(words[0]), *words[1:], append=True)
    script = (
        "import sys; from pathlib import Path; from aetool.tasks.anomaly import score_images; "
        "r = score_images(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), append=True); "
        "sys.exit(10 * r.skipped + ('tensorflow' in sys.modules) + ('sklearn' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script, *words], cwd=ROOT).returncode == 10


def test_unreadable_pictures_are_tried_again(model, tmp_path):
    parts, table = tmp_path / "parts", tmp_path / "scores.csv"
    parts.mkdir()
    picture(parts / "a.png", 1)
    whole = (parts / "a.png").read_bytes()
    (parts / "a.png").write_bytes(whole[:40])
    half = score_images(str(parts), table, model, append=True)
    assert len(half.failed) == 1 and read(table) == []
    (parts / "a.png").write_bytes(whole)
    assert score_images(str(parts), table, model, append=True).written == 1


def test_overlapping_runs_keep_out_of_each_other(model, tmp_path):
    (tmp_path / "parts").mkdir()
    picture(tmp_path / "parts" / "a.png", 1)
    table = tmp_path / "scores.csv"
    with locked(table), pytest.raises(OutputError, match="another run"):
        score_images(str(tmp_path / "parts"), table, model, append=True)


def test_appending_needs_a_file_to_append_to_and_files_to_look_at(model, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 12, 12), np.uint8))
    with pytest.raises(UsageError, match="table"):
        score_images(str(tmp_path / "x.npy"), None, model, append=True)
    with pytest.raises(UsageError, match="files"):
        score_images(str(tmp_path / "x.npy"), tmp_path / "s.csv", model, append=True)
