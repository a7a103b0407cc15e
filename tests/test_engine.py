"""The engine: Keras's numbers, one shape, no trace left in the process."""

import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_models import SMALL

from aetool.inference import engine as engine_module
from aetool.inference.engine import Engine, natural_batch_size
from aetool.inference.precision import has_bfloat16
from aetool.models.build import build_model

X = np.random.default_rng(0).random((5, 24, 20, 3), np.float32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return build_model({"name": "unet", "size": (24, 20), "widths": (8, 16), "middle": 16})


def test_float32_is_what_keras_predicts(model):
    engine = Engine(model, precision="float32", batch_size=4)
    np.testing.assert_allclose(
        engine.predict(X[:4])["reconstruction"], model.predict(X[:4], verbose=0), atol=1e-5
    )


def test_a_picture_does_not_depend_on_its_company(model):
    engine = Engine(model, batch_size=4)
    together = engine.predict(X[:4])["reconstruction"]
    alone = engine.predict(X[2:3])["reconstruction"]
    np.testing.assert_array_equal(alone[0], together[2])


def test_bfloat16_stays_close_and_leaves_other_graphs_alone(model):
    exact = Engine(model, precision="float32", batch_size=5).predict(X)["reconstruction"]
    rounded = Engine(model, precision="bfloat16", batch_size=5).predict(X)["reconstruction"]
    assert 10 * np.log10(1 / np.mean((exact - rounded) ** 2)) > 50
    if has_bfloat16():
        assert not np.array_equal(exact, rounded)
    options = tf.config.optimizer.get_experimental_options()
    assert not options.get("auto_mixed_precision_onednn_bfloat16")


def test_threads_share_an_engine(model):
    """The graph is made once, and its results are those of one call after the other."""
    engine = Engine(model, precision="float32", batch_size=4)
    starts = [0, 1, 0, 1, 1, 0]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda i: engine.predict(X[i : i + 4])["reconstruction"], starts))
    for start, rows in zip(starts, found, strict=True):
        expected = engine.predict(X[start : start + 4])["reconstruction"]
        np.testing.assert_array_equal(rows, expected)


def test_a_thread_computes_as_it_is_asked_whatever_it_did_before(model):
    """TensorFlow's threads remember an option that another one has changed since."""
    engines = [Engine(model, precision=name, batch_size=4) for name in ("float32", "bfloat16")]
    expected = [engine.predict(X[:4])["reconstruction"] for engine in engines]
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        for asked in (0, 1):
            leave, inside = threading.Event(), threading.Event()

            def hold(wanted, inside=inside, leave=leave):
                with engine_module.mixed_precision(wanted):
                    inside.set()
                    leave.wait()

            held = first.submit(hold, bool(asked))
            inside.wait()
            # Not the last to leave, this thread is not told what holds from then on.
            found = second.submit(engines[asked].predict, X[:4]).result()["reconstruction"]
            leave.set()
            held.result()
            np.testing.assert_array_equal(found, expected[asked])


def test_latents_of_a_dense_layer_are_not_rounded_to_bfloat16():
    network = build_model({**SMALL["conv-vae"], "size": (28, 28), "latent_dim": 2})
    pictures = np.random.default_rng(0).random((64, 28, 28, 1), np.float32)
    found = Engine(network, precision="bfloat16", batch_size=64).predict(pictures)["z_mean"]
    assert (found.view(np.uint32) & 0xFFFF).astype(bool).mean() > 0.9
    expected = network.predict(pictures, verbose=0)["z_mean"]
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_calls_of_other_precision_wait_for_each_other():
    precision, option = engine_module._MixedPrecision(), "auto_mixed_precision_onednn_bfloat16"
    seen, inside = [], threading.Event()

    def other():
        inside.set()
        with precision(False):
            seen.append(tf.config.optimizer.get_experimental_options().get(option, False))

    with precision(True), precision(True):
        thread = threading.Thread(target=other)
        thread.start()
        inside.wait()
        thread.join(0.05)
        assert thread.is_alive() and not seen
        assert tf.config.optimizer.get_experimental_options()[option]
    thread.join(30)
    assert seen == [False]
    assert not tf.config.optimizer.get_experimental_options()[option]


def test_batch_size_follows_from_the_picture_alone():
    assert natural_batch_size(28, 28) == 256
    assert natural_batch_size(128, 128) == 16
    assert natural_batch_size(4000, 4000) == 1
