"""Random variations of training pictures: every geometric one in a single resampling."""

import math
from collections.abc import Collection

import numpy as np
from PIL import Image

from aetool.errors import UsageError

AUGMENTATIONS = {
    "flip": "mirror left and right, one time in two",
    "crop": "a random window of 70 to 100 % of the area, its aspect changed by up to 4:3",
    "shift": "moved by up to 10 % of each side",
    "rotate": "turned by up to 10 degrees",
    "brightness": "brightness and contrast changed by up to 20 %",
    "five-crops": "besides the picture its four corners and its centre, three quarters as wide "
    "and high: six pictures for one",
}

# The picture, then the windows of "five-crops": (down, across) from the centre, in free space.
_WINDOWS = ((0.0, 0.0), (-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5), (0.0, 0.0))
_WINDOW_SIDE = 0.75


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
    out = np.empty((len(pictures), *size, pictures.shape[3]), np.uint8)
    # A turned or moved picture shows what lies beyond its edge: its edge pixels, repeated.
    moves = "shift" in names or "rotate" in names
    margin = max(pictures.shape[1:3]) // 4 if moves else 0
    windows = np.zeros(len(pictures), int) if windows is None else windows
    for i, (pixels, window) in enumerate(zip(pictures, windows, strict=True)):
        matrix, contrast, brightness = _draw(pixels.shape[:2], margin, names, size, rng, window)
        if margin:
            pixels = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
        varied = _transformed(pixels, size, matrix)
        if contrast != 1 or brightness != 0:
            varied = np.clip((varied - 127.5) * contrast + 127.5 + brightness, 0, 255)
        out[i] = varied.reshape(out.shape[1:])
    return out


def _transformed(
    pixels: np.ndarray, size: tuple[int, int], matrix: tuple[float, ...]
) -> np.ndarray:
    """One affine map of uint8 (h, w, c), bilinear."""
    if pixels.shape[2] not in (1, 3):
        channels = np.split(pixels, pixels.shape[2], axis=2)
        return np.stack([_transformed(channel, size, matrix) for channel in channels], axis=2)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return np.asarray(
        image.transform(
            size[::-1], Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR
        )
    )


def _draw(shape, margin, names, size, rng, window) -> tuple[tuple[float, ...], float, float]:
    """One affine map from output to input pixels, one contrast factor and one brightness offset."""
    height, width = shape
    draws = rng.random(10)
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
        centre_y += 0.2 * (draws[8] - 0.5) * height
        centre_x += 0.2 * (draws[9] - 0.5) * width
    angle = math.radians(20 * (draws[4] - 0.5)) if "rotate" in names else 0.0
    mirror = -1 if "flip" in names and draws[5] < 0.5 else 1
    scale_y = window_h * height / size[0]
    scale_x = mirror * window_w * width / size[1]
    cos, sin = math.cos(angle), math.sin(angle)
    a, b = cos * scale_x, -sin * scale_y
    d, e = sin * scale_x, cos * scale_y
    matrix = (
        a, b, margin + centre_x - a * size[1] / 2 - b * size[0] / 2,
        d, e, margin + centre_y - d * size[1] / 2 - e * size[0] / 2,
    )  # fmt: skip
    if "brightness" not in names:
        return matrix, 1.0, 0.0
    return matrix, 0.8 + 0.4 * draws[6], 51 * (2 * draws[7] - 1)
