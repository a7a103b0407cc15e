"""Every kind of file decodes to the pixels it means, or to one short reason."""

import io
import os
import random
import struct
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from aetool.errors import ImageError
from aetool.images.decode import decode, fit
from aetool.images.jpeg2000 import icc_profile
from aetool.images.profiles import SRGB, SRGB_GREY

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # test_warnings_are_silent has them

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (20, 30), dtype=np.uint8)
COLOUR = GENERATOR.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY16 = GENERATOR.integers(0, 65536, (20, 30), dtype=np.uint16)
COLOUR16 = GENERATOR.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
ALPHA = GENERATOR.integers(0, 256, (20, 30), dtype=np.uint8)
ROWS, COLUMNS = np.mgrid[0:20, 0:30]
SMOOTH = np.stack([ROWS * 8 + 40, COLUMNS * 5 + 30, 200 - ROWS * 4], axis=-1).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, format_name: str = "PNG", **options) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def tiff(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def bare_tiff(strip: bytes, size: tuple[int, int], bits: int, samples: int, tags: dict) -> bytes:
    """A TIFF of one strip as it is, for what neither Pillow nor tifffile writes.

    Args:
        strip: the pixels, packed and compressed.
        size: (height, width).
        bits, samples: bits a sample, and samples a pixel.
        tags: the other tags of 16-bit numbers: photometric interpretation, compression.
    """
    numbers = {256: [size[1]], 257: [size[0]], 258: [bits] * samples, 273: [8], 277: [samples],
               278: [size[0]], 279: [len(strip)]}  # fmt: skip
    numbers |= {tag: [value] for tag, value in tags.items()}
    start = 8 + len(strip) + len(strip) % 2
    table, behind = struct.pack("<H", len(numbers)), b""
    for tag, values in sorted(numbers.items()):
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
        packed = struct.pack(f"<{len(values)}{letter}", *values)
        if len(packed) > 4:
            behind += packed
            packed = struct.pack("<I", start + 6 + 12 * len(numbers) + len(behind) - len(packed))
        table += struct.pack("<HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    strip += b"\0" * (len(strip) % 2)
    return b"II*\0" + struct.pack("<I", start) + strip + table + bytes(4) + behind


def bare_png(rows: bytes, size: tuple[int, int], bits: int, kind: int, **chunks) -> bytes:
    """A PNG for what Pillow does not write.

    Args:
        rows: the filtered rows, each behind the number of its filter.
        size: (height, width).
        bits: a sample.
        kind: 0 for grey, 2 for colour, 4 for grey with alpha; 100 more where the rows are
            interlaced.
        chunks: others, which stand before the pixels.
    """
    header = struct.pack(">2I5B", size[1], size[0], bits, kind % 100, 0, 0, kind // 100)
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in (
        ("IHDR", header), *chunks.items(), ("IDAT", zlib.compress(rows)), ("IEND", b"")
    ):  # fmt: skip
        chunk = name.encode() + content
        data += struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data


def over_white(pixels: np.ndarray, alpha: np.ndarray, white: int = 255) -> np.ndarray:
    share = alpha / white if pixels.ndim == 2 else alpha[..., None] / white
    return pixels * share + white * (1 - share)


def adobe_rgb() -> bytes:
    """The sRGB profile with its curves replaced by gamma 2.2: same colours, other shadows."""
    tag_count = struct.unpack(">I", SRGB[128:132])[0]
    profile = bytearray(SRGB)
    for number in range(tag_count):
        at = 132 + 12 * number
        if profile[at : at + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            offset = struct.unpack(">I", profile[at + 4 : at + 8])[0]
            profile[offset : offset + 14] = b"curv" + struct.pack(">IIH", 0, 1, 0x0300)
            profile[at + 8 : at + 12] = struct.pack(">I", 14)
    return bytes(profile)


def gamma_to_srgb(values: np.ndarray, gamma: float) -> np.ndarray:
    linear = values**gamma
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


# --- eight bits ------------------------------------------------------------------------------


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "BMP", "PPM", "TGA", "JPEG2000", "GIF"])
def test_grey_is_kept(format_name: str):
    options = {"quality_layers": [0]} if format_name == "JPEG2000" else {}
    picture = decode(encoded(GREY, format_name, **options))
    grey = picture.pixels if picture.pixels.ndim == 2 else picture.pixels[..., 0]
    np.testing.assert_array_equal(grey, GREY)
    assert picture.format == format_name
    assert picture.pixels.dtype == np.uint8


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "BMP", "PPM", "TGA", "WEBP", "QOI"])
def test_colour_is_kept(format_name: str):
    options = {"lossless": True} if format_name == "WEBP" else {}
    picture = decode(encoded(COLOUR, format_name, **options))
    np.testing.assert_array_equal(picture.pixels, COLOUR)
    assert (picture.exif, picture.frames) == (None, 1)
    assert picture.dpi is None or format_name == "BMP"  # Pillow writes 96 into every BMP


def test_one_bit_is_black_and_white():
    bits = GREY > 127
    for format_name in ("PNG", "TIFF", "BMP", "PPM"):
        pixels = decode(encoded(Image.fromarray(bits), format_name)).pixels
        np.testing.assert_array_equal(pixels, bits * np.uint8(255))
    fax = encoded(Image.fromarray(bits), "TIFF", compression="group4")
    np.testing.assert_array_equal(decode(fax).pixels, bits * np.uint8(255))


