"""Where a picture is unlike normal ones, as colours: from black, as usual, to yellow."""

import matplotlib
import numpy as np
from PIL import Image

COLORS = "inferno"
# In an overlay values below the first level do not show; from the second on they hide the picture
# as much as OPACITY says.
SHOWN = (96, 224)
OPACITY = 0.85


def levels(values: np.ndarray, top: float) -> np.ndarray:
    """Values of a map as brightness levels of one scale.

    Args:
        values: float (h, w), 0 and up.
        top: the value that is the highest level; the same for all pictures of a run.

    Returns:
        uint8 (h, w): 255 times values / top, at most 255.
    """
    return np.round(255 * np.clip(values / top, 0, 1)).astype(np.uint8)


def heatmap(level: np.ndarray) -> np.ndarray:
    """Levels uint8 (h, w) in colour, uint8 (h, w, 3)."""
    return _colors()[level]


def overlay(level: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Levels over the picture they belong to, which shows in grey where it is as usual.

    Args:
        level: uint8 (h, w).
        pixels: the picture, (h, w) or (h, w, 3); uint8, uint16 or float in [0, 1].

    Returns:
        uint8 (h, w, 3).
    """
    grey = Image.fromarray(_eight_bit(pixels)).convert("L").convert("RGB")
    opacity = np.interp(np.arange(256), SHOWN, [0, 255 * OPACITY])
    mask = Image.fromarray(np.round(opacity).astype(np.uint8)[level])
    return np.asarray(Image.composite(Image.fromarray(heatmap(level)), grey, mask))


def _eight_bit(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        return (pixels >> 8).astype(np.uint8)
    return np.round(pixels * 255).astype(np.uint8)


def _colors() -> np.ndarray:
    """uint8 (256, 3)."""
    return np.round(255 * matplotlib.colormaps[COLORS](np.arange(256))[:, :3]).astype(np.uint8)
