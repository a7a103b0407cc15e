"""What is written reads back: values, colour tags, metadata; and names never collide."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from aetool.errors import OutputError
from aetool.images.color import luma
from aetool.images.decode import Picture, decode
from aetool.images.write import output_name, output_names, png_bytes, save_picture

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (20, 30), dtype=np.uint8)
COLOUR = GENERATOR.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY16 = GENERATOR.integers(0, 65536, (20, 30), dtype=np.uint16)
COLOUR16 = GENERATOR.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
ROWS, COLUMNS = np.mgrid[0:20, 0:30]
SMOOTH = np.stack([ROWS * 8 + 40, COLUMNS * 5 + 30, 200 - ROWS * 4], axis=-1).astype(np.uint8)


def like(exif: bytes | None = None, dpi: tuple[float, float] | None = None) -> Picture:
    return Picture(GREY, "JPEG", exif, dpi, 1)


def camera_exif() -> bytes:
    exif = Image.Exif()
    exif[274], exif[271], exif[33432] = 1, "Maker", "Copyright me"
    exif.get_ifd(34665)[33437] = 2.8
    exif.get_ifd(34853)[1] = "N"
    return exif.tobytes()


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("a.jpg", "a.jpg"),
        ("sub/b c.JPEG", "sub/b c.JPEG"),
        ("a.Tif", "a.Tif"),
        ("a.webp", "a.webp"),
        ("a.gif", "a.gif.png"),
        ("a.pgm", "a.pgm.png"),
        ("a.ico", "a.ico.png"),
        ("x_test/000017", "x_test/000017.png"),
        ("v1.2/scan", "v1.2/scan.png"),
        ("stdin", "stdin.png"),
        (".png", ".png.png"),
        ("a\nb 'q' \udcff.jpg", "a\nb 'q' \udcff.jpg"),
    ],
)
def test_output_name(name: str, output: str):
    assert output_name(name) == output


def test_results_never_share_a_name():
    names = ["a.gif", "a.gif.png", "b.gif", "c.png", "sub/a.gif", "c.png"]
    outputs, failures = output_names(names)
    assert outputs == [None, "a.gif.png", "b.gif.png", "c.png", "sub/a.gif.png", None]
    assert [failure.path for failure in failures] == ["a.gif", "c.png"]
    assert "a.gif.png" in failures[0].reason
    turned, _ = output_names(names[::-1])
    assert set(turned) == set(outputs)
    assert dict(zip(names[::-1], turned, strict=True))["a.gif"] is None


LOSSLESS = ["png", "tif", "tiff", "webp", "bmp", "dib", "ppm", "tga", "jp2"]


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_lossless_formats_keep_every_value(suffix: str, pixels: np.ndarray, tmp_path: Path):
    path = tmp_path / f"picture.{suffix}"
    save_picture(path, pixels)
    result = decode(path).pixels
    if pixels.ndim == 2 and result.ndim == 3:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "jpe", "jfif", "avif"])
def test_lossy_formats_keep_luma_and_chroma(suffix: str, tmp_path: Path):
    stripes = SMOOTH.copy()
    stripes[:, ::2] = 255 - stripes[:, ::2]  # chroma that subsampling would blur away
    path = tmp_path / f"picture.{suffix}"
    save_picture(path, stripes)
    assert np.abs(decode(path).pixels.astype(int) - stripes).mean() < 5
    with Image.open(path) as image:
        assert image.format == ("AVIF" if suffix == "avif" else "JPEG")


def test_every_name_that_is_kept_can_be_written(tmp_path: Path):
    for suffix in (*LOSSLESS, "jpg", "jpeg", "jpe", "jfif", "avif", "pnm", "JPG"):
        name = f"picture.{suffix}"
        assert output_name(name) == name
        save_picture(tmp_path / name, COLOUR)
        assert decode(tmp_path / name).pixels.shape == COLOUR.shape


def test_portable_pixmap_of_grey_is_a_pixmap(tmp_path: Path):
    save_picture(tmp_path / "grey.ppm", GREY)
    assert (tmp_path / "grey.ppm").read_bytes().startswith(b"P6")


@pytest.mark.parametrize("pixels", [GREY16, COLOUR16], ids=["grey", "colour"])
def test_16_bits_are_kept_in_tiff_and_png(pixels: np.ndarray, tmp_path: Path):
    save_picture(tmp_path / "deep.tif", pixels)
    np.testing.assert_array_equal(decode(tmp_path / "deep.tif").pixels, pixels)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "deep.tif"), pixels)
    save_picture(tmp_path / "deep.png", pixels)
    reread = decode(tmp_path / "deep.png").pixels
    # Pillow gives the upper eight bits of each sample of a 16-bit colour PNG.
    np.testing.assert_array_equal(reread, pixels if pixels.ndim == 2 else pixels >> 8)


def test_16_bit_colour_png_holds_all_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("aetool.images.write.STRIP_PIXELS", 100)  # several strips
    path = tmp_path / "deep.png"
    save_picture(path, COLOUR16, like=like(camera_exif(), (300, 200)))
    np.testing.assert_array_equal(_png_samples(path.read_bytes()), COLOUR16)
    with Image.open(path) as image:
        assert image.info["srgb"] == 0
        assert image.info["dpi"] == pytest.approx((300, 200), abs=0.02)
        assert image.getexif()[271] == "Maker"
        image.verify()


def _png_samples(data: bytes) -> np.ndarray:
    """A PNG reader of its own for what Pillow narrows: rows with filter 1, 16-bit colour."""
    at, body = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length :][:4])[0] == zlib.crc32(kind + content)
        if kind == b"IHDR":
            width, height, depth, colour_type = struct.unpack(">2I2B", content[:10])
            assert (depth, colour_type) == (16, 2)
        body += content if kind == b"IDAT" else b""
        at += 12 + length
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + 6 * width)
    assert (rows[:, 0] == 1).all()
    values = np.cumsum(rows[:, 1:].reshape(height, width, 6), axis=1, dtype=np.uint8)
    return np.ascontiguousarray(values).view(">u2").reshape(height, width, 3)


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "webp"])
def test_16_bits_are_rounded_where_the_format_has_eight(suffix: str, tmp_path: Path):
    path = tmp_path / f"deep.{suffix}"
    save_picture(path, SMOOTH * np.uint16(257) + np.uint16(100))
    result = decode(path).pixels.astype(int)
    assert np.abs(result - SMOOTH).max() <= (0 if suffix != "jpg" else 4)


@pytest.mark.parametrize("suffix", ["jpg", "tif", "webp", "avif"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_profile_says_srgb(suffix: str, pixels: np.ndarray, tmp_path: Path):
    path = tmp_path / f"picture.{suffix}"
    save_picture(path, pixels)
    with Image.open(path) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        expected = "GRAY" if image.mode == "L" else "RGB"
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert profile.profile.xcolor_space.strip() == expected


def test_tiff_of_several_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("aetool.images.write._TIFF_STRIP_BYTES", 700)
    for pixels in (GREY, COLOUR, GREY16, COLOUR16):
        save_picture(tmp_path / "a.tif", pixels, like=like(camera_exif(), (300, 200)))
        np.testing.assert_array_equal(decode(tmp_path / "a.tif").pixels, pixels)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), pixels)


def test_png_and_16_bit_tiff_say_srgb(tmp_path: Path):
    save_picture(tmp_path / "a.png", COLOUR)
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["srgb"] == 0
    for pixels in (GREY16, COLOUR16):
        save_picture(tmp_path / "a.tif", pixels)
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            assert b"sRGB" in tiff.pages[0].tags.valueof(34675).replace(b"\0", b"")


@pytest.mark.parametrize("pixels", [GREY, COLOUR, COLOUR16], ids=["grey", "colour", "deep"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_exif_and_resolution_are_kept(suffix: str, pixels: np.ndarray, tmp_path: Path):
    path = tmp_path / f"picture.{suffix}"
    save_picture(path, pixels, like=like(camera_exif(), (300, 200)))
    with Image.open(path) as image:
        exif = image.getexif()
        assert (exif[271], exif[33432]) == ("Maker", "Copyright me")
        assert exif.get(274, 1) == 1
        assert exif.get_ifd(34665)[33437] == 2.8
        assert exif.get_ifd(34853)[1] == "N"
        if suffix != "webp":
            assert image.info["dpi"] == pytest.approx((300, 200), abs=0.02)


def test_turned_photograph_stays_upright(tmp_path: Path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(SMOOTH).save(tmp_path / "in.jpg", exif=exif, quality=95)
    picture = decode(tmp_path / "in.jpg")
    for suffix in ("jpg", "png", "tif", "webp"):
        save_picture(tmp_path / f"out.{suffix}", picture.pixels, like=picture)
        again = decode(tmp_path / f"out.{suffix}").pixels
        assert again.shape == (30, 20, 3)
        np.testing.assert_allclose(again, picture.pixels.astype(int), atol=6)


@pytest.mark.parametrize(
    "exif", [b"", b"junk", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + bytes(70_000)]
)
def test_odd_exif_is_dropped(exif: bytes, tmp_path: Path):
    for name in ("a.jpg", "a.png", "a.tif", "a.webp", "a.bmp"):
        save_picture(tmp_path / name, COLOUR, like=like(exif))
        assert decode(tmp_path / name).pixels.shape == COLOUR.shape
    save_picture(tmp_path / "deep.tif", COLOUR16, like=like(exif))
    save_picture(tmp_path / "deep.png", COLOUR16, like=like(exif))


def test_text_that_is_not_ascii_is_kept(tmp_path: Path):
    exif = Image.Exif()
    exif[315], exif[34665] = "Jürgen".encode(), {42036: "Objektiv ü".encode()}
    Image.fromarray(COLOUR).save(tmp_path / "in.jpg", exif=exif)
    picture = decode(tmp_path / "in.jpg")
    for name in ("a.jpg", "a.png", "a.tif"):
        save_picture(tmp_path / name, COLOUR, like=picture)
        assert "Jürgen".encode() in (tmp_path / name).read_bytes()
        assert "Objektiv ü".encode() in decode(tmp_path / name).exif


def test_exif_too_long_for_jpeg_is_dropped(tmp_path: Path):
    exif = Image.Exif()
    exif[270] = "x" * 70_000
    for name in ("a.jpg", "a.png"):
        save_picture(tmp_path / name, COLOUR, like=like(exif.tobytes()))
    assert decode(tmp_path / "a.jpg").exif is None
    assert b"x" * 70_000 in decode(tmp_path / "a.png").exif


def test_png_bytes():
    for pixels in (GREY, COLOUR, GREY16):
        np.testing.assert_array_equal(decode(png_bytes(pixels)).pixels, pixels)
    tagged = decode(png_bytes(COLOUR, like(camera_exif(), (72, 72))))
    assert tagged.dpi == pytest.approx((72, 72), abs=0.02)
    assert b"Maker" in tagged.exif


def test_equal_pictures_make_equal_files(tmp_path: Path):
    for suffix in ("jpg", "tif", "png"):
        files = []
        for number in range(2):
            save_picture(
                tmp_path / f"{number}.{suffix}", COLOUR, like=like(camera_exif(), (72, 72))
            )
            files.append((tmp_path / f"{number}.{suffix}").read_bytes())
        assert files[0] == files[1]


def test_what_cannot_be_written_is_said(tmp_path: Path):
    with pytest.raises(OutputError, match="suffix"):
        save_picture(tmp_path / "a.gif", COLOUR)
    with pytest.raises(OutputError, match="16383"):
        save_picture(tmp_path / "a.webp", np.zeros((1, 17000), np.uint8))
    with pytest.raises(OSError, match="No such file"):
        save_picture(tmp_path / "missing" / "a.png", COLOUR)
    save_picture(tmp_path / "no suffix", COLOUR, format_name="PNG")
    assert decode(tmp_path / "no suffix").format == "PNG"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "JPEG2000"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_full_disk_is_an_os_error(format_name: str, dtype):
    big = GENERATOR.integers(0, 255, (300, 300, 3)).astype(dtype)
    with pytest.raises(OSError):
        save_picture(Path("/dev/full"), big, format_name=format_name)


def test_jpeg_keeps_the_luma_of_fine_texture_within_two_levels(tmp_path):
    random = np.random.default_rng(0)
    pixels = np.clip(random.normal(128, 40, (96, 96, 3)), 20, 235).astype(np.uint8)
    save_picture(tmp_path / "a.jpg", pixels)
    with Image.open(tmp_path / "a.jpg") as image:
        read = np.asarray(image)
    inside = ((read > 0) & (read < 255)).all(axis=-1)
    assert np.abs(luma(read) - luma(pixels))[inside].max() <= 2
