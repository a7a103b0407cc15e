"""The pictures of a training run: decoded once into memory, or again each epoch if too many."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from aetool.errors import Failure, ImageError, TrainingError
from aetool.images.decode import fit
from aetool.images.source import Source

# The share of the machine's memory that decoded pictures may take.
_MEMORY_SHARE = 0.4


class Pictures:
    """Readable pictures of a source, fitted to one size.

    Args:
        source: where they come from.
        size: (height, width) to keep them at.
        channels: 1 or 3.
        how: "stretch", "crop" or "pad".
        max_pixels: refuse larger pictures.
        progress: called with (pictures decoded, pictures in the source).

    Attributes:
        failed: what could not be read, left out.
        labels: int32 (n,), -1 where unknown.

    Raises:
        TrainingError: when no picture is readable.
    """

    def __init__(
        self,
        source: Source,
        size: tuple[int, int],
        channels: int,
        *,
        how: str = "stretch",
        max_pixels: int = 500_000_000,
        progress: Callable[[int, int], None] | None = None,
    ):
        self.source = source
        self.size = size
        self.channels = channels
        self._how = how
        self._max_pixels = max_pixels
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")
        self.failed: list[Failure] = []
        self._rows = self._decode_all(progress)
        if not len(self._rows):
            raise TrainingError(f"no picture in {source.root} can be read")
        self.labels = np.array([source.label(i) for i in self._rows], np.int32)

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """uint8 (len(rows), height, width, channels), in the order asked for."""
        if self._memory is not None:
            return self._memory[rows]
        return np.stack(list(self._pool.map(self._load, self._rows[rows])))

    def close(self) -> None:
        self._pool.shutdown()

    def _load(self, i: int) -> np.ndarray:
        picture = self.source.load(int(i), max_pixels=self._max_pixels, reduce_to=self.size)
        fitted = fit(picture.pixels, self.size, self.channels, how=self._how)
        return np.round(fitted * 255).astype(np.uint8)

    def _try_load(self, i: int) -> np.ndarray | Failure:
        try:
            return self._load(i)
        except ImageError as error:
            return Failure(self.source.name(i), error.message)

    def _decode_all(self, progress) -> np.ndarray:
        """Fill the memory if it suffices; the numbers of the readable pictures either way."""
        count = len(self.source)
        wanted = count * self.size[0] * self.size[1] * self.channels
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        keep = wanted <= _MEMORY_SHARE * memory
        self._memory = np.empty((count, *self.size, self.channels), np.uint8) if keep else None
        readable = []
        block = 256
        for start in range(0, count, block):
            numbers = range(start, min(start + block, count))
            for i, result in zip(numbers, self._pool.map(self._try_load, numbers), strict=True):
                if isinstance(result, Failure):
                    self.failed.append(result)
                    continue
                if keep:
                    self._memory[len(readable)] = result
                readable.append(i)
            if progress:
                progress(numbers.stop, count)
        if keep:
            self._memory = self._memory[: len(readable)]
        return np.array(readable, np.int64)
