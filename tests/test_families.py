"""The families of the published experiments: counts, variants, sizes, and files Keras opens."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from aetool.models import conv_vae, patchgan, pix2pix, stacked_ae, unet_small, vgg_classifier_ae
from aetool.models.build import layer_weights, parameter_counts
from aetool.storage.checkpoint import Checkpoint, write_checkpoint

BUILD = {
    "conv-vae": conv_vae.build,
    "unet-small": unet_small.build,
    "vgg-classifier-ae": vgg_classifier_ae.build,
    "pix2pix": pix2pix.build,
    "stacked-ae": stacked_ae.build,
    "patchgan": patchgan.build,
}
VGG = {"widths": (4, 5, 6), "convolutions": (2, 2, 3), "rates": (0.3, 0.4, 0.4), "dense": 8}
SMALL = {
    "conv-vae": {"widths": (4, 2), "latent_dim": 3},
    "unet-small": {"skips": None, "bottleneck": 5},
    "vgg-classifier-ae": {**VGG, "classes": 4},
    "pix2pix": {"width": 3},
    "stacked-ae": {"widths": (4, 6), "kernels": (5, 3)},
    "patchgan": {"width": 3, "patch": 34},
}
GENERATORS = [name for name in SMALL if name != "patchgan"]
DEEP = "block4_dropout2"
HEAD = ("head", "crop", "reconstruction")


@functools.cache
def published(name: str, **arguments) -> keras.Model:
    """A model of the published widths, built once for all tests that only look at it."""
    return BUILD[name](**arguments)


def build_small(name: str, **arguments) -> keras.Model:
    """A small model whose weights and moving averages are all random, none 0 or 1."""
    model = BUILD[name](**SMALL[name], **arguments)
    random = np.random.default_rng(0)
    for variable in model.trainable_weights + model.non_trainable_weights:
        low = 0.5 if "variance" in variable.path or "gamma" in variable.path else -0.3
        variable.assign(random.uniform(low, low + 0.6, variable.shape))
    return model


@functools.cache
def odd(name: str) -> keras.Model:
    """A small model for 13x21 pictures, built once for all tests that do not change it."""
    return build_small(name, size=(13, 21))


def pictures(model: keras.Model, n: int = 2) -> list[np.ndarray]:
    """Random pictures in [0, 1] for each input of the model."""
    random = np.random.default_rng(1)
    return [random.random((n, *x.shape[1:]), np.float32) for x in model.inputs]


def run(model: keras.Model, given=None) -> dict[str, np.ndarray]:
    """Every output by name; of `pictures` unless other inputs are given."""
    given = pictures(model) if given is None else given
    outputs = model(given if len(given) > 1 else given[0], training=False)
    if not isinstance(outputs, dict):
        outputs = {model.output_names[0]: outputs}
    return {name: np.asarray(output) for name, output in outputs.items()}


def names(model: keras.Model, end: str = "") -> list[str]:
    return [layer.name for layer in model.layers if end in layer.name]


@pytest.mark.parametrize(
    ("name", "arguments", "counts"),
    [
        ("conv-vae", {}, (5_285, 0)),
        ("conv-vae", {"latent_dim": 16}, (5_285 + 14 * (2 * 129 + 128), 0)),
        ("unet-small", {}, (6_997, 160)),
        ("unet-small", {"bottleneck": 16}, (32_885, 160)),
        ("unet-small", {"skips": (1, 2)}, (7_717, 160)),
        ("unet-small", {"skips": None, "bottleneck": 16}, (33_605, 160)),
        ("unet-small", {"skips": (1,)}, (6_997 + 9 * 4 * 4, 160)),
        ("unet-small", {"skips": (2,)}, (6_997 + 9 * 8 * 8, 160)),
        ("vgg-classifier-ae", {}, (15_003_149, 9_472)),
        (
            "vgg-classifier-ae",
            {"tap": DEEP},
            (15_003_149 + 9 * (512 * 128 + 128 * 128 + 128 * 64) + 128 + 128 + 64, 9_472),
        ),
        ("pix2pix", {}, (19_303_811, 7_936)),
        ("stacked-ae", {}, (214_979, 0)),
        # Isola et al.'s C64-C128-C256-C512 for 70 pixels, one grey and three colour channels.
        (
            "patchgan",
            {},
            (
                16 * (4 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
                + (64 + 128 + 256 + 512 + 1)
                + 4 * (128 + 256 + 512),
                2 * (128 + 256 + 512),
            ),
        ),
    ],
)
def test_parameter_counts(name, arguments, counts):
    assert parameter_counts(published(name, **arguments)) == counts


@pytest.mark.parametrize(
    ("name", "arguments", "layer", "shape"),
    [
        ("conv-vae", {}, "z_mean", (2,)),
        ("unet-small", {}, "latent", (7, 7, 16)),
        ("unet-small", {"bottleneck": 16}, "latent", (16,)),
        ("vgg-classifier-ae", {}, "latent", (512,)),
        ("vgg-classifier-ae", {}, DEEP, (4, 4, 512)),
        ("vgg-classifier-ae", {}, "block1_pool", (16, 16, 64)),
        ("pix2pix", {}, "latent", (1, 1, 512)),
        ("pix2pix", {"size": (96, 50)}, "latent", (1, 1, 512)),
        ("stacked-ae", {}, "latent", (5, 5, 128)),
    ],
)
def test_latents_have_the_published_shape(name, arguments, layer, shape):
    assert published(name, **arguments).get_layer(layer).output.shape == (None, *shape)


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("size", [(8, 8), (13, 21), (1, 3)])
def test_output_has_the_size_of_the_input(name, size):
    model = odd(name) if size == (13, 21) else build_small(name, size=size)
    y = run(model)["reconstruction"]
    assert y.shape == (2, *size, 3 if name == "pix2pix" else model.input_shape[-1])
    assert y.min() >= (-1 if name == "pix2pix" else 0) and y.max() <= 1
    assert y.std() > 0


@pytest.mark.parametrize("name", SMALL)
def test_keras_opens_the_saved_model_and_predicts_the_same(name, tmp_path):
    model = odd(name)
    weights = layer_weights(model)
    checkpoint = Checkpoint({"model": {"name": name, **SMALL[name]}}, model.to_json(), weights)
    write_checkpoint(tmp_path / "m.h5", checkpoint)
    opened = keras.models.load_model(tmp_path / "m.h5")
    given = pictures(model)
    expected, found = run(model, given), run(opened, given)
    assert opened.output_names == model.output_names
    assert found.keys() == expected.keys()
    for output in expected:
        np.testing.assert_array_equal(found[output], expected[output])


@pytest.mark.parametrize("name", SMALL)
def test_every_layer_is_keras_own_and_named_by_the_builder(name):
    first, second = odd(name), build_small(name, size=(13, 21))
    assert names(first) == names(second)  # Keras numbers the layers that it names itself
    assert all(type(layer).__module__.startswith("keras.src.layers.") for layer in first.layers)


@pytest.mark.parametrize("name", SMALL)
def test_outputs_stay_float32_under_mixed_precision(name):
    expected = run(odd(name))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_small(name, size=(13, 21))
    finally:
        keras.config.set_dtype_policy("float32")
    assert "bfloat16" in {layer.compute_dtype for layer in model.layers}
    assert {output.dtype for output in model.outputs} == {"float32"}
    for output, value in run(model).items():
        np.testing.assert_allclose(value, expected[output], atol=0.05 * np.ptp(expected[output]))
        # bfloat16 tells at most 128 values apart in [0.5, 1).
        assert np.any(value != np.asarray(tf.cast(tf.cast(value, "bfloat16"), "float32")))


def test_vae_parts_share_the_weights_of_the_saved_graph():
    model = odd("conv-vae")
    config = model.to_json()
    encoder, decoder = conv_vae.encoder(model), conv_vae.decoder(model)
    whole = run(model)
    z_mean, z_log_var = encoder(pictures(model)[0])
    np.testing.assert_array_equal(z_mean, whole["z_mean"])
    np.testing.assert_array_equal(z_log_var, whole["z_log_var"])
    np.testing.assert_array_equal(decoder(z_mean), whole["reconstruction"])
    assert decoder.input_shape == (None, 3)
    parts = encoder.trainable_variables + decoder.trainable_variables
    assert {id(v) for v in parts} == {id(v) for v in model.trainable_variables}
    assert model.to_json() == config


def test_vae_learns_through_a_sample_between_its_parts():
    model = odd("conv-vae")
    encoder, decoder = conv_vae.encoder(model), conv_vae.decoder(model)
    x = pictures(model, 8)[0]
    with tf.GradientTape() as tape:
        z_mean, z_log_var = encoder(x)
        z = z_mean + keras.ops.exp(0.5 * z_log_var) * keras.random.normal((8, 3), seed=0)
        loss = keras.ops.mean((decoder(z) - x) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def test_vae_reaches_28_by_the_valid_convolution():
    model = published("conv-vae")
    assert model.get_layer("decoder_reshape").output.shape == (None, 4, 4, 8)
    assert model.get_layer("decoder1_conv").output.shape == (None, 14, 14, 16)
    assert "crop" not in names(model)


@pytest.mark.parametrize("bottleneck", [0, 16])
def test_unet_small_latent_is_a_tanh(bottleneck):
    keras.utils.set_random_seed(0)
    model = unet_small.build(bottleneck=bottleneck)
    for variable in model.trainable_weights:
        variable.assign(variable * 4)
    z = np.asarray(keras.Model(model.input, model.get_layer("latent").output)(pictures(model)[0]))
    assert -1 <= z.min() < -0.5 and 0.5 < z.max() <= 1


def test_deep_tap_climbs_as_published():
    model = published("vgg-classifier-ae", tap=DEEP)
    head = [layer for layer in model.layers if layer.name.startswith("head")]
    assert [(layer.name, layer.output.shape[1:]) for layer in head] == [
        ("head3_conv", (4, 4, 128)),
        ("head3_upsample", (8, 8, 128)),
        ("head2_conv", (8, 8, 128)),
        ("head2_upsample", (16, 16, 128)),
        ("head1_conv", (16, 16, 64)),
        ("head1_upsample", (32, 32, 64)),
    ]
    assert names(published("vgg-classifier-ae"), "head") == ["head1_upsample"]


def test_vgg_dropout_stands_where_published():
    model = published("vgg-classifier-ae")
    rates = {
        layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)
    }
    assert rates == {
        "block1_dropout1": 0.3, "block1_dropout2": 0.3, "block2_dropout1": 0.4,
        "block3_dropout1": 0.4, "block3_dropout2": 0.4, "block4_dropout1": 0.4,
        "block4_dropout2": 0.4, "block5_dropout1": 0.4, "block5_dropout2": 0.4,
        "body_dropout": 0.4, "latent_dropout": 0.5,
    }  # fmt: skip


def test_vgg_dropout_goes_block_by_block():
    assert names(build_small("vgg-classifier-ae", dropout=(2,)), "dropout") == [
        "block2_dropout1",
        "latent_dropout",
    ]


def test_any_layer_can_be_tapped():
    size, body = (13, 21), odd("vgg-classifier-ae")
    taps = [name for name in names(body) if not name.startswith(HEAD)]
    assert {"image", "block2_conv1", "block3_pool", "flatten", "latent"} <= set(taps)
    for tap in taps:
        x = body.get_layer(tap).output
        y = vgg_classifier_ae.apply_head(x, size, 3, VGG["widths"])
        assert y.shape == (None, *size, 3)


@pytest.mark.parametrize("tap", ["image", "block1_pool", "block2_norm2", "latent"])
def test_picture_is_rebuilt_from_the_tapped_layer_alone(tap):
    model = build_small("vgg-classifier-ae", size=(13, 21), tap=tap)
    assert run(model)["reconstruction"].shape == (2, 13, 21, 3)
    path = names(keras.Model(model.input, model.output["reconstruction"]))
    assert path[-1] == "reconstruction"
    assert [name for name in path if not name.startswith(HEAD)][-1] == tap


def test_classifier_tells_probabilities_beside_the_picture():
    outputs = run(odd("vgg-classifier-ae"))
    assert outputs.keys() == {"reconstruction", "probabilities"}
    np.testing.assert_allclose(outputs["probabilities"].sum(axis=-1), [1, 1], atol=1e-6)


def test_pix2pix_skips_go_level_by_level():
    def count(skips):
        return pix2pix.build((32, 32), width=2, skips=skips).count_params()

    plain = count(())
    encoder = {1: 2, 2: 4, 3: 8, 4: 16}  # filters of each level
    following = {1: 3, 2: 2, 3: 2, 4: 4}  # of the convolution after its concatenation
    added = {level: 9 * encoder[level] * following[level] for level in encoder}
    for level in encoder:
        assert count((level,)) - plain == added[level]
    assert count(None) == count((1, 2, 3, 4)) == plain + sum(added.values())


def test_pix2pix_concatenates_the_decoder_before_the_encoder():
    model = published("pix2pix")
    for level, kept in ((6, "encoder6_norm"), (1, "encoder1_conv")):
        decoder, encoder = model.get_layer(f"decoder{level}_skip").input
        assert encoder is model.get_layer(kept).output
        assert decoder.shape[1:3] == encoder.shape[1:3] == (2 ** (7 - level),) * 2
    assert model.get_layer("decoder6_skip").input[0] is model.get_layer("decoder6_dropout").output


def test_pix2pix_dropout_goes_level_by_level():
    assert names(published("pix2pix"), "dropout") == [f"decoder{k}_dropout" for k in (6, 5, 4)]
    other = pix2pix.build((16, 16), width=2, dropout=(1, 3))
    assert names(other, "dropout") == ["decoder3_dropout", "decoder1_dropout"]


def test_pix2pix_halves_its_widths_as_published_at_other_powers_of_two():
    model = pix2pix.build((256, 256), width=2)
    widths = [model.get_layer(f"decoder{level}_conv").filters for level in range(7, 0, -1)]
    assert widths == [2 * min(8, 2 ** max(8 - 3 - k, 0)) for k in range(7)]
    assert widths == [16, 16, 16, 8, 4, 2, 2]


def test_stages_give_the_whole_model_its_weights():
    arguments = {"size": (19, 27), **SMALL["stacked-ae"]}
    model = build_small("stacked-ae", size=(19, 27))
    before = run(model)["reconstruction"]
    stages = [stacked_ae.stage(level, **arguments) for level in (1, 2)]
    stacked_ae.copy_stages(model, stages)
    assert np.abs(run(model)["reconstruction"] - before).max() > 0

    x = pictures(model)[0]
    pool, latent = stages[0].get_layer("encoder1_pool"), stages[1].get_layer("latent")
    features = keras.Model(stages[0].input, pool.output)(x)
    assert stages[1].output_shape == (None, *features.shape[1:])
    latents = keras.Model(stages[1].input, latent.output)(features)
    whole = keras.Model(model.input, model.get_layer("latent").output)
    np.testing.assert_array_equal(whole(x), latents)
    # Backwards the whole model has a ReLU where the second stage is linear.
    rebuilt = keras.ops.relu(stages[1](features))
    tail = keras.Model(stages[0].get_layer("encoder1_pool").output, stages[0].output)
    np.testing.assert_allclose(tail(rebuilt), run(model)["reconstruction"], atol=1e-6)


def test_stages_of_the_published_model_have_its_parameters():
    stages = [stacked_ae.stage(level) for level in (1, 2, 3, 4)]
    assert sum(stage.count_params() for stage in stages) == 214_979
    assert [stage.input_shape[1:] for stage in stages] == [
        (80, 80, 3), (40, 40, 16), (20, 20, 32), (10, 10, 64)
    ]  # fmt: skip
    assert [stage.input_shape for stage in stages] == [stage.output_shape for stage in stages]
    assert [stage.layers[-1].activation.__name__ for stage in stages] == ["sigmoid"] + 3 * [
        "linear"
    ]
    assert not any(stage.losses for stage in stages)


def test_stacked_ae_weighs_its_kernels():
    model = build_small("stacked-ae", l2=0.01)
    kernels = [v for v in model.trainable_weights if v.path.endswith("kernel")]
    assert len(kernels) == 4
    assert float(sum(model.losses)) == pytest.approx(
        0.01 * sum(float(np.square(v).sum()) for v in kernels), rel=1e-5
    )
    assert build_small("stacked-ae", l2=0).losses == []


def test_glorot_is_normal_in_the_whole_model_and_uniform_in_the_stages():
    end = np.sqrt(6 / (9 * (64 + 128)))  # of Glorot's uniform distribution, 1.73 deviations
    whole, stage = published("stacked-ae"), stacked_ae.stage(4)
    largest = [np.abs(m.get_layer("encoder4_conv").get_weights()[0]).max() for m in (whole, stage)]
    assert largest[0] > end > largest[1] > 0.99 * end


@pytest.mark.parametrize("patch", [7, 15, 33, 64, 70])
def test_verdict_sees_a_patch(patch):
    model = patchgan.build((160, 160), 1, 1, patch=patch, width=2)
    for variable in model.trainable_weights:
        variable.assign(np.full(variable.shape, 0.5))  # so that no gradient cancels
    given = [tf.constant(x) for x in pictures(model, 1)]
    with tf.GradientTape() as tape:
        tape.watch(given)
        logits = model(given, training=False)
        verdict = logits[0, logits.shape[1] // 2, logits.shape[2] // 2, 0]
    for gradient in tape.gradient(verdict, given):
        rows, columns = np.nonzero(np.asarray(gradient)[0, :, :, 0])
        assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == patch


def test_patchgan_has_a_verdict_every_eight_pixels():
    model = patchgan.build((45, 64), 1, 3)
    assert model.output_shape == (None, 6, 8, 1)
    assert model.output_names == ["logits"]
    assert [x.name for x in model.inputs] == ["source", "target"]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("conv-vae", {"latent_dim": 0}, "latent dimension 0"),
        ("unet-small", {"skips": (3,)}, "levels outside 1 to 2"),
        ("unet-small", {"bottleneck": -1}, "bottleneck -1"),
        ("vgg-classifier-ae", {"dropout": (6,)}, "blocks outside 1 to 5"),
        ("vgg-classifier-ae", {"widths": (4, 4)}, "2 widths, 5 convolutions"),
        ("vgg-classifier-ae", {**VGG, "tap": "nowhere"}, "nowhere"),
        ("pix2pix", {"skips": (7,)}, "skips .* outside 1 to 6"),
        ("pix2pix", {"dropout": (0,)}, "dropout .* outside 1 to 6"),
        ("stacked-ae", {"kernels": (3,)}, "4 widths and 1 kernels"),
        ("patchgan", {"patch": 50}, "no patch of 50"),
        ("patchgan", {"patch": 1}, "no patch of 1 "),
    ],
)
def test_values_that_make_no_sense_are_refused(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        BUILD[name](**arguments)


@pytest.mark.parametrize("level", [0, 5])
def test_stage_outside_the_model_is_refused(level):
    with pytest.raises(ValueError, match="outside 1 to 4"):
        stacked_ae.stage(level)
