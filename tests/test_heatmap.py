"""Heatmaps: one scale, brightness that follows the error, the picture beneath."""

import numpy as np
import pytest

from aetool.plots.heatmap import heatmap, levels, overlay


def test_levels_are_proportional_on_one_scale():
    values = np.array([[0.0, 0.1, 0.2], [0.4, 0.8, 9.0]])
    np.testing.assert_array_equal(levels(values, 0.4), [[0, 64, 128], [255, 255, 255]])


def test_colours_grow_brighter_with_the_level():
    ramp = heatmap(np.arange(256, dtype=np.uint8)[None])
    assert ramp.shape == (1, 256, 3) and ramp.dtype == np.uint8
    brightness = ramp[0] @ [0.299, 0.587, 0.114]
    assert brightness[0] < 2 and brightness[-1] > 240
    assert (np.diff(brightness) > -1).all()


@pytest.mark.parametrize("dtype, top", [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_an_overlay_shows_the_picture_where_the_error_is_small(dtype, top):
    picture = (np.full((20, 30), 0.6) * top).astype(dtype)
    level = np.zeros((20, 30), np.uint8)
    level[5:10, 5:10] = 255
    drawn = overlay(level, picture)
    assert drawn.shape == (20, 30, 3)
    np.testing.assert_allclose(drawn[12:], 153, atol=1)
    red, _, blue = drawn[7, 7].astype(int)
    assert red > blue + 40


def test_an_overlay_of_a_colour_picture_is_grey_where_nothing_is_wrong():
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[..., 1] = 200
    drawn = overlay(np.zeros((4, 4), np.uint8), picture)
    assert (drawn == drawn[..., :1]).all()
    assert drawn[0, 0, 0] == pytest.approx(0.587 * 200, abs=1)
