"""Training steps the fast way: the same values, gradients and updates as Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from aetool.models.build import build_model
from aetool.models.training_twin import training_twin
from aetool.models.twin import Twin
from aetool.training import fused


def noise(*shape, seed=7):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def network(*made, size=(6, 5), channels=16):
    x = image = layers.Input((*size, channels))
    for layer in made:
        x = layer(x)
    model = keras.Model(image, x)
    for i, variable in enumerate(model.weights):
        variable.assign(0.5 + 0.2 * np.abs(noise(*variable.shape, seed=i)))
    return model


NETWORKS = {
    "normalisation": lambda: network(layers.BatchNormalization()),
    "normalisation of its own": lambda: network(
        layers.BatchNormalization(momentum=0.6, epsilon=0.1)
    ),
    "transposed": lambda: network(layers.Conv2DTranspose(3, 2, strides=2, activation="relu")),
    "transposed, padded": lambda: network(
        layers.Conv2DTranspose(3, 2, strides=2, padding="same", use_bias=False)
    ),
    "few places": lambda: network(
        layers.Conv2D(256, 3, padding="same", activation="tanh"), channels=256
    ),
    "one place": lambda: network(layers.Conv2D(3, 1, activation="sigmoid"), channels=64),
    "few places, even kernel": lambda: network(
        layers.Conv2D(256, (2, 4), padding="same", use_bias=False), channels=256
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_values_gradients_and_what_is_kept_are_keras_own(name):
    plain, fast = (NETWORKS[name]() for _ in range(2))
    twin = training_twin(fast)
    assert isinstance(twin, Twin)
    x = tf.constant(0.1 * noise(4, *plain.input_shape[1:]) + 0.3)
    weights = noise(4, *plain.output_shape[1:])
    found = []
    for model, owner in ((plain, plain), (twin, fast)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
            loss = tf.reduce_sum(y * weights)
        gradients = tape.gradient(loss, [x, *(v.value for v in owner.trainable_variables)])
        kept = [v.numpy() for v in owner.non_trainable_variables]
        found.append([y, *gradients, *kept, model(x, training=False)])
    for expected, given in zip(*found, strict=True):
        assert expected.shape == given.shape
        scale = np.abs(expected).max()
        np.testing.assert_allclose(given / scale, expected / scale, atol=2e-5)


def test_half_precision_comes_as_near_as_keras_does():
    found = {}
    for way in ("float32", "keras", "twin"):
        dtype = "float32" if way == "float32" else "mixed_bfloat16"
        spec = {"name": "unet", "size": (16, 16), "channels": 1, "outputs": 3}
        spec |= {"widths": (8, 256), "middle": 256}
        keras.utils.set_random_seed(3)
        model = build_model(spec, dtype=dtype)
        step = training_twin(model) if way == "twin" else model
        x, y = tf.constant(noise(8, 16, 16, 1)), noise(8, 16, 16, 3)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((step(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        found[way] = np.concatenate([np.ravel(g) for g in gradients])
    distance = {way: np.linalg.norm(found[way] - found["float32"]) for way in ("keras", "twin")}
    assert 0 < distance["twin"] < 1.2 * distance["keras"]


@pytest.mark.parametrize(
    "layer",
    [
        layers.BatchNormalization(axis=1),
        layers.BatchNormalization(scale=False),
        layers.BatchNormalization(center=False),
        layers.Conv2DTranspose(3, 3, strides=2),
        layers.Conv2DTranspose(3, 2, strides=1),
        layers.Conv2D(300, 3, padding="same"),
        layers.Conv2D(300, 3),
        layers.Conv2D(300, 1),
    ],
)
def test_other_layers_stay(layer):
    model = network(layer)
    assert training_twin(model) is model


def test_a_normalisation_that_does_not_learn_stays_as_it_is():
    model = network(layers.BatchNormalization(), layers.BatchNormalization())
    model.layers[1].trainable = False
    before = [v.numpy() for v in model.layers[1].weights]
    y = training_twin(model)(noise(2, 6, 5, 16), training=True)
    np.testing.assert_allclose(y, model(noise(2, 6, 5, 16), training=True), atol=1e-5)
    for array, variable in zip(before, model.layers[1].weights, strict=True):
        np.testing.assert_array_equal(array, variable.numpy())


OPTIMIZERS = {
    "Adam": {"beta_1": 0.8, "epsilon": 1e-4},
    "Adam with the greatest": {"amsgrad": True},
    "AdamW": {"weight_decay": 0.1},
    "SGD": {},
    "SGD with momentum": {"momentum": 0.9},
    "SGD by Nesterov": {"momentum": 0.9, "nesterov": 1.0, "clipnorm": 1.0},
    "SGD that gathers": {"momentum": 0.9, "gradient_accumulation_steps": 2},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_and_what_is_kept_of_them_are_keras_own(name):
    start = noise(40, 30)
    found = []
    for module in (keras.optimizers, fused):
        kind = getattr(module, name.split()[0])
        optimizer = kind(learning_rate=0.01, **OPTIMIZERS[name])
        variable = keras.Variable(start, name="kernel")
        optimizer.build([variable])
        for step in range(6):
            optimizer.apply([ops.convert_to_tensor(noise(40, 30, seed=step))])
        found.append([variable, *optimizer.variables])
    assert [v.name for v in found[0]] == [v.name for v in found[1]]
    for expected, given in zip(*found, strict=True):
        np.testing.assert_allclose(given.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert np.abs(found[1][0].numpy() - start).max() > 0.001
