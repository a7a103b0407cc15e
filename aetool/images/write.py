"""Pictures to files: the input's format where it holds colour, tagged sRGB, its metadata kept."""

import errno
import struct
import zlib
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin, TiffTags

from aetool.errors import Failure, OutputError
from aetool.images.decode import Picture
from aetool.images.metadata import exif_tags
from aetool.images.profiles import SRGB, SRGB_GREY
from aetool.images.samples import STRIP_PIXELS, to_uint8

# Formats that hold 8-bit RGB as it is; a GIF, with its 256 colours, is none.
_FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG",
    ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP", ".bmp": "BMP", ".dib": "DIB",
    ".ppm": "PPM", ".pnm": "PPM", ".tga": "TGA", ".jp2": "JPEG2000", ".avif": "AVIF",
}  # fmt: skip
_LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383, "TGA": 65535, "AVIF": 65536}
_LONGEST_JPEG_BLOCK = 65533
_DEFLATE_LEVEL = 3
_TIFF_STRIP_BYTES = 1 << 18
_ALWAYS_COLOUR = ("WEBP", "AVIF", "PPM")
# The luma of the result has to be that of the input: chroma at full resolution, and lossless
# where that costs little (WebP's lossy mode is 4:2:0 alone, and slower than its lossless one).
_OPTIONS = {
    # The finest step for luma: a quality of 95 moves grey texture by up to ten levels, and a
    # colorized picture must keep its grey within two. A third larger than quality 95.
    "JPEG": {"qtables": [[1] * 64, [5] * 64], "subsampling": "4:4:4"},
    "PNG": {"compress_level": 1},  # on photographs half the time of 6, and 7 % smaller
    "WEBP": {"lossless": True, "method": 0, "quality": 0},
    "AVIF": {"quality": 95, "subsampling": "4:4:4", "speed": 10},
    "TGA": {"compression": "tga_rle"},
}


def output_name(name: str) -> str:
    """The name of the result made from a picture of this name.

    The name itself where its suffix is that of a format that holds 8-bit RGB, otherwise with
    ".png" appended: "a.JPG" stays, "a.gif" becomes "a.gif.png", "x_test/000017" becomes
    "x_test/000017.png".
    """
    return name if PurePosixPath(name).suffix.lower() in _FORMATS else f"{name}.png"


def output_names(names: Iterable[str]) -> tuple[list[str | None], list[Failure]]:
    """The names of all results, no two alike.

    "a.gif.png" keeps its name wherever it stands, and "a.gif", which would have to take it, gets
    none. Of one name given twice the first counts.

    Args:
        names: the inputs' names, as the source gives them.

    Returns:
        A name or None for each input, and a failure for each None.
    """
    names = list(names)
    kept = {name for name in names if output_name(name) == name}
    seen: set[str] = set()
    outputs: list[str | None] = []
    failures = []
    for name in names:
        output = output_name(name)
        if name in seen:
            failures.append(Failure(name, "named twice"))
        elif output != name and output in kept:
            failures.append(Failure(name, f"its result would have the name of another's, {output}"))
        else:
            seen.add(name)
            outputs.append(output)
            continue
        outputs.append(None)
    return outputs, failures


def save_picture(
    path: Path,
    pixels: np.ndarray,
    *,
    like: Picture | None = None,
    format_name: str | None = None,
) -> None:
    """Write a picture, tagged sRGB.

    16-bit pixels stay so in PNG and TIFF and are rounded to 8 bits in other formats. JPEG is
    written without chroma subsampling and so finely that luma stays within two levels, AVIF at
    quality 95, everything else lossless.

    Args:
        path: the file, written in place; callers that replace one write beside it first.
        pixels: uint8 or uint16 (h, w) or (h, w, 3), sRGB.
        like: the picture these pixels were made from: its EXIF and resolution go with them as far
            as the format holds them.
        format_name: Pillow's name of the format, where the suffix does not tell it.

    Raises:
        OutputError: the format is unknown, or cannot hold a picture of that size.
        OSError: the disk is full, the folder is missing or closed.
    """
    format_name = format_name or _FORMATS.get(path.suffix.lower())
    if format_name is None:
        raise OutputError(f"{path} has no suffix of a format for colour pictures", "use .png")
    longest = _LONGEST_SIDE.get(format_name)
    if longest and max(pixels.shape[:2]) > longest:
        message = f"{format_name} holds {longest} pixels a side at most"
        raise OutputError(message, "use .png") from OSError(errno.EINVAL, message)
    with open(path, "w+b") as file:
        _write(file, pixels, like, format_name)


def png_bytes(pixels: np.ndarray, like: Picture | None = None) -> bytes:
    """The PNG file of uint8 or uint16 pixels (h, w) or (h, w, 3), as save_picture writes it."""
    file = BytesIO()
    _write(file, pixels, like, "PNG")
    return file.getvalue()


