"""Drawings of a latent space by the real command, opened again."""

import keras
import numpy as np
import pytest
from PIL import Image, ImageSequence
from untrained import RECONSTRUCTION, write_untrained

from aetool.images.decode import fit
from aetool.images.source import open_source
from aetool.models.conv_vae import decoder
from aetool.plots.mosaic import enlarged, mosaic
from aetool.plots.style import class_colors
from aetool.storage.atomic import locked

SIZE = (8, 12)


def write_vae(path, **changes):
    spec = {"name": "conv-vae", "size": SIZE, "channels": 1, "widths": (4, 3), **changes}
    outputs = (
        {"name": "z_mean", "decoding": "latent"},
        {"name": "z_log_var", "decoding": "latent"},
    )
    return write_untrained(path, spec, "reconstruct", output=(RECONSTRUCTION, *outputs))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_vae(tmp_path_factory.mktemp("vae") / "vae.h5")


@pytest.fixture(scope="module")
def opened(model):
    return keras.models.load_model(model)


def decoded(opened, points) -> np.ndarray:
    """What Keras makes of latent points: uint8 (n, h, w, c)."""
    return np.round(decoder(opened).predict(np.asarray(points, "f4"), verbose=0) * 255)


def pixels_of(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_the_grid_shows_the_plane_as_a_plot_does(aetool, model, opened, tmp_path):
    path = tmp_path / "plane.png"
    done = aetool("generate", "-c", model, "-o", path, "--grid", 5, "--range", "3", "--json")
    assert done.status == 0, done.stderr
    assert list(done.json) == ["read", "written", "skipped", "failed", "seconds"]
    assert done.json["written"] == 25
    plane = pixels_of(path).astype(int)
    assert plane.shape == (5 * 8, 5 * 12)
    corners = {(0, 0): (-3, 3), (0, 4): (3, 3), (4, 0): (-3, -3), (2, 1): (-1.5, 0)}
    for (row, column), point in corners.items():
        tile = plane[8 * row : 8 * row + 8, 12 * column : 12 * column + 12]
        (expected,) = decoded(opened, [point])[..., 0]
        assert np.abs(tile - expected).max() <= 1
    assert plane.std() > 0


def test_the_range_is_four_without_a_word(aetool, model, tmp_path):
    for name, words in (("a.png", []), ("b.png", ["--range", 4])):
        done = aetool("generate", "-c", model, "-o", tmp_path / name, "--grid", 3, *words)
        assert done.status == 0 and "9 pictures drawn" in done.stderr
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.png"), pixels_of(tmp_path / "b.png"))


def test_samples_follow_from_the_seed(aetool, model, opened, tmp_path):
    sheets = {}
    for name, count, seed in (("a", 4, 1), ("b", 4, 1), ("c", 4, 2), ("one", 1, 1)):
        path = tmp_path / f"{name}.png"
        words = ("--samples", count, "--seed", seed)
        assert aetool("generate", "-c", model, "-o", path, *words).status == 0
        sheets[name] = pixels_of(path).astype(int)
    np.testing.assert_array_equal(sheets["a"], sheets["b"])
    assert not np.array_equal(sheets["a"], sheets["c"])
    assert sheets["a"].shape == (204, 204, 3)
    points = np.random.default_rng(1).standard_normal((4, 2))
    first, second = decoded(opened, points)[:2, ..., 0]
    for left, expected in ((4, first), (104, second)):
        shown = sheets["a"][4 + 16 : 100 - 16 : 8, left : left + 96 : 8, 0]
        assert np.abs(shown - expected).max() <= 1
    np.testing.assert_array_equal(sheets["one"][:100, :100], sheets["a"][:100, :100])


def test_a_walk_goes_straight_from_point_to_point(aetool, model, opened, tmp_path):
    path = tmp_path / "walk.gif"
    words = ("--walk", "-0.7,-3", "-0.7, 2", "--frames", 6)
    done = aetool("generate", "-c", model, "-o", path, *words, "--json")
    assert done.status == 0, done.stderr
    assert (done.json["read"], done.json["written"]) == (0, 6)
    expected = decoded(opened, [(-0.7, y) for y in (-3, -2, -1, 0, 1, 2)])
    with Image.open(path) as walk:
        assert (walk.format, walk.size, walk.info["loop"]) == ("GIF", (21 * 12, 21 * 8), 0)
        shown = [np.asarray(frame.convert("L"), int) for frame in ImageSequence.Iterator(walk)]
    assert len(shown) == 6
    for frame, picture in zip(shown, expected, strict=True):
        assert np.abs(frame[::21, ::21] - picture[..., 0]).max() <= 1


def test_a_walk_between_pictures_starts_and_ends_at_their_means(
    aetool, model, opened, photos, tmp_path
):
    ends = [photos / "sky" / "sky 1.jpg", photos / "stripes" / "stripes 4.png"]
    path = tmp_path / "walk.gif"
    words = ("-c", model, "-o", path, "--precision=float32", "--json")
    done = aetool("generate", *words, "--walk", *ends)
    assert done.status == 0, done.stderr
    assert (done.json["read"], done.json["written"]) == (2, 50)
    pictures = np.stack([fit(pixels_of(end), SIZE, 1) for end in ends])
    expected = opened.predict(pictures, verbose=0)["reconstruction"] * 255
    with Image.open(path) as walk:
        frames = [np.asarray(f.convert("L"), float) for f in ImageSequence.Iterator(walk)]
    for frame, picture in zip((frames[0], frames[-1]), expected, strict=True):
        assert np.abs(frame[::21, ::21] - picture[..., 0]).max() <= 1.01
    assert aetool("generate", *words, "--walk", ends[0], "0,0").json["read"] == 1


def test_colour_pictures_are_drawn_in_colour(aetool, tmp_path):
    model = write_vae(tmp_path / "colour.h5", channels=3)
    for name, words in (("g.jpg", ["--grid", 2]), ("w.gif", ["--walk", "0,0", "1,1"])):
        assert aetool("generate", "-c", model, "-o", tmp_path / name, *words).status == 0
    assert pixels_of(tmp_path / "g.jpg").shape == (16, 24, 3)
    with Image.open(tmp_path / "w.gif") as walk:
        assert walk.n_frames > 1 and np.ptp(np.asarray(walk.convert("RGB")), axis=2).max() > 3


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_scatter_plot_has_a_point_a_picture(aetool, photos, tmp_path, dimensions, monkeypatch):
    drawn = {}
    from aetool.plots import scatter as plots

    def scatter(points, axes, labels, names):
        drawn.update(points=points, axes=axes, labels=labels, names=names)
        return original(points, axes, labels, names)

    original = plots.scatter
    monkeypatch.setattr(plots, "scatter", scatter)
    model = write_vae(tmp_path / "vae.h5", latent_dim=dimensions)
    path = tmp_path / "scatter.png"
    words = ("--scatter", photos, "--precision=float32", "--json")
    done = aetool("generate", "-c", model, "-o", path, *words)
    assert done.status == 0, done.stderr
    assert (done.json["read"], done.json["written"]) == (12, 12)
    source = open_source(str(photos))
    pictures = np.stack([fit(source.load(i, reduce_to=SIZE).pixels, SIZE, 1) for i in range(12)])
    expected = keras.models.load_model(model).predict(pictures, verbose=0)["z_mean"]
    np.testing.assert_allclose(drawn["points"], expected, atol=1e-4)
    assert drawn["labels"].tolist() == [0] * 6 + [1] * 6
    assert drawn["axes"] == [f"latent {n}" for n in range(1, dimensions + 1)]
    figure = pixels_of(path)[..., :3] / 255
    for color in class_colors(2):
        assert (np.abs(figure - color).max(axis=2) < 0.12).any()


def test_a_picture_that_cannot_be_read_is_no_point(aetool, model, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = ("-c", model, "-o", tmp_path / "s.svg", "--scatter", pictures, "--json")
    done = aetool("generate", *words)
    assert (done.status, done.json["written"]) == (1, 0)
    assert not (tmp_path / "s.svg").exists()
    Image.new("L", (9, 9), 70).save(pictures / "a.png")
    done = aetool("generate", *words)
    assert done.status == 1 and (tmp_path / "s.svg").read_text().startswith("<?xml")
    assert [failure["path"] for failure in done.json["failed"]] == ["b.png"]


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("a.png", [], "draws nothing"),
        ("a.png", ["--grid", 2, "--samples", 2], "not --samples and --grid"),
        ("a.png", ["--samples", 2, "--range", 2], "--range goes with --grid"),
        ("a.png", ["--samples", 2, "--frames", 2], "--frames goes with --walk"),
        ("a.png", ["--samples", 0], "--samples"),
        ("a.png", ["--samples", 1_000_000], "--samples"),
        ("a.png", ["--grid", 2, "--range", 0], "no positive number"),
        ("a.png", ["--grid", 2, "--range", "nan"], "no positive number"),
        ("a.gif", ["--grid", 2], "a.gif is no name of a picture"),
        ("a", ["--samples", 2], "is no name of a picture"),
        ("a.png", ["--walk", "0,0", "1,1"], "a.png is no .gif"),
        ("a.gif", ["--walk", "0,0", "1,1,1"], "1,1,1 has 3 coordinates"),
        ("a.gif", ["--walk", "nan,0", "1,1"], "nan,0 is no point"),
        ("a.gif", ["--walk", "0,0"], "--walk"),
        ("a.gif", ["--scatter", "sklearn:digits"], "cannot draw"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_drawn(
    aetool, model, tmp_path, name, words, message
):
    done = aetool("generate", "-c", model, "-o", tmp_path / name, *words)
    assert done.status == 2, done.stderr
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_two_runs_on_one_output_refuse_each_other(aetool, model, tmp_path):
    output = tmp_path / "plane.png"
    with locked(output):
        done = aetool("generate", "-c", model, "-o", output, "--grid", 2)
    assert done.status == 1 and "plane.png" in done.stderr
    assert not output.exists()


def test_ends_that_are_no_picture(aetool, model, photos, tmp_path):
    output = tmp_path / "walk.gif"
    for end, message in (
        (photos, "12 pictures"),
        ("nowhere.png", "nowhere.png"),
    ):
        done = aetool("generate", "-c", model, "-o", output, "--walk", "0,0", end)
        assert done.status == 1 and message in done.stderr
    assert not output.exists()


def test_a_plane_needs_two_dimensions_and_a_variational_model(aetool, tmp_path):
    wide = write_vae(tmp_path / "wide.h5", latent_dim=16)
    for words in (["--grid", 3], ["--scatter", "sklearn:digits"]):
        done = aetool("generate", "-c", wide, "-o", tmp_path / "a.png", *words)
        assert done.status == 2 and "16" in done.stderr and "hint: " in done.stderr
    assert aetool("generate", "-c", wide, "-o", tmp_path / "a.png", "--samples", 3).status == 0
    other = write_untrained(tmp_path / "other.h5", {"name": "conv-ae"}, "reconstruct")
    done = aetool("generate", "-c", other, "-o", tmp_path / "b.png", "--samples", 3)
    assert done.status == 1 and "conv-ae has no latent space" in done.stderr


def test_a_mosaic_has_no_gaps():
    pictures = np.arange(6 * 2 * 3).reshape(6, 2, 3, 1)
    laid = mosaic(pictures, 3)
    assert laid.shape == (4, 9, 1)
    np.testing.assert_array_equal(laid[2:, 3:6], pictures[4])
    np.testing.assert_array_equal(enlarged(pictures[0], 7)[::2, ::2], pictures[0])
    assert enlarged(pictures[0], 7).shape == (4, 6, 1)
    assert enlarged(pictures[0], 1).shape == (2, 3, 1)
