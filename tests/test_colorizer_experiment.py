"""The scripts that measure a colorizer: curve, edges and sizes, each on known colours."""

import sys

import numpy as np
import pytest
from PIL import Image
from test_colorize import ORANGE, RGB_OUTPUT, orange, ramp, write_colorizer
from test_experiments import EXAMPLES

from aetool.images.color import ab_bins
from aetool.tasks.colorize import colorize_images


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """(colorizer that sees orange, folder of three photographs in that orange)."""
    folder = tmp_path_factory.mktemp("measured")
    bias = np.log(ORANGE / (1 - ORANGE))
    model = write_colorizer(folder / "orange.h5", bias=bias, output=RGB_OUTPUT)
    (folder / "in").mkdir()
    for i, size in enumerate(((40, 60), (50, 50), (60, 30))):
        Image.fromarray(orange(ramp(*size))).save(folder / "in" / f"{i}.png")
    return model, folder / "in"


@pytest.fixture
def script(monkeypatch):
    """A script's module, imported here: a process of its own would import TensorFlow again."""
    monkeypatch.syspath_prepend(EXAMPLES / "colorizer")
    yield lambda name: __import__(name)
    for name in ("colours", "tradeoff", "edges", "sizes"):
        sys.modules.pop(name, None)


def test_the_curve_of_a_right_colorizer_is_highest_at_its_own_saturation(
    measured, script, tmp_path, capsys
):
    model, photographs = measured
    script("tradeoff").main(tmp_path / "curve.png", str(photographs), [f"right={model}"])
    row = capsys.readouterr().out.splitlines()[-1]
    gains = [float(cell) for cell in row.split("|")[2:-2]]
    assert gains == sorted(gains)  # up to nine tenths of the true colourfulness
    assert "at 100% |" in row or "at 99% |" in row
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.width > 600 and len(picture.getcolors(2**20)) > 10


def test_bleeding_is_that_of_both_ways_to_scale(measured, script, capsys):
    model, photographs = measured
    script("edges").main(str(photographs), model)
    lines = capsys.readouterr().out.splitlines()
    values = [float(line.split("|")[2]) for line in lines[2:]]
    assert len(values) == 3 and all(0 <= value <= 1 for value in values)


def test_an_even_colour_is_the_same_at_every_size(measured, script, capsys, monkeypatch):
    model, photographs = measured
    sizes = script("sizes")
    monkeypatch.setattr(sizes, "SIDES", (64, 256))
    sizes.main(str(photographs), model, "2")
    mean, greatest = (
        float(line.split("|")[2]) for line in capsys.readouterr().out.splitlines()[2:]
    )
    assert 0 <= mean <= greatest < 2


def test_the_colours_measured_are_those_of_colorize(measured, script, tmp_path):
    random = np.random.default_rng(0)
    bins = ab_bins()
    model = write_colorizer(
        tmp_path / "bins.h5",
        outputs=len(bins),
        activation="softmax",
        bias=random.normal(size=len(bins)) * 3,
        output={
            "name": "ab_probabilities",
            "decoding": "ab-bins",
            "temperature": 0.38,
            "rebalancing": 1,
        },
        ab_weights=np.exp(random.normal(size=len(bins))).astype(np.float32),
    )
    sizes = script("sizes")
    photograph = measured[1] / "0.png"
    colorize_images(str(photograph), tmp_path / "out.png", checkpoint=model)
    with Image.open(photograph) as picture, Image.open(tmp_path / "out.png") as expected:
        found = sizes.coloured(sizes.Colorizer(model), np.asarray(picture))
        assert np.abs(found.astype(int) - np.asarray(expected)).max() <= 1