def test_one_bit_a_sample_is_all_or_nothing():
    bits = COLOUR > 127
    packed = np.packbits(bits.reshape(20, -1), axis=1).tobytes()
    pixels = decode(bare_tiff(packed, (20, 30), 1, 3, {262: 2})).pixels
    np.testing.assert_array_equal(pixels, bits * np.uint8(255))
    packed = np.packbits(bits[..., :2].reshape(20, -1), axis=1).tobytes()
    pixels = decode(bare_tiff(packed, (20, 30), 1, 2, {262: 1, 338: 2})).pixels
    np.testing.assert_array_equal(pixels, (bits[..., 0] | ~bits[..., 1]) * np.uint8(255))


def test_palette_becomes_its_colours():
    palette = Image.fromarray(COLOUR).quantize(64)
    expected = np.asarray(palette.convert("RGB"))
    for format_name in ("PNG", "GIF", "BMP", "TIFF"):
        np.testing.assert_array_equal(decode(encoded(palette, format_name)).pixels, expected)


@pytest.mark.parametrize("transparency", [7, bytes(range(0, 256, 4))])
def test_transparent_palette_lies_over_white(transparency: int | bytes):
    palette = Image.fromarray(COLOUR).quantize(64)
    index = np.asarray(palette)
    if isinstance(transparency, int):
        alpha = np.where(index == transparency, 0, 255)
    else:
        alpha = np.frombuffer(transparency, np.uint8)[index]
    expected = over_white(np.asarray(palette.convert("RGB")), alpha)
    pixels = decode(encoded(palette, transparency=transparency)).pixels
    np.testing.assert_allclose(pixels, expected, atol=0.6)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "WEBP", "TGA"])
def test_alpha_lies_over_white(format_name: str):
    rgba = Image.fromarray(np.dstack([COLOUR, ALPHA]))
    options = {"lossless": True, "exact": True} if format_name == "WEBP" else {}
    pixels = decode(encoded(rgba, format_name, **options)).pixels
    np.testing.assert_allclose(pixels, over_white(COLOUR, ALPHA), atol=0.6)


def test_grey_with_alpha_stays_grey():
    pixels = decode(encoded(Image.fromarray(np.dstack([GREY, ALPHA])))).pixels
    np.testing.assert_allclose(pixels, over_white(GREY, ALPHA), atol=0.6)
    assert pixels.shape == GREY.shape


def test_transparent_value_is_white():
    grey = decode(encoded(GREY, transparency=int(GREY[3, 4]))).pixels
    np.testing.assert_array_equal(grey, np.where(GREY[3, 4] == GREY, 255, GREY))
    colour = decode(encoded(COLOUR, transparency=tuple(int(v) for v in COLOUR[3, 4]))).pixels
    assert colour[3, 4].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(colour[0], COLOUR[0])
    deep = decode(encoded(GREY16, transparency=int(GREY16[3, 4]))).pixels
    np.testing.assert_array_equal(deep, np.where(GREY16[3, 4] == GREY16, 65535, GREY16))
    bits = decode(encoded(Image.fromarray(GREY > 127), transparency=0)).pixels
    assert (bits == 255).all()


@pytest.mark.parametrize(("bits", "stored", "grey"), [(1, 1, 255), (2, 1, 85), (4, 5, 85)])
def test_a_transparent_grey_of_few_bits_is_white(bits: int, stored: int, grey: int):
    levels = np.arange(2**bits, dtype=np.uint8)
    packed = np.packbits((levels[:, None] >> np.arange(bits)[::-1] & 1).reshape(-1)).tobytes()
    data = bare_png(b"\0" + packed, (1, 2**bits), bits, 0, tRNS=struct.pack(">H", stored))
    expected = levels * (255 // (2**bits - 1))
    assert expected[stored] == grey
    np.testing.assert_array_equal(decode(data).pixels[0], np.where(levels == stored, 255, expected))


@pytest.mark.parametrize("rle", [False, True])
def test_a_fourth_channel_of_tga_is_alpha_where_the_file_says_so(rle: bool):
    data = bytearray(encoded(Image.fromarray(np.dstack([COLOUR, ALPHA])), "TGA", rle=rle))
    assert data[17] & 15 == 8
    data[17] &= 0xF0
    np.testing.assert_array_equal(decode(bytes(data)).pixels, COLOUR)
    data = bytearray(encoded(Image.fromarray(np.dstack([GREY, ALPHA])), "TGA", rle=rle))
    data[17] &= 0xF0
    np.testing.assert_array_equal(decode(bytes(data)).pixels, GREY)


def psd(planes: np.ndarray, layers: bytes, bits: int = 8) -> bytes:
    """A PSD in RGB with these planes (channels, h, w), and this content for its layer section."""
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, *planes.shape, bits, 3)
    name = b"8BIM" + struct.pack(">HHI", 1006, 0, 6) + b"\5Alpha"
    sections = bytes(4) + struct.pack(">I", len(name)) + name
    return header + sections + struct.pack(">I", len(layers)) + layers + bytes(2) + planes.tobytes()


TRANSPARENT = struct.pack(">Ih2x", 4, -1) + bytes(4)  # the layers of one whose alpha is


def test_a_fourth_channel_of_psd_is_alpha_where_the_layers_say_so():
    planes = np.moveaxis(np.dstack([COLOUR, ALPHA]), -1, 0)
    layered = struct.pack(">Ih2x", 4, 1) + bytes(4)
    for layers in (b"", bytes(8), layered):
        np.testing.assert_array_equal(decode(psd(planes, layers)).pixels, COLOUR)
    pixels = decode(psd(planes, TRANSPARENT)).pixels
    np.testing.assert_allclose(pixels, over_white(COLOUR, ALPHA), atol=0.6)


