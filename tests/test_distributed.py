"""Processes that train together: the curves of one, whoever dies on the way."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import pytest

from aetool.errors import UsageError
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.train import running_path
from aetool.training.distributed import Team
from aetool.training.joint import categorical_crossentropy
from aetool.training.losses import PerPicture
from aetool.training.regime import means
from aetool.training.team import Seat, seat

COMMON = ["sklearn:digits", "--batch-size", "100", "--precision", "float32", "--seed", "3", "-q"]
PIX2PIX = ["--model", "pix2pix", "--set", "width=2", "--edges", "--size", "16", "--patch", "7",
           "--loss", "mae"]  # fmt: skip
MODELS = {
    "conv-ae": ["--model", "conv-ae"],
    # Batch normalisation, gradients shortened and accumulated.
    "unet": ["--model", "unet", "--set", "widths=4,8", "--set", "middle=16", "--clip-norm", "0.05",
             "--accumulate", "2"],
    # Random draws.
    "conv-vae": ["--model", "conv-vae", "--set", "widths=4,4,4"],
    # Two losses, measures of their own, dropout, batch normalisation.
    "vgg-classifier-ae": ["--model", "vgg-classifier-ae", "--set", "widths=4,8", "--set", "dense=8",
                          "--set", "convolutions=1,1", "--set", "rates=0.2,0.2"],
    # Two networks, each with an optimizer: with momentum, and with Adam at the paper's rate.
    "pix2pix": [*PIX2PIX, "--optimizer", "sgd:momentum=0.9", "--learning-rate", "0.0002"],
    "pix2pix by Adam": [*PIX2PIX, "--optimizer", "adam:beta_1=0.5", "--learning-rate", "0.0002"],
    # Stages and a penalty of the weights.
    "stacked-ae": ["--model", "stacked-ae", "--set", "widths=2,4", "--set", "kernels=3,3",
                   "--stages", "1"],
}  # fmt: skip


@contextmanager
def together(output, words, *, seats=2, each=((), ())) -> Iterator[list[subprocess.Popen]]:
    """Processes that train one model, by the real command; killed in the end.

    `each` has words for one of them alone.
    """
    sockets = [socket.socket() for _ in range(seats)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    workers = ["{}:{}".format(*one.getsockname()) for one in sockets]
    for one in sockets:
        one.close()
    processes = []
    for rank in range(seats):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
        environment = {**os.environ, **({"TF_CONFIG": json.dumps(task)} if seats > 1 else {})}
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # set here, it would leave the chatter in
        command = [sys.executable, "-m", "aetool", "train", *COMMON, *words, *each[rank]]
        processes.append(
            subprocess.Popen(
                [*command, "-o", output], env=environment, stderr=subprocess.PIPE, text=True
            )
        )
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


def finish(processes):
    """(exit statuses, what each said)."""
    said = [process.communicate(timeout=900)[1] for process in processes]
    return [process.returncode for process in processes], said


def train(output, words, *, seats=1):
    with together(output, words, seats=seats) as processes:
        statuses, said = finish(processes)
    assert statuses == [0] * seats, said
    assert said == [""] * seats
    return history(output)


def history(path):
    arrays = read_checkpoint(path).arrays
    return {name: values for name, values in arrays.items() if name.startswith("history/")}


def largest_difference(one, other):
    assert list(one) == list(other)
    # A weighted sum of terms may be large: its difference counts as a share of it.
    return max(float(np.abs(a - other[name]).max() / max(1, a.max())) for name, a in one.items())


# What a team does with a batch, in one process.


@pytest.fixture
def team():
    """Of one, which needs no addresses."""
    return Team(Seat())


def network() -> keras.Model:
    """With all that looks beyond one picture: statistics of the batch, draws, a penalty."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(8, kernel_regularizer="l2"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", loss=PerPicture(categorical_crossentropy), metrics=["accuracy"])
    return model


def test_steps_are_those_of_keras(team):
    random = np.random.default_rng(0)
    alone, shared = network(), network()
    together = team.share(shared)
    for count in (8, 8, 5):
        x = random.normal(3, 1, (count, 4)).astype(np.float32)
        y = np.eye(3, dtype=np.float32)[random.integers(0, 3, count)]
        expected = alone.train_on_batch(x, y, return_dict=True)
        found = together.train_on_batch(x, y, return_dict=True)
        assert {name: float(value) for name, value in found.items()} == pytest.approx(expected)
    assert means(together.test_on_batch(x, y, return_dict=True)) == pytest.approx(
        means(alone.test_on_batch(x, y, return_dict=True)), rel=1e-4
    )
    for one, other in zip(alone.weights, shared.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-5)


