"""Pictures for the benchmarks: smooth random ones, so that nothing need be downloaded."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, count: int, side: int, suffix: str = ".jpg") -> Path:
    """`count` colour pictures of `side` pixels, as detailed as photographs of that size are."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for i in range(count):
        picture = np.zeros((side, side, 3))
        for detail in (4, 16, max(side // 2, 1)):
            coarse = random.integers(0, 256, (detail, detail, 3), dtype=np.uint8)
            picture += np.asarray(Image.fromarray(coarse).resize((side, side), 3), float) / detail
        picture *= 255 / picture.max()
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{i:06d}{suffix}")
    return folder
