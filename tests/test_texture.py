"""Texture: what the filters see, and what they do not care for."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from aetool.analysis.texture import CHANNELS, DARKNESS, PER_SCALE, SCALES, texture


@pytest.mark.parametrize(
    ("size", "places"),
    [((28, 28), (7, 7)), ((128, 128), (16, 16)), ((8, 8), (2, 2)), ((3, 90), (1, 16))],
)
def test_places_follow_from_the_size(size, places):
    responses = texture(np.random.default_rng(0).random((*size, 1)))
    assert responses.shape == (*places, CHANNELS)
    assert responses.dtype == np.float32 and responses.min() >= 0


def test_fewer_channels_are_those_of_the_finest_scales():
    picture = np.random.default_rng(2).random((32, 32, 1))
    whole = texture(picture)
    rows = np.arange(CHANNELS).reshape(2, len(SCALES), -1)[:, :3].ravel()
    np.testing.assert_array_equal(texture(picture, 3 * PER_SCALE), whole[..., rows])


def test_an_even_picture_has_no_texture():
    np.testing.assert_allclose(texture(np.full((32, 32, 3), 0.4)), 0, atol=1e-6)


def test_a_dark_line_shows_across_its_own_direction_and_where_it_is():
    picture = np.full((64, 64, 1), 0.8)
    picture[:, 22:24] = 0.2  # a vertical line
    responses = texture(picture)
    across = responses[:, :, 1]  # bright side of orientation 0 at the finest scale
    along = responses[:, :, 3]  # orientation 90
    assert across.max() > 10 * along[2:-2].max()
    assert across[8].argmax() == 22 * 16 // 64


def test_half_the_light_is_nearly_the_same_texture():
    rng = np.random.default_rng(0)
    picture = 0.5 + 0.4 * rng.random((64, 64, 1))
    bright, dim = texture(picture), texture(picture / 2)
    assert np.abs(bright - dim).mean() < 0.2 * bright.mean()


def test_the_filters_are_derivatives_of_gaussians():
    """Channel by channel the means that SciPy's convolutions give."""
    picture = np.random.default_rng(1).random((40, 64, 1))
    brightness = np.log(picture[..., 0] + DARKNESS)
    brightness -= brightness.mean()
    responses = texture(picture)
    for n, scale in enumerate(SCALES):
        across, down = (
            scale**2 * gaussian_filter(brightness, scale, order=order) for order in ((0, 2), (2, 0))
        )
        for channel, response in enumerate((across + down, across)):
            bright = np.maximum(response, 0).reshape(10, 4, 16, 4).mean(axis=(1, 3))
            found = responses[..., n * CHANNELS // 2 // len(SCALES) + channel]
            np.testing.assert_allclose(found, bright, atol=1e-5)
