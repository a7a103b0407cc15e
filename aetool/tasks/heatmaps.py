"""A picture of where each picture is unlike normal ones, all on one colour scale."""

from pathlib import Path, PurePosixPath

import numpy as np

from aetool.errors import ImageError
from aetool.images.source import Source
from aetool.tasks.inputs import Inputs
from aetool.tasks.judge import Judge
from aetool.tasks.outputs import write_picture

# The brightest colour stands for so many times what nearly all normal pictures stay below.
TOP = 2.0


class Heatmaps:
    """Writes a heatmap a picture.

    Args:
        pictures: the source.
        folder: to write to.
        overlay: draw them over the pictures.
        top: the value of the brightest colour.
    """

    def __init__(self, pictures: Source, folder: Path, overlay: bool, top: float):
        self._folder = folder.absolute()  # a worker of a cluster stands in another one
        self._overlay = overlay
        self._top = top
        # Names clash in the whole of SOURCE, whichever shard of it this is.
        self._taken: dict[int, str] = {}  # position: what its heatmap would do
        first: dict[Path, int] = {}
        whole = pictures.whole
        for position in range(len(whole)):
            holder = first.setdefault(self.path(whole.name(position)), position)
            if holder != position:
                self._taken[position] = f"have the name of that of {whole.name(holder)}"
        inputs = Inputs(pictures)
        for i in range(len(pictures)):
            if inputs.holds(self.path(pictures.name(i))):
                self._taken[pictures.position(i)] = "replace a picture that is read"

    def path(self, name: str) -> Path:
        """NAME.png; another format's suffix stays before it."""
        path = PurePosixPath(name)
        return self._folder / (path if path.suffix.lower() == ".png" else f"{path}.png")

    def write(self, pictures: Source, i: int, values: np.ndarray, pixels: np.ndarray) -> None:
        """Draw the map of picture i of a source, float (h, w), and its pixels."""
        from aetool.plots.heatmap import heatmap, levels, overlay

        harm = self._taken.get(pictures.position(i))
        if harm is not None:
            raise ImageError(f"its heatmap would {harm}")
        level = levels(values, self._top)
        drawn = overlay(level, pixels) if self._overlay else heatmap(level)
        write_picture(self.path(pictures.name(i)), drawn, None)


def map_top(judge: Judge, low: float, high: float) -> float:
    """The value of the brightest colour in the maps of a judge's score.

    Args:
        judge: its calibration says what is usual.
        low, high: the range of the network's input: no pixel error is larger.
    """
    if judge.map in judge.references:
        # Nothing is unusual about pictures that are all alike, and levels are divided by it.
        top = max(TOP * judge.references[judge.map], np.finfo(np.float32).tiny)
        return min(top, high - low) if judge.map == "mse" else top
    return high - low
