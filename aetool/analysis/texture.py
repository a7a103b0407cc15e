"""Lines, edges and spots of a picture, place by place: fixed filters that learn nothing.

A network that learnt to rebuild smooth parts sees little of a scratch; a bank of filters sees it
whatever was learnt (Leung and Malik, "Representing and recognizing the visual appearance of
materials using three-dimensional textons", 2001). On the logarithm of brightness they do not care
how brightly a part is lit.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from aetool.images.color import luma

SCALES = (1.0, 2.0, 4.0)
ORIENTATIONS = (0, 45, 90, 135)
CHANNELS = len(SCALES) * (1 + len(ORIENTATIONS)) * 2
# Added to brightness in [0, 1]: noise in the dark is no texture.
DARKNESS = 0.1
# Places across a picture, but for small ones, whose places are SMALLEST pixels wide.
PLACES = 16
SMALLEST = 4


def texture(picture: np.ndarray) -> np.ndarray:
    """Filter responses of a picture, averaged over each place.

    Args:
        picture: float (h, w, 1) or (h, w, 3) in [0, 1].

    Returns:
        float32 (places down, places across, CHANNELS), 0 and up: for each scale the Laplacian and
        the second derivatives across four orientations, bright and dark apart.
    """
    grey = luma(picture) if picture.shape[2] == 3 else picture[..., 0]
    brightness = np.log(grey.astype(np.float32) + np.float32(DARKNESS))
    brightness -= brightness.mean()  # a cut-off filter answers to the level, if only a little
    rows, columns = (_bounds(side) for side in grey.shape)
    areas = np.outer(np.diff(rows), np.diff(columns))[..., None]
    responses = np.stack(list(_responses(brightness)), axis=-1)
    rectified = np.concatenate([np.maximum(responses, 0), np.maximum(-responses, 0)], axis=-1)
    sums = np.add.reduceat(rectified, rows[:-1], axis=0)
    return (np.add.reduceat(sums, columns[:-1], axis=1) / areas).astype(np.float32)


def _responses(brightness: np.ndarray):
    for scale in SCALES:
        across, down, both = (
            gaussian_filter(brightness, scale, order=order) * np.float32(scale * scale)
            for order in ((0, 2), (2, 0), (1, 1))
        )
        yield across + down
        for angle in np.deg2rad(ORIENTATIONS):
            cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            yield cosine**2 * across + sine**2 * down + 2 * sine * cosine * both


def _bounds(side: int) -> np.ndarray:
    """Where places begin along a side, and its end."""
    places = max(1, min(PLACES, side // SMALLEST))
    return np.round(np.linspace(0, side, places + 1)).astype(int)
