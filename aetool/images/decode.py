"""Pictures from files and bytes, their pixels right; and pixels brought to a model's size."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from aetool.errors import ImageError
from aetool.images import jpeg2000, png
from aetool.images.alpha import is_opaque
from aetool.images.color import luma
from aetool.images.metadata import image_dpi, known_dpi, upright_exif
from aetool.images.samples import STRIP_PIXELS, DeepSamples, deep_pixels, image_pixels, to_unit

MAX_PIXELS = 500_000_000

# Decoders that work in this process on pixels alone: no EPS (it starts Ghostscript), no stubs.
_FORMATS = (
    "JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF",
    "ICO", "ICNS", "PCX", "PSD", "QOI", "SGI", "TGA",
)  # fmt: skip
_MAGIC = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"RIFF": "WEBP", b"BM": "BMP",
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF",
    b"8BPS": "PSD",
}  # fmt: skip
_REDUCING_GAP = 2.0

# Pillow warns of odd metadata, which says nothing about the pixels.
warnings.filterwarnings("ignore", module=r"PIL\.")
# Pillow refuses a PNG for one megabyte of profile or of compressed text, and the history that an
# editor keeps there can have several. All texts of a file together stay below its 64.
_MOST_TEXT = 2**24
PngImagePlugin.MAX_TEXT_CHUNK = _MOST_TEXT


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture.

    Args:
        pixels: (h, w) grey or (h, w, 3) sRGB; uint8, uint16 over its whole range, or float32 in
            [0, 1]; upright; alpha flattened over white.
        format: Pillow's name of the file format, "JPEG", "TIFF"; "ARRAY" for rows of an array.
        exif: the EXIF block with orientation 1 and no thumbnail, or None.
        dpi: (x, y) dots per inch, or None.
        frames: pages or frames in the file, of which this is the first.
    """

    pixels: np.ndarray
    format: str
    exif: bytes | None
    dpi: tuple[float, float] | None
    frames: int


def decode(
    data: Path | bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    reduce_to: tuple[int, int] | None = None,
) -> Picture:
    """Decode the first frame of a picture. Any number of threads may decode at once.

    An ICC profile is applied, so that pixels are sRGB. Grey of 16 bits keeps them, and so do TIFF
    files in colour, other than LZW in separate planes; 16-bit colour in other formats comes as 8
    bits. Floating point within [0, 1] is taken as it is; any other range is stretched from its
    least to its greatest value, as are integers that exceed 16 bits or fall below zero; NaN is
    black. CMYK without a profile is converted without colour management.

    Args:
        data: a file, or its bytes.
        max_pixels: larger pictures are refused from their header, before they are decoded.
        reduce_to: (h, w), when the caller needs no more than that: a JPEG may then come at a half,
            a quarter or an eighth of its size, rounded up, never less than twice this on either
            side.

    Raises:
        ImageError: its message is the reason alone: "truncated", "not an image".
    """
    with _opened(data) as file, _damage_reported(file), _pillow_limit(max_pixels):
        image = _identify(file)
        if image is not None:
            check_size(image.size, max_pixels)
        layout = png.prepare(image) if image is not None and image.format == "PNG" else None
        deep = _read_deep(file, max_pixels) if image is None or _is_deep(image) else None
        if image is None:
            if deep is None:
                raise ImageError("unsupported kind of TIFF")
            exif, dpi, frames = None, deep.dpi and known_dpi(*deep.dpi), deep.pages
        else:
            exif, orientation = upright_exif(image)
            dpi = image_dpi(image, orientation)
            opaque = is_opaque(image, file)
            if deep is None:
                size = reduce_to and (reduce_to if orientation > 4 else reduce_to[::-1])
                loaded = _loaded(image, size)
            if layout:
                deep = png.read_samples(image, layout, file, orientation)
            frames = _frames(image, file)
        if deep is None:
            # Pillow turns a TIFF upright as it loads it.
            stored = 1 if image.format == "TIFF" else orientation
            pixels = image_pixels(loaded, stored, opaque=opaque)
        else:
            pixels = deep_pixels(deep)
    name = "TIFF" if image is None else "JPEG" if image.format == "MPO" else image.format
    return Picture(pixels, name, exif, dpi, frames)


# --- files -----------------------------------------------------------------------------------


