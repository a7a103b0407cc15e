"""`aetool info`: what a file says about itself, counted and printed."""

import numpy as np
import pytest

from aetool.models.specs import FAMILIES
from aetool.storage.checkpoint import Checkpoint, write_checkpoint
from aetool.storage.latents import LatentsWriter
from aetool.tasks.recipes import recipe_names

METADATA = {
    "model": {"name": "conv-ae", "widths": [16, 8, 8]},
    "task": "reconstruct",
    "preprocessing": {"size": [28, 28], "channels": 1, "fit": "stretch"},
    "output": {"reconstruction": {"range": [0, 1]}},
    "classes": ["cat", "dog\n"],
    "training": {"recipe": None, "seed": 0, "epochs": 3},
    "metrics": {"loss": 0.25, "val_loss": 12345.678},
    "calibration": {"threshold": 0.5, "precision": "float32"},
}
WEIGHTS = {
    "conv": {"conv/kernel": np.zeros((3, 3, 1, 4)), "conv/bias": np.zeros(4)},
    "norm": {
        "norm/gamma": np.ones(4),
        "norm/beta": np.zeros(4),
        "norm/moving_mean": np.zeros(4),
        "norm/moving_variance": np.ones(4),
    },
}
CHECKPOINT_KEYS = [
    "format",
    "model",
    "task",
    "parameters",
    "non_trainable_parameters",
    "preprocessing",
    "classes",
    "training",
    "metrics",
    "calibration",
    "command",
]


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "model.h5"
    write_checkpoint(path, Checkpoint(METADATA, "{}", WEIGHTS))
    return path


@pytest.fixture
def latents(tmp_path):
    path = tmp_path / "latents.h5"
    settings = {"source": "/pictures", "class_names": ("a", "b"), "checkpoint_digest": "f" * 64}
    with LatentsWriter(path, dimensions=6, feature_shape=(1, 2, 3), **settings) as writer:
        features = np.zeros((4, 6), np.float32)
        writer.append(features, [0, 1, 2, 4], list("pqrs"), [0, 0, 1, 1])
    return path


def test_a_checkpoint_in_json(aetool, checkpoint):
    done = aetool("info", checkpoint, "--json")
    assert (done.status, done.stderr) == (0, "")
    assert list(done.json) == CHECKPOINT_KEYS
    assert done.json["parameters"] == 36 + 4 + 16
    assert done.json["non_trainable_parameters"] == 8
    assert done.json["format"] == 1
    for key in ("model", "task", "preprocessing", "classes", "training", "metrics", "calibration"):
        assert done.json[key] == METADATA[key]


def test_a_checkpoint_for_people(aetool, checkpoint):
    lines = aetool("info", checkpoint).text.splitlines()
    assert "parameters                  56" in lines
    assert "  widths                    16, 8, 8" in lines
    assert "  val_loss                  12345.7" in lines
    assert "  recipe                    -" in lines
    assert "classes                     cat, dog\\n" in lines


def test_latents(aetool, latents):
    assert aetool("info", latents, "--json").json == {
        "rows": 4,
        "dimensions": 6,
        "feature_shape": [1, 2, 3],
        "classes": ["a", "b"],
        "checkpoint": "f" * 64,
    }
    assert "feature_shape               1, 2, 3\n" in aetool("info", latents).text


def test_without_a_file_the_models_and_recipes(aetool):
    listed = aetool("info", "--json").json
    assert list(listed["models"]) == list(FAMILIES)
    assert list(listed["recipes"]) == recipe_names()
    text = aetool("info").text
    assert all(name in text for name in [*FAMILIES, *recipe_names()])


@pytest.mark.parametrize("damage", ["truncated", "foreign", "changed", "missing", "folder"])
def test_a_file_that_is_no_file_of_ours_is_one_line(aetool, checkpoint, damage):
    whole = checkpoint.read_bytes()
    if damage == "truncated":
        checkpoint.write_bytes(whole[:-100])
    elif damage == "foreign":
        checkpoint.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    elif damage == "changed":
        checkpoint.write_bytes(whole[:-100] + b"?" + whole[-99:])
    else:
        checkpoint.unlink()
        if damage == "folder":
            checkpoint.mkdir()
    done = aetool("info", checkpoint)
    assert (done.status, done.text) == (1, "")
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == ["aetool", "hint"]


def test_a_trained_model_counts_as_published(aetool, digits_model):
    info = aetool("info", digits_model, "--json").json
    assert info["model"]["name"] == "conv-ae"
    assert (info["parameters"], info["non_trainable_parameters"]) == (4385, 0)