def test_premultiplied_tiff_lies_over_white():
    share = ALPHA[..., None] / 255
    premultiplied = np.round(COLOUR * share).astype(np.uint8)
    data = tiff(np.dstack([premultiplied, ALPHA]), photometric="rgb", extrasamples=["assocalpha"])
    pixels = decode(data).pixels
    visible = ALPHA > 30  # below that little of the colour is left to tell
    np.testing.assert_allclose(pixels[visible], over_white(COLOUR, ALPHA)[visible], atol=2)


# --- other colour models ---------------------------------------------------------------------


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(format_name: str):
    cmyk = Image.fromarray(SMOOTH).convert("CMYK")
    options = {"quality": 100, "subsampling": 0} if format_name == "JPEG" else {}
    pixels = decode(encoded(cmyk, format_name, **options)).pixels
    np.testing.assert_allclose(pixels, SMOOTH.astype(int), atol=4)


def test_ycck_jpeg_is_right():
    """Adobe's YCCK holds C, M and Y as if they were RGB, turned into YCbCr, and K inverted."""
    cmyk = Image.fromarray(SMOOTH).convert("CMYK")
    ycc = Image.fromarray(np.asarray(cmyk)[..., :3]).convert("YCbCr")
    # Pillow inverts the four channels as it writes them, and marks them as CMYK.
    ycck = Image.merge("CMYK", [*map(ImageOps.invert, ycc.split()), cmyk.getchannel("K")])
    data = encoded(ycck, "JPEG", quality=100, subsampling=0)
    transform = data.index(b"Adobe") + 11
    data = data[:transform] + b"\2" + data[transform + 1 :]
    np.testing.assert_allclose(decode(data).pixels, SMOOTH.astype(int), atol=5)


def test_lab_and_ycbcr_tiff_become_rgb():
    soft = SMOOTH // 2 + 64  # eight bits of Lab are coarse in deep colours
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    as_lab = ImageCms.profileToProfile(Image.fromarray(soft), srgb, lab, outputMode="LAB")
    np.testing.assert_allclose(decode(encoded(as_lab, "TIFF")).pixels, soft.astype(int), atol=4)
    as_ycc = Image.fromarray(SMOOTH).convert("YCbCr")
    np.testing.assert_allclose(decode(encoded(as_ycc, "TIFF")).pixels, SMOOTH.astype(int), atol=3)


# --- more than eight bits --------------------------------------------------------------------


def test_16_bit_grey_is_neither_clipped_nor_narrowed():
    for data in (
        encoded(GREY16),
        encoded(GREY16, "TIFF"),
        encoded(GREY16, "TIFF", compression="tiff_lzw"),
        tiff(GREY16, byteorder=">"),
        tiff(GREY16, byteorder=">", compression="zlib"),
        tiff(65535 - GREY16, photometric="miniswhite"),
        tiff(65535 - GREY16, photometric="miniswhite", byteorder=">"),
        tiff(GREY16.astype(np.uint32)),
        b"P5 30 20 65535\n" + GREY16.astype(">u2").tobytes(),
    ):
        pixels = decode(data).pixels
        assert pixels.dtype == np.uint16
        assert pixels.dtype.isnative
        np.testing.assert_array_equal(pixels, GREY16)


def test_12_bit_grey_has_the_whole_range():
    samples = GREY16 >> 4
    packed = np.stack([samples[:, ::2] >> 4, (samples[:, ::2] & 15) << 4 | samples[:, 1::2] >> 8,
                       samples[:, 1::2] & 255], axis=-1).astype(np.uint8)  # fmt: skip
    data = bytearray(tiff(np.ascontiguousarray(packed.reshape(20, 45)), metadata=None))
    for tag, value in ((256, 30), (258, 12)):
        entry = data.index(struct.pack("<H", tag), 8)
        data[entry + 8 : entry + 12] = struct.pack("<I", value)
    np.testing.assert_allclose(decode(bytes(data)).pixels, np.round(samples / 4095 * 65535), atol=1)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_16_bit_colour_tiff_keeps_its_depth(compression, planar: bool, byteorder: str):
    stored = np.moveaxis(COLOUR16, -1, 0).copy() if planar else COLOUR16
    layout = "separate" if planar else "contig"
    data = tiff(
        stored, photometric="rgb", planarconfig=layout, compression=compression, byteorder=byteorder
    )
    pixels = decode(data).pixels
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, COLOUR16)


def lzw(samples: np.ndarray, predictor: int) -> bytes:
    """16-bit samples (h, w, c) as a compressed strip, differences from the left for predictor 2."""
    if predictor == 2:
        samples = np.diff(samples, axis=1, prepend=samples[:, :1] * 0)
    rows = np.ascontiguousarray(samples, "<u2").reshape(len(samples), -1).view(np.uint8)
    data = encoded(rows, "TIFF", compression="tiff_lzw")
    tags = Image.open(io.BytesIO(data)).tag_v2
    (start,), (length,) = tags[273], tags[279]
    return data[start : start + length]


