"""Canny's edges: where they are, how thin, and what the thresholds mean."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import label

from aetool.images.edges import edges

ALL_AROUND = np.ones((3, 3))


def step(contrast: float, size: tuple[int, int] = (20, 30), column: int = 12) -> np.ndarray:
    """Dark on the left of `column`, brighter by `contrast` from there on."""
    pixels = np.full(size, 0.5 - contrast / 2, np.float32)
    pixels[:, column:] += np.float32(contrast)
    return pixels


def test_an_upright_step_is_one_straight_line_on_its_darker_side():
    expected = np.zeros((20, 30), np.uint8)
    expected[:, 11] = 255
    for sigma in (0, 0.7, 1, 2, 3):
        found = edges(step(1), sigma=sigma)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(edges(step(1).T), expected.T)
    np.testing.assert_array_equal(edges(1 - step(1))[:, 12], 255)


@pytest.mark.parametrize("seed", range(3))
def test_turning_the_picture_turns_its_edges(seed):
    blobs = np.random.default_rng(seed).random((8, 8), np.float32)
    image = Image.fromarray(blobs).resize((64, 64), Image.Resampling.BICUBIC)
    pixels = np.clip(np.asarray(image), 0, 1)
    found = edges(pixels)
    assert found.any()
    for turns in (1, 2, 3):
        np.testing.assert_array_equal(edges(np.rot90(pixels, turns).copy()), np.rot90(found, turns))
    np.testing.assert_array_equal(edges(pixels[:, ::-1].copy()), found[:, ::-1])


def test_a_disc_is_one_thin_closed_ring_at_its_radius():
    image = Image.new("L", (400, 400))
    ImageDraw.Draw(image).ellipse((80, 80, 320, 320), fill=255)
    found = edges(np.asarray(image.resize((100, 100), Image.Resampling.BOX)), sigma=1.5) > 0
    rows, columns = np.nonzero(found)
    radii = np.hypot(rows - 49.6, columns - 49.6)
    np.testing.assert_allclose(radii, 30, atol=1)
    assert label(found, ALL_AROUND)[1] == 1
    assert label(~found)[1] == 2  # inside and outside do not touch
    assert len(radii) < 1.2 * 2 * np.pi * 30


def test_a_slanted_edge_is_one_unbroken_line():
    rows, columns = np.mgrid[:60, :60]
    for slope in (0.1, 0.4, 0.8, 2.5):
        found = edges(np.float32(columns > 10 + slope * rows)) > 0
        inside = found[2:-2, 2:-2]
        assert label(inside, ALL_AROUND)[1] == 1
        square = found[1:, 1:] & found[1:, :-1] & found[:-1, 1:] & found[:-1, :-1]
        assert not square.any()


def test_thresholds_are_contrasts():
    assert edges(step(0.21), sigma=0, low=0.1, high=0.2).any()
    assert not edges(step(0.19), sigma=0, low=0.1, high=0.2).any()
    assert edges(step(0.19), sigma=0, low=0.1, high=0.18).any()
    assert not edges(step(0.21), sigma=1, low=0.1, high=0.2).any()  # smoothing weakens it


def test_hysteresis_keeps_a_weak_edge_only_where_it_leads_to_a_strong_one():
    pixels = np.full((40, 60), 0.7, np.float32)
    pixels[:, :20] -= np.linspace(0.5, 0.15, 40, dtype=np.float32)[:, None]  # strong above
    pixels[:, 45:] = 0.85  # a weak one by itself
    found = edges(pixels, sigma=0, low=0.1, high=0.3)
    assert found[:, 19].all()
    assert not found[:, 40:].any()
    assert edges(pixels, sigma=0, low=0.1, high=0.1)[:, 44].all()
    assert not edges(pixels, sigma=0, low=0.2, high=0.3)[35:, 19].any()


def test_smoothing_takes_away_grain():
    random = np.random.default_rng(0)
    grain = np.float32(step(0.6, (60, 60), 30) + random.normal(0, 0.12, (60, 60))).clip(0, 1)
    assert edges(grain, sigma=0)[:, :25].any()
    found = edges(grain, sigma=2, low=0.1, high=0.2) > 0
    assert set(np.nonzero(found)[1]) <= set(range(27, 33))
    assert found.any(axis=1).sum() >= 58


def test_neither_a_shade_nor_the_border_is_an_edge():
    rows, columns = np.mgrid[:20, :30].astype(np.float32)
    for shade in (np.full((20, 30), 0.7, np.float32), columns / 30, (rows + columns) / 50):
        assert not edges(shade, low=0, high=0).any()


def test_every_kind_of_pixels_has_the_same_edges():
    eight = np.random.default_rng(0).integers(0, 256, (6, 6), np.uint8)
    eight = np.asarray(Image.fromarray(eight).resize((48, 40), Image.Resampling.BICUBIC))
    found = edges(eight)
    assert found.any() and set(np.unique(found)) == {0, 255}
    sixteen = eight.astype(np.uint16) * 257
    same = (eight[..., None], np.stack([eight] * 3, -1), sixteen, np.float32(eight / 255))
    for pixels in same:
        np.testing.assert_array_equal(edges(pixels), found)
    colour = np.zeros((20, 30, 3), np.uint8)
    colour[:, 15:, 1] = 255  # green: luma 0.587
    assert edges(colour, sigma=0, high=0.58).any() and not edges(colour, sigma=0, high=0.6).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 50)])
def test_small_pictures_have_edges_too(size):
    random = np.random.default_rng(0)
    for sigma in (0, 1, 4):
        assert edges(random.random(size, np.float32), sigma=sigma).shape == size


@pytest.mark.parametrize("wrong", [{"sigma": -1}, {"low": -0.1}, {"low": 0.3}])
def test_thresholds_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="0 <= low <= high"):
        edges(step(1), **wrong)
