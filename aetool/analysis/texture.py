"""Lines, edges and spots of a picture, place by place: fixed filters that learn nothing.

A network that learnt to rebuild smooth parts sees little of a scratch; a bank of filters sees it
whatever was learnt (Leung and Malik, "Representing and recognizing the visual appearance of
materials using three-dimensional textons", 2001). On the logarithm of brightness they do not care
how brightly a part is lit.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from aetool.images.color import luma

SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)
ORIENTATIONS = (0, 45, 90, 135)
PER_SCALE = (1 + len(ORIENTATIONS)) * 2
CHANNELS = len(SCALES) * PER_SCALE
# Added to brightness in [0, 1]: noise in the dark is no texture.
DARKNESS = 0.1
# Places across a picture, but for small ones, whose places are SMALLEST pixels wide.
PLACES = 16
SMALLEST = 4


def texture(picture: np.ndarray, channels: int = CHANNELS) -> np.ndarray:
    """Filter responses of a picture, averaged over each place.

    Args:
        picture: float (h, w, 1) or (h, w, 3) in [0, 1].
        channels: PER_SCALE for each of the first scales: models calibrated before there were more
            have fewer.

    Returns:
        float32 (places down, places across, channels), 0 and up: for each scale the Laplacian and
        the second derivatives across four orientations, bright and dark apart.
    """
    grey = luma(picture) if picture.shape[2] == 3 else picture[..., 0]
    brightness = np.log(grey.astype(np.float32) + np.float32(DARKNESS))
    brightness -= brightness.mean()  # a cut-off filter answers to the level, if only a little
    responses = np.stack(list(_responses(brightness, SCALES[: channels // PER_SCALE])))
    rectified = np.concatenate([np.maximum(responses, 0), np.maximum(-responses, 0)])
    down, across = (_averages(side) for side in grey.shape)
    return np.ascontiguousarray(np.moveaxis(down @ rectified @ across.T, 0, -1))


def _responses(brightness: np.ndarray, scales: tuple[float, ...]) -> Iterator[np.ndarray]:
    height, width = brightness.shape
    for scale in scales:
        rows = [_derivative(height, scale, order) @ brightness for order in range(3)]
        across, down, both = (
            np.float32(scale * scale) * rows[order] @ _derivative(width, scale, 2 - order).T
            for order in (0, 2, 1)
        )
        yield across + down
        for angle in np.deg2rad(ORIENTATIONS):
            cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            yield cosine**2 * across + sine**2 * down + 2 * sine * cosine * both


@lru_cache(maxsize=64)
def _derivative(side: int, scale: float, order: int) -> np.ndarray:
    """A derivative of a Gaussian on a side of a picture, as a matrix: several times faster there
    than a convolution, whose kernel is longer than the side.
    """
    return gaussian_filter1d(np.eye(side, dtype=np.float32), scale, axis=0, order=order)


@lru_cache(maxsize=16)
def _averages(side: int) -> np.ndarray:
    """The means of a side's places, as a matrix (places, side)."""
    places = max(1, min(PLACES, side // SMALLEST))
    bounds = np.round(np.linspace(0, side, places + 1)).astype(int)
    lengths = np.diff(bounds)
    return np.repeat(np.eye(places), lengths, axis=1).astype(np.float32) / lengths[:, None].astype(
        np.float32
    )
