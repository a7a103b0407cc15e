"""Colour joined to a picture's own grey: small chroma scaled up along the edges of a large luma.

Chroma here is the pair (R - Y, B - Y) with Y = 0.299 R + 0.587 G + 0.114 B, all on gamma-encoded
sRGB values in [0, 1]: Cr and Cb up to a factor.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.sparse import csr_array

from aetool.images.color import LUMA_WEIGHTS, lab_to_rgb, luma, luma_to_lightness
from aetool.images.decode import fit

# Measured on photographs whose true chroma was reduced 4 and 8 times and blurred by up to a pixel:
# 0.4 to 1.2 dB above bilinear scaling. Without the residual 0.3 to 1.9 dB below it; a smaller
# epsilon lets the texture of foliage and roof tiles into the colours.
WINDOW_RADIUS = 1
EPSILON = 0.01
_STRIP_PIXELS = 2**17  # worked on at a time, so that it stays in the processor's cache
# A photograph is one part, and a line of millions of pixels many: so many coefficients are held at
# the full width (16,384 columns of 128 small pixels), and so many rows of a resampling matrix.
_WIDE_VALUES = 2**23
_LONGEST = 2**16
_SMALLEST = np.float32(1e-6)


def grey_of(pixels: np.ndarray) -> np.ndarray:
    """The luma of a picture in its own depth, rounded to the nearest level.

    Args:
        pixels: (h, w) or (h, w, 3), uint8, uint16, or float32 in [0, 1].

    Returns:
        (h, w), uint8 for uint8, else uint16.
    """
    if pixels.ndim == 2 and pixels.dtype != np.float32:
        return pixels
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).convert("L"))
    result = np.empty(pixels.shape[:2], np.uint16)
    for rows in strips(pixels.shape):
        strip = unit(pixels[rows])
        result[rows] = (strip if strip.ndim == 2 else luma(strip)) * 65535 + 0.5
    return result


def chroma_of(rgb: np.ndarray) -> np.ndarray:
    """The chroma of a colour picture, relative to its own luma.

    Args:
        rgb: float (h, w, 3) in [0, 1].

    Returns:
        float32 (h, w, 2): R - Y in [-0.701, 0.701] and B - Y in [-0.886, 0.886].
    """
    rgb = np.asarray(rgb, np.float32)
    return rgb[..., ::2] - luma(rgb)[..., None]


def ab_to_chroma(ab: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """The chroma of CIE ab values at the lightness of grey pixels.

    Args:
        ab: float (h, w, 2) in Lab units.
        grey: float32 (h, w), luma in [0, 1].

    Returns:
        float32 (h, w, 2): R - Y and B - Y; out of gamut where `ab` is at that lightness.
    """
    lightness = luma_to_lightness(grey)
    return chroma_of(lab_to_rgb(np.concatenate([lightness[..., None], ab], axis=-1)))


def join(
    grey: np.ndarray,
    chroma: np.ndarray,
    saturation: float = 1.0,
    *,
    small_grey: np.ndarray | None = None,
) -> np.ndarray:
    """A colour picture whose luma is `grey` and whose chroma is `chroma` scaled up.

    The scaling is a fast guided filter (He and Sun, "Fast guided filter", 2015): around each small
    pixel chroma is taken for a linear function of luma, so colour changes where luma does. What the
    linear function leaves over is added back (residual interpolation; Kiku et al., 2013): without
    it the filter is a blur that loses to bilinear scaling. Where R, G or B would leave the gamut,
    chroma is scaled towards grey, so luma stays.

    Args:
        grey: (H, W), uint8 or uint16.
        chroma: float (h, w, 2), R - Y and B - Y of the whole picture, stretched to any small size.
        saturation: a factor on the chroma.
        small_grey: `grey` at the size of `chroma`, where that is at hand; see `reduced`.

    Returns:
        (H, W, 3) of the dtype of `grey`; its luma is within one level of `grey`.
    """
    height, width = grey.shape
    if small_grey is None:
        small_grey = reduced(grey, chroma.shape[:2])
    small_grey = small_grey[..., None]
    slope = _slope(small_grey, chroma)
    small = np.concatenate([slope, chroma - slope * small_grey], axis=-1) * np.float32(saturation)
    result = np.empty((height, width, 3), grey.dtype)
    small_height, small_width = chroma.shape[:2]
    if height < small_height and width * small_height > _WIDE_VALUES:
        # Few rows and very long ones: reduced now, they are not all widened to be dropped then.
        rows = _resampling(small_height, height, 0, height)
        small_height, small = height, rows @ small.reshape(small_height, -1)
    small = small.reshape(small_height, small_width, 4).transpose(1, 0, 2).reshape(small_width, -1)
    step = min(_LONGEST, max(1, _WIDE_VALUES // small.shape[1]))
    for left in range(0, width, step):
        right = min(width, left + step)
        # (W, h * 4) -> (h, 4 * W): each coefficient at the full width, still at the small height
        wide = _resampling(small_width, width, left, right) @ small
        wide = wide.reshape(-1, small_height, 4).transpose(1, 2, 0).reshape(small_height, -1)
        for top in range(0, height, _LONGEST):
            bottom = min(height, top + _LONGEST)
            down = _resampling(small_height, height, top, bottom)
            part = slice(top, bottom), slice(left, right)
            _fill(result[part], grey[part], down, wide)
    return result


def _fill(result: np.ndarray, grey: np.ndarray, down: csr_array, wide: np.ndarray) -> None:
    """Colour a part of a picture.

    Args:
        result: (H, W, 3), what to fill.
        grey: (H, W) of the same dtype.
        down: (H, h), what resamples `wide` to the full height.
        wide: float32 (h, 4 * W), two slopes and two offsets of the part's columns.
    """
    height, width = grey.shape
    for rows in strips(grey.shape):
        some = (
            down if rows == slice(0, height) else down[rows]
        )  # a slice costs more than the product
        coefficients = (some @ wide).reshape(-1, 4, width)
        slope_r, slope_b, offset_r, offset_b = coefficients.transpose(1, 0, 2)
        y = unit(grey[rows])
        slope_r *= y
        slope_b *= y
        result[rows] = _levels(y, slope_r + offset_r, slope_b + offset_b, grey.dtype)


def colorfulness(pixels: np.ndarray) -> float:
    """How colourful a picture is perceived: 0 grey, about 15 slightly, 45 quite, 80 highly.

    Hasler and Suesstrunk, "Measuring colourfulness in natural images" (2003), M3.

    Args:
        pixels: (h, w, 3), uint8, uint16, or float32 in [0, 1].
    """
    sums = np.zeros((2, 2))  # of rg and yb, and of their squares
    for rows in strips(pixels.shape):
        r, g, b = np.moveaxis(unit(pixels[rows]).astype(np.float64) * 255, -1, 0)
        opponent = np.stack([r - g, (r + g) / 2 - b])
        sums += [opponent.sum(axis=(1, 2)), (opponent * opponent).sum(axis=(1, 2))]
    mean, mean_square = sums / (pixels.shape[0] * pixels.shape[1])
    deviation = np.sqrt(np.maximum(mean_square - mean * mean, 0))
    return float(np.hypot(*deviation) + 0.3 * np.hypot(*mean))


def _levels(y: np.ndarray, red: np.ndarray, blue: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """RGB levels of luma `y` in [0, 1] with R - Y = `red` and B - Y = `blue`, kept in gamut."""
    weight_r, weight_g, weight_b = LUMA_WEIGHTS
    green = red * (-weight_r / weight_g) - blue * (weight_b / weight_g)
    above = np.maximum(np.maximum(red, green), np.maximum(blue, _SMALLEST))
    below = np.maximum(-np.minimum(np.minimum(red, green), blue), _SMALLEST)
    top = np.float32(np.iinfo(dtype).max)
    scale = np.minimum(np.minimum((1 - y) / above, y / below), 1) * top
    y = y * top + np.float32(0.5)
    rgb = np.empty((*y.shape, 3), np.float32)
    for channel, difference in enumerate((red, green, blue)):
        np.add(y, difference * scale, out=rgb[..., channel])
    return rgb.astype(dtype)


def _slope(grey: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """The guided filter's smoothed linear coefficient; (h, w, 1) and (h, w, 2) -> (h, w, 2)."""
    both = np.concatenate([grey, chroma], axis=-1)
    means = _box_mean(np.concatenate([both, grey * both], axis=-1))
    mean, mean_chroma, variance, covariance = np.split(means, [1, 3, 4], axis=-1)
    variance = variance - mean * mean
    covariance = covariance - mean * mean_chroma
    return _box_mean(covariance / (variance + np.float32(EPSILON)))


