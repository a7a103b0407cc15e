"""Edge pictures."""

import numpy as np
from scipy.ndimage import gaussian_filter, label, sobel

from aetool.images.color import luma
from aetool.images.samples import to_unit

SIGMA = 1.0
LOW = 0.05
HIGH = 0.1

# Gradients that differ by less, the rounding of float32 pixels, are equal: it must not fray a line.
_TIE = 1e-6
_EIGHT_NEIGHBOURS = np.ones((3, 3), int)


def edges(
    pixels: np.ndarray, sigma: float = SIGMA, low: float = LOW, high: float = HIGH
) -> np.ndarray:
    """The edges of a picture as thin lines, white on black.

    Canny, "A computational approach to edge detection" (1986): the picture is smoothed by a
    Gaussian and differentiated by Sobel's operator; a pixel is kept where the gradient is largest
    along its own direction, if it is strong or connected to one that is. Thresholds are in units of
    contrast: black beside white, before smoothing, has a gradient of 1. Those of OpenCV's `Canny`,
    which is for levels of 0 to 255, are 1,020 times these.

    Args:
        pixels: (h, w), (h, w, 1) or (h, w, 3); uint8, uint16, or float32 in [0, 1]. Of colours
            the luma counts.
        sigma: standard deviation of the Gaussian in pixels; 0 leaves it out.
        low: the gradient of an edge, where it is connected to a strong one.
        high: the gradient that makes an edge strong; at least `low`.

    Returns:
        uint8 (h, w), 255 on edges and 0 elsewhere.

    Raises:
        ValueError: for a negative sigma or low, or `low` above `high`.
    """
    if sigma < 0 or not 0 <= low <= high:
        raise ValueError(f"edges need sigma >= 0 and 0 <= low <= high: {sigma}, {low}, {high}")
    grey = to_unit(pixels)
    grey = luma(grey) if grey.shape[2:] == (3,) else grey.reshape(grey.shape[:2])
    across, down = _gradient(grey.astype(np.float64), sigma)
    magnitude = np.hypot(across, down)
    rows, columns = _ridges(magnitude, across, down, max(low, _TIE))
    ridges = np.zeros(grey.shape, bool)
    ridges[rows, columns] = True
    lines, count = label(ridges, _EIGHT_NEIGHBOURS)
    strong = np.zeros(count + 1, bool)
    strong[lines[ridges & (magnitude[1:-1, 1:-1] >= high)]] = True
    return np.uint8(255) * strong[lines]


def _gradient(grey: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Change from left to right and from top to bottom over two pixels, smoothed, per unit.

    Returns:
        Two arrays (h + 2, w + 2): the picture with a pixel around it. Beyond the border it goes on
        as its reflection through the last pixel, so that a shade that rises evenly goes on rising:
        the border itself is no edge.
    """
    radius = int(4 * sigma + 0.5)
    margin = radius + 2
    padded = np.pad(grey, margin, mode="reflect", reflect_type="odd")
    smooth = gaussian_filter(padded, sigma, radius=radius) if sigma else padded
    inside = slice(margin - 1, 1 - margin)
    return tuple(sobel(smooth, axis)[inside, inside] / 4 for axis in (1, 0))


def _ridges(
    magnitude: np.ndarray, across: np.ndarray, down: np.ndarray, low: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where the gradient is at least `low` and larger than a step up and down its direction.

    A step goes to the border of the 3x3 neighbourhood, between two of its pixels. Where two pixels
    share the maximum the darker one is kept.

    Args:
        magnitude, across, down: (h + 2, w + 2), with a pixel around the picture.

    Returns:
        Rows and columns in the picture (h, w).
    """
    rows, columns = np.nonzero(magnitude[1:-1, 1:-1] >= low)
    centre = rows + 1, columns + 1
    x, y = across[centre], down[centre]
    level = np.abs(x) >= np.abs(y)  # the direction is nearer to level than to upright
    share = np.minimum(np.abs(x), np.abs(y)) / np.maximum(np.abs(x), np.abs(y))
    x, y = np.sign(x).astype(int), np.sign(y).astype(int)

    def step(way: int) -> np.ndarray:
        """The magnitude a step towards the brighter (1) or darker (-1) side."""
        corner = magnitude[centre[0] + way * y, centre[1] + way * x]
        side = magnitude[centre[0] + way * y * ~level, centre[1] + way * x * level]
        return share * corner + (1 - share) * side

    here = magnitude[centre]
    kept = (here > step(-1) + _TIE) & (here > step(1) - _TIE)
    return rows[kept], columns[kept]
