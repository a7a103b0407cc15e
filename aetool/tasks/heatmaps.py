"""A picture of where each picture is unlike normal ones, all on one colour scale."""

from pathlib import Path, PurePosixPath

import numpy as np

from aetool.errors import ImageError
from aetool.images.source import Source
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
        self._pictures = pictures
        self._folder = folder
        self._overlay = overlay
        self._top = top
        first: dict[Path, int] = {}
        self._first = {i: first.setdefault(self.path(i), i) for i in range(len(pictures))}

    def path(self, i: int) -> Path:
        """NAME.png; another format's suffix stays before it."""
        name = PurePosixPath(self._pictures.name(i))
        return self._folder / (name if name.suffix.lower() == ".png" else f"{name}.png")

    def write(self, i: int, values: np.ndarray, pixels: np.ndarray) -> None:
        """Draw the map of picture i, float (h, w), and its pixels."""
        from aetool.plots.heatmap import heatmap, levels, overlay

        if self._first[i] != i:
            other = self._pictures.name(self._first[i])
            raise ImageError(f"its heatmap would have the name of that of {other}")
        level = levels(values, self._top)
        drawn = overlay(level, pixels) if self._overlay else heatmap(level)
        write_picture(self.path(i), drawn, None)


def map_top(judge: Judge, low: float, high: float) -> float:
    """The value of the brightest colour in the maps of a judge's score.

    Args:
        judge: its calibration says what is usual.
        low, high: the range of the network's input: no pixel error is larger.
    """
    if judge.map in judge.references:
        top = TOP * judge.references[judge.map]
        return min(top, high - low) if judge.map == "mse" else top
    return high - low
