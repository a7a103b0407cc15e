"""What Pillow loses of a PNG's grey: sixteen bits beside alpha, and which grey is transparent."""

import numpy as np
from PIL import Image

from aetool.images.samples import DeepSamples

_FEW_LEVELS = {"L;2": 85, "L;4": 17}  # what each of 4 or of 16 greys stands for, out of 255


def prepare(image: Image.Image) -> bool:
    """Ready a PNG to be loaded with all that its file says of grey.

    Args:
        image: with its header read, and nothing more.

    Returns:
        Whether it is 16-bit grey with alpha, whose pixels grey_with_alpha() has once it is loaded.
    """
    layout = image.tile[0].args if len(image.tile) == 1 else None
    clear = image.info.get("transparency")
    if layout in _FEW_LEVELS and isinstance(clear, int):
        image.info["transparency"] = clear * _FEW_LEVELS[layout]
    if layout != "LA;16B":
        return False
    # Pillow has no such mode, but it has one of four bytes a pixel, which takes these as they are.
    image.tile = [image.tile[0]._replace(args="RGBA")]
    return True


def grey_with_alpha(image: Image.Image, orientation: int) -> DeepSamples:
    """The samples of a picture of which prepare() said so, loaded since."""
    grey, alpha = np.moveaxis(np.asarray(image).view(">u2").astype(np.uint16), -1, 0)
    return DeepSamples(
        samples=grey,
        alpha=alpha,
        premultiplied=False,
        inverted=False,
        orientation=orientation,
        profile=image.info.get("icc_profile"),
    )
