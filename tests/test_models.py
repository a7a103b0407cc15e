"""Builders: exact parameter counts, any size, names, and weights by path."""

import inspect

import keras
import numpy as np
import pytest

from aetool.errors import FormatError, UsageError
from aetool.models.build import (
    build_model,
    builder,
    complete,
    encoder,
    keras_config,
    layer_weights,
    parameter_counts,
    set_weights,
)
from aetool.models.specs import FAMILIES, family

SMALL = {
    "conv-ae": {"name": "conv-ae", "widths": (4, 2)},
    "unet": {"name": "unet", "widths": (4, 6), "middle": 8},
    "conv-vae": {"name": "conv-vae", "widths": (4, 2)},
    "unet-small": {"name": "unet-small", "bottleneck": 5},
    "vgg-classifier-ae": {
        "name": "vgg-classifier-ae", "widths": (4, 6), "convolutions": (2, 3),
        "rates": (0.3, 0.4), "dense": 8,
    },
    "pix2pix": {"name": "pix2pix", "width": 2},
    "stacked-ae": {"name": "stacked-ae", "widths": (4, 6), "kernels": (5, 3)},
}  # fmt: skip


def picture(outputs) -> np.ndarray:
    """The reconstruction, the only output or one of several by name."""
    return np.asarray(outputs["reconstruction"] if isinstance(outputs, dict) else outputs)


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        ({"name": "conv-ae"}, (4_385, 0)),
        ({"name": "unet", "channels": 1}, (31_054_275, 11_776)),
        ({"name": "unet", "channels": 1, "skips": ()}, (27_920_835, 11_776)),
    ],
)
def test_published_parameter_counts(spec, counts):
    assert parameter_counts(build_model(spec)) == counts


def test_conv_ae_reaches_28_by_the_valid_convolution():
    model = build_model({"name": "conv-ae"})
    assert model.get_layer("latent").output.shape == (None, 4, 4, 8)
    assert model.get_layer("decoder1_conv").output.shape == (None, 14, 14, 16)
    assert "crop" not in [layer.name for layer in model.layers]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("size", [(8, 8), (13, 21), (30, 17)])
def test_output_has_the_size_of_the_input(name, size):
    model = build_model({**SMALL[name], "size": size, "channels": 3})
    y = picture(model(np.random.default_rng(0).random((2, *size, 3), np.float32)))
    assert y.shape == (2, *size, 3)
    assert y.min() >= (-1 if name == "pix2pix" else 0) and y.max() <= 1


def test_each_skip_level_adds_its_own_weights():
    def count(skips):
        return build_model({**SMALL["unet"], "skips": skips}).count_params()

    plain = count(())
    assert count((1,)) - plain == 9 * 4 * 4
    assert count((2,)) - plain == 9 * 6 * 6
    assert count((1, 2)) == count(None) == plain + 9 * (4 * 4 + 6 * 6)


def test_strided_unet_gives_probabilities_at_a_quarter_of_an_odd_size():
    spec = {
        **SMALL["unet"], "size": (19, 30), "channels": 1, "outputs": 5, "stem_stride": 2,
        "output_stride": 4, "activation": "softmax",
    }  # fmt: skip
    model = build_model(spec)
    y = np.asarray(model(np.ones((1, 19, 30, 1), np.float32)))
    assert model.output_names == ["ab_probabilities"]
    assert y.shape == (1, 5, 8, 5)
    np.testing.assert_allclose(y.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_specification_is_the_builders_signature(name):
    assert set(complete({"name": name})) == {"name", *inspect.signature(builder(name)).parameters}


@pytest.mark.parametrize("name", FAMILIES)
def test_latent_layer_exists(name):
    model = build_model(SMALL[name])
    assert encoder(model, family(name).latent).output.shape[0] is None


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_go_to_another_model_by_path(name):
    first, second = build_model(SMALL[name]), build_model(SMALL[name])
    x = np.random.default_rng(1).random((1, *first.input_shape[1:]), np.float32)
    assert np.abs(picture(first(x)) - picture(second(x))).max() > 0
    set_weights(second, layer_weights(first))
    np.testing.assert_array_equal(picture(first(x)), picture(second(x)))


def test_weights_of_another_model_are_refused():
    model = build_model(SMALL["conv-ae"])
    with pytest.raises(FormatError, match="encoder1_conv/kernel has shape"):
        set_weights(model, layer_weights(build_model({"name": "conv-ae", "widths": (5, 2)})))
    with pytest.raises(FormatError, match="lack"):
        set_weights(model, {})
    extra = {**layer_weights(model), "other": {"other/kernel": np.zeros(1)}}
    with pytest.raises(FormatError, match="other/kernel"):
        set_weights(model, extra)


def test_mixed_precision_model_is_described_in_float32():
    spec = SMALL["unet"]
    mixed = build_model(spec, dtype="mixed_bfloat16")
    assert mixed.get_layer("level1_conv1").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"
    assert "bfloat16" not in keras_config(spec)


def test_wrong_words_suggest_the_right_ones():
    with pytest.raises(UsageError) as error:
        build_model({"name": "unett"})
    assert "did you mean unet" in error.value.hint
    with pytest.raises(UsageError, match="takes no depth"):
        build_model({"name": "unet", "depth": 3})
    with pytest.raises(UsageError, match="levels outside"):
        build_model({**SMALL["unet"], "skips": (7,)})
    with pytest.raises(UsageError, match="output_stride 3 is not stem_stride 1 times"):
        build_model({**SMALL["unet"], "output_stride": 3})
