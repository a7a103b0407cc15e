"""A checkpoint is a Keras model file and more, and nothing in it is ever run."""

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from aetool.errors import FormatError
from aetool.storage.checkpoint import (
    Checkpoint,
    model_digest,
    read_checkpoint,
    write_checkpoint,
)
from aetool.storage.container import open_container, write_container


def _layer_weights(model: keras.Model) -> dict[str, dict[str, np.ndarray]]:
    return {
        layer.name: {
            variable.path: variable.numpy()
            for variable in layer.trainable_weights + layer.non_trainable_weights
        }
        for layer in model.layers
    }


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Two outputs, batch norm, dropout, a transposed convolution; no weight is left at 0 or 1."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="b_conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    z = layers.Dense(3, name="z")(layers.Flatten(name="flat")(x))
    x = layers.Conv2DTranspose(2, 2, strides=2, name="a_up")(x)
    model = keras.Model(image, {"reconstruction": x, "z": z}, name="net")
    random = np.random.default_rng(1)
    for variable in model.trainable_weights + model.non_trainable_weights:
        variable.assign(random.uniform(0.1, 1, variable.shape))
    return model


@pytest.fixture
def checkpoint(model) -> Checkpoint:
    return Checkpoint(
        metadata={
            "model": {"name": "net", "size": (8, 8), "widths": [4, 2]},
            "task": "reconstruct",
            "classes": ["Gänse", "naïve\n", "latin \udce9"],
            "calibration": None,
        },
        keras_config=model.to_json(),
        weights=_layer_weights(model),
        arrays={"history/loss": np.array([0.5, 0.25]), "bins": np.arange(6, dtype="i2")},
    )


@pytest.fixture
def path(tmp_path, checkpoint) -> Path:
    write_checkpoint(tmp_path / "m.h5", checkpoint)
    return tmp_path / "m.h5"


def _predict(model: keras.Model) -> dict[str, np.ndarray]:
    batch = np.random.default_rng(2).random((2, 8, 8, 1), dtype=np.float32)
    return {name: np.asarray(value) for name, value in model(batch, training=False).items()}


def test_what_was_written_is_read(path, checkpoint):
    read = read_checkpoint(path)
    assert read.metadata == json.loads(json.dumps({**checkpoint.metadata, "format": 1}))
    assert read.keras_config == checkpoint.keras_config
    assert read.training is None
    assert read.arrays.keys() == checkpoint.arrays.keys()
    for name, array in checkpoint.arrays.items():
        np.testing.assert_array_equal(read.arrays[name], array, strict=True)
    assert [(k, list(v)) for k, v in read.weights.items()] == [
        (k, list(v)) for k, v in checkpoint.weights.items()
    ]
    for layer, variables in checkpoint.weights.items():
        for name, array in variables.items():
            np.testing.assert_array_equal(read.weights[layer][name], array, strict=True)


def test_what_was_read_can_be_written_again(path, tmp_path):
    again = tmp_path / "again.h5"
    write_checkpoint(again, read_checkpoint(path))
    assert read_checkpoint(again).digest == read_checkpoint(path).digest


