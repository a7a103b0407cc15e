"""Samples as files store them, turned into the pixels of a Picture."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from aetool.images.profiles import is_srgb, to_srgb

STRIP_PIXELS = 1 << 22


@dataclass(frozen=True, slots=True)
class DeepSamples:
    """Samples that Pillow has no mode for, as stored in the first page of a file.

    Args:
        samples: (h, w) or (h, w, 3), of the file's own type and range.
        alpha: (h, w) of the same type, or None.
        premultiplied: the samples are already multiplied by alpha.
        inverted: the least value is white.
        orientation: as in EXIF, 1 to 8.
        profile: the ICC profile, or None.
        dpi: (x, y) dots per inch of the upright picture, or None.
        pages: how many pages the file has.
    """

    samples: np.ndarray
    alpha: np.ndarray | None
    premultiplied: bool
    inverted: bool
    orientation: int
    profile: bytes | None
    dpi: tuple[float, float] | None = None
    pages: int = 1


def image_pixels(image: Image.Image, orientation: int, *, opaque: bool = False) -> np.ndarray:
    """The pixels of a loaded Pillow image, converted strip by strip to spare a second copy.

    Args:
        image: of any mode.
        orientation: as in EXIF, 1 to 8.
        opaque: what it has for alpha is none.

    Returns:
        (h, w) or (h, w, 3) as deep_pixels() gives.
    """
    profile = image.info.get("icc_profile")
    width, height = image.size
    rows = max(1, STRIP_PIXELS // width)
    upright = stored = None
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        values = _strip_pixels(strip, profile, opaque)
        if stored is None:
            swap = orientation > 4
            size = (width, height) if swap else (height, width)
            upright = np.empty(size + values.shape[2:], values.dtype)
            stored = _as_stored(upright, orientation)
        stored[top : top + rows] = values
    if image.format == "TIFF" and upright.dtype != np.uint8:
        # Pillow leaves 12 bits at 0 to 4095, and white at zero where the file has it so.
        if image.tag_v2.get(258) == (12,):
            upright = upright << 4 | upright >> 8
        upright = _full_range(upright)
        return _inverted(upright) if image.tag_v2.get(262) == 0 else upright
    return _full_range(upright)


def _strip_pixels(strip: Image.Image, profile: bytes | None, opaque: bool) -> np.ndarray:
    """(h, w) or (h, w, 3) in sRGB, alpha over white; int32 and float32 still in their own range."""
    mode = strip.mode
    if mode in ("I", "F"):
        return np.asarray(strip)
    if mode.startswith("I;16"):
        values = np.asarray(strip).astype(np.uint16, copy=False)
        clear = strip.info.get("transparency")
        if isinstance(clear, int):
            values = np.where(values == clear, np.uint16(65535), values)
        if is_srgb(profile, "I;16"):
            return values
        return np.asarray(to_srgb(Image.fromarray(values), profile))
    grey = mode in ("1", "L", "LA", "La")
    if strip.has_transparency_data and not opaque:
        strip = _over_white(strip, "L" if grey else "RGB")
    elif mode != "CMYK":
        strip = strip.convert("L" if grey else "RGB")
    return np.asarray(to_srgb(strip, profile))


def _over_white(image: Image.Image, mode: str) -> Image.Image:
    if image.mode in ("La", "RGBa"):  # premultiplied
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    image = image.convert("RGBA")
    white = Image.new(mode, image.size, "white")
    white.paste(image.convert(mode), mask=image.getchannel("A"))
    return white


def _as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """A view of upright pixels in the order in which a file of this EXIF orientation has them."""
    if orientation > 4:
        upright = upright.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 6, 7) else 1
    columns = -1 if orientation in (2, 3, 7, 8) else 1
    return upright[::rows, ::columns]


def deep_pixels(deep: DeepSamples) -> np.ndarray:
    """(h, w) or (h, w, 3): uint8, uint16 or float32 in [0, 1]; upright, alpha over white, sRGB."""
    values = _full_range(deep.samples)
    if deep.inverted:
        values = _inverted(values)
    white = 1.0 if values.dtype == np.float32 else np.iinfo(values.dtype).max
    if deep.alpha is not None:
        top = 1 if deep.alpha.dtype.kind in "bf" else np.iinfo(deep.alpha.dtype).max
        alpha = np.clip(deep.alpha.astype(np.float32) / top, 0, 1)
        alpha = alpha if values.ndim == 2 else alpha[..., None]
        flat = (values if deep.premultiplied else values * alpha) + white * (1 - alpha)
        flat = flat if values.dtype == np.float32 else np.round(flat)
        values = np.clip(flat, 0, white).astype(values.dtype)
    mode = "RGB" if values.ndim == 3 else "L" if values.dtype == np.uint8 else "I;16"
    if values.dtype != np.float32 and not is_srgb(deep.profile, mode):
        # Colour management knows no 16-bit RGB: true colours are worth more than the depth.
        values = to_uint8(values) if mode == "RGB" else values
        values = np.asarray(to_srgb(Image.fromarray(values), deep.profile))
    if deep.orientation == 1:
        return values
    height, width = values.shape[:2]
    size = (width, height) if deep.orientation > 4 else (height, width)
    upright = np.empty(size + values.shape[2:], values.dtype)
    _as_stored(upright, deep.orientation)[...] = values
    return upright


def _full_range(values: np.ndarray) -> np.ndarray:
    """Samples of any type as uint8, uint16, or float32 in [0, 1]; decode() says how."""
    if values.dtype == bool:
        return values * np.uint8(255)
    if values.dtype in (np.uint8, np.uint16):
        return values
    if values.dtype.kind == "f":
        values = values.astype(np.float32, copy=False)
        finite = values[np.isfinite(values)] if not np.isfinite(values).all() else values
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        if low >= 0 and high <= 1:
            low, high = 0.0, 1.0
    else:
        low, high = int(values.min()), int(values.max())
        if low >= 0 and high <= 65535:
            return values.astype(np.uint8 if values.dtype.itemsize == 1 else np.uint16)
        values = values.astype(np.float32)
    scaled = np.subtract(values, np.float32(low))
    scaled /= np.float32((high - low) or 1)
    np.nan_to_num(scaled, copy=False, nan=0.0)
    return np.clip(scaled, 0, 1, out=scaled)


def _inverted(values: np.ndarray) -> np.ndarray:
    return (1 if values.dtype == np.float32 else np.iinfo(values.dtype).max) - values


_TO_UINT8 = ((np.arange(65536) + 128) // 257).astype(np.uint8)


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """uint16 over its whole range to uint8, rounded; uint8 as it is."""
    return pixels if pixels.dtype == np.uint8 else _TO_UINT8[pixels]


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """Samples as float32 in [0, 1]."""
    if pixels.dtype == np.float32:
        return pixels
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
