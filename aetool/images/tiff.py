"""TIFF files of more than 8 bits a sample, which Pillow narrows, misreads or refuses."""

import logging
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
import tifffile

from aetool.images.samples import DeepSamples

# Everything it has to say about an odd file ends as that picture's one reason.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_COLOURS = {
    tifffile.PHOTOMETRIC.MINISWHITE: 1,
    tifffile.PHOTOMETRIC.MINISBLACK: 1,
    tifffile.PHOTOMETRIC.RGB: 3,
}
_MOST_SAMPLES = 5
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)


def read_deep(file: BinaryIO, check_size: Callable[[tuple[int, int]], None]) -> DeepSamples | None:
    """Read the first page of grey or RGB samples.

    Args:
        file: a TIFF file, at its start.
        check_size: called with (width, height) before anything is decoded, to refuse it.

    Returns:
        None for other colour models and for compressions that need a codec which is not there.

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
        try:
            samples = page.asarray()
        except (KeyError, ModuleNotFoundError, NotImplementedError):  # no such codec here
            return None
        if page.axes == "SYX":
            samples = np.moveaxis(samples, 0, -1)
        samples = samples.reshape(*samples.shape[:2], -1)
        extra = page.extrasamples[0] if page.extrasamples else 0
        if samples.shape[2] < colours + (extra in _ALPHA):
            return None
        orientation = page.tags.valueof(274, default=1)
        resolution = page.get_resolution("INCH") if 282 in page.tags else (0, 0)
        return DeepSamples(
            samples=samples[..., 0] if colours == 1 else samples[..., :3],
            alpha=samples[..., colours] if extra in _ALPHA else None,
            premultiplied=extra == tifffile.EXTRASAMPLE.ASSOCALPHA,
            inverted=page.photometric == tifffile.PHOTOMETRIC.MINISWHITE,
            orientation=orientation if orientation in range(1, 9) else 1,
            profile=page.tags.valueof(34675),
            dpi=resolution if min(resolution) > 1 and page.resolutionunit > 1 else None,
            pages=len(tiff.pages),
        )
