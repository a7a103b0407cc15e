"""What pictures carry besides pixels: EXIF and resolution."""

from contextlib import suppress
from math import isfinite
from typing import Any

from PIL import Image

_ORIENTATION = 274
# Tags that describe the picture; the others lay out the file they came in (strips, tiles, sizes).
_KEPT_TAGS = frozenset(
    (270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432, 34665, 34853)
) | frozenset(range(40091, 40096))
_SUB_BLOCKS = {34665, 34853}  # exposure and lens; position
# Of the file, not of the picture: its colour space, which is sRGB from now on, its width and
# height, and a block of file-layout rules.
_FILE_TAGS = {40961, 40962, 40963, 40965}
_PLACES = {37396, 41492}  # of the subject, counted in the pixels as they are stored
# Resolution across and down, of the picture and of the sensor.
_TURNED = {282: 283, 283: 282, 41486: 41487, 41487: 41486}


def upright_exif(image: Image.Image) -> tuple[bytes | None, int]:
    """The EXIF block to hand on, and the orientation in which the pixels are stored."""
    orientation = 1
    if image.format == "PNG":
        image.load()  # as getexif would, below, where damage to the picture would go unheard
    # Cameras and editors write odd blocks; a broken one costs its information, not the picture.
    with suppress(Exception):
        exif = image.getexif()
        stored = exif.get(_ORIENTATION, 1)
        orientation = stored if stored in range(1, 9) else 1
        # A new block has no thumbnail, which would show the picture as it was.
        kept = Image.Exif()
        kept.endian = exif.endian
        for tag, value in _upright_tags(exif_tags(exif), orientation).items():
            if tag in _KEPT_TAGS:
                kept[tag] = value
        if kept:
            kept[_ORIENTATION] = 1
            return kept.tobytes(), orientation
    return None, orientation


def _upright_tags(tags: dict[int, Any], orientation: int) -> dict[int, Any]:
    """The tags of a picture, and of the blocks inside them, once it is turned upright."""
    turned = _TURNED if orientation > 4 else {}
    upright = {}
    for tag, value in tags.items():
        if tag not in _PLACES or orientation == 1:
            inner = isinstance(value, dict)
            upright[turned.get(tag, tag)] = _upright_tags(value, orientation) if inner else value
    return upright


def exif_tags(exif: Image.Exif) -> dict[int, Any]:
    """The tags of an EXIF block and of the blocks inside it, fit to be written again."""

    def stored(value: Any) -> Any:
        # Pillow reads text of any encoding as Latin-1, but would write "?" for what is not ASCII.
        return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value

    tags = {tag: stored(value) for tag, value in exif.items()}
    for block in _SUB_BLOCKS & tags.keys():
        content = exif.get_ifd(block).items()
        tags[block] = {tag: stored(value) for tag, value in content if tag not in _FILE_TAGS}
        if not tags[block]:
            del tags[block]
    return tags


def image_dpi(image: Image.Image, orientation: int) -> tuple[float, float] | None:
    """(x, y) dots per inch of the upright picture, or None where nothing is said or meant."""
    with suppress(TypeError, ValueError, ArithmeticError):
        x, y = (float(value) for value in image.info.get("dpi", ()))
        return known_dpi(y, x) if orientation > 4 else known_dpi(x, y)
    return None


def known_dpi(x: float, y: float) -> tuple[float, float] | None:
    """A resolution that can be meant: 1 stands for unknown, and formats hold no millions."""
    return (x, y) if isfinite(x) and isfinite(y) and 1 < min(x, y) <= max(x, y) < 1e6 else None
