#!/usr/bin/env python3
"""Do colours keep to edges? edges.py PHOTOS MODEL.h5

The share of chroma's gradient energy away from luma's edges: of the photographs, of the model's
colours scaled up along the edges of luma as aetool does it, and scaled up bilinearly.
"""

import sys
from pathlib import Path

import numpy as np
from colours import Colorizer, photographs
from PIL import Image

from aetool.images.bleeding import bleeding
from aetool.images.chroma import grey_of, join


def bilinear(chroma, size):
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(size[::-1], Image.Resampling.BILINEAR)
        for plane in np.moveaxis(chroma, -1, 0)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def main(source, model):
    pictures = photographs(source)
    greys = [grey_of(pixels) for pixels in pictures]
    chroma = Colorizer(Path(model)).chroma(pictures)
    pairs = list(zip(greys, chroma, strict=True))
    rows = {
        "photographs": pictures,
        "along edges": [join(grey, small) for grey, small in pairs],
        # Chroma of the picture's own size is joined as it is.
        "bilinear": [join(grey, bilinear(small, grey.shape)) for grey, small in pairs],
    }
    print("| | bleeding |\n|---|---|")
    for name, results in rows.items():
        print(f"| {name} | {np.mean([bleeding(pixels) for pixels in results]):.4f} |")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
