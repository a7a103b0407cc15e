"""Reconstruction by the real command, its pictures reopened."""

import io
import shutil
import time

import keras
import numpy as np
import pytest
from PIL import Image
from untrained import RECONSTRUCTION, write_untrained

from aetool.errors import FormatError
from aetool.images.decode import fit
from aetool.images.quality import mse, psnr, ssim
from aetool.images.source import open_source
from aetool.inference.prepare import frames, restore
from aetool.storage.arrays import ArrayWriter
from aetool.storage.checkpoint import read_checkpoint, write_checkpoint
from aetool.tasks.reconstruct import reconstruct_images


@pytest.fixture
def folder(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    return tmp_path / "photos"


def test_raw_numbers_are_those_of_keras(aetool, digits_model, tmp_path):
    path = tmp_path / "rebuilt.npy"
    done = aetool(
        "reconstruct", "sklearn:digits", path, "-c", digits_model, "--precision=float32", "--json"
    )
    assert done.status == 0, done.stderr
    source = open_source("sklearn:digits")
    pictures = np.stack([fit(source.load(i).pixels, (8, 8), 1) for i in range(len(source))])
    expected = keras.models.load_model(digits_model).predict(pictures, verbose=0)
    rebuilt = np.load(path)
    assert rebuilt.dtype == np.float32 and rebuilt.shape == (1797, 8, 8, 1)
    np.testing.assert_allclose(rebuilt, expected, atol=1e-5)
    for name, measure in (("psnr", psnr), ("ssim", ssim), ("mse", mse)):
        assert done.json[name] == pytest.approx(measure(pictures, expected).mean(), rel=1e-4)


def test_pictures_mirror_the_source_at_their_own_size(aetool, digits_model, folder, tmp_path):
    Image.new("L", (21, 13), 90).save(folder / "sky" / "small.gif")
    (folder / "stripes" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "rebuilt"
    done = aetool("reconstruct", folder, out, "-c", digits_model, "--json")
    assert done.status == 1
    assert done.json["written"] == done.json["read"] == 13
    assert [failure["path"] for failure in done.json["failed"]] == ["stripes/torn.png"]
    with Image.open(out / "sky" / "sky 1.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 48))
    with Image.open(out / "sky" / "small.gif.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (21, 13))
    assert not (out / "stripes" / "torn.png").exists()


def test_a_picture_holds_the_scaled_reconstruction(digits_model, folder, tmp_path):
    source = str(folder / "stripes" / "stripes 2.png")
    array, picture = tmp_path / "raw.npy", tmp_path / "one.png"
    assert reconstruct_images(source, str(array), digits_model).written == 1
    assert reconstruct_images(source, str(picture), digits_model).written == 1
    small = np.round(np.load(array)[0, ..., 0] * 255).astype(np.uint8)
    expected = Image.fromarray(small).resize((64, 48), Image.Resampling.BICUBIC)
    with Image.open(picture) as written:
        np.testing.assert_array_equal(np.asarray(written), np.asarray(expected))


def test_standard_output_carries_a_png(aetool, digits_model, folder):
    picture = (folder / "sky" / "sky 0.jpg").read_bytes()
    done = aetool("reconstruct", "-", "-", "-c", digits_model, stdin=picture)
    assert done.status == 0, done.stderr
    with Image.open(io.BytesIO(done.stdout)) as written:
        assert (written.format, written.size) == ("PNG", (64, 48))


def test_what_is_done_is_not_done_again(aetool, digits_model, folder, tmp_path):
    out = tmp_path / "rebuilt"
    words = ["reconstruct", folder, out, "-c", digits_model, "--json"]
    assert aetool(*words).json["written"] == 12
    again = aetool(*words).json
    assert (again["written"], again["skipped"], again["psnr"]) == (0, 12, None)
    time.sleep(0.01)
    (folder / "sky" / "sky 3.jpg").touch()
    some = aetool(*words).json
    assert (some["written"], some["skipped"]) == (1, 11)
    assert aetool(*words, "--overwrite").json["written"] == 12


def test_the_grid_shows_originals_above_reconstructions(digits_model, folder, tmp_path):
    grid = tmp_path / "grid.png"
    out = str(tmp_path / "rebuilt")
    reconstruct_images(str(folder), out, digits_model, grid=grid)
    with Image.open(grid) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[1] == 10 * pixels.shape[0] // 2 - 16
    first = fit(np.asarray(Image.open(folder / "sky" / "sky 0.jpg")), (8, 8), 1)
    shown = pixels[4:132:16, 4:132:16, 0][:8, :8]
    np.testing.assert_allclose(shown, np.round(first[..., 0] * 255), atol=1)
    grid.unlink()
    again = reconstruct_images(str(folder), out, digits_model, grid=grid)
    assert grid.exists() and again.written == 0 and again.skipped == 12


def test_a_colorizer_is_refused(digits_model, tmp_path):
    checkpoint = read_checkpoint(digits_model)
    checkpoint.metadata["task"] = "colorize"
    write_checkpoint(tmp_path / "colour.h5", checkpoint)
    with pytest.raises(FormatError, match="learnt to colorize"):
        reconstruct_images("sklearn:digits", str(tmp_path / "out"), tmp_path / "colour.h5")


def test_of_several_outputs_the_reconstruction_is_taken(photos, tmp_path):
    outputs = (RECONSTRUCTION, {"name": "z_mean", "decoding": "latent"})
    model = write_untrained(
        tmp_path / "vae.h5", {"name": "conv-vae", "size": (12, 16)}, "reconstruct", output=outputs
    )
    path = tmp_path / "rebuilt.npy"
    reconstruct_images(str(photos), str(path), model, precision="float32")
    source = open_source(str(photos))
    pictures = np.stack([fit(source.load(i).pixels, (12, 16), 1) for i in range(12)])
    expected = keras.models.load_model(model).predict(pictures, verbose=0)["reconstruction"]
    np.testing.assert_allclose(np.load(path), expected, atol=1e-5)


def test_array_files_are_whole_or_absent(tmp_path):
    rows = np.random.default_rng(0).random((1234, 5, 3), np.float32)
    with ArrayWriter(tmp_path / "a.npy", (5, 3)) as writer:
        for start in range(0, 1234, 100):
            writer.append(rows[start : start + 100])
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), rows)
    with pytest.raises(RuntimeError), ArrayWriter(tmp_path / "b.npy", (5, 3)) as writer:
        writer.append(rows)
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


@pytest.mark.parametrize("how", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(30, 90), (91, 40), (33, 47)])
def test_restoring_undoes_fitting(how, size):
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    pixels = np.uint8(40 + 60 * rows / size[0] + 120 * columns / size[1])
    fitted = np.round(fit(pixels, (64, 64), 1, how=how)[..., 0] * 255).astype(np.uint8)
    (top, left, bottom, right), _ = frames(size, (64, 64), how)
    restored = restore(fitted, size, how).astype(int)
    assert restored.shape == (bottom - top, right - left)
    assert how == "crop" or restored.shape == size
    difference = np.abs(restored - pixels[top:bottom, left:right])
    assert difference[2:-2, 2:-2].max() <= 4