def test_keras_opens_it_and_predicts_the_same(path, model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = keras.models.load_model(path)
    assert loaded.output_names == model.output_names
    for name, expected in _predict(model).items():
        np.testing.assert_array_equal(_predict(loaded)[name], expected)


def test_the_layout_is_keras_own(path, model, tmp_path):
    model.save(tmp_path / "keras.h5")
    with h5py.File(tmp_path / "keras.h5") as theirs, h5py.File(path) as ours:
        assert set(theirs.attrs) <= set(ours.attrs)
        assert ours.attrs["keras_version"] == theirs.attrs["keras_version"]

        def same(name: str, node: h5py.Dataset | h5py.Group) -> None:
            if name == "top_level_model_weights":  # empty, as these models have none
                return
            np.testing.assert_array_equal(ours["model_weights"][name], node)
            for attribute, value in node.attrs.items():
                np.testing.assert_array_equal(ours["model_weights"][name].attrs[attribute], value)

        theirs["model_weights"].visititems(same)


def test_names_beyond_the_attribute_limit_are_split_as_keras_splits_them(tmp_path):
    count = 1200
    image = keras.Input((1,), name="image")
    names = [f"a_layer_with_a_name_so_long_that_the_list_must_be_split_{i}" for i in range(count)]
    shared = image
    for name in names[:3]:
        shared = layers.Dense(1, name=name)(shared)
    model = keras.Model(image, shared)
    weights = _layer_weights(model) | {name: {} for name in names[3:]}
    many = Checkpoint({"model": {"name": "long"}}, model.to_json(), weights)
    write_checkpoint(tmp_path / "m.h5", many)
    with h5py.File(tmp_path / "m.h5") as file:
        assert {"layer_names0", "layer_names1"} <= set(file["model_weights"].attrs)
    assert list(read_checkpoint(tmp_path / "m.h5").weights) == ["image", *names]
    loaded = keras.models.load_model(tmp_path / "m.h5", compile=False)
    batch = np.array([[3.0]], np.float32)
    np.testing.assert_array_equal(loaded(batch), model(batch))


def test_half_stores_kernels_in_two_bytes_and_keras_still_opens_it(path, checkpoint, model):
    write_checkpoint(path, checkpoint, half=True)
    with h5py.File(path) as file:
        kernel, gamma = (
            file["model_weights/b_conv/b_conv/kernel"],
            file["model_weights/norm/norm/gamma"],
        )
        assert (kernel.dtype, gamma.dtype) == (np.float16, np.float32)
    read = read_checkpoint(path)
    for layer, variables in checkpoint.weights.items():
        for name, array in variables.items():
            assert read.weights[layer][name].dtype == np.float32
            np.testing.assert_allclose(read.weights[layer][name], array, rtol=2**-11)
    loaded = keras.models.load_model(path, compile=False)
    assert {variable.dtype for variable in loaded.weights} == {"float32"}
    for name, expected in _predict(model).items():
        np.testing.assert_allclose(_predict(loaded)[name], expected, rtol=2e-3)


def test_half_never_overflows(tmp_path):
    weights = {"dense": {"dense/kernel": np.array([[1e5, 1e-3]], np.float32)}}
    write_checkpoint(
        tmp_path / "m.h5", Checkpoint({"model": {"name": "big"}}, "{}", weights), half=True
    )
    read = read_checkpoint(tmp_path / "m.h5").weights
    np.testing.assert_array_equal(read["dense"]["dense/kernel"], weights["dense"]["dense/kernel"])


def test_a_running_training_is_kept_to_the_bit(tmp_path, checkpoint):
    training = {
        "optimizer/adam/iteration": np.int64(7),
        "optimizer/adam/m": np.random.default_rng(0).random((3, 4)),
        "mask": np.array([True, False]),
        "state": json.dumps({"epoch": 3, "random": [1, 2**60]}),
    }
    write_checkpoint(tmp_path / "m.h5.train", replace(checkpoint, training=training))
    read = read_checkpoint(tmp_path / "m.h5.train")
    assert read.training["state"] == training["state"]
    for name in training.keys() - {"state"}:
        np.testing.assert_array_equal(read.training[name], training[name], strict=True)
    assert read_checkpoint(tmp_path / "m.h5.train", weights=False).training is None


def test_metadata_alone_takes_no_weights(path):
    read = read_checkpoint(path, weights=False)
    assert read.weights == {}
    assert read.digest == read_checkpoint(path).digest
    assert set(read.arrays) == {"history/loss", "bins"}


def test_the_digest_is_of_builder_arguments_and_weights_only(tmp_path, checkpoint):
    def digest(changed: Checkpoint, **options: bool) -> str:
        write_checkpoint(tmp_path / "d.h5", changed, **options)
        read = read_checkpoint(tmp_path / "d.h5")
        assert read.digest == model_digest(read.metadata["model"], read.weights)
        return read.digest

    first = digest(checkpoint)
    metadata = checkpoint.metadata
    reordered = {"widths": [4, 2], "size": [8, 8], "name": "net"}
    assert digest(replace(checkpoint, metadata={"model": reordered})) == first
    assert digest(replace(checkpoint, arrays={}, training={}, digest="0", keras_config="")) == first
    wider = {**metadata, "model": {**metadata["model"], "widths": [4, 3]}}
    assert digest(replace(checkpoint, metadata=wider)) != first
    assert digest(checkpoint, half=True) != first
    weights = {layer: dict(variables) for layer, variables in checkpoint.weights.items()}
    weights["z"]["z/bias"] = np.nextafter(weights["z"]["z/bias"], np.float32(9))
    assert digest(replace(checkpoint, weights=weights)) != first


def test_only_numbers_are_written(tmp_path, checkpoint):
    with pytest.raises(TypeError, match="holds numbers"):
        write_checkpoint(
            tmp_path / "m.h5", replace(checkpoint, arrays={"x": np.array([{}], object)})
        )
    assert not (tmp_path / "m.h5").exists()


def test_reading_loads_no_tensorflow(path):
    script = (
        "import sys; from pathlib import Path\n"
        "from aetool.storage.checkpoint import read_checkpoint\n"
        "read_checkpoint(Path(sys.argv[1]))\n"
        "sys.exit(bool({'tensorflow', 'keras', 'pickle5', 'sklearn'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script, path], check=True, cwd=Path(__file__).parents[1])


def _forge(path: Path, change) -> None:
    """Rewrites a checkpoint with `change` made and a right digest over it."""
    with open_container(path, "checkpoint") as old:

        def fill(file: h5py.File) -> None:
            file.attrs.update({name: old.attrs[name] for name in old.attrs})
            for name in old:
                old.copy(name, file)
            change(file)

        write_container(path.with_name("forged.h5"), "checkpoint", fill)


def _no_json(file: h5py.File) -> None:
    file.attrs["aetool"] = "{"


def _deep_json(file: h5py.File) -> None:
    file.attrs["aetool"] = "[" * 100_000


def _no_model(file: h5py.File) -> None:
    file.attrs["aetool"] = '{"format": 1}'


def _another_format(file: h5py.File) -> None:
    file.attrs["aetool"] = '{"format": 7, "model": {}}'


def _unhashable_format(file: h5py.File) -> None:
    file.attrs["aetool"] = '{"format": [], "model": {}}'


def _digest_of_text(file: h5py.File) -> None:
    file.attrs["aetool_digest"] = np.bytes_(b"\xff" * 64)


def _wrong_size(file: h5py.File) -> None:
    file.attrs["aetool"] = '{"format": 1, "model": {"name": "unet", "size": [1e9, 1]}}'


def _too_large(file: h5py.File) -> None:
    file.attrs["aetool"] = '{"format": 1, "model": {"name": "unet", "size": [99999, 99999]}}'


def _no_weights(file: h5py.File) -> None:
    del file["model_weights"]


def _missing_layer(file: h5py.File) -> None:
    del file["model_weights/z"]


def _missing_variable(file: h5py.File) -> None:
    del file["model_weights/z/z/bias"]


def _text_weights(file: h5py.File) -> None:
    del file["model_weights/z/z/bias"]
    file["model_weights/z/z/bias"] = ["cos\nsystem"]


def _names_of_numbers(file: h5py.File) -> None:
    file["model_weights/z"].attrs["weight_names"] = [1, 2]


def _repeated_names(file: h5py.File) -> None:
    file["model_weights"].attrs["layer_names"] = np.array([b"z"] * 1000)
    file["model_weights/z"].attrs["weight_names"] = np.array([b"z/kernel"] * 1000)


def _long_name(file: h5py.File) -> None:
    file["model_weights"].attrs["layer_names"] = ["A" * 100_000]


def _config_of_numbers(file: h5py.File) -> None:
    file.attrs["model_config"] = 1


def _training_is_no_group(file: h5py.File) -> None:
    file["training"] = 1


def _training_text_column(file: h5py.File) -> None:
    file["training/state"] = ["a", "b"]


@pytest.mark.parametrize(
    "change",
    [
        _no_json,
        _deep_json,
        _no_model,
        _another_format,
        _unhashable_format,
        _digest_of_text,
        _wrong_size,
        _too_large,
        _no_weights,
        _missing_layer,
        _missing_variable,
        _text_weights,
        _names_of_numbers,
        _repeated_names,
        _long_name,
        _config_of_numbers,
        _training_is_no_group,
        _training_text_column,
    ],
)
def test_a_forged_checkpoint_is_refused_in_one_line(path, change):
    _forge(path, change)
    with pytest.raises(FormatError) as caught:
        read_checkpoint(path.with_name("forged.h5"))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < len(str(path)) + 400


def test_layers_that_are_links_to_one_group_claim_no_more_than_the_file_holds(path):
    def link(file: h5py.File) -> None:
        group = file["model_weights"]
        group["z"].attrs["weight_names"] = np.array([b"z/kernel"] * 1000)
        for number in range(100):
            group[f"l{number}"] = group["z"]
        group.attrs["layer_names"] = [f"l{number}" for number in range(100)]

    _forge(path, link)
    with pytest.raises(FormatError, match="weight_names claim more than the file holds"):
        read_checkpoint(path.with_name("forged.h5"))


def test_version_1_stays_readable():
    read = read_checkpoint(Path(__file__).parent / "data" / "checkpoint-1.h5")
    assert read.metadata["model"]["name"] == "conv-ae"
    assert read.metadata["classes"] == ["b", "ä"]
    assert read.weights["encoder1_conv"]["encoder1_conv/kernel"].shape == (3, 3, 1, 4)
    assert read.arrays["history/loss"].shape == (2,)
    assert read.training is None
    assert read.digest == "929e35f1fb4d2d41e3da1f83767c56724ea446104a3113a0f34a72811a26229b"
    assert read.digest == model_digest(read.metadata["model"], read.weights)
