"""Losses: a value a picture, and the values of their definitions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from aetool.errors import UsageError
from aetool.images.color import AB_SCALE, ab_bins
from aetool.training.losses import LOSSES, AbCrossentropy, loss_function

TRUTH = np.random.default_rng(0).random((3, 4, 5, 2), np.float32)
PREDICTION = np.random.default_rng(1).random((3, 4, 5, 2), np.float32)


def value(name, truth=TRUTH, prediction=PREDICTION):
    return keras.ops.convert_to_numpy(
        LOSSES[name](keras.ops.convert_to_tensor(truth), keras.ops.convert_to_tensor(prediction))
    )


def test_squared_and_absolute_errors():
    squared = (TRUTH - PREDICTION) ** 2
    np.testing.assert_allclose(value("mse"), squared.mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(value("mse-sum"), squared.mean(axis=3).sum(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(
        value("mae"), np.abs(TRUTH - PREDICTION).mean(axis=(1, 2, 3)), rtol=1e-5
    )


def test_binary_crossentropy_is_kerass_and_finite_at_the_ends():
    expected = keras.losses.binary_crossentropy(TRUTH, PREDICTION)
    np.testing.assert_allclose(
        value("binary-crossentropy"), np.mean(np.asarray(expected.numpy()), axis=(1, 2)), rtol=1e-4
    )
    worst = value("binary-crossentropy", np.ones_like(TRUTH), np.zeros_like(TRUTH))
    assert np.isfinite(worst).all()


def test_ab_huber_is_squared_near_the_truth_and_linear_beyond():
    def of(distance):  # in Lab units, along both axes alike
        shift = np.full_like(TRUTH, distance / np.sqrt(2) / AB_SCALE)
        return value("ab-huber", TRUTH, TRUTH + shift)[0]

    assert of(0) == pytest.approx(0, abs=1e-9)
    assert of(4) == pytest.approx(0.04**2 / 2, rel=1e-3)
    assert of(10) == pytest.approx(0.1**2 / 2, rel=1e-3)
    assert of(60) - of(50) == pytest.approx(0.1 * 0.1, rel=1e-3)
    exact = keras.ops.convert_to_tensor(TRUTH)
    with tf.GradientTape() as tape:
        tape.watch(exact)
        loss = keras.ops.sum(LOSSES["ab-huber"](TRUTH, exact))
    assert (np.asarray(tape.gradient(loss, exact)) == 0).all()


def colours(*pairs):
    return keras.ops.convert_to_tensor(np.array(pairs, np.float32)[:, None, None])


def certain(bins, *pairs):
    """A distribution that puts nearly everything into the bin nearest to each colour."""
    out = np.full((len(pairs), 1, 1, len(bins)), 1e-4 / len(bins), np.float32)
    for row, pair in zip(out, pairs, strict=True):
        row[0, 0, np.argmin(((bins - pair) ** 2).sum(axis=1))] = 1 - 1e-4
    return keras.ops.convert_to_tensor(out)


def test_ab_crossentropy_prefers_the_true_colour():
    bins = ab_bins()
    loss = AbCrossentropy(bins)
    right, near, far = (
        float(loss(colours((40, 30)), certain(bins, guess))[0])
        for guess in ((40, 30), (50, 30), (-40, -30))
    )
    assert right < near < far


def test_rare_colours_weigh_more_and_the_mean_weight_is_one():
    bins = ab_bins()
    prior = np.exp(-(bins**2).sum(axis=1) / 200)
    prior /= prior.sum()
    weights = AbCrossentropy(bins, prior).weights
    grey, vivid = (np.argmin(((bins - c) ** 2).sum(axis=1)) for c in ((0, 0), (60, 40)))
    assert weights[vivid] > 2 * weights[grey]
    assert (prior * weights).sum() == pytest.approx(1, rel=1e-5)
    assert AbCrossentropy(bins, prior, power=0).weights == pytest.approx(1)


def test_an_unknown_loss_suggests_the_nearest():
    with pytest.raises(UsageError) as error:
        loss_function("mes")
    assert "mse" in error.value.hint
