"""Small pictures in a terminal: two pixels a character, one above the other."""

from collections.abc import Sequence

import numpy as np
from rich.style import Style
from rich.text import Text

from aetool.plots.sheets import fitted

BLOCK = "▀"  # the upper pixel in its own colour, the lower one in that of the ground
SMALLEST, LARGEST = 16, 32  # pixels a side


def half_blocks(bands: Sequence[Sequence[np.ndarray]], columns: int) -> Text:
    """Rows of pictures as coloured text; a terminal of fewer colours shows the nearest ones.

    Args:
        bands: rows of as many pictures each, uint8 (h, w, 3), all of one size.
        columns: characters a line; pictures that find no room are left out.
    """
    count = max(1, min(len(bands[0]), columns // (SMALLEST + 1)))
    side = max(1, min(LARGEST, columns // count - 1))
    text = Text()
    for band in bands:
        small = [np.asarray(fitted(picture, side)) for picture in band[:count]]
        for y in range(0, len(small[0]), 2):
            for pixels in small:
                for upper, lower in zip(
                    pixels[y], pixels[min(y + 1, len(pixels) - 1)], strict=True
                ):
                    text.append(BLOCK, Style(color=_rgb(upper), bgcolor=_rgb(lower)))
                text.append(" ")
            text.append("\n")
    return text


def _rgb(pixel: np.ndarray) -> str:
    return "rgb({},{},{})".format(*pixel.tolist())
