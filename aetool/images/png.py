"""What Pillow loses of a PNG: the depth of grey beside alpha, and which value is transparent."""

from typing import BinaryIO

import numpy as np
from PIL import Image

from aetool.images.samples import DeepSamples

_FEW_LEVELS = {"L;2": 85, "L;4": 17}  # what each of 4 or of 16 greys stands for, out of 255
_GREY_WITH_ALPHA, _COLOUR = "LA;16B", "RGB;16B"


def prepare(image: Image.Image) -> str | None:
    """Ready a PNG to be loaded with all that its file says of grey and of transparency.

    Args:
        image: with its header read, and nothing more.

    Returns:
        The layout of its pixels when read_samples() has them once it is loaded, otherwise None:
        for 16-bit grey with alpha, and for 16-bit colour of which one is transparent.
    """
    layout = image.tile[0].args if len(image.tile) == 1 else None
    clear = image.info.get("transparency")
    if layout in _FEW_LEVELS and isinstance(clear, int):
        image.info["transparency"] = clear * _FEW_LEVELS[layout]
    if layout == _COLOUR and isinstance(clear, tuple):
        return layout
    if layout != _GREY_WITH_ALPHA:
        return None
    # Pillow has no such mode, but it has one of four bytes a pixel, which takes these as they are.
    image.tile = [image.tile[0]._replace(args="RGBA")]
    return layout


def read_samples(image: Image.Image, layout: str, file: BinaryIO, orientation: int) -> DeepSamples:
    """The samples of a picture of which prepare() gave the layout, loaded since.

    Returns:
        uint16 grey, or uint8 colour.
    """
    if layout == _COLOUR:
        samples, alpha = np.asarray(image), _key_alpha(image, file)
    else:
        samples, alpha = np.moveaxis(np.asarray(image).view(">u2").astype(np.uint16), -1, 0)
    return DeepSamples(
        samples=samples,
        alpha=alpha,
        premultiplied=False,
        inverted=False,
        orientation=orientation,
        profile=image.info.get("icc_profile"),
    )


def _key_alpha(image: Image.Image, file: BinaryIO) -> np.ndarray:
    """uint8 (h, w): 0 where all 16 bits of each sample are the transparent colour's, else 255.

    Args:
        image: the upper byte of each sample, which is all that Pillow keeps.
        file: the same picture, of which the lower ones are read.
    """
    file.seek(0)
    lower = Image.open(file, formats=("PNG",))
    lower.tile = [lower.tile[0]._replace(args="RGB;16L")]  # the second byte, not the first
    key = np.array(image.info["transparency"], np.uint16)
    differs = (np.asarray(image) != key >> 8) | (np.asarray(lower) != key & 255)
    return differs.any(axis=-1) * np.uint8(255)
