"""Fourth channels that are no transparency, though Pillow takes them for it."""

import os
import struct
from typing import BinaryIO

from PIL import Image


def is_opaque(image: Image.Image, file: BinaryIO) -> bool:
    """Whether the file says that the alpha channel of a picture holds something else.

    Args:
        image: with its header read.
        file: the same picture; it is left at any place.

    Raises:
        struct.error: the file ends too early.
    """
    if image.mode not in ("LA", "RGBA"):
        return False
    if image.format == "TGA":
        return not _attribute_bits(file)
    return image.format == "PSD" and _layer_count(file) >= 0


def _attribute_bits(file: BinaryIO) -> int:
    """How many bits of each pixel of a TGA file are alpha: of the others nothing is known."""
    file.seek(17)
    return file.read(1)[0] & 15


def _layer_count(file: BinaryIO) -> int:
    """How many layers a PSD file has; less than zero when the fourth channel is their alpha.

    Otherwise that channel is a selection that was saved with the picture.
    """
    file.seek(26)
    for _ in ("palette", "resources"):
        (length,) = struct.unpack(">I", file.read(4))
        file.seek(length, os.SEEK_CUR)
    all_of_layers, layers, count = struct.unpack(">IIh", file.read(10))
    return count if all_of_layers and layers else 0
