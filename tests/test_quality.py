"""Picture quality against the published definitions, written out the slow way."""

import numpy as np
import pytest

from aetool.images.quality import PSNR_CEILING, mse, psnr, ssim


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.linspace(0, 0.5, 24), np.linspace(0, 0.4, 30))[..., None]
    a = np.repeat(smooth, 3, axis=2).astype(np.float32)
    return a, np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1).astype(np.float32)


def ssim_by_windows(a, b):
    """Wang et al. (2004), equation 13 with weights 14 to 16, one window at a time."""
    x = np.arange(-5, 6)
    window = np.exp(-np.add.outer(x**2, x**2) / (2 * 1.5**2))
    window /= window.sum()
    height, width, channels = a.shape
    values = []
    for c in range(channels):
        for i in range(height - 10):
            for j in range(width - 10):
                p = a[i : i + 11, j : j + 11, c].astype(float)
                q = b[i : i + 11, j : j + 11, c].astype(float)
                mean_p, mean_q = (window * p).sum(), (window * q).sum()
                var_p = (window * (p - mean_p) ** 2).sum()
                var_q = (window * (q - mean_q) ** 2).sum()
                cov = (window * (p - mean_p) * (q - mean_q)).sum()
                values.append(
                    (2 * mean_p * mean_q + 0.0001)
                    * (2 * cov + 0.0009)
                    / ((mean_p**2 + mean_q**2 + 0.0001) * (var_p + var_q + 0.0009))
                )
    return np.mean(values)


def test_ssim_is_the_published_one(pair):
    assert ssim(*pair) == pytest.approx(ssim_by_windows(*pair), abs=1e-9)


def test_a_picture_is_like_itself(pair):
    a, _ = pair
    assert mse(a, a) == 0
    assert psnr(a, a) == PSNR_CEILING
    assert ssim(a, a) == pytest.approx(1)


def test_psnr_of_a_known_error():
    a = np.full((8, 8, 1), 0.5, np.float32)
    assert mse(a, a + 0.1) == pytest.approx(0.01, rel=1e-5)
    assert psnr(a, a + 0.1) == pytest.approx(20, abs=1e-4)


def test_a_batch_scores_as_its_pictures_do(pair):
    a, b = pair
    batch_a, batch_b = np.stack([a, b, a]), np.stack([b, b, a])
    for measure in (mse, psnr, ssim):
        expected = [measure(x, y) for x, y in zip(batch_a, batch_b, strict=True)]
        np.testing.assert_allclose(measure(batch_a, batch_b), expected, rtol=1e-12)


def test_pictures_smaller_than_the_window_have_a_similarity(pair):
    a, b = (picture[:8, :8] for picture in pair)
    assert ssim(a, a) == pytest.approx(1)
    assert 0 < ssim(a, b) < 1


def test_a_flat_shift_costs_less_similarity_than_noise_of_equal_error(pair):
    a, b = pair
    shifted = a + np.sqrt(mse(a, b)).astype(np.float32)
    assert ssim(a, shifted) > ssim(a, b) + 0.2


def test_eight_bit_pictures_score_as_their_floats(pair):
    a, b = (np.round(picture * 255).astype(np.uint8) for picture in pair)
    for measure in (mse, psnr, ssim):
        assert measure(a, b) == pytest.approx(measure(a / 255, b / 255))