@pytest.mark.parametrize("predictor", [1, 2])
def test_16_bit_colour_tiff_of_photoshop_keeps_its_depth(predictor: int, tmp_path: Path):
    tags = {259: 5, 262: 2, 317: predictor}
    data = bare_tiff(lzw(COLOUR16, predictor), (20, 30), 16, 3, tags)
    np.testing.assert_array_equal(decode(data).pixels, COLOUR16)
    turned = bare_tiff(lzw(COLOUR16, predictor), (20, 30), 16, 3, tags | {274: 6})
    (tmp_path / "turned.tif").write_bytes(turned)
    pixels = decode(tmp_path / "turned.tif").pixels
    np.testing.assert_array_equal(pixels, np.rot90(COLOUR16, -1))
    strip = lzw(np.dstack([COLOUR16, GREY16]), predictor)
    flat = over_white(COLOUR16, GREY16, 65535)
    premultiplied = np.clip(COLOUR16 + 65535.0 - GREY16[..., None], 0, 65535)
    for kind, expected in ((0, COLOUR16), (1, premultiplied), (2, flat)):
        data = bare_tiff(strip, (20, 30), 16, 4, tags | {338: kind})
        np.testing.assert_allclose(decode(data).pixels, expected, atol=1)
    assert reason(data[:100] + b"\xff" * 900 + data[1000:]) == "damaged TIFF"


def test_a_tiff_that_nothing_here_decompresses_is_not_called_damaged():
    values = GENERATOR.uniform(0, 1, (20, 30, 3)).astype(np.float32)
    data = tiff(values, photometric="rgb", compression="zlib", metadata=None)
    entry = data.index(struct.pack("<HHI", 259, 3, 1), 8)
    lzw_now = data[: entry + 8] + struct.pack("<I", 5) + data[entry + 12 :]
    assert reason(lzw_now) == "unsupported kind of TIFF"


def test_16_bit_alpha_lies_over_white():
    alpha = np.minimum(GREY16, 65535)
    for colour in (COLOUR16, GREY16):
        options = {"photometric": "rgb" if colour.ndim == 3 else "minisblack"}
        data = tiff(np.dstack([colour, alpha]), extrasamples=["unassalpha"], **options)
        pixels = decode(data).pixels
        np.testing.assert_allclose(pixels, over_white(colour, alpha, 65535), atol=2)
        assert pixels.dtype == np.uint16


# Where the passes of an interlaced PNG begin, down and across, and how far they step.
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4),
          (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))  # fmt: skip


def filtered(pixels: np.ndarray) -> bytes:
    """Rows of PNG as differences: the first from the left, and the others from above."""
    raw = pixels.astype(">u2").view(np.uint8).reshape(*pixels.shape[:2], -1)
    first = np.diff(raw[0], axis=0, prepend=raw[0][:1] * 0).tobytes()
    return b"\1" + first + b"".join(b"\2" + row.tobytes() for row in np.diff(raw, axis=0))


def test_16_bit_grey_png_with_alpha_keeps_its_depth():
    alpha = np.where(COLUMNS < 10, 65535, GREY16[::-1]).astype(np.uint16)
    both = np.dstack([GREY16, alpha])
    expected = over_white(GREY16, alpha, 65535)
    pixels = decode(bare_png(filtered(both), (20, 30), 16, 4)).pixels
    assert pixels.dtype == np.uint16
    np.testing.assert_allclose(pixels, expected, atol=1)
    np.testing.assert_array_equal(pixels[:, :10], GREY16[:, :10])
    rows = b"".join(filtered(both[y::down, x::across]) for y, x, down, across in PASSES)
    np.testing.assert_allclose(decode(bare_png(rows, (20, 30), 16, 104)).pixels, expected, atol=1)
    exif = Image.Exif()
    exif[274] = 6
    turned = bare_png(filtered(both), (20, 30), 16, 4, eXIf=exif.tobytes()[6:])
    np.testing.assert_allclose(decode(turned).pixels, np.rot90(expected, -1), atol=1)


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_transparent_colour_of_16_bits_is_white(interlaced: bool):
    colour = np.full((8, 8, 3), 0x1234, np.uint16)
    colour[3, 4] = 0x1234, 0x5678, 0x9ABC
    colour[3, 5] = 0x1234, 0x5678, 0x9A00  # the same in eight bits
    key = struct.pack(">3H", *colour[3, 4].tolist())
    if interlaced:
        parts = [colour[y::down, x::across] for y, x, down, across in PASSES]
        data = bare_png(b"".join(map(filtered, parts)), (8, 8), 16, 102, tRNS=key)
    else:
        data = bare_png(filtered(colour), (8, 8), 16, 2, tRNS=key)
    expected = (colour >> 8).astype(np.uint8)
    expected[3, 4] = 255
    np.testing.assert_array_equal(decode(data).pixels, expected)


def test_float_in_unit_range_is_taken_as_it_is():
    values = GENERATOR.uniform(0.2, 0.7, (20, 30)).astype(np.float32)
    for data in (
        encoded(Image.fromarray(values), "TIFF"),
        tiff(values.astype(np.float64)),
        tiff(1 - values, photometric="miniswhite"),
    ):
        pixels = decode(data).pixels
        assert pixels.dtype == np.float32
        np.testing.assert_allclose(pixels, values, atol=1e-6)
    colour = GENERATOR.uniform(0, 1, (20, 30, 3)).astype(np.float32)
    np.testing.assert_array_equal(decode(tiff(colour, photometric="rgb")).pixels, colour)


def signed_tiff(values: np.ndarray, compression: str | None) -> bytes:
    return encoded(values.view(np.uint8), "TIFF", compression=compression, tiffinfo={339: 2})


