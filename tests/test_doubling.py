"""Doubling and convolving in one: the same as one after the other, in values and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from aetool.models.doubling import doubling
from aetool.models.twin import Twin

SIZES = [(10, 12), (13, 11)]


def one_after_the_other(size, kernel, padding="same", *, activation=None, channels=16):
    x = image = layers.Input((*size, channels))
    x = layers.UpSampling2D(2, name="doubled")(x)
    x = layers.Conv2D(
        5, kernel, padding=padding, activation=activation, bias_initializer="normal", name="conv"
    )(x)
    return keras.Model(image, x)


def noise(*shape):
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7, (3, 5), (7, 1)])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("frozen", [False, True])
def test_values_are_the_same(size, kernel, padding, frozen):
    model = one_after_the_other(size, kernel, padding, activation="sigmoid")
    twin = doubling(model, frozen=frozen)
    assert isinstance(twin, Twin)
    x = noise(2, *size, 16)
    expected, found = (ops.convert_to_numpy(m(x)) for m in (model, twin))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("activation", [None, "relu", "softmax"])
def test_activations_are_of_one_place(activation):
    model = one_after_the_other((10, 12), 3, activation=activation)
    x = noise(2, 10, 12, 16)
    expected, found = (ops.convert_to_numpy(m(x)) for m in (model, doubling(model)))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_an_activation_over_places_sees_no_more_of_them():
    def rows(x):
        return ops.softmax(x, axis=1)

    model = one_after_the_other((10, 12), 3, "valid", activation=rows)
    x = noise(2, 10, 12, 16)
    expected, found = (ops.convert_to_numpy(m(x)) for m in (model, doubling(model)))
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_gradients_are_the_same(kernel):
    model = one_after_the_other((10, 12), kernel)
    x, weights = tf.constant(noise(2, 10, 12, 16)), noise(2, 20, 24, 5)
    gradients = []
    for network in (model, doubling(model)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(network(x, training=True) * weights)
        gradients.append(tape.gradient(loss, [x, *(v.value for v in model.trainable_variables)]))
    for expected, found in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-3)


def test_the_twin_learns_the_models_own_weights():
    model = one_after_the_other((10, 12), 3)
    twin = doubling(model)
    assert [id(v) for v in twin.trainable_variables] == [id(v) for v in model.trainable_variables]
    x = noise(2, 10, 12, 16)
    before = ops.convert_to_numpy(twin(x))
    model.get_layer("conv").kernel.assign(2 * model.get_layer("conv").kernel)
    assert np.abs(ops.convert_to_numpy(twin(x)) - before).max() > 0.1


def test_a_frozen_twin_keeps_the_weights_it_was_made_with():
    model = one_after_the_other((10, 12), 3)
    twin = doubling(model, frozen=True)
    x = noise(2, 10, 12, 16)
    before = ops.convert_to_numpy(twin(x))
    model.get_layer("conv").kernel.assign(2 * model.get_layer("conv").kernel)
    np.testing.assert_array_equal(ops.convert_to_numpy(twin(x)), before)


def test_a_doubling_that_is_needed_itself_stays():
    model = one_after_the_other((10, 12), 3)
    both = keras.Model(model.input, [model.get_layer("doubled").output, model.output])
    assert doubling(both, frozen=True) is both


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(4, 3, strides=2, padding="same"),
        layers.Conv2D(4, 3, dilation_rate=2, padding="same"),
        layers.Conv2D(4, 2, padding="same"),
        layers.Conv2D(4, 3, groups=2, padding="same"),
        layers.SeparableConv2D(4, 3, padding="same"),
    ],
)
def test_other_convolutions_stay(layer):
    image = layers.Input((12, 12, 16))
    model = keras.Model(image, layer(layers.UpSampling2D(2)(image)))
    assert doubling(model, frozen=True) is model


@pytest.mark.parametrize(
    "before",
    [layers.UpSampling2D(3), layers.UpSampling2D(2, interpolation="bilinear"), layers.ReLU()],
)
def test_other_enlargements_stay(before):
    image = layers.Input((12, 12, 16))
    model = keras.Model(image, layers.Conv2D(4, 3, padding="same")(before(image)))
    assert doubling(model, frozen=True) is model


def test_training_leaves_small_grids_and_few_channels_alone():
    small = one_after_the_other((4, 4), 3)
    narrow = one_after_the_other((12, 12), 3, channels=8)
    for model in (small, narrow):
        assert doubling(model) is model
        assert isinstance(doubling(model, frozen=True), Twin)


def test_dropout_and_batch_normalisation_are_told_that_they_train():
    x = image = layers.Input((12, 12, 16))
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Conv2D(4, 3, padding="same")(layers.UpSampling2D(2)(x))
    model = keras.Model(image, x)
    twin = doubling(model)
    pictures = 5 + noise(4, 12, 12, 16)
    still = ops.convert_to_numpy(twin(pictures, training=False))
    np.testing.assert_allclose(still, ops.convert_to_numpy(model(pictures)), atol=1e-4)
    assert np.abs(ops.convert_to_numpy(twin(pictures, training=True)) - still).max() > 0.1
    assert ops.convert_to_numpy(model.get_layer("norm").moving_mean).mean() > 0.01


def test_half_precision_is_the_layers_own():
    with_policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    image = layers.Input((12, 12, 16))
    x = layers.UpSampling2D(2, dtype=with_policy)(image)
    x = layers.Conv2D(4, 3, padding="same", dtype=with_policy)(x)
    model = keras.Model(image, x)
    x = noise(1, 12, 12, 16)
    expected, found = model(x), doubling(model)(x)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    near = [ops.convert_to_numpy(ops.cast(y, "float32")) for y in (expected, found)]
    np.testing.assert_allclose(near[0], near[1], atol=0.1)
