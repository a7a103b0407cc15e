"""The variational regime: the bound's two terms, draws by seed, and exact resume."""

import keras
import numpy as np
import pytest
from interrupted import assert_same_training, train_in_pieces

from aetool.models.build import build_model
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.plan import make_plan
from aetool.tasks.train import train_model
from aetool.training.losses import binary_crossentropy_sum
from aetool.training.settings import Settings
from aetool.training.variational import Sampling, Variational, divergence

SPEC = {"name": "conv-vae", "size": (8, 8), "widths": (4, 2), "latent_dim": 3}
X = np.random.default_rng(0).random((6, 8, 8, 1), np.float32)


def plan(**options):
    given = {"epochs": 2, "batch_size": 400, "precision": "float32"} | options
    return make_plan(model="conv-vae", arguments={"widths": (4, 2), "latent_dim": 3}, **given)


def regime(**settings):
    keras.utils.set_random_seed(0)
    settings = Settings(loss_weights={"divergence": 1.0}, **settings)
    return Variational(build_model(SPEC), settings, binary_crossentropy_sum)


def test_the_divergence_is_that_of_two_gaussians():
    mean, log_var = np.float32([[0, 0], [1, -2]]), np.float32([[0, 0], [0.5, -1]])
    found = np.asarray(divergence(None, np.concatenate([mean, log_var], axis=1)))
    expected = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[0] == 0


def test_draws_have_the_mean_and_variance_they_are_given():
    mean, log_var = np.full((20_000, 1), 3, "f4"), np.full((20_000, 1), np.log(4), "f4")
    drawn = np.asarray(Sampling(0)([mean, log_var]))
    assert drawn.mean() == pytest.approx(3, abs=0.05) and drawn.std() == pytest.approx(2, abs=0.05)


def test_the_loss_is_the_sum_of_its_terms_a_picture():
    values = regime().test_batch(X, X)
    assert values["loss"] == pytest.approx(values["reconstruction"] + values["divergence"])
    # An untrained decoder gives about one half everywhere: ln 2 a pixel.
    assert values["reconstruction"] == pytest.approx(64 * np.log(2), rel=0.1)


def test_the_divergence_weighs_what_it_is_told(tmp_path):
    heavy = make_plan(model="conv-vae", loss_weights={"divergence": 10.0}).settings.loss_weights
    learner = Variational(build_model(SPEC), Settings(loss_weights=heavy), binary_crossentropy_sum)
    values = learner.test_batch(X, X)
    expected = values["reconstruction"] + 10 * values["divergence"]
    assert values["loss"] == pytest.approx(expected)


def test_draws_follow_the_seed_and_differ_between_steps():
    first, same, other = regime(seed=1), regime(seed=1), regime(seed=2)
    values = [r.test_batch(X, X)["reconstruction"] for r in (first, same, other)]
    assert values[0] == values[1] != values[2]
    assert first.test_batch(X, X)["reconstruction"] != values[0]


def test_a_vae_learns(tmp_path):
    train_model("sklearn:digits", tmp_path / "m.h5", plan(epochs=6, batch_size=100))
    checkpoint = read_checkpoint(tmp_path / "m.h5")
    losses = checkpoint.arrays["history/val_loss"]
    assert losses[-1] < losses[0]
    assert {"history/reconstruction", "history/divergence"} <= set(checkpoint.arrays)
    names = [output["name"] for output in checkpoint.metadata["output"]]
    assert names == ["reconstruction", "z_mean", "z_log_var"]
    assert checkpoint.metadata["calibration"]["count"] == 180


def test_interrupted_equals_uninterrupted(tmp_path):
    train_model("sklearn:digits", tmp_path / "whole.h5", plan())
    train_in_pieces("sklearn:digits", tmp_path / "cut.h5", plan(), 2, 3)
    assert_same_training(tmp_path / "whole.h5", tmp_path / "cut.h5")


def test_stopped_in_the_validation_of_an_epoch(tmp_path):
    """Measuring draws too: done again after a resume, it must draw the same points."""
    stopped = plan(validation="0.5")  # 3 steps, and 3 batches to measure
    train_model("sklearn:digits", tmp_path / "whole.h5", stopped)
    train_in_pieces("sklearn:digits", tmp_path / "cut.h5", stopped, 3, measured=2)
    assert_same_training(tmp_path / "whole.h5", tmp_path / "cut.h5")
