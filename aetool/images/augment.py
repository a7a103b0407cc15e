"""Random variations of training pictures: every geometric one in a single resampling."""

import math
from collections.abc import Collection

import numpy as np

from aetool.errors import UsageError

AUGMENTATIONS = {
    "flip": "mirror left and right, one time in two",
    "crop": "a random window of 70 to 100 % of the area, its aspect changed by up to 4:3",
    "shift": "moved by whole pixels, up to 10 % of each side",
    "rotate": "turned by up to 10 degrees",
    "brightness": "brightness and contrast changed by up to 20 %",
    "cutout": "a square somewhere, three eighths of the shorter side, in the picture's mean colour",
    "five-crops": "besides the picture its four corners and its centre, three quarters as wide "
    "and high: six pictures for one",
}

# The picture, then the windows of "five-crops": (down, across) from the centre, in free space.
_WINDOWS = ((0.0, 0.0), (-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5), (0.0, 0.0))
_WINDOW_SIDE = 0.75
# Numbers drawn for each picture, whether its variations need them or not.
_DRAWS = 10
_MIRROR = 5
_HOLE_SIDE = 3 / 8  # of the shorter side
_PIXELS = 1 << 14  # that are resampled together: few enough for the cache


def variants(names: Collection[str]) -> int:
    """How many pictures an epoch makes of each."""
    return len(_WINDOWS) if "five-crops" in names else 1


