"""From a picture to what a network takes, and back to the picture's own frame; without Keras."""

import numpy as np
from PIL import Image

from aetool.images.decode import fit

Box = tuple[int, int, int, int]


def prepare(pixels: np.ndarray, preprocessing: dict, size: tuple[int, int]) -> np.ndarray:
    """A decoded picture as the network takes it.

    Args:
        pixels: (h, w) or (h, w, 3), uint8, uint16 or float32 in [0, 1].
        preprocessing: the checkpoint's.
        size: (height, width) of the network's input.

    Returns:
        float32 (height, width, channels) in the range that `preprocessing` states.
    """
    low, high = preprocessing["range"]
    fitted = fit(
        pixels,
        size,
        preprocessing["channels"],
        how=preprocessing["fit"],
        background=preprocessing["background"],
    )
    return fitted if (low, high) == (0, 1) else fitted * (high - low) + low


def frames(picture: tuple[int, int], network: tuple[int, int], how: str) -> tuple[Box, Box]:
    """Which part of the picture the network sees, and where in its input that part lies.

    Args:
        picture: (height, width) of the picture.
        network: (height, width) of the network's input.
        how: "stretch", "crop" or "pad", as in `fit`.

    Returns:
        Two boxes (top, left, bottom, right) in whole pixels: in the picture, and in the input.
    """
    ratios = [p / n for p, n in zip(picture, network, strict=True)]
    seen, inside = picture, network
    if how == "crop":
        seen = tuple(max(1, round(n * min(ratios))) for n in network)
    elif how == "pad":
        inside = tuple(max(1, round(p / max(ratios))) for p in picture)
    return _centred(seen, picture), _centred(inside, network)


def _centred(inner: tuple[int, int], outer: tuple[int, int]) -> Box:
    top, left = ((o - i) // 2 for i, o in zip(inner, outer, strict=True))
    return top, left, top + inner[0], left + inner[1]


def restore(pixels: np.ndarray, picture: tuple[int, int], how: str) -> np.ndarray:
    """A network's output brought back to the picture's own scale.

    Args:
        pixels: uint8 (h, w) or (h, w, 3), at the network's size.
        picture: (height, width) of the picture that went in.
        how: "stretch", "crop" or "pad", as in `fit`.

    Returns:
        uint8 of the picture's size; with "crop", of the part that the network saw.
    """
    seen, inside = frames(picture, pixels.shape[:2], how)
    top, left, bottom, right = inside
    part = pixels[top:bottom, left:right]
    size = (seen[3] - seen[1], seen[2] - seen[0])
    if size == (part.shape[1], part.shape[0]):
        return part
    return np.asarray(Image.fromarray(part).resize(size, Image.Resampling.BICUBIC))


def restore_map(
    values: np.ndarray, picture: tuple[int, int], network: tuple[int, int], how: str
) -> np.ndarray:
    """A map over a network's input brought back to the picture's own scale.

    Args:
        values: float (h, w), on a grid of any size that covers the network's input.
        picture: (height, width) of the picture that went in.
        network: (height, width) of the network's input.
        how: "stretch", "crop" or "pad", as in `fit`.

    Returns:
        float32 of the picture's size; 0 where a "crop" kept the network from seeing.
    """
    grid = Image.fromarray(np.asarray(values, np.float32))
    seen, (top, left, bottom, right) = frames(picture, network, how)
    down, across = (places / side for places, side in zip(values.shape, network, strict=True))
    part = grid.resize(
        (seen[3] - seen[1], seen[2] - seen[0]),
        Image.Resampling.BILINEAR,
        box=(left * across, top * down, right * across, bottom * down),
    )
    whole = np.zeros(picture, np.float32)
    whole[seen[0] : seen[2], seen[1] : seen[3]] = np.asarray(part)
    return whole
