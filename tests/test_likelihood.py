"""Importance-weighted likelihoods against a model whose likelihood is known."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from test_generate import write_vae

from aetool.inference.likelihood import Likelihood
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.reconstruct import _Likely


def blind(tmp_path, bias):
    """A checkpoint whose decoder ignores the latent point: every pixel is on with one chance."""
    path = write_vae(tmp_path / "blind.h5")
    checkpoint = read_checkpoint(path)
    for array in checkpoint.weights["reconstruction"].values():
        array[...] = bias if array.ndim == 1 else 0
    return checkpoint


def test_a_decoder_blind_to_its_latent_has_the_likelihood_of_its_pixels(tmp_path):
    checkpoint = blind(tmp_path, bias=0.7)
    size = checkpoint.metadata["preprocessing"]["size"]
    picture = (np.random.default_rng(0).random((*size, 1)) < 0.3).astype(np.float32)
    on = 1 / (1 + np.exp(-0.7))
    truth = picture.sum() * np.log(on) + (1 - picture).sum() * np.log(1 - on)
    # With the prior as the posterior every weight is the likelihood itself.
    zeros = np.zeros(2, np.float32)
    elbo, bound = Likelihood(checkpoint, 300).estimate(0, picture, zeros, zeros)
    assert elbo == pytest.approx(truth, rel=1e-5)
    assert bound == pytest.approx(truth, rel=1e-5)
    # Another posterior costs the lower bound its divergence, and importance weighting little.
    mean, log_variance = np.array([0.5, -0.3], np.float32), np.array([-0.2, 0.1], np.float32)
    divergence = 0.5 * np.sum(np.exp(log_variance) + mean**2 - 1 - log_variance)
    elbo, bound = Likelihood(checkpoint, 4000).estimate(1, picture, mean, log_variance)
    assert elbo == pytest.approx(truth - divergence, abs=0.05)
    assert bound == pytest.approx(truth, abs=0.05)


def test_an_estimate_depends_on_the_number_of_the_picture_alone(tmp_path):
    checkpoint = read_checkpoint(write_vae(tmp_path / "vae.h5"))
    size = checkpoint.metadata["preprocessing"]["size"]
    picture = np.ones((*size, 1), np.float32)
    point = (np.zeros(2, np.float32), np.zeros(2, np.float32))
    one, other = Likelihood(checkpoint, 150), Likelihood(checkpoint, 150)
    other.estimate(3, picture, *point)
    assert one.estimate(5, picture, *point) == other.estimate(5, picture, *point)
    assert one.estimate(5, picture, *point) != one.estimate(6, picture, *point)


def test_reconstruct_says_the_likelihood(aetool, tmp_path):
    model = tmp_path / "vae.h5"
    train = ("train", "sklearn:digits", "--model", "conv-vae", "--epochs", "1", "-o", model)
    assert aetool(*train, "--precision", "float32").status == 0
    out = tmp_path / "out.npy"
    plain = aetool("reconstruct", "sklearn:digits", out, "-c", model, "--json").json
    assert plain["elbo"] is None and plain["nll"] is None
    asked = ("reconstruct", "sklearn:digits", out, "-c", model, "--json", "--likelihood")
    few, many = aetool(*asked, "1").json, aetool(*asked, "16").json
    # One sample's weight is the bound itself; more tighten the second figure alone.
    assert few["nll"] == pytest.approx(-few["elbo"], rel=1e-6)
    assert many["nll"] < few["nll"]
    assert many["elbo"] == pytest.approx(few["elbo"], rel=0.02)


def test_writers_that_ask_at_once_get_the_same_likelihood(tmp_path):
    stored = read_checkpoint(write_vae(tmp_path / "vae.h5"))
    before = keras.layers.Layer.add_weight
    likely = _Likely(stored, 3)
    model = stored.metadata["model"]
    picture = np.zeros((*model["size"], model["channels"]), np.float32)
    gaussian = np.zeros((2, model["latent_dim"]), np.float32)
    with ThreadPoolExecutor(4) as writers:
        found = list(writers.map(lambda _: likely.estimate(0, picture, gaussian), range(8)))
    assert all(each == found[0] for each in found) and np.isfinite(found[0]).all()
    assert keras.layers.Layer.add_weight is before


def test_only_a_variational_model_has_a_likelihood(aetool, tmp_path):
    model = tmp_path / "ae.h5"
    aetool("train", "sklearn:digits", "--model", "conv-ae", "--epochs", "0", "-o", model)
    out = tmp_path / "out.npy"
    done = aetool("reconstruct", "sklearn:digits", out, "-c", model, "--likelihood", "5")
    assert done.status == 2 and "needs a conv-vae" in done.stderr
