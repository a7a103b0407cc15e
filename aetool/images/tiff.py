"""TIFF files of more than 8 bits a sample, or of signed ones, which Pillow would spoil."""

import logging
import sys
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from aetool.images.samples import DeepSamples

# Everything it has to say about an odd file ends as that picture's one reason.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_COLOURS = {
    tifffile.PHOTOMETRIC.MINISWHITE: 1,
    tifffile.PHOTOMETRIC.MINISBLACK: 1,
    tifffile.PHOTOMETRIC.RGB: 3,
}
_MOST_SAMPLES = 5
# How Pillow unpacks samples of 16 bits, and how it does so without taking alpha out of colours.
_LAYOUTS = {
    "RGB;16N": "RGB;16", "RGBX;16N": "RGBX;16", "RGBA;16N": "RGBA;16", "RGBa;16N": "RGBA;16",
}  # fmt: skip
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)


def read_deep(file: BinaryIO, check_size: Callable[[tuple[int, int]], None]) -> DeepSamples | None:
    """Read the first page of grey or RGB samples.

    Args:
        file: a TIFF file, at its start.
        check_size: called with (width, height) before anything is decoded, to refuse it.

    Returns:
        None for other colour models, and for compressions that tifffile does not know, except for
        16-bit RGB samples side by side and for signed 8-bit grey: Pillow can decompress those
        without loss.

    Raises:
        Exception: of any kind, when the file is damaged.
    """
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        check_size((page.imagewidth, page.imagelength))
        colours = _COLOURS.get(page.photometric)
        if colours is None or page.dtype is None or page.dtype.kind not in "buif":
            return None
        # The limit is one of pixels: a picture of many bands would take many times its memory.
        if page.axes not in ("YX", "YXS", "SYX") or page.samplesperpixel > _MOST_SAMPLES:
            return None
        upright = False
        try:
            samples = page.asarray()
        except (KeyError, ModuleNotFoundError, NotImplementedError, ValueError) as error:
            if isinstance(error, ValueError) and "imagecodecs" not in str(error):
                raise
            samples = _decompressed(file) if page.planarconfig == 1 else None
            if samples is None:
                return None
            upright = True
        if page.axes == "SYX":
            samples = np.moveaxis(samples, 0, -1)
        samples = samples.reshape(*samples.shape[:2], -1)
        extra = page.extrasamples[0] if page.extrasamples else 0
        if samples.shape[2] < colours + (extra in _ALPHA):
            return None
        orientation = page.tags.valueof(274, default=1)
        resolution = page.get_resolution("INCH") if 282 in page.tags else (0, 0)
        if orientation in range(5, 9):
            resolution = resolution[::-1]
        return DeepSamples(
            samples=samples[..., 0] if colours == 1 else samples[..., :3],
            alpha=samples[..., colours] if extra in _ALPHA else None,
            premultiplied=extra == tifffile.EXTRASAMPLE.ASSOCALPHA,
            inverted=page.photometric == tifffile.PHOTOMETRIC.MINISWHITE,
            orientation=1 if upright or orientation not in range(1, 9) else orientation,
            profile=page.tags.valueof(34675),
            dpi=resolution if min(resolution) > 1 and page.resolutionunit > 1 else None,
            pages=len(tiff.pages),
        )


def _decompressed(file: BinaryIO) -> np.ndarray | None:
    """The samples of a file whose compression Pillow knows, turned upright.

    Pillow has no mode that holds 16-bit colour, but it takes the upper byte of each sample for a
    mode of 8 bits: the first or the second byte, as it is told. So it is asked for either.

    Returns:
        uint16 (h, w, 3) or (h, w, 4), or int8 (h, w); None where Pillow has neither.
    """
    orders = "LB" if sys.byteorder == "little" else "BL"  # libtiff gives native samples
    halves = []
    for order in orders:
        file.seek(0)
        try:
            image = Image.open(file, formats=("TIFF",))
        except UnidentifiedImageError:
            return None
        tile = image.tile[0]
        if tile.codec_name != "libtiff":
            return None
        if tile.args[0] == "L":  # as stored; unsigned ones do not come here
            return np.asarray(image).view(np.int8)
        layout = _LAYOUTS.get(tile.args[0])
        if layout is None:
            return None
        image.tile = [tile._replace(args=(layout + order, *tile.args[1:]))]
        halves.append(np.asarray(image))
    samples = halves[0].astype(np.uint16)
    samples <<= 8
    samples |= halves[1]
    return samples