def check_augmentations(names: Collection[str]) -> None:
    """UsageError for a name that is none of AUGMENTATIONS."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise UsageError(f"no augmentation {name!r}", f"there are {', '.join(AUGMENTATIONS)}")


# A cropped window is enlarged again, so pictures are kept a little larger than the network's input.
CROP_MARGIN = 1.125


def stored_size(size: tuple[int, int], names: Collection[str]) -> tuple[int, int]:
    """(height, width) at which to keep pictures that will be augmented to `size`."""
    if "crop" not in names:
        return size
    return tuple(math.ceil(side * CROP_MARGIN) for side in size)


def augment(
    pictures: np.ndarray,
    names: Collection[str],
    size: tuple[int, int],
    rng: np.random.Generator,
    windows: np.ndarray | None = None,
) -> np.ndarray:
    """A random variation of each picture.

    Args:
        pictures: uint8 (n, h, w, c); with other c than 1 and 3 two pictures, varied alike.
        names: keys of AUGMENTATIONS; the order does not matter.
        size: (height, width) wanted.
        rng: every draw comes from it, in a fixed order.
        windows: int (n,), which of its `variants` each is to be.

    Returns:
        uint8 (n, height, width, c).
    """
    windows = np.zeros(len(pictures), int) if windows is None else windows
    draws = rng.random((len(pictures), _DRAWS))
    if set(names) <= {"flip", "brightness"} and pictures.shape[1:3] == tuple(size):
        # What resampling would come to, to the last bit.
        out = pictures.copy()
        if "flip" in names:
            mirrored = draws[:, _MIRROR] < 0.5
            out[mirrored] = out[mirrored, :, ::-1]
    else:
        maps = _affine_maps(pictures.shape[1:3], names, size, draws, windows)
        out = _resampled(pictures, size, maps)
    if "brightness" in names:
        contrast, offset = 0.8 + 0.4 * draws[:, 6], 51 * (2 * draws[:, 7] - 1)
        out = _with_light(out, contrast, offset)
    if "cutout" in names:
        # Draws of its own, so that whoever does without it has the variations of older versions.
        out = _cut_out(out, rng.random((len(out), 2)))
    return out


def _affine_maps(
    shape: tuple[int, int],
    names: Collection[str],
    size: tuple[int, int],
    draws: np.ndarray,
    windows: np.ndarray,
) -> np.ndarray:
    """From the pixels of the output to those of each picture, as its ten draws will have it.

    Returns:
        float64 (2, 3, n): y and x in the picture are the first two numbers times y and x in the
        output plus the third, the middle of a pixel being half a pixel from its edges.
    """
    height, width = shape
    whole = np.where(windows > 0, _WINDOW_SIDE, 1.0)
    window_h = window_w = whole
    if "crop" in names:
        side = np.sqrt(0.7 + 0.3 * draws[:, 0])
        aspect = (4 / 3) ** (draws[:, 1] - 0.5)
        window_h = whole * np.minimum(1.0, side * aspect)
        window_w = whole * np.minimum(1.0, side / aspect)
    # The window's centre, in input pixels; with a crop anywhere inside, else in the middle.
    down, across = np.array(_WINDOWS)[windows].T
    span_y, span_x = (whole - window_h) * height, (whole - window_w) * width
    centre_y = height / 2 + span_y * (draws[:, 2] - 0.5) + (1 - whole) * height * down
    centre_x = width / 2 + span_x * (draws[:, 3] - 0.5) + (1 - whole) * width * across
    if "shift" in names:
        # By whole pixels: what lies between two would be a blur that no other picture has.
        centre_y = centre_y + np.rint(0.2 * (draws[:, 8] - 0.5) * height)
        centre_x = centre_x + np.rint(0.2 * (draws[:, 9] - 0.5) * width)
    angle = np.radians(20 * (draws[:, 4] - 0.5)) if "rotate" in names else np.zeros(len(draws))
    mirror = np.where(draws[:, _MIRROR] < 0.5, -1, 1) if "flip" in names else 1
    scale_y, scale_x = window_h * height / size[0], mirror * window_w * width / size[1]
    cos, sin = np.cos(angle), np.sin(angle)
    yy, yx = cos * scale_y, sin * scale_x
    xy, xx = -sin * scale_y, cos * scale_x
    return np.array(
        [
            [yy, yx, centre_y - yy * size[0] / 2 - yx * size[1] / 2],
            [xy, xx, centre_x - xy * size[0] / 2 - xx * size[1] / 2],
        ]
    )


def _resampled(pictures: np.ndarray, size: tuple[int, int], maps: np.ndarray) -> np.ndarray:
    """Uint8 (n, h, w, c) by one affine map each, bilinear; beyond an edge its pixels repeat."""
    out = np.empty((len(pictures), *size, pictures.shape[3]), np.uint8)
    step = max(1, _PIXELS // (size[0] * size[1]))
    for start in range(0, len(pictures), step):
        part = slice(start, start + step)
        out[part] = _bilinear(pictures[part], size, maps[..., part])
    return out


def _bilinear(pictures: np.ndarray, size: tuple[int, int], maps: np.ndarray) -> np.ndarray:
    count, height, width, channels = pictures.shape
    first_y, down = _cells(maps[0], size, height)
    first_x, right = _cells(maps[1], size, width)
    first = first_y * width + first_x
    first += (np.arange(count) * (height * width))[:, None, None]
    whole = not right.any() and not down.any()  # the pixels alone, nothing between them
    if not whole:
        down, right = (np.broadcast_to(part, first.shape).copy() for part in (down, right))
    # What follows a picture's last row or column has no weight, but must be there.
    below, beside = width * (height > 1), int(width > 1)
    out = np.empty((count, *size, channels), np.uint8)
    for channel in range(channels):
        pixels = pictures[..., channel].ravel()
        if whole:
            out[..., channel] = pixels.take(first, mode="clip")
            continue
        above = _between(pixels, first, beside, right)
        between = _between(pixels[below:], first, beside, right)
        between -= above
        between *= down
        between += above
        between += 0.5
        out[..., channel] = between
    return out


def _between(pixels: np.ndarray, first: np.ndarray, beside: int, right: np.ndarray) -> np.ndarray:
    """Float32, of the shape of `first`: what lies between some pixels and those beside them."""
    left = pixels.take(first, mode="clip").astype(np.float32)
    between = pixels[beside:].take(first, mode="clip") - left
    between *= right
    between += left
    return between


def _cells(rows: np.ndarray, size: tuple[int, int], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis of `length`: the pixel before each place, int64, and how far beyond it.

    Of the shape (n, height, width) or one that broadcasts to it, where nothing is turned.
    """
    by_y, by_x, offset = rows.astype(np.float32)[:, :, None, None]
    # The middle of the picture's first pixel is at 0, that of the output's at half a pixel.
    places = offset - np.float32(0.5)
    if by_y.any():
        places = places + by_y * (np.arange(size[0], dtype=np.float32)[:, None] + np.float32(0.5))
    if by_x.any():
        places = places + by_x * (np.arange(size[1], dtype=np.float32) + np.float32(0.5))
    np.clip(places, 0, length - 1, out=places)
    before = places.astype(np.int64)
    places -= before
    return before, places


def _with_light(pictures: np.ndarray, contrast: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Uint8 (n, h, w, c), each multiplied around its middle and moved by its own numbers (n,)."""
    levels = (np.arange(256) - 127.5) * contrast[:, None] + 127.5 + offset[:, None]  # (n, 256)
    tables = np.clip(levels, 0, 255).astype(np.uint8)
    return np.take_along_axis(tables, pictures.reshape(len(tables), -1), 1).reshape(pictures.shape)


def _cut_out(pictures: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Uint8 (n, h, w, c), a square of each in its mean colour: DeVries and Taylor, "Improved
    Regularization of Convolutional Neural Networks with Cutout" (2017), but never across an edge.

    Args:
        places: (n, 2) in [0, 1), where the square is: down and across.
    """
    sides = pictures.shape[1:3]
    hole = round(_HOLE_SIDE * min(sides))
    inside = []
    for side, place in zip(sides, places.T, strict=True):
        first = np.floor(place * (side - hole + 1))
        beyond = np.arange(side) - first[:, None]
        inside.append((beyond >= 0) & (beyond < hole))
    rows, columns = inside
    hidden = (rows[:, :, None] & columns[:, None, :])[..., None]
    mean = np.rint(pictures.mean(axis=(1, 2), keepdims=True)).astype(np.uint8)
    return np.where(hidden, mean, pictures)
