"""How much of a picture's colour changes away from luma's edges."""

import numpy as np
import pytest

from aetool.images import chroma as chroma_module
from aetool.images.bleeding import bleeding
from aetool.images.chroma import join


def halves(left: int, right: int, spread: int) -> np.ndarray:
    """Grey on the left and coloured on the right, the colour rising over `spread` pixels."""
    grey = np.full((40, 64), left, np.uint8)
    grey[:, 32:] = right
    rise = np.clip((np.arange(64) - 32 + spread / 2 + 0.5) / spread, 0, 1)
    chroma = np.zeros((40, 64, 2), np.float32)
    chroma[...] = rise[:, None] * [0.2, -0.1]
    return join(grey, chroma)


def test_colour_that_changes_with_luma_does_not_bleed():
    assert bleeding(halves(60, 180, spread=1)) < 0.01
    assert bleeding(halves(120, 122, spread=1)) > 0.99
    shares = [bleeding(halves(60, 180, spread)) for spread in (1, 2, 4, 8)]
    assert shares == sorted(shares) and shares[-1] > 0.6


def test_a_picture_of_one_colour_and_a_grey_one_bleed_nothing():
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 3, 40, axis=0)
    assert bleeding(np.repeat(ramp, 3, axis=2)) == 0
    assert bleeding(np.full((5, 7, 3), [200, 100, 50], np.uint8)) == 0
    assert bleeding(np.full((1, 1, 3), [200, 100, 50], np.uint8)) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_strips_miss_no_pair_of_neighbours(dtype, monkeypatch):
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    pixels = rng.integers(0, top // 8, (23, 17, 3), dtype) + rng.integers(0, 4, (23, 17, 1)) * (
        top // 5
    )
    pixels = pixels.astype(dtype)
    whole = bleeding(pixels)
    assert 0 < whole < 1
    monkeypatch.setattr(chroma_module, "_STRIP_PIXELS", 17 * 3)
    assert bleeding(pixels) == pytest.approx(whole, rel=1e-6)
