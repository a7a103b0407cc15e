"""Texture: what the filters see, and what they do not care for."""

import numpy as np
import pytest

from aetool.analysis.texture import CHANNELS, texture


@pytest.mark.parametrize(
    ("size", "places"),
    [((28, 28), (7, 7)), ((128, 128), (16, 16)), ((8, 8), (2, 2)), ((3, 90), (1, 16))],
)
def test_places_follow_from_the_size(size, places):
    responses = texture(np.random.default_rng(0).random((*size, 1)))
    assert responses.shape == (*places, CHANNELS)
    assert responses.dtype == np.float32 and responses.min() >= 0


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
