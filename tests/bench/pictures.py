"""Pictures for the benchmarks, which need no download: smooth random ones, and crops."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images


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


def write_crops(folder: Path, count: int, side: int, seed: int, part: slice) -> Path:
    """`count` random crops of `side` pixels from columns of scikit-learn's two photographs."""
    folder.mkdir(parents=True)
    photographs = [image[:, part] for image in load_sample_images().images]
    random = np.random.default_rng(seed)
    for i in range(count):
        image = photographs[i % len(photographs)]
        top, left = (random.integers(0, length - side + 1) for length in image.shape[:2])
        crop = image[top : top + side, left : left + side]
        Image.fromarray(crop).save(folder / f"{i:06d}.png")
    return folder
