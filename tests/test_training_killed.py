"""A training killed at any moment: the file opens, and resumed it ends as if nothing had been."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from interrupted import assert_same_training

from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.train import running_path
from aetool.training.state import read_document

EPOCHS = 15
# The draws of a latent, of an augmentation and of an order all have to go on where they were.
OPTIONS = [
    *("--model", "conv-vae", "--set", "widths=2,", "--only", "7", "--batch-size", "64"),
    *("--epochs", str(EPOCHS), "--augment", "shift", "--precision", "float32", "--resume"),
]


def words(output: Path) -> list[str]:
    return ["train", "sklearn:digits", "-o", str(output), *OPTIONS]


@pytest.fixture(scope="module")
def undisturbed(aetool, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "m.h5"
    assert aetool(*words(output)).status == 0
    return output


def signalled(output: Path, number: int, saves: int, delay: float) -> tuple[int, str]:
    """Train in a process of its own, and send it a signal: (status, standard error).

    That comes `delay` seconds after more than `saves` saves were seen; some are too short for that.
    """
    command = ["timeout", "300", sys.executable, "-m", "aetool", *words(output)]
    if number == signal.SIGKILL:
        command = command[2:]  # it would kill `timeout`, not what that runs
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        seen = None
        while saves >= 0 and process.poll() is None:
            now = modified(running_path(output))
            saves -= now != seen
            seen = now
            time.sleep(0.001)
        time.sleep(delay)
        process.send_signal(number)
        _, talk = process.communicate()
    return process.returncode, talk


def modified(path: Path) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return None


def kill_and_resume(aetool, output: Path, undisturbed: Path, moment: random.Random) -> None:
    saves, delay = moment.randrange(EPOCHS), moment.uniform(0, 0.1)
    status, _ = signalled(output, signal.SIGKILL, saves, delay)
    assert status in (-signal.SIGKILL, 0)
    kept = read_document(read_checkpoint(running_path(output)).training)
    assert kept["step"] == 0
    resumed = aetool(*words(output))
    assert resumed.status == 0
    assert_same_training(undisturbed, output)
    # What the dead process was writing is gone, its lock too.
    assert sorted(os.listdir(output.parent)) == ["m.h5", "m.h5.train"]


@pytest.mark.parametrize("moment", range(3))
def test_killed_and_resumed_equals_undisturbed(aetool, tmp_path, undisturbed, moment):
    kill_and_resume(aetool, tmp_path / "m.h5", undisturbed, random.Random(moment))


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(50))
def test_killed_at_any_moment_and_resumed_equals_undisturbed(aetool, tmp_path, undisturbed, moment):
    kill_and_resume(aetool, tmp_path / "m.h5", undisturbed, random.Random(1000 + moment))


def test_terminated_and_resumed_equals_undisturbed(aetool, tmp_path, undisturbed):
    output = tmp_path / "m.h5"
    status, talk = signalled(output, signal.SIGTERM, 2, 0.02)  # long before the end
    assert status == 128 + signal.SIGTERM
    stopped, hint = talk.splitlines()[-2:]
    assert stopped.startswith(("aetool: error: stopped in epoch ", "aetool: error: stopped after "))
    assert stopped.endswith(f" of {EPOCHS}; saved in {output}.train")
    assert hint == "hint: the same command with --resume goes on from there"
    assert not output.exists()
    assert aetool(*words(output)).status == 0
    assert_same_training(undisturbed, output)
