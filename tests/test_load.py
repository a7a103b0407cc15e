"""Loading: by aetool's own builder, at another size where the weights fit any."""

import numpy as np
import pytest

from aetool.errors import FormatError, UsageError
from aetool.inference.load import load_model, rebuild
from aetool.storage.checkpoint import read_checkpoint


def test_the_encoder_ends_at_the_latent_layer(digits_model):
    loaded = load_model(digits_model, encode=True)
    assert loaded.model.output_names == ["latent"] and loaded.model.output.shape[1:] == (1, 1, 8)
    assert loaded.size == (8, 8) and loaded.preprocessing["channels"] == 1
    assert load_model(digits_model, encode=True, layer="encoder1_conv").model.output.shape[1] == 8
    with pytest.raises(UsageError, match="no layer 'middle'"):
        load_model(digits_model, encode=True, layer="middle")


def test_a_network_can_be_rebuilt_larger(digits_model):
    larger = load_model(digits_model, size=(16, 24))
    assert larger.model(np.zeros((1, 16, 24, 1), np.float32)).shape == (1, 16, 24, 1)


def test_a_family_of_a_later_version_is_refused(digits_model):
    checkpoint = read_checkpoint(digits_model)
    checkpoint.metadata["model"]["name"] = "transformer"
    with pytest.raises(FormatError, match="'transformer' is unknown"):
        rebuild(checkpoint)


def test_arguments_that_build_nothing_are_refused(digits_model):
    checkpoint = read_checkpoint(digits_model)
    checkpoint.metadata["model"]["widths"] = [1, "x"]
    with pytest.raises(FormatError, match="cannot be built"):
        rebuild(checkpoint)


def test_no_network_is_built_that_is_larger_than_its_file(digits_model):
    """Sixty gigabytes of a kernel are claimed, and refused before memory is taken."""
    checkpoint = read_checkpoint(digits_model)
    checkpoint.metadata["model"]["widths"] = [1 << 15, 1 << 15, 8]
    with pytest.raises(FormatError, match="more than 4,385 weights"):
        rebuild(checkpoint)


def test_what_a_description_leaves_out_is_an_error_of_the_file(digits_model):
    checkpoint = read_checkpoint(digits_model)
    del checkpoint.metadata["preprocessing"]["fit"]
    with pytest.raises(FormatError, match="does not say its fit"):
        checkpoint.metadata["preprocessing"]["fit"]
