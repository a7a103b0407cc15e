"""How much of a picture's colour changes where nothing else does: colours that bleed over edges."""

import numpy as np

from aetool.images.chroma import chroma_of, strips, unit
from aetool.images.color import luma

EDGE = 0.02  # of luma in [0, 1], from one pixel to the next: five levels of 255
_NOTHING = 1e-10  # mean energy: what rounding leaves of the chroma of a grey picture


def bleeding(pixels: np.ndarray) -> float:
    """The share of chroma's gradient energy that lies away from luma's edges, 0 to 1.

    The gradient is the difference of neighbours, along both axes, of R - Y and B - Y; its energy
    the sum of their squares. Away from an edge is where the neighbours' luma differs by less than
    EDGE. Photographs themselves have some; what blurs over edges has more.

    Args:
        pixels: (h, w, 3), uint8, uint16, or float32 in [0, 1].

    Returns:
        0 for a picture whose colour changes nowhere.
    """
    away = total = 0.0
    for rows in strips(pixels.shape):
        # With the row above, so that no pair of neighbours falls between two strips.
        strip = unit(pixels[max(rows.start - 1, 0) : rows.stop])
        chroma, y = chroma_of(strip), luma(strip)
        across = slice(1 if rows.start else 0, None)
        for axis, own in ((0, slice(None)), (1, across)):
            energy = np.square(np.diff(chroma, axis=axis)).sum(axis=-1, dtype=np.float64)[own]
            flat = np.abs(np.diff(y, axis=axis))[own] < EDGE
            total += float(energy.sum())
            away += float(energy[flat].sum())
    return away / total if total > _NOTHING * pixels.size else 0.0