def test_other_ranges_are_stretched_and_nan_is_black():
    values = GENERATOR.uniform(-50, 300, (20, 30)).astype(np.float32)
    low, high = values.min(), values.max()
    expected = (values - low) / (high - low)
    np.testing.assert_allclose(decode(tiff(values)).pixels, expected, atol=1e-6)
    wide = (GREY16.astype(np.uint32) + 7) * 60000
    expected = (GREY16 - float(GREY16.min())) / (float(GREY16.max()) - float(GREY16.min()))
    np.testing.assert_allclose(decode(tiff(wide)).pixels, expected, atol=1e-5)
    np.testing.assert_allclose(
        decode(tiff((GREY16 ^ 0x8000).view(np.int16))).pixels, expected, atol=1e-5
    )
    for compression in (None, "tiff_lzw"):
        data = signed_tiff((GREY ^ 0x80).view(np.int8), compression)
        expected = (GREY - float(GREY.min())) / (float(GREY.max()) - float(GREY.min()))
        np.testing.assert_allclose(decode(data).pixels, expected, atol=1e-5)
        np.testing.assert_array_equal(
            decode(signed_tiff((GREY >> 1).view(np.int8), compression)).pixels, GREY >> 1
        )
    spoiled = GENERATOR.uniform(0.2, 0.7, (20, 30)).astype(np.float32)
    spoiled[0, :3] = np.nan, np.inf, -np.inf
    assert decode(tiff(spoiled)).pixels[0, :3].tolist() == [0, 1, 0]
    assert (decode(tiff(np.full((4, 4), np.nan, np.float32))).pixels == 0).all()
    assert (decode(tiff(np.full((4, 4), 900, np.float32))).pixels == 0).all()


# --- orientation, profiles, metadata ---------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "deep"])
def test_orientation_is_applied(orientation: int, kind: str):
    exif = Image.Exif()
    exif[274] = orientation
    upright = np.asarray(
        ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(COLOUR, exif=exif))))
    )
    if kind == "deep":
        data = tiff(
            COLOUR * np.uint16(257), photometric="rgb", extratags=[(274, 3, 1, orientation, True)]
        )
        upright = upright * np.uint16(257)
    else:
        data = encoded(COLOUR, kind, exif=exif)
    np.testing.assert_array_equal(decode(data).pixels, upright)


def test_profile_is_applied():
    data = encoded(SMOOTH, icc_profile=adobe_rgb())
    expected = gamma_to_srgb(SMOOTH / 255, 3.0) * 255
    np.testing.assert_allclose(decode(data).pixels, expected, atol=1.5)
    # A grey picture may carry an RGB profile.
    grey = decode(encoded(SMOOTH[..., 0], icc_profile=adobe_rgb())).pixels
    np.testing.assert_allclose(grey, expected[..., 0], atol=1.5)
    # 16-bit colour gives up its depth for the right colours.
    deep = tiff(SMOOTH * np.uint16(257), photometric="rgb", iccprofile=adobe_rgb())
    np.testing.assert_allclose(decode(deep).pixels, expected, atol=1.5)


def test_grey_profile_is_applied_at_full_depth():
    offset = SRGB_GREY.index(b"curv")
    profile = SRGB_GREY[:offset] + b"curv" + struct.pack(">IIH", 0, 1, 0x0300) + bytes(2046)
    assert len(profile) == len(SRGB_GREY)
    ramp = np.linspace(6000, 65535, 600).reshape(20, 30).astype(np.uint16)
    pixels = decode(encoded(ramp, icc_profile=profile)).pixels
    assert pixels.dtype == np.uint16
    np.testing.assert_allclose(pixels, gamma_to_srgb(ramp / 65535, 3.0) * 65535, atol=150)
    grey = decode(encoded(SMOOTH[..., 0], "TIFF", icc_profile=profile)).pixels
    np.testing.assert_allclose(grey, gamma_to_srgb(SMOOTH[..., 0] / 255, 3.0) * 255, atol=1.5)


def with_colour_box(data: bytes, content: bytes, header: bytes = b"") -> bytes:
    """A JP2 file with another colour box, and perhaps another beginning of it."""
    start = data.index(b"colr") - 4
    (length,) = struct.unpack(">I", data[start : start + 4])
    box = (header or struct.pack(">I4s", 8 + len(content), b"colr")) + content
    outer = data.index(b"jp2h") - 4
    (whole,) = struct.unpack(">I", data[outer : outer + 4])
    longer = struct.pack(">I", whole + len(box) - length)
    return data[:outer] + longer + data[outer + 4 : start] + box + data[start + length :]


@pytest.mark.parametrize("method", [2, 3])
def test_the_profile_of_jpeg_2000_is_applied(method: int):
    options = {"quality_layers": [0]}
    offset = SRGB_GREY.index(b"curv")
    linear = SRGB_GREY[:offset] + b"curv" + struct.pack(">IIH", 0, 1, 0x0100) + bytes(2046)
    for pixels, profile in ((SMOOTH, adobe_rgb()), (GREY, linear), (GREY16, linear)):
        data = encoded(pixels, "JPEG2000", **options)
        expected = decode(encoded(pixels, icc_profile=profile)).pixels
        plain = decode(data).pixels
        assert np.abs(plain.astype(int) - expected).max() > 20
        tagged = decode(with_colour_box(data, bytes([method, 0, 0]) + profile)).pixels
        np.testing.assert_array_equal(tagged, expected)
    # The first box counts, here of plain grey.
    first = struct.pack(">I4s7B", 15, b"colr", 1, 0, 0, 0, 0, 0, 17)
    content = bytes([method, 0, 0]) + linear
    header = first + struct.pack(">I4s", 8 + len(content), b"colr")
    data = with_colour_box(encoded(GREY, "JPEG2000", **options), content, header)
    np.testing.assert_array_equal(decode(data).pixels, GREY)


