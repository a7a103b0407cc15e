#!/usr/bin/env python3
"""Do colours stay when the picture's size changes? sizes.py PHOTOS MODEL.h5 [COUNT]

COUNT photographs (24), evenly taken, are brought to 256 and to 2,048 pixels on the longer side and
coloured; the large result is reduced to the small one's size. Prints the CIE76 difference of the
two, a mean over pixels and pictures, and of the picture where it is greatest. Photographs smaller
than that are enlarged, which adds no detail: of larger ones the difference may be greater.
"""

import sys
from pathlib import Path

import numpy as np
from colours import Colorizer, photographs
from PIL import Image

from aetool.images.chroma import grey_of, join
from aetool.images.color import rgb_to_lab
from aetool.images.decode import fit

SIDES = (256, 2048)


def scaled(pixels, side):
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def coloured(colorizer, pixels):
    return join(grey_of(pixels), colorizer.chroma([pixels])[0])


def difference(colorizer, pixels):
    """Mean CIE76 between what becomes of a picture at one size and at the other."""
    small, large = (coloured(colorizer, scaled(pixels, side)) for side in SIDES)
    pair = rgb_to_lab(small / np.float32(255)), rgb_to_lab(fit(large, small.shape[:2], 3))
    return float(np.linalg.norm(pair[0] - pair[1], axis=-1).mean())


def main(source, model, count="24"):
    colorizer = Colorizer(Path(model))
    values = [difference(colorizer, pixels) for pixels in photographs(source, int(count))]
    print("| CIE76 between 256 and 2,048 pixels | |\n|---|---|")
    print(f"| mean of {len(values)} | {np.mean(values):.2f} |\n| greatest | {max(values):.2f} |")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