def _box_mean(values: np.ndarray) -> np.ndarray:
    """The mean over each pixel's window, edges repeated; float32 (h, w, c)."""
    size = 2 * WINDOW_RADIUS + 1
    for axis in (0, 1):
        values = np.swapaxes(values, 0, axis)
        first, last = [values[:1]] * WINDOW_RADIUS, [values[-1:]] * WINDOW_RADIUS
        padded = np.concatenate([*first, values, *last])
        total = sum(padded[i : i + len(values)] for i in range(size))
        values = np.swapaxes(total, 0, axis)
    return values * np.float32(1 / size**2)


@lru_cache(maxsize=64)  # of a batch most pictures have one size
def _resampling(count: int, goal: int, start: int, stop: int) -> csr_array:
    """The matrix that resamples `count` values to `goal`: cubic (Keys, 1981), antialiased.

    Sparse, with four values a row: a dense product would run on all processors, which the network
    keeps busy, and wait for them.

    Args:
        count: values to resample.
        goal: values wanted.
        start, stop: which of those; all rows of a goal of millions would take gigabytes.

    Returns:
        float32 (stop - start, count), rows summing to 1.
    """
    step = count / goal
    reach = 2 * max(step, 1)
    centre = (np.arange(start, stop, dtype=np.float32)[:, None] + 0.5) * step - 0.5
    # A row's few neighbours, from a multiple of eight on: eight partial sums are what NumPy adds a
    # row up in, so the total does not depend on how many columns without weight there are besides.
    first = np.maximum(np.floor(centre - reach), 0).astype(np.int32) // 8 * 8
    columns = first + np.arange((int(2 * reach) // 8 + 2) * 8, dtype=np.int32)
    x = np.abs(columns.astype(np.float32) - centre) / max(step, 1)
    kernel = np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2)
    kernel[(x >= 2) | (columns >= count)] = 0
    taken = kernel != 0
    kernel /= kernel.sum(axis=1, keepdims=True)
    ends = np.concatenate([[0], np.cumsum(taken.sum(axis=1))])
    shape = (len(kernel), count)
    return csr_array((kernel[taken], columns[taken], ends.astype(np.int32)), shape=shape)


def reduced(grey: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The grey picture stretched to `size`: float32 (h, w) in [0, 1]."""
    return fit(grey, size, 1)[..., 0]


def unit(pixels: np.ndarray) -> np.ndarray:
    """Levels of any depth as float32 in [0, 1]."""
    if pixels.dtype == np.float32:
        return pixels
    return pixels * np.float32(1 / np.iinfo(pixels.dtype).max)


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Row ranges that cut a picture of (height, width, ...) into strips of a bounded size."""
    height, width = shape[:2]
    step = max(1, _STRIP_PIXELS // width)
    for start in range(0, height, step):
        yield slice(start, min(height, start + step))
