"""What the scripts beside this file share: the colours that a model sees in pictures."""

from pathlib import Path

import numpy as np

from aetool.images.chroma import grey_of
from aetool.images.source import open_source
from aetool.inference.engine import Engine
from aetool.inference.load import rebuild
from aetool.inference.prepare import prepare
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.colors import Decoder


def photographs(source: str, count: int | None = None) -> list[np.ndarray]:
    """The pictures of a SOURCE that come in colour, or `count` of them, evenly taken."""
    pictures = open_source(source)
    numbers = range(len(pictures))
    if count is not None:
        numbers = sorted(set(np.linspace(0, len(pictures) - 1, count).round().astype(int).tolist()))
    loaded = [pictures.load(i).pixels for i in numbers]
    return [pixels for pixels in loaded if pixels.ndim == 3]


class Colorizer:
    """A checkpoint's network and its decoding.

    Args:
        path: the checkpoint.
    """

    def __init__(self, path: Path):
        stored = read_checkpoint(path)
        self._decoder = Decoder(path, stored)
        self._engine = Engine(self._decoder.prepare(rebuild(stored).model))

    def chroma(self, pictures: list[np.ndarray]) -> list[np.ndarray]:
        """Small chroma of each picture, as `aetool.images.chroma.join` takes it."""
        result = []
        for start in range(0, len(pictures), self._engine.batch_size):
            greys = [grey_of(pixels) for pixels in pictures[start:][: self._engine.batch_size]]
            about = self._decoder.preprocessing, self._decoder.size
            outputs = self._engine.predict(np.stack([prepare(grey, *about) for grey in greys]))
            for row, grey in enumerate(greys):
                values = {name: batch[row] for name, batch in outputs.items()}
                result.append(self._decoder.chroma(values, grey)[0])
        return result
