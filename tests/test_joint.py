"""The joint regime: weighted terms, accuracy, labels by name, and exact resume."""

import shutil

import keras
import numpy as np
import pytest
from interrupted import assert_same_training, train_in_pieces

from aetool.errors import TrainingError
from aetool.models.build import build_model
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.plan import make_plan
from aetool.tasks.train import train_model
from aetool.training.joint import Joint
from aetool.training.losses import mse
from aetool.training.settings import Settings

SMALL = {
    "widths": (4, 6), "convolutions": (1, 1), "rates": (0.3, 0.4), "dense": 8,
}  # fmt: skip
X = np.random.default_rng(0).random((6, 8, 8, 3), np.float32)
Y = {"reconstruction": X, "probabilities": np.eye(3, dtype="f4")[[0, 1, 2, 0, 1, 2]]}


def plan(**options):
    given = {"epochs": 2, "batch_size": 400, "precision": "float32"} | options
    return make_plan(model="vgg-classifier-ae", arguments=SMALL, **given)


def regime(weights):
    keras.utils.set_random_seed(0)
    spec = {"name": "vgg-classifier-ae", "size": (8, 8), "classes": 3, **SMALL}
    return Joint(build_model(spec), Settings(loss_weights=weights), mse)


def test_the_loss_is_the_weighted_sum_of_its_terms():
    values = regime({"classification": 2.0, "reconstruction": 50.0}).test_batch(X, Y)
    expected = 2 * values["classification"] + 50 * values["reconstruction"]
    assert values["loss"] == pytest.approx(expected, rel=1e-5)
    assert next(iter(values)) == "loss"  # the first that is told and drawn
    assert set(values) == {
        "loss", "classification", "reconstruction", "accuracy", "channel_accuracy",
    }  # fmt: skip


def test_the_values_are_those_of_the_predictions():
    learner = regime({"classification": 1.0, "reconstruction": 100.0})
    values = learner.test_batch(X, Y)
    given = {name: np.asarray(y) for name, y in learner.model(X, training=False).items()}
    truth = Y["probabilities"].argmax(axis=1)
    likelihood = given["probabilities"][np.arange(len(X)), truth]
    assert values["classification"] == pytest.approx(-np.log(likelihood).mean(), rel=1e-4)
    right = given["probabilities"].argmax(axis=1) == truth
    assert values["accuracy"] == pytest.approx(right.mean())
    agreed = given["reconstruction"].argmax(axis=-1) == X.argmax(axis=-1)
    assert values["channel_accuracy"] == pytest.approx(agreed.mean(), rel=1e-5)
    squared = (given["reconstruction"] - X) ** 2
    assert values["reconstruction"] == pytest.approx(squared.mean(), rel=1e-4)


def test_smoothing_holds_for_what_is_learnt_and_not_for_what_is_measured():
    """Without dropout the first step's loss is that of the weights as they were drawn."""
    spec = {"name": "vgg-classifier-ae", "size": (8, 8), "classes": 3, **SMALL}
    model = build_model(spec | {"rates": (0.0, 0.0), "dense_rate": 0.0})
    weights = {"classification": 1.0, "reconstruction": 0.0}
    learner = Joint(model, Settings(loss_weights=weights, label_smoothing=0.3), mse)
    given = np.log(np.asarray(model(X, training=False)["probabilities"]))
    plain = -(Y["probabilities"] * given).sum(axis=1).mean()
    assert learner.test_batch(X, Y)["classification"] == pytest.approx(plain, rel=1e-4)
    given = np.log(np.asarray(model(X, training=True)["probabilities"]))
    spread = -((0.7 * Y["probabilities"] + 0.1) * given).sum(axis=1).mean()
    assert learner.train_batch(X, Y)["classification"] == pytest.approx(spread, rel=1e-4)


def test_a_classifier_learns_the_labels_of_its_source(tmp_path):
    learnt = plan(epochs=12, batch_size=16, learning_rate=0.01, only=("0", "1"))
    result = train_model("sklearn:digits", tmp_path / "m.h5", learnt)
    assert result.metrics["val_accuracy"] > 0.9
    metadata = read_checkpoint(tmp_path / "m.h5").metadata
    assert metadata["classes"] == ["0", "1"] and metadata["model"]["classes"] == 2
    outputs = {output["name"]: output["decoding"] for output in metadata["output"]}
    assert outputs == {"reconstruction": "image", "probabilities": "probabilities"}


def test_validation_labels_are_matched_by_name(tmp_path, photos):
    """The held-out folder has another class first, which is none of those that are learnt."""
    other = tmp_path / "other"
    shutil.copytree(photos / "sky", other / "sky")
    shutil.copytree(photos / "stripes", other / "abstract")
    learnt = plan(size=(16, 16), epochs=1, batch_size=4, validation=str(other))
    result = train_model(str(photos), tmp_path / "m.h5", learnt)
    assert result.read == 12 + 6
    assert len(result.failed) == 6 and "abstract" in result.failed[0].reason


def test_pictures_without_a_label_are_left_out(tmp_path, photos):
    folder = shutil.copytree(photos, tmp_path / "photos")
    shutil.copy(folder / "sky" / "sky 0.jpg", folder / "loose.jpg")
    learnt = plan(size=(16, 16), epochs=0, validation="0")
    result = train_model(str(folder), tmp_path / "m.h5", learnt)
    assert [(f.path, f.reason) for f in result.failed] == [("loose.jpg", "no label")]


def test_a_source_without_labels_is_refused(tmp_path, photos):
    with pytest.raises(TrainingError, match="no labels of two classes"):
        train_model(str(photos / "sky"), tmp_path / "m.h5", plan(size=(16, 16)))


def test_interrupted_equals_uninterrupted(tmp_path):
    train_model("sklearn:digits", tmp_path / "whole.h5", plan())
    train_in_pieces("sklearn:digits", tmp_path / "cut.h5", plan(), 2, 3)
    assert_same_training(tmp_path / "whole.h5", tmp_path / "cut.h5")
