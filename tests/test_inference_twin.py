"""What the engine computes of a trained model: the same as Keras, with less."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from test_models import SMALL

from aetool.inference.engine import Engine
from aetool.models.build import build_model
from aetool.models.inference_twin import inference_twin


def noise(*shape, seed=7):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def learn(model):
    """Give a model weights as after a training: biases and statistics that are not 0 and 1."""
    for i, variable in enumerate(model.variables):
        if not variable.path.endswith("kernel"):
            value = 0.3 * noise(*variable.shape, seed=i)
            positive = variable.path.endswith(("gamma", "variance"))
            variable.assign(np.abs(value) + 0.5 if positive else value)
    return model


def network(*made, size=(6, 5), channels=4):
    x = image = layers.Input((*size, channels))
    for layer in made:
        x = layer(x)
    return learn(keras.Model(image, x))


def predicted(twin, values, x):
    with keras.StatelessScope(state_mapping=[(v, ops.convert_to_tensor(a)) for v, a in values]):
        return ops.convert_to_numpy(twin(x, training=False))


def convolution(**options):
    return layers.Conv2D(3, 3, padding="same", **options)


FOLDED = {
    "a convolution": lambda: network(convolution(), layers.BatchNormalization(), layers.ReLU()),
    "without bias": lambda: network(convolution(use_bias=False), layers.BatchNormalization()),
    "with a ReLU": lambda: network(convolution(activation="relu"), layers.BatchNormalization()),
    "by its own epsilon": lambda: network(convolution(), layers.BatchNormalization(epsilon=0.5)),
    "without a scale": lambda: network(convolution(), layers.BatchNormalization(scale=False)),
    "without an offset": lambda: network(convolution(), layers.BatchNormalization(center=False)),
    "transposed": lambda: network(
        layers.Conv2DTranspose(3, 2, strides=2), layers.BatchNormalization()
    ),
    "transposed, overlapping": lambda: network(
        layers.Conv2DTranspose(3, 3, strides=2), layers.BatchNormalization()
    ),
    "doubled": lambda: network(
        layers.UpSampling2D(2), convolution(activation="relu"), layers.BatchNormalization()
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_a_normalisation_becomes_part_of_the_convolution_before(name):
    model = FOLDED[name]()
    x = noise(2, *model.input_shape[1:])
    expected = model.predict(x, verbose=0)
    before = [v.numpy() for v in model.variables]
    twin, values = inference_twin(model, bfloat16=False)
    found = predicted(twin, values, x)
    normalization = next(x for x in model.layers if isinstance(x, layers.BatchNormalization))
    assert normalization in twin._replaced
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5)
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, variable.numpy())


def shared():
    image = layers.Input((6, 5, 4))
    x = convolution()(image)
    return learn(keras.Model(image, layers.Add()([layers.BatchNormalization()(x), x])))


def needed_itself():
    image = layers.Input((6, 5, 4))
    x = convolution()(image)
    return learn(keras.Model(image, [layers.BatchNormalization()(x), x]))


def nested():
    image = layers.Input((6, 5, 4))
    inner = convolution()
    again = keras.Model(image, inner(image))
    x = layers.Add()([layers.BatchNormalization()(inner(image)), again(image)])
    return learn(keras.Model(image, x))


def inverted():
    model = network(convolution(activation="relu"), layers.BatchNormalization())
    gamma = model.layers[-1].gamma
    gamma.assign(gamma.numpy() * [1, -1, 1])
    return model


KEPT = {
    "a convolution whose values are used twice": shared,
    "a convolution that is an output": needed_itself,
    "a convolution that another model has as well": nested,
    "a ReLU that would be turned over": inverted,
    "a tanh": lambda: network(convolution(activation="tanh"), layers.BatchNormalization()),
    "rows": lambda: network(convolution(), layers.BatchNormalization(axis=1)),
    "nothing to be folded into": lambda: network(layers.ReLU(), layers.BatchNormalization()),
}


@pytest.mark.parametrize("name", KEPT)
def test_others_stay(name):
    model = KEPT[name]()
    twin, values = inference_twin(model, bfloat16=False)
    assert twin is model
    for variable, value in values:
        np.testing.assert_array_equal(value, variable.numpy())


@pytest.mark.parametrize("name", SMALL)
def test_engines_of_trained_models_give_what_keras_predicts(name):
    model = learn(build_model({**SMALL[name], "size": (20, 28), "channels": 3}))
    x = np.random.default_rng(0).random((3, *model.input_shape[1:]), np.float32)
    expected = model.predict(x, verbose=0)
    if not isinstance(expected, dict):
        expected = {model.output_names[0]: expected}
    found = Engine(model, precision="float32", batch_size=3).predict(x)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        scale = np.abs(values).max()
        np.testing.assert_allclose(found[name] / scale, values / scale, atol=2e-5)


def test_no_normalisation_of_the_unet_is_left():
    model = learn(build_model({"name": "unet", "size": (16, 16), "widths": (4,), "middle": 4}))
    twin, _ = inference_twin(model, bfloat16=False)
    kinds = [type(layer).__name__ for layer in twin._replaced]
    assert kinds.count("BatchNormalization") == 6
    assert kinds.count("Conv2DTranspose") == 1
