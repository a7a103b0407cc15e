"""The pictures of a training run: decoded once into memory, or again each epoch if too many."""

import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from aetool.errors import Failure, ImageError, SourceError
from aetool.images.decode import fit
from aetool.images.source import Source
from aetool.training.targets import Pairing

# The share of the machine's memory that decoded pictures may take.
_MEMORY_SHARE = 0.4


class Pictures:
    """Readable pictures of a source, fitted to one size.

    Args:
        source: where they come from.
        size: (height, width) to keep them at.
        channels: 1 or 3; with a pairing those of (input, target).
        how: "stretch", "crop" or "pad".
        max_pixels: refuse larger pictures.
        progress: called with (pictures decoded, pictures in the source).
        pairing: where the target of each picture is, which is kept behind its channels.
        classes: names that labels are counted by, where every picture needs one of them.

    Attributes:
        failed: what could not be read or has no label that it needs, left out.
        checksum: of which pictures of the source were readable.
        several_pages: numbers of the pictures with more than the one page that is learnt from.
        labels: int32 (n,), -1 where unknown; indices into `classes`, or the source's own.
    """

    def __init__(
        self,
        source: Source,
        size: tuple[int, int],
        channels: int | tuple[int, int],
        *,
        how: str = "stretch",
        max_pixels: int = 500_000_000,
        progress: Callable[[int, int], None] | None = None,
        pairing: Pairing | None = None,
        classes: tuple[str, ...] = (),
    ):
        self.source = source
        self.size = size
        self._channels = (channels,) if isinstance(channels, int) else tuple(channels)
        self._pairing = pairing
        self._classes = {name: i for i, name in enumerate(classes)}
        self._how = how
        self._max_pixels = max_pixels
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")
        self.failed: list[Failure] = []
        self.several_pages: set[int] = set()
        self._rows = self._decode_all(progress)
        self.checksum = zlib.crc32(self._rows.tobytes())
        self.labels = np.array([self._label(int(i)) for i in self._rows], np.int32)

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """uint8 (len(rows), height, width, channels), in the order asked for.

        With a pairing the target's channels follow the input's.

        Raises:
            SourceError: a picture that is decoded again can no longer be read.
        """
        if self._memory is not None:
            return self._memory[rows]
        return np.stack(list(self._pool.map(self._load_again, self._rows[rows])))

    def close(self) -> None:
        self._pool.shutdown()

    def _label(self, i: int) -> int:
        """The label of picture i; ImageError where it needs one and has none."""
        label = self.source.label(i)
        if not self._classes:
            return label
        if label < 0:
            raise ImageError("no label")
        name = self.source.class_names[label]
        if name not in self._classes:
            raise ImageError(f"its label, {name}, is none of the classes")
        return self._classes[name]

    def _load(self, i: int) -> np.ndarray:
        if self._pairing is None:
            picture = self.source.load(int(i), max_pixels=self._max_pixels, reduce_to=self.size)
            parts = (picture.pixels,)
            if picture.frames > 1:
                self.several_pages.add(int(i))
        else:
            parts = self._pairing.load(self.source, int(i), self._max_pixels, self.size)
        fitted = [
            fit(part, self.size, channels, how=self._how)
            for part, channels in zip(parts, self._channels, strict=True)
        ]
        return np.round(np.concatenate(fitted, axis=-1) * 255).astype(np.uint8)

    def _load_again(self, i: int) -> np.ndarray:
        try:
            return self._load(i)
        except ImageError as error:
            raise SourceError(
                f"{self.source.name(int(i))} can no longer be read: {error.message}",
                "once it is back, the same command with --resume goes on",
            ) from error

    def _try_load(self, i: int) -> np.ndarray | Failure:
        try:
            self._label(i)
            return self._load(i)
        except ImageError as error:
            return Failure(self.source.name(i), error.message)

    def _decode_all(self, progress) -> np.ndarray:
        """Fill the memory if it suffices; the numbers of the readable pictures either way."""
        count = len(self.source)
        depth = sum(self._channels)
        wanted = count * self.size[0] * self.size[1] * depth
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        keep = wanted <= _MEMORY_SHARE * memory
        self._memory = np.empty((count, *self.size, depth), np.uint8) if keep else None
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
