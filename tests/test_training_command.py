"""The command that `info` prints: understood by the program, and giving the same weights."""

import shlex
from pathlib import Path

import pytest
from interrupted import assert_same_training

from aetool.errors import Interrupted
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks import train as train_task
from aetool.tasks.plan import make_plan
from aetool.tasks.recipes import recipe_names
from aetool.tasks.training_command import training_command


def recorded(plan, source="photos", **more) -> dict:
    return {"source": source, "options": {**plan.options(), "init": None, **more}}


@pytest.fixture
def planned(aetool, monkeypatch):
    """The options under which a command would train, had it been let."""

    def ask(*words: str) -> dict:
        given = {}

        def stop(source, output, plan, **keywords):
            init = keywords["init"]
            given.update(plan.options(), init=str(init) if init else None)
            given.update(source=source, output=str(output))
            raise Interrupted("enough", signal_number=2)

        monkeypatch.setattr(train_task, "train_model", stop)
        done = aetool(*words)
        assert done.status == 130, done.stderr
        return given

    return ask


PLANS = {
    "defaults": {},
    "numbers": {"epochs": 7, "learning_rate": 3e-5, "batch_size": 5, "seed": 9, "patience": 4},
    "words": {"optimizer": "sgd:momentum=0.9", "schedule": "cosine", "loss": "mae", "fit": "pad"},
    "pictures": {"size": (20, 30), "only": ("a b", "-c"), "validation": "d/'e'", "half": True},
    "augmentations": {"recipe": "colorizer", "augment": ()},
    "no half": {"recipe": "colorizer", "half": False, "arguments": {"widths": (4,)}},
    "other model": {"recipe": "mnist-ae", "model": "unet-small", "arguments": {"bottleneck": 0}},
    "skips": {"model": "unet", "task": "colorize", "arguments": {"skips": (1, 3), "middle": 4}},
    "no skips": {"model": "unet", "arguments": {"skips": (), "middle": 32}},
    "strides": {
        "model": "unet", "task": "colorize", "loss": "ab-huber", "arguments": {"output_stride": 2}
    },
    "decay": {"recipe": "colorizer", "weight_decay": 0.02},
    "no decay": {"optimizer": "adamw", "weight_decay": 0.0},
    "all skips": {"recipe": "mnist-unet-small", "arguments": {"skips": None}},
    "latents": {"recipe": "mnist-vae", "arguments": {"latent_dim": 5}},
    "terms": {"model": "conv-vae", "loss_weights": {"divergence": 2}},
    "tap": {"recipe": "cifar10-classifier-ae", "arguments": {"tap": "block4_dropout2"}},
    "smoothing": {"recipe": "cifar10-classifier-ae", "label_smoothing": 0.1},
    "stages": {"recipe": "stacked-ae", "stages": (1, 2, 3, 4), "epochs": 3},
    "recipe without its stages": {"recipe": "stacked-ae", "stages": ()},
    "no stages": {"model": "stacked-ae", "stages": ()},
    "rates": {"model": "stacked-ae", "arguments": {"widths": (2,)}, "stage_rates": (0.5,)},
    "target": {"recipe": "pix2pix-edges", "target": "right"},
    "one term": {"recipe": "pix2pix-edges", "loss_weights": {"reconstruction": 0.5}},
    "edges": {"recipe": "pix2pix-facades", "edges": True, "patch": 16},
    "dropout": {"model": "pix2pix", "edges": True, "arguments": {"dropout": (1, 2)}},
}  # fmt: skip


@pytest.mark.parametrize("options", PLANS.values(), ids=PLANS)
def test_the_command_asks_for_what_was_asked(planned, options):
    plan = make_plan(**{"precision": "float32"} | options)
    command = training_command(recorded(plan, "a source/of 'mine'", init="i.h5"), "my model.h5")
    expected = plan.options() | {"source": "a source/of 'mine'", "output": "my model.h5"}
    assert planned(*shlex.split(command)[1:]) == expected | {"init": "i.h5"}


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_alone_needs_no_other_options(name):
    plan = make_plan(recipe=name, precision="float32")
    assert training_command(recorded(plan), "m.h5") == (
        f"aetool train photos -o m.h5 --recipe {name} --precision float32"
    )


def test_a_file_that_does_not_tell_has_no_command():
    plan = make_plan(precision="float32")
    whole = recorded(plan)
    assert training_command({"options": whole["options"]}, "m.h5") is None
    assert training_command({"source": "x"}, "m.h5") is None
    assert training_command(recorded(plan, recipe="of another release"), "m.h5") is None
    for key, value in (("source", 7), ("options", {**whole["options"], "model": 7})):
        assert training_command({**whole, key: value}, "m.h5") is None
    del whole["options"]["patience"], whole["options"]["half"]  # as an older version wrote it
    assert training_command(whole, "m.h5") == "aetool train photos -o m.h5 --precision float32"


@pytest.mark.parametrize(
    "options",
    [
        "--model conv-vae --set widths=4, --latent-dim 3 --epochs 2 --batch-size 100 --only 3 "
        "--only 4 --augment shift,brightness --optimizer sgd:momentum=0.5 --learning-rate 0.0003 "
        "--schedule cosine --validation 0.25 --seed 12 --loss-weight divergence=0.5 --patience 1",
        "--recipe mnist-ae --init {0} --epochs 1 --size 16 --half --only 7",
        "--model stacked-ae --set widths=2,3 --set kernels=3,3 --stages 1,2 --epochs 1 --only 1 "
        "--stage-rates 0.01,0.001 --size 8",
        # 0 is not what adamw has where nothing is said.
        "--optimizer adamw --weight-decay 0 --learning-rate 0.05 --only 3 --epochs 1",
    ],
    ids=["conv-vae", "mnist-ae", "stacked-ae", "adamw"],
)
def test_the_command_gives_the_same_weights(aetool, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    if "--init" in options:
        size = ("--size", 16, "--epochs", 0, "--seed", 5)
        assert aetool("train", "sklearn:digits", "-o", "first one.h5", *size).status == 0
    words = [word.format("first one.h5") for word in options.split()]
    first = ("train", "sklearn:digits", "-o", "m.h5", "--precision", "float32", *words)
    assert aetool(*first).status == 0
    running = aetool("info", "m.h5.train", "--json").json["command"]
    command = aetool("info", "m.h5", "--json").json["command"]
    assert command == running and command in aetool("info", "m.h5").text
    Path("m.h5").rename("before.h5")
    Path("m.h5.train").unlink()
    done = aetool(*shlex.split(command)[1:])
    assert done.status == 0, done.stderr
    assert_same_training(Path("before.h5"), Path("m.h5"))
    digests = [read_checkpoint(Path(name)).digest for name in ("before.h5", "m.h5")]
    assert digests[0] == digests[1]
