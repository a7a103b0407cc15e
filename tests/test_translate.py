"""Translation by the real command, its pictures reopened."""

import io
import os
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from untrained import RECONSTRUCTION, write_untrained

from aetool.images.decode import fit
from aetool.images.edges import edges
from aetool.images.quality import psnr
from aetool.inference.prepare import restore

SIZE = (16, 16)
OUTPUT = {**RECONSTRUCTION, "range": [-1, 1]}


def write_translator(path, channels=1, outputs=3, **preprocessing):
    spec = {"name": "pix2pix", "size": SIZE, "channels": channels, "outputs": outputs, "width": 3}
    about = {"range": [-1, 1], **preprocessing}
    return write_untrained(path, spec, "translate", output=(OUTPUT,), preprocessing=about)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_translator(tmp_path_factory.mktemp("translator") / "translator.h5")


@pytest.fixture
def folder(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    return tmp_path / "photos"


def pixels_of(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def predicted(model, pictures: list[np.ndarray]) -> np.ndarray:
    """What Keras makes of network inputs (h, w, c) in [0, 1]: float (n, h, w, 3) in [0, 1]."""
    values = keras.models.load_model(model).predict(np.stack(pictures) * 2 - 1, verbose=0)
    return (values + 1) / 2


def eight_bit(unit: np.ndarray) -> np.ndarray:
    return np.round(unit * 255).astype(np.uint8)


def test_pictures_mirror_the_source_at_their_own_size(aetool, model, folder, tmp_path):
    (folder / "stripes" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("L", (21, 13), 90).save(folder / "sky" / "small.gif")
    out = tmp_path / "out"
    done = aetool("translate", folder, out, "-c", model, "--json", "--precision=float32")
    assert done.status == 1
    keys = ["read", "written", "skipped", "failed", "seconds", "l1", "psnr"]
    assert list(done.json) == keys
    assert done.json["read"] == done.json["written"] == 13
    assert [failure["path"] for failure in done.json["failed"]] == ["stripes/torn.png"]
    assert done.json["l1"] is None
    with Image.open(out / "sky" / "sky 1.jpg") as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (64, 48), "RGB")
    assert pixels_of(out / "sky" / "small.gif.png").shape == (13, 21, 3)
    name = "stripes/stripes 2.png"
    (result,) = predicted(model, [fit(pixels_of(folder / name), SIZE, 1)])
    expected = restore(eight_bit(result), (48, 64), "stretch").astype(int)
    assert np.abs(pixels_of(out / name) - expected).max() <= 1


def test_what_is_done_is_not_done_again(aetool, model, folder, tmp_path):
    words = ["translate", folder, tmp_path / "out", "-c", model, "--json"]
    assert aetool(*words).json["written"] == 12
    again = aetool(*words).json
    assert (again["read"], again["written"], again["skipped"]) == (0, 0, 12)
    os.utime(folder / "sky" / "sky 3.jpg")
    assert aetool(*words).json["written"] == 1
    assert aetool(*words, "--overwrite").json["written"] == 12


def test_standard_output_carries_a_png(aetool, model, folder):
    data = (folder / "sky" / "sky 0.jpg").read_bytes()
    done = aetool("translate", "-", "-", "-c", model, stdin=data)
    assert done.status == 0, done.stderr
    with Image.open(io.BytesIO(done.stdout)) as written:
        assert (written.format, written.size) == ("PNG", (64, 48))
    assert aetool("translate", "-", "-", "-c", model, "--json", stdin=data).status == 2


def test_edges_are_made_at_the_networks_size_and_their_pictures_are_the_truth(
    aetool, model, folder, tmp_path
):
    out, grid = tmp_path / "out", tmp_path / "grid.png"
    words = ("--edges", "--evaluate", "--grid", grid, "--precision=float32", "--json")
    done = aetool("translate", folder, out, "-c", model, *words)
    assert done.status == 0, done.stderr
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    truth = np.stack([fit(pixels_of(path), SIZE, 3) for path in files])
    drawn = [np.float32(edges(eight_bit(picture))[..., None] / 255) for picture in truth]
    results = predicted(model, drawn)
    assert done.json["l1"] == pytest.approx(np.abs(results - truth).mean(), abs=1e-5)
    assert done.json["psnr"] == pytest.approx(psnr(results, truth).mean(), abs=1e-3)
    expected = restore(eight_bit(results[7]), (48, 64), "stretch").astype(int)
    written = pixels_of(out / files[7].relative_to(folder))
    assert np.abs(written - expected).max() <= 1
    sheet = pixels_of(grid)
    assert sheet.shape == (3 * 132 + 4, 10 * 132 + 4, 3)  # edges, results, truths
    shown = [sheet[4 + row * 132 : 132 + row * 132 : 8, 4:132:8] for row in range(3)]
    np.testing.assert_array_equal(shown[0][..., 0], drawn[0][..., 0] * 255)
    np.testing.assert_allclose(shown[1], eight_bit(results[0]), atol=1)
    np.testing.assert_array_equal(shown[2], eight_bit(truth[0]))


def test_targets_are_found_by_name(aetool, model, folder, tmp_path):
    targets = tmp_path / "targets"
    (targets / "sky").mkdir(parents=True)
    random = np.random.default_rng(0)
    truth = []
    for number in (1, 4):
        Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(
            targets / "sky" / f"sky {number}.png"
        )
        truth.append(fit(pixels_of(targets / "sky" / f"sky {number}.png"), SIZE, 3))
    inputs = [fit(pixels_of(folder / "sky" / f"sky {number}.jpg"), SIZE, 1) for number in (1, 4)]
    words = ("--evaluate", "--target", targets, "--precision=float32", "--json")
    done = aetool("translate", folder, "-c", model, *words)
    assert done.status == 0, done.stderr
    assert (done.json["read"], done.json["written"]) == (12, 0)
    error = np.abs(predicted(model, inputs) - np.stack(truth)).mean()
    assert done.json["l1"] == pytest.approx(error, abs=1e-5)
    assert "10 of 12 pictures have no target" in done.stderr
    (targets / "sky" / "sky 4.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (failure,) = aetool("translate", folder, "-c", model, *words).json["failed"]
    assert failure["path"] == "sky/sky 4.jpg" and failure["reason"].startswith("its target: ")


@pytest.mark.parametrize("target", ["left", "right"])
def test_a_picture_may_hold_its_target_beside_it(aetool, model, tmp_path, target):
    pair = np.random.default_rng(0).integers(0, 256, (24, 2 * 20, 3), np.uint8)
    (tmp_path / "pairs").mkdir()
    Image.fromarray(pair).save(tmp_path / "pairs" / "1.png")
    left, right = pair[:, :20], pair[:, 20:]
    given, truth = (left, right) if target == "right" else (right, left)
    words = ("--target", target, "--evaluate", "--precision=float32", "--json")
    done = aetool("translate", tmp_path / "pairs", tmp_path / "out", "-c", model, *words)
    assert done.status == 0, done.stderr
    result = predicted(model, [fit(given, SIZE, 1)])[0]
    assert done.json["l1"] == pytest.approx(np.abs(result - fit(truth, SIZE, 3)).mean(), abs=1e-5)
    written = pixels_of(tmp_path / "out" / "1.png").astype(int)
    expected = restore(eight_bit(result), (24, 20), "stretch")
    assert written.shape == (24, 20, 3) and np.abs(written - expected).max() <= 1


def test_a_model_may_take_colour_and_give_grey(aetool, folder, tmp_path):
    model = write_translator(tmp_path / "grey.h5", channels=3, outputs=1, fit="crop")
    words = ("--edges", "--evaluate", "--json")
    done = aetool("translate", folder, tmp_path / "out", "-c", model, *words)
    assert done.status == 0, done.stderr
    assert pixels_of(tmp_path / "out" / "stripes" / "stripes 0.png").shape == (48, 48)
    assert 0 < done.json["l1"] < 1


def test_edges_are_found_as_in_training(aetool, folder, tmp_path):
    settings = {"method": "canny", "sigma": 2.0, "low": 0.02, "high": 0.05}
    model = write_translator(tmp_path / "edges.h5", edges=settings)
    picture, out = folder / "stripes" / "stripes 5.png", tmp_path / "out.png"
    words = (picture, out, "-c", model, "--precision=float32")
    plain = aetool("translate", *words)
    assert "trained on edges: unless these are, add --edges" in plain.stderr
    done = aetool("translate", *words, "--edges", "--overwrite")
    assert done.status == 0 and "trained on edges" not in done.stderr
    seen = edges(eight_bit(fit(pixels_of(picture), SIZE, 3)), 2.0, 0.02, 0.05)
    assert seen.any() and not np.array_equal(seen, edges(fit(pixels_of(picture), SIZE, 3)))
    (result,) = predicted(model, [np.float32(seen[..., None] / 255)])
    expected = restore(eight_bit(result), (48, 64), "stretch").astype(int)
    assert np.abs(pixels_of(out) - expected).max() <= 1


def test_a_grid_alone_translates_what_it_shows(aetool, model, folder, tmp_path):
    grid = tmp_path / "grid.png"
    done = aetool("translate", folder, "-c", model, "--grid", grid, "--json")
    assert (done.json["read"], done.json["written"]) == (10, 0)
    assert pixels_of(grid).shape == (2 * 132 + 4, 10 * 132 + 4, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "needs OUT"),
        (["out", "--target", "t"], "--target is what --evaluate"),
        (["--evaluate"], "--evaluate needs targets"),
    ],
)
def test_options_that_do_not_go_together(aetool, model, folder, words, message):
    done = aetool("translate", folder, *words, "-c", model)
    assert done.status == 2 and message in done.stderr


def test_another_kind_of_model_is_refused(aetool, folder, tmp_path):
    other = write_untrained(tmp_path / "other.h5", {"name": "conv-ae"}, "reconstruct")
    done = aetool("translate", folder, tmp_path / "out", "-c", other)
    assert done.status == 1 and "learnt to reconstruct, not to translate" in done.stderr
    assert not (tmp_path / "out").exists()
