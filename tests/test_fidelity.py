"""bfloat16 is used where it comes near enough to float32 with the weights that were trained."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from aetool.inference import precision
from aetool.inference.fidelity import measure_fidelity
from aetool.inference.precision import FAITHFUL, has_bfloat16, resolve_precision
from aetool.storage.checkpoint import read_checkpoint, write_checkpoint

needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="no bfloat16 in the processor")


@pytest.fixture
def restated(digits_model, tmp_path):
    """A copy of the model that says another fidelity of itself."""

    def make(decibels):
        checkpoint = read_checkpoint(digits_model)
        about = {"bfloat16": decibels, "pictures": 16}
        checkpoint = replace(checkpoint, metadata={**checkpoint.metadata, "fidelity": about})
        write_checkpoint(path := tmp_path / f"{decibels}.h5", checkpoint)
        return path

    return make


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_what_the_processor_has_and_the_model_bears(monkeypatch, native):
    monkeypatch.setattr(precision, "has_bfloat16", lambda: native)
    fast = "bfloat16" if native else "float32"
    near, far = ({"fidelity": {"bfloat16": FAITHFUL + d}} for d in (0.1, -0.1))
    assert resolve_precision("auto") == resolve_precision("auto", {"fidelity": None}) == fast
    assert resolve_precision("auto", near) == fast
    assert resolve_precision("auto", far) == "float32"
    assert resolve_precision("bfloat16", far) == "bfloat16"


@needs_bfloat16
def test_a_training_measures_it_and_info_tells(aetool, digits_model):
    told = aetool("info", digits_model, "--json").json["fidelity"]
    assert told["pictures"] == 16
    assert 30 < told["bfloat16"] < 100


@needs_bfloat16
def test_a_model_that_bfloat16_does_not_bear_is_computed_in_float32(aetool, restated, tmp_path):
    features = {}
    for name, model, options in (
        ("kept", restated(60.0), ()),
        ("fallen back", restated(40.0), ()),
        ("asked", restated(60.0), ("--precision", "float32")),
    ):
        out = tmp_path / f"{name}.h5"
        aetool("encode", "sklearn:digits", "-c", model, "-o", out, *options)
        with h5py.File(out) as file:
            features[name] = file["features"][:]
            assert file.attrs["precision"] == ("bfloat16" if name == "kept" else "float32")
    assert np.array_equal(features["fallen back"], features["asked"])
    assert not np.array_equal(features["kept"], features["asked"])


@needs_bfloat16
def test_the_measure_is_that_of_the_worst_output(digits_model):
    checkpoint = read_checkpoint(digits_model)
    images = np.random.default_rng(0).random((8, 8, 8, 1), np.float32)
    few = measure_fidelity(checkpoint, images)
    assert few["pictures"] == 8
    for variables in checkpoint.weights.values():
        for name, array in variables.items():
            variables[name] = np.zeros_like(array)  # every picture grey, in either precision
    assert measure_fidelity(checkpoint, images)["bfloat16"] == 120.0


def test_it_is_measured_in_batches_that_fit(monkeypatch, digits_model):
    """As many pictures at once as the program would choose, however many there are."""
    checkpoint = read_checkpoint(digits_model)
    images = np.random.default_rng(0).random((7, 8, 8, 1), np.float32)
    whole = measure_fidelity(checkpoint, images)
    monkeypatch.setattr("aetool.inference.fidelity.natural_batch_size", lambda *size: 3)
    parts = measure_fidelity(checkpoint, images)
    assert parts["pictures"] == 7
    assert parts["bfloat16"] == pytest.approx(whole["bfloat16"], abs=1)
