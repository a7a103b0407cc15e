"""What the network is shown and what it is to give: the (input, target) of a batch.

A pair is a function of uint8 pictures (n, h, w, c) and their labels int (n,), or None where the
target does not matter.
"""

import numpy as np

from aetool.images.color import luma, rgb_to_lab
from aetool.images.edges import edges
from aetool.training.pictures import Pictures


def reconstruct_pair(pictures: np.ndarray, labels=None) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, h, w, c) to the same float32 pictures in [0, 1] twice."""
    x = pictures.astype(np.float32) / 255
    return x, x


def colorize_pair(pictures: np.ndarray, labels=None) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, h, w, 3) to luma (n, h, w, 1) and RGB (n, h, w, 3), float32 in [0, 1]."""
    y = pictures.astype(np.float32) / 255
    return luma(y)[..., None], y


class AbPair:
    """uint8 (n, h, w, 3) to luma (n, h, w, 1) in [0, 1] and the ab of the picture shrunk `stride`
    times, (n, ceil(h / stride), ceil(w / stride), 2) in units of `scale` Lab units."""

    def __init__(self, stride: int, scale: float = 1.0):
        self.stride = stride
        self.scale = scale

    def __call__(self, pictures: np.ndarray, labels=None) -> tuple[np.ndarray, np.ndarray]:
        rgb = pictures.astype(np.float32) / 255
        ab = rgb_to_lab(shrink(rgb, self.stride))[..., 1:]
        return luma(rgb)[..., None], ab / np.float32(self.scale)


class ClassifyPair:
    """uint8 (n, h, w, c) to pictures in [0, 1], and those as `reconstruction` with their labels as
    `probabilities` (n, classes), one-hot."""

    def __init__(self, classes: int):
        self.classes = classes

    def __call__(
        self, pictures: np.ndarray, labels: np.ndarray | None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        x, y = reconstruct_pair(pictures)
        labels = np.zeros(len(x), int) if labels is None else labels
        return x, {"reconstruction": y, "probabilities": np.eye(self.classes, dtype="f4")[labels]}


class TranslatePair:
    """uint8 (n, h, w, c1 + c2) to two float32 pictures in [-1, 1], of c1 and of c2 channels."""

    def __init__(self, channels: int):
        self.channels = channels

    def __call__(self, pictures: np.ndarray, labels=None) -> tuple[np.ndarray, np.ndarray]:
        both = pictures.astype(np.float32) / 127.5 - 1
        return both[..., : self.channels], both[..., self.channels :]


def edges_pair(pictures: np.ndarray, labels=None) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, h, w, c) to their edges (n, h, w, 1) and themselves, float32 in [-1, 1]."""
    lines = np.stack([edges(picture) for picture in pictures])[..., None]
    return tuple(both.astype(np.float32) / 127.5 - 1 for both in (lines, pictures))


def shrink(pictures: np.ndarray, stride: int) -> np.ndarray:
    """Means over stride x stride squares: (n, h, w, c) to (n, ceil(h / s), ceil(w / s), c)."""
    n, h, w, c = pictures.shape
    pictures = np.pad(pictures, ((0, 0), (0, -h % stride), (0, -w % stride), (0, 0)), mode="edge")
    h, w = pictures.shape[1] // stride, pictures.shape[2] // stride
    return pictures.reshape(n, h, stride, w, stride, c).mean(axis=(2, 4))


def ab_prior(pictures: Pictures, bins: np.ndarray, sample: int = 2000) -> np.ndarray:
    """How often each ab bin is the nearest one, over evenly spaced pictures.

    Returns:
        float32 (bins,), summing to 1, smoothed by a Gaussian of 5 Lab units as Zhang et al. do.
    """
    rows = np.unique(np.linspace(0, len(pictures) - 1, sample).astype(np.int64))
    counts = np.zeros(len(bins))
    for start in range(0, len(rows), 64):
        rgb = pictures.take(rows[start : start + 64]).astype(np.float32) / 255
        ab = rgb_to_lab(shrink(rgb, 4))[..., 1:].reshape(-1, 2)
        nearest = np.argmax(ab @ bins.T - 0.5 * (bins**2).sum(axis=1), axis=1)
        counts += np.bincount(nearest, minlength=len(bins))
    squared = ((bins[:, None] - bins[None]) ** 2).sum(axis=-1)
    smooth = np.exp(-squared / (2 * 5.0**2))
    prior = (smooth / smooth.sum(axis=0)) @ (counts / counts.sum())
    return prior.astype(np.float32)