def _write(file: BinaryIO, pixels: np.ndarray, like: Picture | None, format_name: str) -> None:
    exif, dpi = (_exif(like), like.dpi) if like else (None, None)
    if format_name == "TIFF":
        _write_tiff(file, pixels, exif, dpi)
        return
    if format_name == "PNG" and pixels.dtype == np.uint16:
        _write_deep_png(file, pixels, exif, dpi)
        return
    image = Image.fromarray(to_uint8(pixels))
    if format_name in _ALWAYS_COLOUR:
        image = image.convert("RGB")
    options = dict(_OPTIONS.get(format_name, {}))
    if format_name == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add(b"sRGB", b"\0")
    elif format_name in ("JPEG", "WEBP", "AVIF"):
        options["icc_profile"] = SRGB if image.mode == "RGB" else SRGB_GREY
    if exif and (format_name != "JPEG" or len(exif) <= _LONGEST_JPEG_BLOCK):
        options["exif"] = exif
    if dpi:
        options["dpi"] = dpi
    if format_name == "JPEG2000":
        # Into memory first: where a disk is full, its encoder would try again for ever.
        buffer = BytesIO()
        image.save(buffer, format_name, **options)
        file.write(buffer.getbuffer())
        return
    image.save(file, format_name, **options)


def _exif(like: Picture) -> bytes | None:
    """The EXIF block of a picture, or None where it has none that can be read and written."""
    # Any kind of error comes out of an odd block, which is no reason to lose the picture.
    with suppress(Exception):
        _directory(like.exif).tobytes()
        return like.exif
    return None


def _directory(block: bytes | None) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The tags of an EXIF block, which has the form of a TIFF directory, as one to add to."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    if block is not None:
        exif = Image.Exif()
        exif.load(block)
        for tag, value in exif_tags(exif).items():
            directory[tag] = value
    return directory


def _write_tiff(
    file: BinaryIO,
    pixels: np.ndarray,
    exif: bytes | None,
    dpi: tuple[float, float] | None,
) -> None:
    """A TIFF (revision 6.0) of uint8 or uint16 samples: deflated, with horizontal differencing.

    Pillow writes no 16-bit colour, and no EXIF into a compressed file.
    """
    height, width = pixels.shape[:2]
    samples = pixels.reshape(height, width, -1).astype(pixels.dtype.newbyteorder("<"), copy=False)
    rows = max(1, _TIFF_STRIP_BYTES // samples[0].nbytes)
    strips = []
    for top in range(0, height, rows):
        strip = samples[top : top + rows].copy()
        strip[:, 1:] -= samples[top : top + rows, :-1]
        strips.append(zlib.compress(strip, _DEFLATE_LEVEL))
    lengths = [len(strip) for strip in strips]
    colour = samples.shape[2] == 3
    tags = _directory(exif)
    tags[TiffImagePlugin.IMAGEWIDTH] = width
    tags[TiffImagePlugin.IMAGELENGTH] = height
    tags[TiffImagePlugin.BITSPERSAMPLE] = (8 * samples.itemsize,) * samples.shape[2]
    tags[TiffImagePlugin.COMPRESSION] = 8  # deflate
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2 if colour else 1
    tags[TiffImagePlugin.SAMPLESPERPIXEL] = samples.shape[2]
    tags[TiffImagePlugin.ROWSPERSTRIP] = rows
    tags[TiffImagePlugin.STRIPBYTECOUNTS] = tuple(lengths)
    # Counted from the end of the directory, which moves them to where they are as it is saved.
    tags[TiffImagePlugin.STRIPOFFSETS] = tuple(accumulate(lengths[:-1], initial=0))
    tags[TiffImagePlugin.PREDICTOR] = 2
    tags.tagtype[TiffImagePlugin.ICCPROFILE] = TiffTags.UNDEFINED
    tags[TiffImagePlugin.ICCPROFILE] = SRGB if colour else SRGB_GREY
    if dpi:
        tags[TiffImagePlugin.X_RESOLUTION], tags[TiffImagePlugin.Y_RESOLUTION] = dpi
        tags[TiffImagePlugin.RESOLUTION_UNIT] = 2  # inch
    tags.save(file)
    for strip in strips:
        file.write(strip)


def _write_deep_png(
    file: BinaryIO,
    pixels: np.ndarray,
    exif: bytes | None,
    dpi: tuple[float, float] | None,
) -> None:
    """A PNG of uint16 samples, colour or grey (PNG specification, third edition)."""
    height, width = pixels.shape[:2]
    colour_type, step = (2, 6) if pixels.ndim == 3 else (0, 2)  # step: bytes a pixel

    def chunk(kind: bytes, data: bytes) -> None:
        file.write(struct.pack(">I", len(data)) + kind + data)
        file.write(struct.pack(">I", zlib.crc32(kind + data)))

    file.write(b"\x89PNG\r\n\x1a\n")
    chunk(b"IHDR", struct.pack(">2I5B", width, height, 16, colour_type, 0, 0, 0))
    chunk(b"sRGB", b"\0")
    if dpi:
        chunk(b"pHYs", struct.pack(">2IB", *(round(value / 0.0254) for value in dpi), 1))
    if exif:
        chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    compressor = zlib.compressobj(_DEFLATE_LEVEL, strategy=zlib.Z_FILTERED)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = pixels[top : top + rows].astype(">u2")
        raw = strip.reshape(len(strip), -1).view(np.uint8)
        # Filter 1, each byte less the one a pixel before it: as small as the others on photographs.
        filtered = np.empty((len(raw), raw.shape[1] + 1), np.uint8)
        filtered[:, 0] = 1
        filtered[:, 1 : step + 1] = raw[:, :step]
        np.subtract(raw[:, step:], raw[:, :-step], out=filtered[:, step + 1 :])
        if data := compressor.compress(filtered):
            chunk(b"IDAT", data)
    chunk(b"IDAT", compressor.flush())
    chunk(b"IEND", b"")
