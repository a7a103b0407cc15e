"""Batches of (input, target): a pure function of seed, epoch and step, made ahead of the step."""

import queue
import threading
from collections.abc import Iterator

import numpy as np

from aetool.images.augment import augment, variants
from aetool.training.pictures import Pictures

_AHEAD = 4


class Batches:
    """The steps of each epoch.

    Args:
        pictures: where rows come from.
        pair: a function of training.pairs, uint8 pictures and labels to (input, target).
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
        self._variants = variants(augmentations)

    def __len__(self) -> int:
        return -(-len(self.pictures) * self._variants // self._batch_size)

    def make(self, epoch: int, step: int, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The (input, target) of one step of one epoch."""
        numbers = order[step * self._batch_size : (step + 1) * self._batch_size]
        rows, windows = np.divmod(numbers, self._variants)
        pictures = self.pictures.take(rows)
        if self._augmentations:
            rng = np.random.default_rng((self._seed, epoch, step))
            pictures = augment(pictures, self._augmentations, self._size, rng, windows)
        return self._pair(pictures, self.pictures.labels[rows])

    def order(self, epoch: int) -> np.ndarray:
        """The rows in the order of this epoch, each as often as it has variants."""
        count = len(self.pictures) * self._variants
        if not self._shuffle:
            return np.arange(count)
        return np.random.default_rng((self._seed, epoch)).permutation(count)

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
