"""What can happen to a training run: nothing of it costs more than the epoch it was in."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from interrupted import assert_same_training

from aetool.errors import AetoolError, Interrupted, OutputError, TrainingError
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.plan import make_plan
from aetool.tasks.train import Listeners, running_path, train_model
from aetool.training.state import read_document


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file grows beyond 2,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def plan(**options):
    given = {"epochs": 4, "batch_size": 512, "precision": "float32", "arguments": {"widths": (2,)}}
    return make_plan(model="conv-ae", **(given | options))


def train(output: Path, *, after: dict[int, Callable] | None = None, **options):
    """Train on digits; after each epoch that `after` names, something happens."""
    happenings = after or {}

    def epoch(number, epochs, means):
        happenings.get(number, lambda: None)()

    keywords = {k: options.pop(k) for k in ("resume", "overwrite", "init") if k in options}
    listeners = Listeners(epoch=epoch, note=notes.append)
    notes.clear()
    return train_model("sklearn:digits", output, plan(**options), listeners=listeners, **keywords)


notes: list[str] = []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("undisturbed") / "m.h5"
    train(path)
    return path


def epochs_kept(output: Path) -> int:
    """Those that MODEL.h5.train, which opens, holds."""
    return read_document(read_checkpoint(running_path(output)).training)["epoch"]


def assert_one_line(error: AetoolError) -> None:
    assert "\n" not in error.message and "\n" not in error.hint


def test_a_disk_that_fills_up_costs_one_epoch(tmp_path, undisturbed):
    output = tmp_path / "m.h5"
    with contextlib.ExitStack() as stack, pytest.raises(OutputError) as caught:
        train(output, after={2: lambda: stack.enter_context(full_disk())})
    assert_one_line(caught.value)
    assert caught.value.message == f"cannot write {output}.train: file too large"
    assert caught.value.hint.startswith(f"{output}.train holds the end of epoch 2; when that is")
    assert os.listdir(tmp_path) == ["m.h5.train"] and epochs_kept(output) == 2
    train(output, resume=True)
    assert_same_training(undisturbed, output)


def test_a_disk_that_is_full_at_the_end_costs_nothing(tmp_path, undisturbed):
    output = tmp_path / "m.h5"
    with contextlib.ExitStack() as stack, pytest.raises(OutputError) as caught:
        train(output, after={4: lambda: stack.enter_context(full_disk())})
    assert caught.value.message == f"cannot write {output}: file too large"
    assert f"{output}.train holds the end of epoch 4" in caught.value.hint
    assert os.listdir(tmp_path) == ["m.h5.train"]
    train(output, resume=True)
    assert_same_training(undisturbed, output)


def test_a_disk_that_is_full_from_the_beginning_is_one_line(tmp_path, aetool):
    output = tmp_path / "m.h5"
    with full_disk():
        done = aetool("train", "sklearn:digits", "-o", output, "--epochs", 1, "-q")
    assert (done.status, done.text) == (1, "")
    assert done.stderr.splitlines() == [
        f"aetool: error: cannot write {output}.train: file too large",
        "hint: make room, or name another output",
    ]
    assert not os.listdir(tmp_path)


def test_a_preview_that_finds_no_room_loses_no_epoch(tmp_path):
    output = tmp_path / "m.h5"
    with contextlib.ExitStack() as stack, pytest.raises(OutputError, match=r"epoch-0001\.png"):
        train_model(
            "sklearn:digits", output, plan(), preview=tmp_path / "preview",
            listeners=Listeners(epoch=lambda *_: stack.enter_context(full_disk())),
        )  # fmt: skip
    assert epochs_kept(output) == 1
    train_model("sklearn:digits", output, plan(), preview=tmp_path / "preview", resume=True)
    names = sorted(path.name for path in (tmp_path / "preview").glob("*.png"))
    assert names == [f"epoch-000{n}.png" for n in range(5)]


def test_a_folder_that_vanishes_is_made_again(tmp_path, undisturbed):
    output = tmp_path / "runs" / "m.h5"
    train(output, after={2: lambda: shutil.rmtree(output.parent)})
    assert notes == [f"{output}.train has vanished; it is written anew"]
    assert_same_training(undisturbed, output)


def test_a_folder_that_moves_to_where_nothing_can_be_written_keeps_its_epochs(
    tmp_path, undisturbed
):
    output, moved = tmp_path / "runs" / "m.h5", tmp_path / "moved"

    def move():
        output.parent.rename(moved)
        output.parent.write_text("in the way")

    with pytest.raises(OutputError, match=r"cannot write .*: (file exists|not a dir)") as caught:
        train(output, after={2: move})
    assert_one_line(caught.value)
    train(moved / "m.h5", resume=True)
    assert_same_training(undisturbed, moved / "m.h5")


def test_a_loss_that_is_no_number_leaves_the_epoch_before(tmp_path):
    """Learning from noughts, then with a rate beyond all bounds."""
    output = tmp_path / "m.h5"
    train(output, epochs=2, optimizer="sgd")
    with pytest.raises(TrainingError, match="the loss is nan in epoch 1, step 2") as caught:
        train(tmp_path / "n.h5", loss="mse", optimizer="sgd", learning_rate=1e38, init=output)
    assert_one_line(caught.value)
    assert caught.value.hint.startswith(f"{tmp_path}/n.h5.train holds the beginning; a lower --lea")
    assert not (tmp_path / "n.h5").exists()
    kept = read_checkpoint(running_path(tmp_path / "n.h5"))
    for layer, variables in read_checkpoint(output).weights.items():
        for name, array in variables.items():
            np.testing.assert_array_equal(kept.weights[layer][name], array)
    # What the hint says works, even where it replaces the file that it starts from.
    init = running_path(tmp_path / "n.h5")
    assert train(tmp_path / "n.h5", epochs=1, init=init, overwrite=True).epochs == 1


def test_weights_that_the_last_step_spoilt_are_not_saved(tmp_path):
    """One step an epoch: its loss is still a number, the weights behind it are not."""
    output = tmp_path / "m.h5"
    spoilt = {"learning_rate": 1e38, "optimizer": "sgd", "batch_size": 2000, "validation": "0"}
    with pytest.raises(TrainingError, match="weights are no longer numbers after epoch 1"):
        train(output, loss="mse-sum", **spoilt)
    assert epochs_kept(output) == 0
    # Not after the validation: a signal that ends that saves them.
    with pytest.raises(TrainingError, match="weights are no longer numbers after epoch 1"):
        train(tmp_path / "n.h5", loss="mse-sum", **(spoilt | {"validation": "0.1"}))


def test_a_model_of_an_earlier_training_is_not_taken_for_the_new_one(tmp_path):
    """Killed between the last save and the model: --resume has still the model to write."""
    output = tmp_path / "m.h5"
    train(output, epochs=1)
    before = output.read_bytes()
    with contextlib.ExitStack() as stack, pytest.raises(OutputError):
        train(output, resume=True, epochs=2, after={2: lambda: stack.enter_context(full_disk())})
    assert output.read_bytes() == before and epochs_kept(output) == 2
    assert train(output, resume=True, epochs=2).read > 0
    assert read_checkpoint(output).metadata["training"]["epochs_done"] == 2
    assert train(output, resume=True, epochs=2).read == 0


def test_a_training_does_not_end_before_the_step_it_is_at(tmp_path):
    """Fewer epochs than were begun: the weights at their end are no longer there."""
    output = tmp_path / "m.h5"
    train(output, epochs=1)
    before = output.read_bytes()
    steps = len(range(0, round(1797 * 0.9), plan().settings.batch_size))

    def halfway(done, _):
        if done == steps + 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train_model(
            "sklearn:digits", output, plan(epochs=3), resume=True,
            listeners=Listeners(step=halfway),
        )  # fmt: skip
    assert epochs_kept(output) == 1
    # The model of one epoch is there, and it is that training's.
    assert train(output, resume=True, epochs=1).seconds == 0
    assert output.read_bytes() == before
    output.unlink()
    with pytest.raises(TrainingError, match="in the middle of epoch 2, past the end of 1"):
        train(output, resume=True, epochs=1)
    assert not output.exists()
    assert train(output, resume=True, epochs=2).epochs == 2


def test_a_training_cut_short_between_epochs_is_finished_once(tmp_path):
    output = tmp_path / "m.h5"
    with contextlib.ExitStack() as stack, pytest.raises(OutputError):
        train(output, epochs=3, after={2: lambda: stack.enter_context(full_disk())})
    assert epochs_kept(output) == 2
    assert train(output, resume=True, epochs=2).read > 0
    stamp = output.stat().st_mtime_ns
    assert train(output, resume=True, epochs=2).read == 0
    assert output.stat().st_mtime_ns == stamp


HOLD = """
import sys, time
from pathlib import Path
from aetool.storage.atomic import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_runs_on_one_output_refuse_each_other(tmp_path, aetool):
    output = tmp_path / "m.h5"
    command = ("train", "sklearn:digits", "-o", output, "--epochs", 0, "-q", "--resume")
    with subprocess.Popen([sys.executable, "-c", HOLD, output], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"held\n"
            refused = aetool(*command)
        finally:
            other.kill()
    assert refused.status == 1
    assert refused.stderr.splitlines() == [
        f"aetool: error: {output} is being written by another run",
        "hint: wait for it to end, or choose another output",
    ]
    assert not output.exists() and not running_path(output).exists()
    assert (tmp_path / ".m.h5.lock").exists()  # the dead process left it, but holds nothing
    assert aetool(*command).status == 0 and output.exists()
