"""Encoding by the real command, its latents reopened."""

import shutil

import numpy as np
import pytest

from aetool.errors import UsageError
from aetool.images.decode import decode, fit
from aetool.images.source import open_source
from aetool.inference.load import load_model
from aetool.storage.checkpoint import read_checkpoint
from aetool.storage.latents import open_latents
from aetool.tasks.encode import encode_images


def test_latents_are_what_the_encoder_says(aetool, digits_model, tmp_path):
    path = tmp_path / "latents.h5"
    done = aetool(
        "encode", "sklearn:digits", "-c", digits_model, "-o", path, "--precision=float32", "--json"
    )
    assert done.status == 0, done.stderr
    assert done.json["rows"] == done.json["written"] == done.json["read"] == 1797
    assert done.json["dimensions"] == 8 and done.json["failed"] == []
    source = open_source("sklearn:digits")
    pictures = np.stack([fit(source.load(i).pixels, (8, 8), 1) for i in range(0, 1797, 60)])
    expected = load_model(digits_model, encode=True).model.predict(pictures, verbose=0)
    with open_latents(path) as latents:
        features = np.concatenate(list(latents.chunks()))
        np.testing.assert_allclose(
            features[::60], expected.reshape(len(pictures), -1), rtol=1e-5, atol=1e-5
        )
        assert latents.feature_shape == expected.shape[1:]
        assert latents.paths[17] == source.name(17)
        assert list(latents.index[:3]) == [0, 1, 2]
        assert [latents.class_names[n] for n in latents.labels[:3]] == ["0", "1", "2"]
        assert latents.precision == "float32"
        assert latents.checkpoint == read_checkpoint(digits_model).digest


def test_unreadable_pictures_are_absent_and_reported(aetool, digits_model, photos, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "sky" / "sky 2.jpg").write_bytes(b"no picture")
    path = tmp_path / "latents.h5"
    done = aetool("encode", folder, "-c", digits_model, "-o", path, "--json")
    assert done.status == 1
    assert done.json["rows"] == 11
    assert [failure["path"] for failure in done.json["failed"]] == ["sky/sky 2.jpg"]
    with open_latents(path) as latents:
        assert list(latents.index) == [0, 1, *range(3, 12)]
        assert "sky/sky 2.jpg" not in latents.paths
        assert np.isfinite(np.concatenate(list(latents.chunks()))).all()
    allowed = aetool(
        "encode", folder, "-c", digits_model, "-o", path, "--allow-failures", "1", "-q"
    )
    assert allowed.status == 0


def test_nothing_readable_writes_nothing(aetool, digits_model, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"")
    path = tmp_path / "latents.h5"
    done = aetool("encode", tmp_path, "-c", digits_model, "-o", path, "--json")
    assert done.status == 1
    assert done.json["rows"] == 0 and done.json["dimensions"] is None
    assert not path.exists()


def test_latents_do_not_replace_what_they_are_made_of(aetool, digits_model, photos, tmp_path):
    folder, model = tmp_path / "in", tmp_path / "m.h5"
    folder.mkdir()
    picture = folder / "a.png"
    picture.write_bytes(next(photos.rglob("*.png")).read_bytes())
    pictures = tmp_path / "x.npz"
    np.savez(pictures, x_train=np.zeros((3, 8, 8), np.uint8))
    model.write_bytes(digits_model.read_bytes())
    before = {path: path.read_bytes() for path in (picture, pictures, model)}
    for source, output in (
        (folder, picture),
        (picture, picture),
        (pictures, pictures),
        (f"{pictures}/train", pictures),
        (folder, model),
    ):
        done = aetool("encode", source, "-c", model, "-o", output)
        assert done.status == 2, (source, output)
        assert "its result would replace it" in done.stderr
    assert before == {path: path.read_bytes() for path in before}


