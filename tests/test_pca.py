"""aetool pca, end to end: coordinates, figures, and what it refuses."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from aetool.plots.sheets import GAP, LABEL_HEIGHT, TILE
from aetool.storage.latents import LatentsWriter


@pytest.fixture
def rows() -> np.ndarray:
    random = np.random.default_rng(0)
    return (random.normal(size=(60, 5)) * [5, 3, 2, 0.5, 0.1]).astype(np.float32)


@pytest.fixture
def latents(rows, tmp_path) -> Path:
    path = tmp_path / "latents.h5"
    settings = {"source": "/pictures", "class_names": ("a", "b")}
    with LatentsWriter(path, dimensions=5, feature_shape=(5,), **settings) as writer:
        names = [f"{n}, of 60.png" for n in range(60)]
        writer.append(rows, range(60), names, np.arange(60) % 3 - 1)
    return path


@pytest.mark.parametrize("components", [2, 3])
def test_coordinates_are_scikit_learns_in_input_order(components, aetool, latents, rows):
    done = aetool("pca", latents, "--components", components, "-q")
    assert done.status == 0, done.stderr
    header, *table = csv.reader(io.StringIO(done.text))
    assert header == ["path", "label", "pc1", "pc2", "pc3"][: 2 + components]
    assert [row[0] for row in table] == [f"{n}, of 60.png" for n in range(60)]
    assert [row[1] for row in table[:3]] == ["", "a", "b"]
    theirs = PCA(components).fit_transform(rows)
    ours = np.array([row[2:] for row in table], dtype=float)
    assert np.allclose(np.abs(ours), np.abs(theirs), atol=1e-3)


def test_json_tells_the_explained_variance(aetool, latents, rows, tmp_path):
    done = aetool("pca", latents, "-o", tmp_path / "c.csv", "--json")
    assert list(done.json) == ["explained_variance_ratio", "rows", "failed"]
    assert (done.json["rows"], done.json["failed"]) == (len(rows), [])
    expected = PCA(2).fit(rows).explained_variance_ratio_
    assert np.allclose(done.json["explained_variance_ratio"], expected, atol=1e-5)


def test_equal_rows_explain_nothing(aetool, tmp_path):
    np.save(tmp_path / "same.npy", np.ones((7, 3)))
    words = ["-o", tmp_path / "c.csv", "--plot", tmp_path / "p.png", "--json"]
    done = aetool("pca", tmp_path / "same.npy", *words)
    assert done.status == 0, done.stderr
    assert done.json["explained_variance_ratio"] == [None, None]
    assert (tmp_path / "p.png").exists()


def test_a_pipe_gives_the_same_bytes(aetool, latents):
    piped = aetool("pca", "-", "-q", stdin=latents.read_bytes())
    assert piped.status == 0, piped.stderr
    assert piped.stdout == aetool("pca", latents, "-q").stdout


def test_several_files_have_the_axes_of_one(aetool, latents, rows, tmp_path):
    settings = {"source": "/pictures", "class_names": ("a", "b")}
    files = []
    for part in (slice(0, 25), slice(25, 60)):
        files.append(tmp_path / f"{part.start}.h5")
        with LatentsWriter(files[-1], dimensions=5, feature_shape=(5,), **settings) as writer:
            own = np.arange(60)[part]
            writer.append(rows[part], own, [f"{n}, of 60.png" for n in own], own % 3 - 1)
    words = ["-q", "--save", tmp_path / "axes.h5"]
    expected = aetool("pca", latents, *words).stdout
    axes = (tmp_path / "axes.h5").read_bytes()
    done = aetool("pca", *files, *words)
    assert (done.status, done.stdout) == (0, expected), done.stderr
    assert (tmp_path / "axes.h5").read_bytes() == axes
    other = tmp_path / "other.h5"
    with LatentsWriter(other, dimensions=5, feature_shape=(5,), checkpoint_digest="c", source="/p"):
        pass
    done = aetool("pca", latents, other)
    assert done.status == 1 and "another checkpoint" in done.stderr
    assert "Traceback" not in done.stderr
    done = aetool("pca", "-", "-")
    assert done.status == 1 and "standard input is given twice" in done.stderr


@pytest.mark.parametrize("components", [2, 3])
def test_the_plot_is_a_picture_in_colour(components, aetool, latents, tmp_path):
    plot = tmp_path / "figures" / "pca.png"
    words = ["--components", components, "-o", tmp_path / "c.csv", "--plot", plot, "-q"]
    done = aetool("pca", latents, *words)
    assert done.status == 0, done.stderr
    with Image.open(plot) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert min(pixels.shape[:2]) > 500
    assert ((pixels.max(axis=2) - pixels.min(axis=2)) > 60).sum() > 500


@pytest.mark.parametrize(("suffix", "start"), [(".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_the_plot_may_be_a_drawing(suffix, start, aetool, latents, tmp_path):
    plot = tmp_path / f"pca{suffix}"
    assert aetool("pca", latents, "-o", tmp_path / "c.csv", "--plot", plot, "-q").status == 0
    assert plot.read_bytes().startswith(start)


@pytest.mark.parametrize("components", [2, 3])
def test_other_latents_land_on_axes_that_were_kept(components, aetool, latents, rows, tmp_path):
    axes = tmp_path / "axes.h5"
    found = aetool("pca", latents, "--components", components, "--save", axes, "-q")
    assert found.status == 0, found.stderr
    assert aetool("pca", latents, "--apply", axes, "-q").stdout == found.stdout
    np.save(tmp_path / "few.npy", rows[5:9])
    few = aetool("pca", tmp_path / "few.npy", "--apply", axes, "-q")
    _, *table = csv.reader(io.StringIO(few.text))
    _, *whole = csv.reader(io.StringIO(found.text))
    ours = np.array([row[2:] for row in table], dtype=float)
    assert np.allclose(ours, np.array([row[2:] for row in whole[5:9]], dtype=float), atol=1e-5)
    np.save(tmp_path / "wide.npy", np.zeros((9, 7)))
    refused = aetool("pca", tmp_path / "wide.npy", "--apply", axes)
    assert refused.status == 1
    assert "rows of 5 numbers" in refused.stderr
    assert aetool("pca", latents, "--apply", latents).status == 1


def test_the_scree_plot_shows_every_axis(aetool, latents, tmp_path):
    words = ["-o", tmp_path / "c.csv", "--scree", tmp_path / "scree.svg", "-q"]
    done = aetool("pca", latents, *words)
    assert done.status == 0, done.stderr
    drawing = (tmp_path / "scree.svg").read_text()
    assert "share of the variance" in drawing
    header = (tmp_path / "c.csv").read_text().splitlines()[0]
    assert header == "path,label,pc1,pc2"


def test_pictures_are_shown_on_the_plot_and_the_page(aetool, tmp_path):
    pictures = np.random.default_rng(0).integers(256, size=(20, 6, 6), dtype=np.uint8)
    np.save(tmp_path / "pictures.npy", pictures)
    np.save(tmp_path / "rows.npy", pictures.reshape(20, -1))
    words = ["-o", tmp_path / "c.csv", "--images", tmp_path / "pictures.npy", "-q"]
    words += ["--plot", tmp_path / "p.svg", "--thumbnails", "--html", tmp_path / "p.html"]
    done = aetool("pca", tmp_path / "rows.npy", *words)
    assert done.status == 0, done.stderr
    assert (tmp_path / "p.svg").read_text().count("<image") >= 10
    assert "data:image/jpeg;base64," in (tmp_path / "p.html").read_text()


def test_axes_are_shown_as_pictures(aetool, digits_model, digits_latents, latents, tmp_path):
    sheet = tmp_path / "loadings.png"
    words = ["-o", tmp_path / "c.csv", "--loadings", sheet, "-c", digits_model, "-q"]
    done = aetool("pca", digits_latents, *words)
    assert done.status == 0, done.stderr
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("L")).astype(int)
    step_x, step_y = TILE + GAP, TILE + GAP + LABEL_HEIGHT
    assert pixels.shape == (2 * step_y + GAP, 7 * step_x + GAP)
    tiles = [
        pixels[GAP + row * step_y : GAP + row * step_y + TILE, GAP + step_x * column :][:, :TILE]
        for row in range(2)
        for column in range(7)
    ]
    assert np.array_equal(tiles[3], tiles[10])  # the mean of the latents in either row
    assert np.abs(tiles[0] - tiles[6]).max() > 2
    other = aetool("pca", latents, *words)
    assert other.status == 1
    assert "was not encoded by" in other.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--components", 4], "--components"),
        (["--json"], "standard output"),
        (["--plot", "p.gif"], "p.gif"),
        (["--scree", "p.gif"], "p.gif"),
        (["--thumbnails"], "--plot"),
        (["--loadings", "p.png"], "-c MODEL.h5"),
        (["--images", "x"], "--html"),
        (["--apply", "p.h5", "--save", "q.h5"], "--save"),
    ],
)
def test_wrong_usage_is_named(aetool, latents, words, message):
    done = aetool("pca", latents, *words)
    assert done.status == 2
    assert message in done.stderr
    assert not done.stdout


def test_more_components_than_dimensions_are_refused(aetool, tmp_path):
    np.save(tmp_path / "flat.npy", np.random.default_rng(0).normal(size=(9, 2)))
    done = aetool("pca", tmp_path / "flat.npy", "--components", 3)
    assert done.status == 2
    assert "--components 2" in done.stderr


def test_no_network_library_is_imported_even_for_a_plot(latents, tmp_path):
    script = (
        "import json, sys; from aetool.cli.app import run; status = run(sys.argv[1:]);"
        "print(json.dumps([status, [m for m in ('tensorflow', 'keras', 'matplotlib.pyplot')"
        " if m in sys.modules]]))"
    )
    words = ["-o", str(tmp_path / "c.csv"), "--plot", str(tmp_path / "p.png"), "-q"]
    done = subprocess.run(
        [sys.executable, "-c", script, "pca", str(latents), *words],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []], done.stderr


def test_thumbnails_are_refused_on_three_axes_from_a_file_too(aetool, tmp_path):
    assert aetool("encode", "sklearn:digits", "--pixels", "-o", tmp_path / "l.h5").status == 0
    kept = ("--components", 3, "--save", tmp_path / "axes.h5", "-o", tmp_path / "a.csv")
    assert aetool("pca", tmp_path / "l.h5", *kept).status == 0
    words = ("pca", tmp_path / "l.h5", "--apply", tmp_path / "axes.h5", "--thumbnails")
    drawn = ("--plot", tmp_path / "p.png", "-o", tmp_path / "b.csv")
    done = aetool(*words, *drawn)
    assert done.status == 2 and "--thumbnails is for two" in done.stderr
    assert not (tmp_path / "p.png").exists() and not (tmp_path / "b.csv").exists()
    assert aetool(*words, *drawn, "--components", 2).status == 0
