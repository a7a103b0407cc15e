"""How close one picture is to another: mean squared error, PSNR and SSIM.

Every function takes a picture (h, w, c) or a batch (n, h, w, c), uint8 or float in [0, 1], and
returns float64 () or (n,).
"""

import numpy as np
from scipy.ndimage import correlate1d

# dB, of pictures that agree to within 1e-5: identical ones would score infinity.
PSNR_CEILING = 100.0

WINDOW = 11
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2


def mse(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean squared error over pixels and channels."""
    difference = _unit(a) - _unit(b)
    return np.mean(difference * difference, axis=(-3, -2, -1))


def psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB for a peak of 1, at most PSNR_CEILING."""
    return -10 * np.log10(np.maximum(mse(a, b), 10 ** (-PSNR_CEILING / 10)))


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity, the mean over windows and channels; 1 for equal pictures.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
    structural similarity" (2004): an 11x11 Gaussian window of sigma 1.5, only where it lies inside
    the picture. A picture smaller than the window is continued by reflection instead.
    """
    a, b = _unit(a), _unit(b)
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    variance_a = _window_mean(a * a) - mean_a * mean_a
    variance_b = _window_mean(b * b) - mean_b * mean_b
    covariance = _window_mean(a * b) - mean_a * mean_b
    similarity = ((2 * mean_a * mean_b + C1) * (2 * covariance + C2)) / (
        (mean_a * mean_a + mean_b * mean_b + C1) * (variance_a + variance_b + C2)
    )
    return similarity.mean(axis=(-3, -2, -1))


def _unit(a: np.ndarray) -> np.ndarray:
    """float64 in [0, 1]."""
    return a / 255 if a.dtype == np.uint8 else a.astype(np.float64)


def _window_mean(x: np.ndarray) -> np.ndarray:
    """(..., h, w, c) -> (..., h - 10, w - 10, c); a side below 11 keeps its length."""
    radius = WINDOW // 2
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    for axis in (-3, -2):
        inside = slice(radius, -radius) if x.shape[axis] >= WINDOW else slice(None)
        x = correlate1d(x, weights, axis=axis, mode="reflect")
        x = x[..., inside, :, :] if axis == -3 else x[..., :, inside, :]
    return x