@pytest.mark.parametrize(("count", "rows"), [(6, slice(1, None, 2)), (5, slice(None))])
def test_draws_are_rows_of_those_for_the_whole_batch(team, count, rows):
    x = np.ones((count, 3), np.float32)
    expected = keras.layers.Dropout(0.5, seed=1)(x, training=True).numpy()
    layer = keras.layers.Dropout(0.5, seed=1)
    team.seat = Seat(1, 2)
    team.prepare(layer)
    np.testing.assert_array_equal(layer(team.own(x), training=True).numpy(), expected[rows])


# Two processes.


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_family_learns_as_one(name, tmp_path):
    words = [*MODELS[name], "--epochs", "3"]
    alone = train(tmp_path / "alone.h5", words)
    both = train(tmp_path / "both.h5", words, seats=2)
    difference = largest_difference(alone, both)
    print(f"{name}: {difference:.2e}")
    assert difference < 1e-4
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"alone.h5", "alone.h5.train", "both.h5", "both.h5.train"}


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_training_goes_on_after_a_death(tmp_path, victim):
    words = [*MODELS["unet"], "--epochs", "3"]
    train(tmp_path / "whole.h5", words, seats=2)
    path = tmp_path / "model.h5"
    with together(path, words) as processes:
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            time.sleep(0.05)
            running = running_path(path)
            if running.exists() and read_checkpoint(running).metadata["training"]["epochs_done"]:
                break
        os.kill(processes[victim].pid, signal.SIGKILL)
        statuses, said = finish(processes)
    assert statuses[victim] == -signal.SIGKILL and statuses[1 - victim] == 1
    assert said[1 - victim].startswith("aetool: error: another process of this training was lost")
    assert not path.exists()
    train(path, [*words, "--resume"], seats=2)
    one, other = (read_checkpoint(tmp_path / name) for name in ("whole.h5", "model.h5"))
    assert largest_difference(one.arrays, other.arrays) == 0
    for layer, arrays in one.weights.items():
        for variable, values in arrays.items():
            np.testing.assert_array_equal(values, other.weights[layer][variable])


@pytest.mark.slow
def test_a_signal_to_one_stops_all_after_the_same_step(tmp_path):
    words = [*MODELS["conv-vae"], "--epochs", "2"]
    expected = train(tmp_path / "whole.h5", words)
    path = tmp_path / "model.h5"
    with together(path, words) as processes:
        while not running_path(path).exists():
            assert all(process.poll() is None for process in processes)
            time.sleep(0.05)
        processes[1].send_signal(signal.SIGTERM)
        statuses, said = finish(processes)
    assert statuses == [143, 143], said
    resumed = train(path, [*words, "--resume"])  # by one: it does not matter how many go on
    assert largest_difference(expected, resumed) < 1e-4


@pytest.mark.slow
def test_processes_that_were_given_different_things_say_so(tmp_path):
    seeds = (["--seed", "1"], ["--seed", "2"])
    with together(tmp_path / "model.h5", MODELS["conv-ae"], each=seeds) as processes:
        statuses, said = finish(processes)
    assert statuses == [1, 1]
    for text in said:
        assert text.startswith("aetool: error: the processes of this training differ in their")
        assert "Traceback" not in text


# What TF_CONFIG says.


def described(**changes):
    document = {
        "cluster": {"worker": ["a:1", "b:1"]},
        "task": {"type": "worker", "index": 1},
    }
    return json.dumps({**document, **changes})


def test_a_seat_is_what_the_variable_says(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert seat() == Seat() and not seat().together and seat().part == ""
    monkeypatch.setenv("TF_CONFIG", described())
    assert seat() == Seat(1, 2) and seat().part == "2/2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "TF_CONFIG is no description of a cluster"),
        ("[]", "TF_CONFIG is no description of a cluster"),
        ('{"cluster": {"worker": ["a:1"]}}', "TF_CONFIG is no description of a cluster"),
        (described(task={"type": "worker", "index": "x"}), "TF_CONFIG is no description"),
        (described(cluster={"worker": "a:1"}), "TF_CONFIG is no description of a cluster"),
        (
            described(cluster={"worker": ["a:1"], "ps": ["b:1"]}),
            "TF_CONFIG names others than workers",
        ),
        (described(task={"type": "chief", "index": 0}), "TF_CONFIG names others than workers"),
        (described(task={"type": "worker", "index": 2}), "TF_CONFIG has 2 workers"),
    ],
)
def test_a_variable_that_makes_no_sense_is_one_line(text, message, aetool, monkeypatch, tmp_path):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match=message):
        seat()
    done = aetool("train", "sklearn:digits", "-o", tmp_path / "model.h5")
    assert done.status == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith(f"aetool: error: {message}")


def test_a_batch_that_cannot_be_shared_out_is_refused(aetool, monkeypatch, tmp_path):
    monkeypatch.setenv("TF_CONFIG", described())
    words = ("train", "sklearn:digits", "-o", tmp_path / "model.h5", "--batch-size", "33")
    done = aetool(*words)
    assert done.status == 2 and "--batch-size 33" in done.stderr
    assert "take a multiple of 2" in done.stderr