@contextmanager
def _opened(data: Path | bytes) -> Iterator[BinaryIO]:
    """The bytes of a picture as a file that is not empty."""
    if isinstance(data, bytes):
        file = BytesIO(data)
    else:
        try:
            file = open(data, "rb")  # noqa: SIM115
        except FileNotFoundError:
            raise ImageError("no such file") from None
        except IsADirectoryError:
            raise ImageError("is a directory") from None
        except PermissionError:
            raise ImageError("permission denied") from None
        except OSError as error:
            raise ImageError((error.strerror or str(error)).lower()) from error
    with file:
        if not file.read(1):
            raise ImageError("empty file")
        file.seek(0)
        yield file


@contextmanager
def _damage_reported(file: BinaryIO) -> Iterator[None]:
    """The one place where whatever a decoder raises becomes an ImageError.

    Pillow raises errors of any kind on hostile bytes, as it decodes them and as it makes colours
    of a palette or a profile that they hold. So only what becomes of a file's own pixels runs
    inside: resampling, whose errors would be this program's, does not.
    """
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    except MemoryError as error:
        raise ImageError("too large for the memory") from error
    except Exception as error:
        raise ImageError(_reason(error, file)) from error


def _reason(error: Exception, file: BinaryIO) -> str:
    file.seek(0)
    head = file.read(26)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return "HEIC is not supported"
    kind = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    if isinstance(error, UnidentifiedImageError) and kind is None:
        return "not an image"
    if isinstance(error, UnidentifiedImageError) and kind == "PSD" and len(head) == 26:
        return "unsupported kind of PSD"
    text = str(error).lower()
    if "max_text" in text:
        return f"more than {_MOST_TEXT >> 20} MiB of text or profile"
    if isinstance(error, EOFError) or "truncated" in text or "unexpected end" in text:
        return "truncated"
    if "decoder" in text and "not available" in text:
        return "unsupported compression"
    return f"damaged {kind or 'image'}"