def test_a_pipe_carries_the_same_bytes_as_a_file(aetool, digits_model, photos, tmp_path):
    path = tmp_path / "latents.h5"
    assert aetool("encode", photos, "-c", digits_model, "-o", path, "-q").status == 0
    piped = aetool("encode", photos, "-c", digits_model, "-o", "-", "-q")
    assert piped.status == 0
    assert piped.stdout == path.read_bytes()


def test_a_result_never_depends_on_its_company(digits_model, photos, tmp_path):
    alone, together = tmp_path / "alone.h5", tmp_path / "together.h5"
    encode_images(str(photos), together, digits_model)
    encode_images(str(photos / "stripes" / "stripes 3.png"), alone, digits_model)
    with open_latents(alone) as one, open_latents(together) as all_of_them:
        row = all_of_them.paths.index("stripes/stripes 3.png")
        np.testing.assert_array_equal(one.features[0], all_of_them.features[row])


def test_layers_and_pooling(digits_model, tmp_path):
    path = tmp_path / "latents.h5"
    result = encode_images(
        "sklearn:digits", path, digits_model, layer="encoder1_conv", precision="float32"
    )
    assert result.dimensions == 8 * 8 * 16
    with open_latents(path) as latents:
        maps = np.array(latents.features[:5]).reshape(5, 8, 8, 16)
    result = encode_images(
        "sklearn:digits", path, digits_model, layer="encoder1_conv", pool="mean",
        precision="float32",
    )  # fmt: skip
    assert result.dimensions == 16
    with open_latents(path) as latents:
        assert latents.feature_shape == (16,)
        np.testing.assert_allclose(latents.features[:5], maps.mean(axis=(1, 2)), rtol=1e-5)
    with pytest.raises(UsageError, match="no layer 'attic'"):
        encode_images("sklearn:digits", path, digits_model, layer="attic")


def test_pixels_need_no_model(aetool, photos, tmp_path):
    path = tmp_path / "pixels.h5"
    done = aetool("encode", photos, "--pixels", "--size", "6x4", "-o", path, "--json")
    assert done.json["dimensions"] == 4 * 6 * 3
    with open_latents(path) as latents:
        assert latents.feature_shape == (4, 6, 3) and latents.checkpoint == ""
        pixels = decode(photos / "stripes" / "stripes 0.png").pixels
        row = latents.paths.index("stripes/stripes 0.png")
        np.testing.assert_array_equal(
            np.array(latents.features[row]).reshape(4, 6, 3), fit(pixels, (4, 6), 3)
        )


def test_pixels_keep_the_size_and_channels_of_the_pictures(tmp_path):
    result = encode_images("sklearn:digits", tmp_path / "pixels.h5", pixels=True)
    assert (result.rows, result.dimensions) == (1797, 64)


def test_wrong_usage_is_refused(aetool, digits_model, tmp_path, monkeypatch):
    monkeypatch.delenv("AETOOL_CHECKPOINT", raising=False)
    path = tmp_path / "latents.h5"
    for words in (
        [],
        ["--pixels", "--layer", "latent"],
        ["-c", digits_model, "--size", "8"],
        ["-c", digits_model, "--layer", "attic"],
    ):
        done = aetool("encode", "sklearn:digits", "-o", path, *words)
        assert done.status == 2, done.stderr
        assert "hint" in done.stderr
    assert not path.exists()


def test_the_model_may_be_named_once_for_all_commands(aetool, digits_model, tmp_path, monkeypatch):
    monkeypatch.setenv("AETOOL_CHECKPOINT", str(digits_model))
    named, given = tmp_path / "named.h5", tmp_path / "given.h5"
    assert aetool("encode", "sklearn:digits", "-o", named).status == 0
    monkeypatch.setenv("AETOOL_CHECKPOINT", str(tmp_path / "none.h5"))
    assert aetool("encode", "sklearn:digits", "-o", given, "-c", digits_model).status == 0
    with open_latents(named) as first, open_latents(given) as second:
        np.testing.assert_array_equal(first.features[:], second.features[:])
    done = aetool("encode", "sklearn:digits", "-o", tmp_path / "none-of-it.h5")
    assert done.status == 1 and "none.h5" in done.stderr
