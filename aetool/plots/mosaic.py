"""Pictures edge to edge, as a picture of the space that they come from."""

import numpy as np


def mosaic(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Lay pictures of one size out in rows, without gaps.

    Args:
        pictures: (n, h, w, c), n a multiple of `columns`; the first is at the top left.
        columns: pictures in a row.

    Returns:
        (n / columns * h, columns * w, c), of the same type.
    """
    n, height, width, channels = pictures.shape
    rows = n // columns
    laid = pictures.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return laid.reshape(rows * height, columns * width, channels)


def enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture (h, w, c) whose pixels are repeated until its longer side is nearly `side`.

    By a whole factor, and not at all where it is larger.
    """
    factor = max(1, side // max(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
