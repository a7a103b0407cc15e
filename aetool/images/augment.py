"""Random variations of training pictures: every geometric one in a single resampling."""

import math
from collections.abc import Collection

import numpy as np
from PIL import Image

from aetool.errors import UsageError

AUGMENTATIONS = {
    "flip": "mirror left and right, one time in two",
    "crop": "a random window of 70 to 100 % of the area, its aspect changed by up to 4:3",
    "shift": "moved by whole pixels, up to 10 % of each side",
    "rotate": "turned by up to 10 degrees",
    "brightness": "brightness and contrast changed by up to 20 %",
    "five-crops": "besides the picture its four corners and its centre, three quarters as wide "
    "and high: six pictures for one",
}

# The picture, then the windows of "five-crops": (down, across) from the centre, in free space.
_WINDOWS = ((0.0, 0.0), (-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5), (0.0, 0.0))
_WINDOW_SIDE = 0.75
# Numbers drawn for each picture, whether its variations need them or not.
_DRAWS = 10
_MIRROR = 5


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
    windows = [0] * len(pictures) if windows is None else windows.tolist()
    draws = rng.random((len(pictures), _DRAWS))
    if set(names) <= {"flip", "brightness"} and pictures.shape[1:3] == tuple(size):
        # What resampling would come to, to the last bit.
        out = pictures.copy()
        if "flip" in names:
            mirrored = draws[:, _MIRROR] < 0.5
            out[mirrored] = out[mirrored, :, ::-1]
    else:
        out = _resampled(pictures, names, size, draws, windows)
    if "brightness" not in names:
        return out
    contrast, offset = 0.8 + 0.4 * draws[:, 6], 51 * (2 * draws[:, 7] - 1)
    return _with_light(out, contrast, offset)


def _resampled(pictures, names, size, draws, windows) -> np.ndarray:
    """One affine map of each picture."""
    shape = pictures.shape[1:3]
    out = np.empty((len(pictures), *size, pictures.shape[3]), np.uint8)
    # A turned or moved picture shows what lies beyond its edge: its edge pixels, repeated.
    moves = "shift" in names or "rotate" in names
    margin = max(shape) // 4 if moves else 0
    if margin:
        edges = ((0, 0), (margin, margin), (margin, margin), (0, 0))
        pictures = np.pad(pictures, edges, mode="edge")
    for i, (drawn, window) in enumerate(zip(draws.tolist(), windows, strict=True)):
        matrix = _affine_map(shape, margin, names, size, drawn, window)
        out[i] = _transformed(pictures[i], size, matrix)
    return out


def _with_light(pictures: np.ndarray, contrast: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Uint8 (n, h, w, c), each multiplied around its middle and moved by its own numbers (n,)."""
    levels = (np.arange(256) - 127.5) * contrast[:, None] + 127.5 + offset[:, None]  # (n, 256)
    tables = np.clip(levels, 0, 255).astype(np.uint8)
    return np.take_along_axis(tables, pictures.reshape(len(tables), -1), 1).reshape(pictures.shape)


def _transformed(
    pixels: np.ndarray, size: tuple[int, int], matrix: tuple[float, ...]
) -> np.ndarray:
    """One affine map of uint8 (h, w, c), bilinear."""
    if pixels.shape[2] not in (1, 3):
        channels = np.split(pixels, pixels.shape[2], axis=2)
        return np.concatenate([_transformed(channel, size, matrix) for channel in channels], axis=2)
    # What Image.fromarray and np.asarray do, without the questions that they ask each time.
    mode = "L" if pixels.shape[2] == 1 else "RGB"
    image = Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())
    varied = image.transform(
        size[::-1], Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR
    )
    return np.frombuffer(varied.tobytes(), np.uint8).reshape(*size, pixels.shape[2])


def _affine_map(shape, margin, names, size, draws, window) -> tuple[float, ...]:
    """From the pixels of the output to those of one picture, as its ten draws will have it."""
    height, width = shape
    whole = _WINDOW_SIDE if window else 1.0
    window_h = window_w = whole
    if "crop" in names:
        area = 0.7 + 0.3 * draws[0]
        aspect = math.exp((2 * draws[1] - 1) * math.log(4 / 3) / 2)
        window_h *= min(1.0, math.sqrt(area) * aspect)
        window_w *= min(1.0, math.sqrt(area) / aspect)
    # The window's centre, in input pixels; with a crop anywhere inside, else in the middle.
    down, across = _WINDOWS[window]
    span_y, span_x = (whole - window_h) * height, (whole - window_w) * width
    centre_y = height / 2 + span_y * (draws[2] - 0.5) + (1 - whole) * height * down
    centre_x = width / 2 + span_x * (draws[3] - 0.5) + (1 - whole) * width * across
    if "shift" in names:
        # By whole pixels: what lies between two would be a blur that no other picture has.
        centre_y += round(0.2 * (draws[8] - 0.5) * height)
        centre_x += round(0.2 * (draws[9] - 0.5) * width)
    angle = math.radians(20 * (draws[4] - 0.5)) if "rotate" in names else 0.0
    mirror = -1 if "flip" in names and draws[_MIRROR] < 0.5 else 1
    scale_y = window_h * height / size[0]
    scale_x = mirror * window_w * width / size[1]
    cos, sin = math.cos(angle), math.sin(angle)
    a, b = cos * scale_x, -sin * scale_y
    d, e = sin * scale_x, cos * scale_y
    return (
        a, b, margin + centre_x - a * size[1] / 2 - b * size[0] / 2,
        d, e, margin + centre_y - d * size[1] / 2 - e * size[0] / 2,
    )  # fmt: skip
