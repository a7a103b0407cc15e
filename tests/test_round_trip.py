"""Every family by its own regime: train, save, open in Keras, encode, and do what it learnt."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from aetool.inference.engine import Engine
from aetool.inference.load import load_model
from aetool.models.specs import FAMILIES
from aetool.storage.checkpoint import read_checkpoint
from aetool.storage.latents import open_latents

# The command line of a small model of each family.
SMALL = {
    "conv-ae": ["--set", "widths=4,2"],
    "unet": ["--set", "widths=4,6", "--set", "middle=8", "--skips", "1"],
    "conv-vae": ["--set", "widths=4,2", "--latent-dim", "3"],
    "unet-small": ["--set", "bottleneck=5", "--skips", "all"],
    "vgg-classifier-ae": [
        "--set", "widths=4,6", "--set", "convolutions=2,3", "--set", "rates=0.3,0.4",
        "--set", "dense=8", "--dropout", "2", "--tap", "block2_dropout1",
    ],
    "pix2pix": ["--set", "width=2", "--edges", "--patch", "16", "--dropout", "2,3",
                "--skips", "1,3"],
    "stacked-ae": ["--set", "widths=4,6", "--set", "kernels=5,3", "--stages", "1"],
}  # fmt: skip
SIZES = ("16", "21x13")


@pytest.fixture(scope="module", params=[(f, s) for f in FAMILIES for s in SIZES], ids=str)
def trained(request, aetool, photos, tmp_path_factory):
    """(family, checkpoint), a model that has seen twelve pictures."""
    family, size = request.param
    path = tmp_path_factory.mktemp("models") / "m.h5"
    done = aetool(
        "train", photos, "-o", path, "--model", family, "--size", size, "--epochs", 1,
        "--batch-size", 4, "--precision", "float32", "--json", *SMALL[family],
    )  # fmt: skip
    assert done.status == 0, done.stderr
    assert done.json["epochs"] == (3 if family == "stacked-ae" else 1)
    return family, path


def test_keras_predicts_what_aetool_predicts(trained):
    family, path = trained
    loaded = load_model(path)
    height, width = loaded.size
    low, high = loaded.preprocessing["range"]
    assert (low, high) == FAMILIES[family].range
    channels = loaded.preprocessing["channels"]
    x = np.random.default_rng(0).uniform(low, high, (3, height, width, channels)).astype("f4")
    engine = Engine(loaded.model, precision="float32")
    ours = engine.predict(x)
    assert not engine._graph.captured_inputs  # every weight is a constant, so that it can be folded
    theirs = keras.models.load_model(path, compile=False)(x, training=False)
    theirs = theirs if isinstance(theirs, dict) else {"reconstruction": theirs}
    assert set(ours) == set(theirs) == {o["name"] for o in loaded.checkpoint.metadata["output"]}
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], np.asarray(values), atol=2e-5, err_msg=name)


def test_pictures_are_encoded(trained, aetool, photos, tmp_path):
    _, path = trained
    done = aetool("encode", photos, "-c", path, "-o", tmp_path / "l.h5", "--json")
    assert done.status == 0, done.stderr
    loaded = load_model(path, encode=True)
    with open_latents(tmp_path / "l.h5") as latents:
        assert latents.features.shape == (12, np.prod(loaded.model.output_shape[1:]))
        assert np.asarray(latents.features[:]).std() > 0


def test_pictures_come_back_as_the_task_says(trained, aetool, photos, tmp_path):
    family, path = trained
    task = FAMILIES[family].tasks[0]
    if task == "translate":
        words = ["translate", photos, tmp_path / "out", "-c", path, "--edges"]
    else:
        words = ["reconstruct", photos, tmp_path / "out", "-c", path]
    done = aetool(*words, "--json")
    assert done.status == 0, done.stderr
    assert json.loads(done.text)["written"] == 12
    with Image.open(tmp_path / "out" / "sky" / "sky 0.jpg") as picture:
        assert picture.size == (64, 48) and picture.mode == "RGB"


def test_pictures_are_classified_by_a_classifier(trained, aetool, photos, tmp_path):
    family, path = trained
    done = aetool("classify", photos, "-c", path, "-o", tmp_path / "t.csv", "--json")
    if FAMILIES[family].tasks[0] != "classify":
        assert done.status == 1
        return
    assert done.status == 0, done.stderr
    assert read_checkpoint(path).metadata["classes"] == ["sky", "stripes"]
    assert 0 <= done.json["accuracy"] <= 1
