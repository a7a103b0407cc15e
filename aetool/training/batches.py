"""Batches of (input, target): a pure function of seed, epoch and step, made ahead of the step."""

import queue
import threading
from collections.abc import Iterator

import numpy as np

from aetool.images.augment import augment
from aetool.images.color import luma, rgb_to_lab
from aetool.training.pictures import Pictures

_AHEAD = 4


def reconstruct_pair(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, h, w, c) to the same float32 pictures in [0, 1] twice."""
    x = pictures.astype(np.float32) / 255
    return x, x


def colorize_pair(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, h, w, 3) to luma (n, h, w, 1) and RGB (n, h, w, 3), float32 in [0, 1]."""
    y = pictures.astype(np.float32) / 255
    return luma(y)[..., None], y


class AbPair:
    """uint8 (n, h, w, 3) to luma (n, h, w, 1) in [0, 1] and the ab of the picture shrunk `stride`
    times, (n, ceil(h / stride), ceil(w / stride), 2) in Lab units."""

    def __init__(self, stride: int):
        self.stride = stride

    def __call__(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rgb = pictures.astype(np.float32) / 255
        return luma(rgb)[..., None], rgb_to_lab(shrink(rgb, self.stride))[..., 1:]


def shrink(pictures: np.ndarray, stride: int) -> np.ndarray:
    """Means over stride x stride squares: (n, h, w, c) to (n, ceil(h / s), ceil(w / s), c)."""
    n, h, w, c = pictures.shape
    pictures = np.pad(pictures, ((0, 0), (0, -h % stride), (0, -w % stride), (0, 0)), mode="edge")
    h, w = pictures.shape[1] // stride, pictures.shape[2] // stride
    return pictures.reshape(n, h, stride, w, stride, c).mean(axis=(2, 4))


class Batches:
    """The steps of each epoch.

    Args:
        pictures: where rows come from.
        pair: uint8 pictures to (input, target).
        size: (height, width) of the network's input.
        batch_size: rows a step; the last step of an epoch takes what is left.
        augmentations: names for images.augment; empty for none.
        seed: with the epoch it fixes the order, with the step the augmentation.
        shuffle: False for validation, which is also never augmented.
    """

    def __init__(
        self,
        pictures: Pictures,
        pair,
        size: tuple[int, int],
        batch_size: int,
        *,
        augmentations: tuple[str, ...] = (),
        seed: int = 0,
        shuffle: bool = True,
    ):
        self.pictures = pictures
        self._pair = pair
        self._size = size
        self._batch_size = batch_size
        self._augmentations = augmentations
        self._seed = seed
        self._shuffle = shuffle

    def __len__(self) -> int:
        return -(-len(self.pictures) // self._batch_size)

    def make(self, epoch: int, step: int, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The (input, target) of one step of one epoch."""
        rows = order[step * self._batch_size : (step + 1) * self._batch_size]
        pictures = self.pictures.take(rows)
        if self._augmentations:
            rng = np.random.default_rng((self._seed, epoch, step))
            pictures = augment(pictures, self._augmentations, self._size, rng)
        return self._pair(pictures)

    def order(self, epoch: int) -> np.ndarray:
        """The rows in the order of this epoch."""
        if not self._shuffle:
            return np.arange(len(self.pictures))
        return np.random.default_rng((self._seed, epoch)).permutation(len(self.pictures))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The steps from `start` on, each made by a thread while the one before is learnt."""
        order = self.order(epoch)
        ready: queue.Queue = queue.Queue(_AHEAD)
        stopped = threading.Event()

        def put(item) -> bool:
            while not stopped.is_set():
                try:
                    ready.put(item, timeout=0.1)
                except queue.Full:
                    continue
                return True
            return False

        def produce():
            try:
                for step in range(start, len(self)):
                    if not put((self.make(epoch, step, order), None)):
                        return
                put((None, None))
            except BaseException as error:
                put((None, error))

        thread = threading.Thread(target=produce, name="batches", daemon=True)
        thread.start()
        try:
            while True:
                batch, error = ready.get()
                if error is not None:
                    raise error
                if batch is None:
                    return
                yield batch
        finally:
            stopped.set()
            thread.join()


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