class _PillowLimit:
    """Pillow's own pixel limit, one number for the process, raised while pictures decode here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[int] = []
        self._before: int | None = None

    @contextmanager
    def __call__(self, pixels: int) -> Iterator[None]:
        with self._lock:
            if not self._running:
                self._before = Image.MAX_IMAGE_PIXELS
            self._running.append(pixels)
            self._set()
        try:
            yield
        finally:
            with self._lock:
                self._running.remove(pixels)
                self._set()

    def _set(self) -> None:
        if self._before is not None:
            Image.MAX_IMAGE_PIXELS = max([self._before, *self._running])


_pillow_limit = _PillowLimit()


def _too_large() -> ImageError:
    return ImageError("larger than the pixel limit", hint="--max-pixels raises the limit")


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    if min(size) < 1:
        raise ImageError("no pixels")
    if size[0] * size[1] > max_pixels:
        raise ImageError(
            f"{size[0]} x {size[1]} pixels are more than the limit of {max_pixels:,}",
            hint="--max-pixels raises the limit",
        )


def _identify(file: BinaryIO) -> Image.Image | None:
    """The picture with its header read, or None for a TIFF of a kind that Pillow does not know."""
    try:
        image = Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        file.seek(0)
        if _MAGIC.get(file.read(4)) != "TIFF":
            raise
        return None
    if image.format == "JPEG2000" and (profile := jpeg2000.icc_profile(file)):
        image.info["icc_profile"] = profile
    return image


def _loaded(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """The picture decoded, a JPEG perhaps smaller, but at twice the (width, height) of fit().

    Down to the very size the decoder's own average would stand in for Lanczos: 32 to 40 dB away.
    """
    reduced = size and image.draft(None, (2 * size[0], 2 * size[1]))
    image.load()
    if not reduced or reduced[1][2:] == image.size:
        return image
    # A side that the scale does not divide is rounded up: the picture ends inside the last pixel.
    # Left so, fit() would take that pixel for whole, and shrink and shift the picture.
    return image.resize(image.size, Image.Resampling.BICUBIC, box=reduced[1])


def _is_deep(image: Image.Image) -> bool:
    """Whether Pillow would narrow the samples of this TIFF, or wrap them round."""
    if image.format != "TIFF" or image.mode in ("I;16", "I;16B", "F"):
        return False
    signed = 2 in image.tag_v2.get(339, (1,))
    return signed or max(image.tag_v2.get(258, (1,))) > 8


def _read_deep(file: BinaryIO, max_pixels: int) -> DeepSamples | None:
    # Imported where it is needed: most runs never meet such a file.
    from aetool.images.tiff import read_deep

    file.seek(0)
    return read_deep(file, lambda size: check_size(size, max_pixels))


def _frames(image: Image.Image, file: BinaryIO) -> int:
    if image.format in ("PNG", "WEBP", "AVIF"):
        return image.n_frames
    if image.format in ("GIF", "TIFF"):
        # Counted on a second reader: counting moves it, and later pages may be damaged.
        with suppress(Exception):
            file.seek(0)
            return Image.open(file, formats=(image.format,)).n_frames
    return 1


# --- a model's size ------------------------------------------------------------------------


def fit(
    pixels: np.ndarray,
    size: tuple[int, int],
    channels: int,
    *,
    how: str = "stretch",
    background: float = 1.0,
) -> np.ndarray:
    """Bring a picture to a size and a number of channels, antialiased.

    Args:
        pixels: (h, w) or (h, w, 3); uint8, uint16, or float32 in [0, 1].
        size: (height, width) of the result.
        channels: 1 for luma, 3 for colour (grey three times where the picture is grey).
        how: "stretch" ignores the proportions, "crop" keeps the centre, "pad" keeps all of it
            in the middle of a background.
        background: grey value in [0, 1] for "pad".

    Returns:
        float32 (height, width, channels) in [0, 1]. A picture that has the size is not resampled.
    """
    height, width = pixels.shape[:2]
    box, inner = (0.0, 0.0, float(width), float(height)), size
    if how == "crop":
        scale = min(height / size[0], width / size[1])
        left, top = max(0, width - size[1] * scale) / 2, max(0, height - size[0] * scale) / 2
        box = (left, top, width - left, height - top)
    elif how == "pad":
        scale = max(height / size[0], width / size[1])
        inner = (max(1, round(height / scale)), max(1, round(width / scale)))
    elif how != "stretch":
        raise ValueError(f"how={how!r} is none of stretch, crop, pad")
    fitted = _resampled(pixels, inner, box)
    if channels == 1 and fitted.ndim == 3:
        fitted = luma(fitted)
    if fitted.ndim == 2:
        fitted = np.repeat(fitted[..., None], channels, axis=2)
    if inner == size:
        return fitted
    padded = np.full((*size, channels), background, np.float32)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    padded[top : top + inner[0], left : left + inner[1]] = fitted
    return padded


def _resampled(
    pixels: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float]
) -> np.ndarray:
    """The part of the picture in box (left, top, right, bottom) at (height, width), float32."""
    height, width = pixels.shape[:2]
    if size == (height, width) and box == (0, 0, width, height):
        return to_unit(pixels)
    if pixels.ndim == 3 and pixels.dtype != np.uint8:
        return np.stack([_resampled(pixels[..., c], size, box) for c in range(3)], axis=-1)
    # Averaging whole blocks first is far faster, and leaves Lanczos its own support to work on.
    across = max(1, int((box[2] - box[0]) / size[1] / _REDUCING_GAP))
    down = max(1, int((box[3] - box[1]) / size[0] / _REDUCING_GAP))
    image = _reduced(pixels, across, down)
    box = (box[0] / across, box[1] / down, box[2] / across, box[3] / down)
    values = np.asarray(image.resize(size[::-1], Image.Resampling.LANCZOS, box=box))
    return to_unit(values) if pixels.dtype == np.uint8 else np.clip(values, 0, 1)


def _reduced(pixels: np.ndarray, across: int, down: int) -> Image.Image:
    """Blocks of across x down pixels averaged, strip by strip: no whole copy of a huge picture.

    Returns:
        mode L or RGB for uint8, otherwise mode F with values in [0, 1].
    """

    def as_image(strip: np.ndarray) -> Image.Image:
        return Image.fromarray(strip if strip.dtype == np.uint8 else to_unit(strip))

    if across == down == 1:
        return as_image(pixels)
    rows = max(1, STRIP_PIXELS // pixels.shape[1] // down) * down
    strips = [
        np.asarray(as_image(pixels[top : top + rows]).reduce((across, down)))
        for top in range(0, len(pixels), rows)
    ]
    return Image.fromarray(np.concatenate(strips))