def test_damaged_boxes_of_jpeg_2000_cost_the_profile_alone():
    plain = encoded(GREY, "JPEG2000", quality_layers=[0])
    content = b"\2\0\0" + SRGB_GREY[:500]
    for data in (plain, with_colour_box(plain, content), with_colour_box(plain, b"\2\0\0\0\0\0\0")):
        np.testing.assert_array_equal(decode(data).pixels, GREY)
    for length in (1, 3, 9, 2**31):
        header = struct.pack(">I4s", length, b"colr")
        assert icc_profile(io.BytesIO(with_colour_box(plain, content, header))) is None
    for length in range(0, 200, 7):
        assert icc_profile(io.BytesIO(with_colour_box(plain, content)[:length])) is None


@pytest.mark.parametrize("profile", [SRGB, SRGB_GREY, b"no profile at all", SRGB[:200]])
def test_srgb_broken_and_unfit_profiles_change_nothing(profile: bytes):
    np.testing.assert_array_equal(decode(encoded(COLOUR, icc_profile=profile)).pixels, COLOUR)
    np.testing.assert_array_equal(decode(encoded(GREY, icc_profile=profile)).pixels, GREY)
    np.testing.assert_array_equal(decode(encoded(GREY16, icc_profile=profile)).pixels, GREY16)


def test_metadata_is_handed_on():
    exif = Image.Exif()
    exif[274], exif[271], exif[306] = 6, "Maker", "2020:01:02 03:04:05"
    exif.get_ifd(34665)[33437] = 2.8
    thumbnail = Image.Exif()
    thumbnail[271] = "Maker"
    for format_name in ("JPEG", "TIFF", "PNG"):
        picture = decode(encoded(SMOOTH, format_name, exif=exif.tobytes(), dpi=(300, 300)))
        handed_on = Image.Exif()
        handed_on.load(picture.exif)
        assert (handed_on[274], handed_on[271], handed_on[306]) == (1, "Maker", exif[306])
        assert handed_on.get_ifd(34665)[33437] == 2.8
        assert 273 not in handed_on  # where a TIFF file keeps its strips
        assert picture.dpi == pytest.approx((300, 300), abs=0.02)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "deep"])
def test_metadata_is_of_the_upright_picture(orientation: int, kind: str):
    turned = orientation > 4
    if kind == "deep":
        data = tiff(
            COLOUR * np.float32(1 / 255),
            photometric="rgb",
            resolution=(204, 98),
            resolutionunit="inch",
            extratags=[(274, 3, 1, orientation, True)],
        )
        assert decode(data).dpi == ((98, 204) if turned else (204, 98))
        return
    exif = Image.Exif()
    exif[274], exif[282], exif[283], exif[296] = orientation, 204.0, 98.0, 2
    exif.get_ifd(34665).update({33437: 2.8, 37396: (3, 4), 41486: 20.0, 41487: 30.0,
                                40961: 65535, 40962: 30, 40963: 20})  # fmt: skip
    picture = decode(encoded(COLOUR, kind, exif=exif.tobytes(), dpi=(204, 98)))
    assert picture.dpi == pytest.approx((98, 204) if turned else (204, 98), abs=0.02)
    kept = Image.Exif()
    kept.load(picture.exif)
    assert (kept[282], kept[283]) == ((98, 204) if turned else (204, 98))
    inner = kept.get_ifd(34665)
    assert (inner[41486], inner[41487]) == ((30, 20) if turned else (20, 30))
    assert (37396 in inner) == (orientation == 1)
    assert inner[33437] == pytest.approx(2.8)
    assert not {40961, 40962, 40963} & inner.keys()


def test_thumbnail_is_dropped():
    entries = struct.pack("<HHIHH", 274, 3, 1, 6, 0) + struct.pack("<HHI4s", 271, 2, 3, b"Me\0\0")
    first = struct.pack("<H", 2) + entries
    start = 8 + len(first) + 4
    small = encoded(SMOOTH[:8, :8], "JPEG")
    second = struct.pack("<H", 2) + struct.pack("<HHII", 513, 4, 1, start + 30)
    second += struct.pack("<HHII", 514, 4, 1, len(small)) + bytes(4)
    block = b"Exif\0\0II*\0" + struct.pack("<I", 8) + first + struct.pack("<I", start) + second
    picture = decode(encoded(SMOOTH, "JPEG", exif=block + small))
    assert picture.pixels.shape == (30, 20, 3)
    assert small not in picture.exif
    assert b"Me" in picture.exif


@pytest.mark.parametrize("block", [b"Exif\0\0garbage!", b"Exif\0\0II*\0\xff\xff\xff\xff", b"x"])
def test_broken_exif_costs_no_pixels(block: bytes):
    np.testing.assert_array_equal(decode(encoded(COLOUR, exif=block)).pixels, COLOUR)


def test_first_of_several_frames_is_taken():
    frames = [Image.fromarray(np.full((8, 9), value, np.uint8)) for value in (10, 90, 200)]
    for format_name in ("GIF", "TIFF", "WEBP", "PNG"):
        options = {"lossless": True} if format_name == "WEBP" else {}
        data = encoded(frames[0], format_name, save_all=True, append_images=frames[1:], **options)
        picture = decode(data)
        assert picture.frames == 3
        assert (picture.pixels == 10).all()


def test_second_picture_of_a_telephone_is_no_page():
    pair = [Image.fromarray(SMOOTH), Image.fromarray(SMOOTH[:8, :8])]
    picture = decode(encoded(pair[0], "MPO", save_all=True, append_images=pair[1:]))
    assert (picture.format, picture.frames) == ("JPEG", 1)


