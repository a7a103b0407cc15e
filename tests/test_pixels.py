"""What masks say of maps, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aetool.analysis.pixels import PixelScores, count_pixels


def test_auroc_over_pictures_is_that_over_all_pixels():
    rng = np.random.default_rng(0)
    maps = rng.gamma(2, size=(5, 30, 40)).astype(np.float16).astype(np.float32)
    masks = rng.random(maps.shape) < 0.1
    maps[masks] *= 1.5
    pixels = PixelScores()
    for values, mask in zip(maps, masks, strict=True):
        pixels.add(count_pixels(values, mask))
    expected = roc_auc_score(masks.ravel(), maps.astype(np.float16).ravel())
    assert pixels.auroc() == pytest.approx(expected, abs=1e-9)


def test_a_small_region_counts_as_much_as_a_large_one():
    mask = np.zeros((40, 40), bool)
    mask[:20, :20] = True  # 400 pixels, found
    mask[30, 30] = True  # one pixel, missed
    values = np.where(mask, 2.0, 1.0)
    values[30, 30] = 0.5
    pixels = PixelScores()
    pixels.add(count_pixels(values, mask))
    assert pixels.auroc() > 0.99
    # All normal pixels share one value, so up to 30 % false ones the curve runs from 0.5 upwards
    # along a straight line to what is found when all are flagged.
    assert pixels.region_overlap() == pytest.approx(0.5, abs=1e-6)
    values[30, 30] = 2.0
    pixels = PixelScores()
    pixels.add(count_pixels(values, mask))
    assert pixels.region_overlap() == pytest.approx(1)


def test_without_both_kinds_there_is_no_number():
    pixels = PixelScores()
    assert pixels.auroc() is None and pixels.region_overlap() is None
    pixels.add(count_pixels(np.ones((4, 4)), np.zeros((4, 4), bool)))
    assert pixels.auroc() is None and pixels.region_overlap() is None
