"""How well maps find the pixels that are marked as defects, in memory that does not grow."""

import numpy as np
from scipy.ndimage import label

# A value that is not negative, as float16, counts up as its bits do: so many bins, none lost.
_BINS = 2**15
# Up to which share of false alarms a pixel the overlap with defects is averaged.
FALSE_PIXELS = 0.3


class PixelScores:
    """Gathers the values of maps on normal and on marked pixels, picture by picture."""

    def __init__(self):
        self._normal = np.zeros(_BINS, np.int64)
        self._marked = np.zeros(_BINS, np.int64)
        self._regions = np.zeros(_BINS)
        self._region_count = 0

    def add(self, values: np.ndarray, mask: np.ndarray) -> None:
        """Count one picture in.

        Args:
            values: float (h, w), 0 and up, higher is more anomalous; rounded to float16.
            mask: bool (h, w), the defects; regions are parts joined by an edge or a corner.
        """
        bits = np.minimum(values, np.finfo(np.float16).max).astype(np.float16).view(np.uint16)
        self._normal += np.bincount(bits[~mask], minlength=_BINS)
        self._marked += np.bincount(bits[mask], minlength=_BINS)
        regions, count = label(mask, np.ones((3, 3)))
        if count:
            sizes = np.bincount(regions.ravel())
            weights = 1 / sizes[regions[mask]]
            self._regions += np.bincount(bits[mask], weights, minlength=_BINS)
            self._region_count += count

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