# --- bad input -------------------------------------------------------------------------------


def reason(data: Path | bytes, **options) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, **options)
    return caught.value.message


def test_reasons_are_short_and_clear(tmp_path: Path):
    (tmp_path / "folder.jpg").mkdir()
    jpeg, png = encoded(SMOOTH, "JPEG"), encoded(COLOUR)
    assert reason(tmp_path / "missing.png") == "no such file"
    assert reason(tmp_path / "folder.jpg") == "is a directory"
    assert reason(b"") == "empty file"
    assert reason(b"This is a letter, not a picture.\n") == "not an image"
    assert reason(jpeg[: len(jpeg) - 40]) == "truncated"
    assert reason(png[: len(png) // 2]) == "truncated"
    assert reason(encoded(COLOUR, "BMP")[:900]) == "truncated"
    assert reason(jpeg[:10]) == "truncated"
    assert reason(png[:20] + bytes(20)) == "damaged PNG"
    assert reason(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") == "HEIC is not supported"
    assert reason(tiff(GREY16.astype(np.complex64))) == "unsupported kind of TIFF"
    deep = np.moveaxis(COLOUR16, -1, 0)
    assert reason(psd(deep, b"", bits=16)) == "unsupported kind of PSD"
    assert reason(psd(deep, b"")[:12]) == "damaged PSD"


def test_more_transparency_than_a_palette_has_colours():
    data = encoded(Image.fromarray(COLOUR).quantize(256), transparency=bytes([9]) * 256)
    start = data.index(b"tRNS")
    longer = b"tRNS" + bytes([9]) * 257
    longer = struct.pack(">I", 257) + longer + struct.pack(">I", zlib.crc32(longer))
    assert reason(data[: start - 4] + longer + data[start + 4 + 256 + 4 :]) == "damaged PNG"


def test_a_png_with_much_text_or_a_large_profile_is_intact(monkeypatch: pytest.MonkeyPatch):
    large = struct.pack(">I", len(SRGB) + 1_100_000) + SRGB[4:] + bytes(1_100_000)
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "a" * 1_100_000, zip=True)
    for data in (encoded(COLOUR, icc_profile=large), encoded(COLOUR, pnginfo=text)):
        np.testing.assert_array_equal(decode(data).pixels, COLOUR)
        with monkeypatch.context() as patch:
            patch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 1_000_000)
            assert reason(data) == "more than 16 MiB of text or profile"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_forbidden_file(tmp_path: Path):
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(GREY))
    path.chmod(0)
    assert reason(path) == "permission denied"


def test_bombs_are_refused_before_they_are_decoded():
    header = struct.pack(">2I5B", 30000, 30000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    bomb += struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"
    tracemalloc.start()
    assert "limit" in reason(bomb)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert "limit" in reason(encoded(COLOUR), max_pixels=599)
    assert "limit" in reason(encoded(COLOUR), max_pixels=20)
    assert decode(encoded(COLOUR), max_pixels=600).pixels.shape == (20, 30, 3)
    assert "limit" in reason(tiff(COLOUR.astype(np.float32), photometric="rgb"), max_pixels=599)


def test_pillows_own_limit_neither_interferes_nor_changes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for format_name in ("PNG", "TIFF", "WEBP", "GIF"):
            assert decode(encoded(COLOUR, format_name)).pixels.shape[:2] == (20, 30)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_hostile_bytes_raise_nothing_but_image_errors():
    """Each format with bytes changed at random and its end cut off."""
    generator = random.Random(0)
    seeds = [encoded(SMOOTH, name) for name in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "TGA")]
    seeds += [tiff(COLOUR16, photometric="rgb"), tiff(GREY16, compression="zlib"),
              encoded(Image.fromarray(COLOUR).quantize(16), transparency=b"\0\x80"),
              encoded(SMOOTH, "JPEG2000"), encoded(SMOOTH, "AVIF"), encoded(SMOOTH, "ICO"),
              encoded(SMOOTH, icc_profile=SRGB), psd(COLOUR[:, :4], TRANSPARENT),
              with_colour_box(encoded(SMOOTH, "JPEG2000"), b"\2\0\0" + SRGB)]  # fmt: skip
    for seed in seeds:
        for _ in range(60):
            data = bytearray(seed)
            for _ in range(generator.randint(1, 12)):
                data[generator.randrange(min(len(data), 400))] = generator.randrange(256)
            if generator.random() < 0.3:
                del data[generator.randrange(len(data)) :]
            try:
                picture = decode(bytes(data), max_pixels=1_000_000)
            except ImageError as error:
                assert error.message and len(error.message) < 80
            else:
                assert picture.pixels.ndim in (2, 3)


# --- speed and memory ------------------------------------------------------------------------


