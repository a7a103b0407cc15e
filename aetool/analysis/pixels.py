"""How well maps find the pixels that are marked as defects, in memory that does not grow."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label

# A value that is not negative, as float16, counts up as its bits do: so many bins, none lost.
_BINS = 2**15
# Up to which share of false alarms a pixel the overlap with defects is averaged.
FALSE_PIXELS = 0.3


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """What the mask of one picture says of its map, in less memory than the two.

    Args:
        bins: uint16 (b,), the values that occur.
        normal, marked: int64 (b,), pixels of that value.
        regions: float64 (b,), the same of marked pixels, each as its share of its region.
        region_count: parts of the mask joined by an edge or a corner.
    """

    bins: np.ndarray
    normal: np.ndarray
    marked: np.ndarray
    regions: np.ndarray
    region_count: int


def count_pixels(values: np.ndarray, mask: np.ndarray) -> PixelCounts:
    """Count one picture's pixels.

    Args:
        values: float (h, w), 0 and up, higher is more anomalous; rounded to float16.
        mask: bool (h, w), the defects.
    """
    bits = np.minimum(values, np.finfo(np.float16).max).astype(np.float16).view(np.uint16)
    normal = np.bincount(bits[~mask], minlength=_BINS)
    marked = np.bincount(bits[mask], minlength=_BINS)
    regions, count = label(mask, np.ones((3, 3)))
    sizes = np.bincount(regions.ravel())
    shares = np.bincount(bits[mask], 1 / sizes[regions[mask]], minlength=_BINS)
    bins = np.flatnonzero(normal + marked)
    return PixelCounts(bins.astype(np.uint16), normal[bins], marked[bins], shares[bins], count)


class PixelScores:
    """Gathers the values of maps on normal and on marked pixels, picture by picture."""

    def __init__(self):
        self._normal = np.zeros(_BINS, np.int64)
        self._marked = np.zeros(_BINS, np.int64)
        self._regions = np.zeros(_BINS)
        self._region_count = 0

    def add(self, counts: PixelCounts) -> None:
        """Count one picture in."""
        self._normal[counts.bins] += counts.normal
        self._marked[counts.bins] += counts.marked
        self._regions[counts.bins] += counts.regions
        self._region_count += counts.region_count

    def auroc(self) -> float | None:
        """Area under the ROC curve over all pixels; None unless both kinds occur."""
        normal, marked = self._normal.sum(), self._marked.sum()
        if not normal or not marked:
            return None
        below = np.cumsum(self._normal) - self._normal
        return float((self._marked * (below + self._normal / 2)).sum() / (normal * marked))

    def region_overlap(self) -> float | None:
        """Mean share of each region that is found, up to FALSE_PIXELS false pixels; 1 is perfect.

        The normalised area under the per-region overlap curve: Bergmann et al., "The MVTec anomaly
        detection dataset" (2021). A small defect counts as much as a large one.
        """
        normal = self._normal.sum()
        if not normal or not self._region_count:
            return None
        false = np.append(0, np.cumsum(self._normal[::-1]) / normal)
        found = np.append(0, np.cumsum(self._regions[::-1]) / self._region_count)
        end = np.interp(FALSE_PIXELS, false, found)
        inside = false < FALSE_PIXELS
        false, found = np.append(false[inside], FALSE_PIXELS), np.append(found[inside], end)
        area = (np.diff(false) * (found[1:] + found[:-1]) / 2).sum()
        return float(area / FALSE_PIXELS)
