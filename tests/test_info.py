"""`aetool info`: what a file says about itself, counted and printed."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_models import SMALL
from untrained import write_untrained

from aetool.inference.load import load_model
from aetool.models.build import encoder
from aetool.models.specs import FAMILIES
from aetool.plots.sparkline import sparkline
from aetool.storage.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from aetool.storage.latents import LatentsWriter
from aetool.tasks.info import layer_names
from aetool.tasks.recipes import recipe_names

METADATA = {
    "model": {"name": "conv-ae", "widths": [16, 8, 8]},
    "task": "reconstruct",
    "preprocessing": {"size": [28, 28], "channels": 1, "fit": "stretch"},
    "output": [{"name": "reconstruction", "range": [0, 1]}],
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
    "fidelity",
    "calibration",
    "command",
    "history",
    "layers",
    "previews",
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


@pytest.mark.parametrize("name", FAMILIES)
def test_the_layers_are_those_of_the_network(aetool, tmp_path, name):
    path = write_untrained(tmp_path / "m.h5", {**SMALL[name], "size": (20, 24)}, "reconstruct")
    told = aetool("info", path, "--json").json["layers"]
    model = load_model(path).model
    assert layer_names(path) == [layer["name"] for layer in told]
    assert [layer["name"] for layer in told] == [layer.name for layer in model.layers]
    assert [layer["type"] for layer in told] == [type(layer).__name__ for layer in model.layers]
    assert [layer["parameters"] for layer in told] == [x.count_params() for x in model.layers]
    assert [tuple(layer["shape"]) for layer in told] == [x.output.shape[1:] for x in model.layers]


@pytest.mark.parametrize("name", ["conv-ae", "stacked-ae", "unet"])
def test_a_value_sees_its_receptive_field_and_no_more(aetool, tmp_path, name):
    """A change of one pixel reaches a value of the latent layer from inside its field only."""
    path = write_untrained(tmp_path / "m.h5", {**SMALL[name], "size": (48, 48)}, "reconstruct")
    family = FAMILIES[name]
    told = aetool("info", path, "--json").json["layers"]
    field = next(layer["receptive_field"] for layer in told if layer["name"] == family.latent)
    network = encoder(load_model(path).model, family.latent)
    random = np.random.default_rng(0)
    plain = random.random(network.input_shape[1:]).astype(np.float32)
    columns = np.repeat(plain[None], 48, axis=0)  # picture i differs in its column i
    columns[np.arange(48), :, np.arange(48)] += random.uniform(1, 9, (48, 48, plain.shape[-1]))
    before, *outputs = np.asarray(network(np.stack([plain, *columns])))
    middle = before.shape[1] // 2
    change = abs(np.stack(outputs) - before)[:, :, middle].max(axis=(1, 2))
    reached = np.flatnonzero(change > 1e-5 * change.max())
    assert field // 2 < reached[-1] - reached[0] + 1 <= field


@pytest.mark.parametrize("name", ["conv-ae", "stacked-ae", "unet"])
def test_no_value_of_a_decoder_sees_further_than_its_field(aetool, tmp_path, name):
    """Neighbours behind a doubling do not see equally far: the furthest is told."""
    spec = {**SMALL[name], "size": (48, 48)}
    path = write_untrained(tmp_path / "m.h5", spec, "reconstruct")
    told = {x["name"]: x["receptive_field"] for x in aetool("info", path, "--json").json["layers"]}
    model = load_model(path).model
    random = np.random.default_rng(0)
    plain = random.random(model.input_shape[1:]).astype(np.float32)
    columns = np.repeat(plain[None], 48, axis=0)
    columns[np.arange(48), :, np.arange(48)] += random.uniform(1, 9, (48, 48, plain.shape[-1]))
    for layer in ("reconstruction", *(n for n in told if n.startswith(("up", "decoder")))):
        network = encoder(model, layer)
        before, *outputs = np.asarray(network(np.stack([plain, *columns])))
        change = abs(np.stack(outputs) - before).max(axis=(1, 3))  # (columns in, columns out)
        spans = [np.ptp(np.flatnonzero(x)) + 1 for x in (change > 1e-6 * change.max()).T if x.any()]
        assert max(spans) <= told[layer], layer


def test_fields_of_published_decoders_are_those_measured(aetool, tmp_path):
    for spec, fields in (
        ({"name": "stacked-ae"}, {"decoder3_conv": 86, "reconstruction": 102}),
        ({"name": "conv-ae"}, {"decoder1_conv": 54}),
    ):
        path = write_untrained(tmp_path / "m.h5", spec, "reconstruct")
        layers = aetool("info", path, "--json").json["layers"]
        assert fields == {x["name"]: x["receptive_field"] for x in layers if x["name"] in fields}


def test_the_history_is_a_curve_on_a_terminal_only(aetool, digits_model):
    text = aetool("info", digits_model).text
    assert "history\n  loss  " in text and " ... " in text and "▁" not in text
    command = f"{sys.executable} -m aetool info {digits_model}"
    done = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, check=True)
    assert "█▁ " in done.stdout.decode()
    assert max(map(len, done.stdout.decode().splitlines()[-16:])) <= 80


@pytest.fixture
def previewed(tmp_path):
    """A model with a strip of two inputs, red and green, and what became of them."""
    path = tmp_path / "previewed.h5"
    strip = np.zeros((2, 2, 8, 8, 3), np.uint8)
    strip[:, 0, ..., 0] = 255
    strip[0, 1, ..., 1], strip[1, 1, ..., 1] = 200, 100
    write_checkpoint(path, Checkpoint(METADATA, "{}", WEIGHTS, {"previews": strip}))
    return path


def on_a_terminal(words: str, **environment: str) -> str:
    command = ["script", "-qec", f"{sys.executable} -m aetool {words}", "/dev/null"]
    env = {**os.environ, "TERM": "xterm", "COLORTERM": "truecolor", **environment}
    done = subprocess.run(command, env=env, capture_output=True, check=True)
    return done.stdout.decode()


def test_previews_are_shown_on_a_terminal_with_colours_only(aetool, previewed):
    plain = aetool("info", previewed).text
    assert "previews                    2\n" in plain and "▀" not in plain
    shown = on_a_terminal(f"info {previewed}")
    assert "\x1b[38;2;255;0;0;48;2;255;0;0m▀" in shown
    assert "\x1b[38;2;0;200;0;48;2;0;200;0m▀" in shown  # what went in
    assert "\x1b[38;2;0;100;0;48;2;0;100;0m▀" in shown  # what came out
    assert "▀" not in on_a_terminal(f"info {previewed}", NO_COLOR="1")
    assert "▀" not in on_a_terminal(f"info {previewed}", TERM="dumb")
    few = on_a_terminal(f"info {previewed}", COLORTERM="")
    assert "▀" in few and "38;2;" not in few


def test_previews_are_written_as_a_picture(aetool, previewed, tmp_path):
    done = aetool("info", previewed, "--preview", tmp_path / "strip.png", "--json")
    assert done.json["previews"] == 2
    sheet = np.asarray(Image.open(tmp_path / "strip.png").convert("RGB"))
    assert sheet.shape == (204, 204, 3)
    assert sheet[50, 50].tolist() == sheet[150, 50].tolist() == [255, 0, 0]
    assert (sheet[50, 150].tolist(), sheet[150, 150].tolist()) == ([0, 200, 0], [0, 100, 0])


def test_pictures_behind_latents_are_written(aetool, digits_latents, latents, tmp_path):
    assert aetool("info", digits_latents, "--preview", tmp_path / "strip.png").status == 0
    assert Image.open(tmp_path / "strip.png").size == (804, 104)
    moved = aetool("info", latents, "--preview", tmp_path / "none.png")
    assert (moved.status, (tmp_path / "none.png").exists()) == (1, False)
    assert len(moved.stderr.splitlines()) == 2


def test_a_model_without_previews_has_none_to_write(aetool, checkpoint, tmp_path):
    done = aetool("info", checkpoint, "--preview", tmp_path / "none.png")
    assert done.status == 1 and "--preview DIR" in done.stderr
    assert aetool("info", "--preview", tmp_path / "none.png").status == 2


@pytest.mark.parametrize(
    "strip",
    [np.zeros((2, 2, 8, 8, 3)), np.zeros((2, 8, 8, 3), np.uint8), np.zeros((0,) * 5, np.uint8)],
)
def test_a_strip_of_another_kind_is_none(aetool, tmp_path, strip):
    path = tmp_path / "m.h5"
    write_checkpoint(path, Checkpoint(METADATA, "{}", WEIGHTS, {"previews": strip}))
    assert aetool("info", path, "--json").json["previews"] == 0


def test_sparklines():
    assert sparkline([3, 2, 1, 0]) == "█▆▃▁"
    assert sparkline([1.0, float("nan"), 2.0]) == "▁ █"
    assert sparkline([5, 5]) == "▁▁" and sparkline([]) == "" and sparkline([float("inf")]) == " "
    assert sparkline(range(1000), width=8) == "▁▂▃▄▅▆▇█"


@pytest.mark.parametrize("config", ["{}", "[", '{"config": {"layers": [{"name": []}]}}'])
def test_a_configuration_that_keras_never_wrote_shows_no_layers(aetool, tmp_path, config):
    write_checkpoint(tmp_path / "m.h5", Checkpoint(METADATA, config, WEIGHTS))
    done = aetool("info", tmp_path / "m.h5", "--json")
    assert done.status == 0 and done.json["layers"] == []


def test_without_a_file_the_models_and_recipes(aetool):
    listed = aetool("info", "--json").json
    assert list(listed["models"]) == list(FAMILIES)
    assert list(listed["recipes"]) == recipe_names()
    text = aetool("info").text
    assert all(name in text for name in [*FAMILIES, *recipe_names()])


def test_the_list_is_broken_between_words_on_a_terminal_only(aetool):
    shown = on_a_terminal("info", COLUMNS="80").splitlines()
    assert max(map(len, shown)) <= 80 < max(map(len, aetool("info").text.splitlines()))
    assert " ".join(" ".join(shown).split()) == " ".join(aetool("info").text.split())


def test_names_that_the_locale_lacks_come_escaped(checkpoint):
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    checkpoint = checkpoint.rename(checkpoint.with_name("日本.h5"))
    changed = read_checkpoint(checkpoint)
    write_checkpoint(checkpoint, replace(changed, metadata={**METADATA, "classes": ["é日本"]}))
    words = [sys.executable, "-m", "aetool", "info", checkpoint]
    done = subprocess.run(words, env=env, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "é\\u65e5\\u672c\n".encode("latin-1") in done.stdout


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