def test_jpeg_may_come_smaller_but_never_too_small():
    data = encoded(np.tile(SMOOTH, (20, 20, 1)), "JPEG")  # 400 x 600
    assert decode(data, reduce_to=(48, 48)).pixels.shape[:2] == (100, 150)
    assert decode(data, reduce_to=(50, 150)).pixels.shape[:2] == (200, 300)
    assert decode(data, reduce_to=(199, 299)).pixels.shape[:2] == (400, 600)
    exif = Image.Exif()
    exif[274] = 6
    turned = encoded(np.tile(SMOOTH, (20, 20, 1)), "JPEG", exif=exif)
    assert decode(turned, reduce_to=(75, 25)).pixels.shape[:2] == (150, 100)
    assert decode(encoded(COLOUR), reduce_to=(2, 2)).pixels.shape == (20, 30, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_smaller_jpeg_shows_the_same_part_of_the_picture(orientation: int):
    """Sides that no scale divides: the last blocks of the decoder are picture in part alone."""
    rows, columns = np.mgrid[:1025, :777] / [[[1025]], [[777]]]
    waves = np.sin(columns * 44) * np.sin(rows * 44) * 100 + 128
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(waves.astype(np.uint8), "JPEG", quality=98, exif=exif)
    whole, smaller = decode(data).pixels, decode(data, reduce_to=(64, 64)).pixels
    assert smaller.size < whole.size / 10
    for how in ("stretch", "crop", "pad"):
        difference = fit(whole, (64, 64), 1, how=how) - fit(smaller, (64, 64), 1, how=how)
        assert np.abs(difference).max() < 6 / 255


def test_warnings_are_silent(tmp_path: Path):
    data = encoded(COLOUR, "TIFF", dpi=(72, 72))
    odd = data.replace(struct.pack("<HHI", 282, 5, 1), struct.pack("<HHI", 282, 5, 9999))
    assert odd != data
    (tmp_path / "odd.tif").write_bytes(odd)
    code = f"""
from pathlib import Path
from PIL import Image
from aetool.images.decode import decode
print(decode(Path({str(tmp_path / "odd.tif")!r})).pixels.shape)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("(20, 30, 3)\n", "")


def test_many_threads_decode_at_once(tmp_path: Path):
    paths = []
    for number in range(40):
        path = tmp_path / f"{number}.png"
        path.write_bytes(encoded(np.roll(COLOUR, number, axis=1), icc_profile=adobe_rgb()))
        paths.append(path)
    alone = [decode(path).pixels for path in paths]
    before = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: decode(path).pixels, paths * 5))
    for number, pixels in enumerate(together):
        np.testing.assert_array_equal(pixels, alone[number % 40])
    assert before == Image.MAX_IMAGE_PIXELS
    assert threading.active_count() < 20


def test_strips_join_without_a_seam(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("aetool.images.samples.STRIP_PIXELS", 100)
    for data, expected in ((encoded(COLOUR), COLOUR), (encoded(GREY16), GREY16)):
        np.testing.assert_array_equal(decode(data).pixels, expected)
    exif = Image.Exif()
    exif[274] = 8
    turned = decode(encoded(COLOUR, exif=exif)).pixels
    np.testing.assert_array_equal(turned, np.rot90(COLOUR))


# --- fit -------------------------------------------------------------------------------------


def test_fit_at_its_own_size_changes_no_value():
    np.testing.assert_allclose(fit(COLOUR, (20, 30), 3), COLOUR / 255, atol=1e-6)
    np.testing.assert_allclose(fit(GREY16, (20, 30), 1)[..., 0], GREY16 / 65535, atol=1e-6)
    expected = COLOUR @ [0.299, 0.587, 0.114] / 255
    np.testing.assert_allclose(fit(COLOUR, (20, 30), 1)[..., 0], expected, atol=1e-6)
    three = fit(GREY, (20, 30), 3)
    assert three.dtype == np.float32
    for channel in range(3):
        np.testing.assert_allclose(three[..., channel], GREY / 255, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_fit_is_antialiased(dtype):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    board = (np.indices((400, 600)).sum(axis=0) % 2 * top).astype(dtype)
    for size in ((40, 60), (97, 131)):
        fitted = fit(board, size, 1)
        np.testing.assert_allclose(fitted[2:-2, 2:-2], 0.5, atol=0.02)
    ramp = np.linspace(0, 1, 600, dtype=np.float32)[None].repeat(400, axis=0)
    colour = np.dstack([ramp, 1 - ramp, ramp]) * top
    fitted = fit((colour if top == 1 else np.round(colour)).astype(dtype), (20, 30), 3)
    centres = (np.arange(30) + 0.5) / 30
    np.testing.assert_allclose(fitted[10, 1:-1, 0], centres[1:-1], atol=0.006)
    np.testing.assert_allclose(fitted[..., 1], 1 - fitted[..., 0], atol=0.006)
    assert fitted.min() >= 0 and fitted.max() <= 1


def test_fit_crop_and_pad_keep_proportions():
    left, middle, right = (np.full((20, 20), value, np.uint8) for value in (0, 100, 250))
    wide = np.hstack([left, middle, right])
    np.testing.assert_allclose(fit(wide, (20, 20), 1, how="crop"), 100 / 255, atol=1e-6)
    assert fit(wide, (9, 9), 1, how="crop")[4, 4] == pytest.approx(100 / 255, abs=0.01)
    padded = fit(np.full((20, 60), 51, np.uint8), (30, 30), 3, how="pad", background=0.75)
    assert padded.shape == (30, 30, 3)
    np.testing.assert_allclose(padded[10:20], 0.2, atol=1e-6)
    np.testing.assert_allclose(padded[:10], 0.75)
    np.testing.assert_allclose(padded[20:], 0.75)
    with pytest.raises(ValueError, match="stretch, crop, pad"):
        fit(GREY, (5, 5), 1, how="tile")


def test_fit_of_a_huge_picture_makes_no_float_copy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("aetool.images.decode.STRIP_PIXELS", 1 << 16)
    huge = np.full((2000, 3000), 40000, np.uint16)
    tracemalloc.start()
    fitted = fit(huge, (64, 64), 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(fitted, 40000 / 65535, atol=1e-4)
    assert peak < 2_000_000
