"""Scores of the pictures of a source, one after the other, and all that is made of each."""

import threading
from collections.abc import Iterator

import numpy as np

from aetool.analysis.detectors import Detector
from aetool.analysis.pixels import PixelScores
from aetool.images.source import Source
from aetool.inference.prepare import prepare, restore_map
from aetool.inference.stream import Item, Outputs, Predictor
from aetool.inference.tiles import TileEngine, stitch, tile_boxes
from aetool.storage.checkpoint import Checkpoint
from aetool.tasks.heatmaps import Heatmaps, map_top
from aetool.tasks.judge import Judge
from aetool.tasks.masks import Masks
from aetool.tasks.scores import fitted_arrays, measure
from aetool.tasks.watch import Watch


def make_engine(
    stored: Checkpoint, precision: str, batch_size: int | None, tile: int | None
) -> Predictor:
    """The engine of a checkpoint, for whole pictures or for tiles."""
    # Imported when the first picture has been read: TensorFlow costs seconds.
    from aetool.inference.features import feature_engine

    engine = feature_engine(stored, precision=precision, batch_size=batch_size)
    return TileEngine(engine) if tile else engine


def network_inputs(pixels: np.ndarray, preprocessing: dict, tile: int | None) -> np.ndarray:
    """What the network sees of a picture: (h, w, c), or (tiles, h, w, c) where it is cut."""
    size = tuple(preprocessing["size"])
    if not tile:
        return prepare(pixels, preprocessing, size)
    return np.stack(
        [
            prepare(pixels[top:bottom, left:right], preprocessing, size)
            for top, left, bottom, right in tile_boxes(pixels.shape[:2], tile)
        ]
    )


class Scoring:
    """One run over a source.

    Args:
        pictures: the source.
        stored: the model, which is judged by its own normal pictures.
        judge: how.
        max_pixels: refuse larger pictures.

    Attributes:
        values: float64, the score of each picture; NaN where there is none.
        top: the value of the maps' brightest colour.
        several_pages: pictures whose file has more than one.
        heatmaps, masks, watch: set by the caller where they are wanted.
        shown: how many of the pictures with the highest scores a report shows.
        highest: the maps of those, by their number.
        pixels: what the masks say of the maps.
    """

    def __init__(self, pictures: Source, stored: Checkpoint, judge: Judge, max_pixels: int):
        self.pictures = pictures
        self.judge = judge
        self.max_pixels = max_pixels
        self.preprocessing = stored.metadata["preprocessing"]
        self.size = tuple(self.preprocessing["size"])
        self.detector = Detector(fitted_arrays(stored), judge.names, self.preprocessing["range"])
        self.top = map_top(judge, *self.preprocessing["range"])
        self.values = np.full(len(pictures), np.nan)
        self.several_pages: list[int] = []
        self.heatmaps: Heatmaps | None = None
        self.masks: Masks | None = None
        self.watch: Watch | None = None
        self.pixels = PixelScores()
        self.shown = 0
        self.highest: dict[int, list[np.ndarray]] = {}
        self._counting = threading.Lock()

    def load(self, i: int) -> Item:
        # Reduced as in training, whose held-out pictures set the threshold; tiles are cut from all
        # that is there.
        reduce_to = None if self.judge.tile else self.size
        picture = self.pictures.load(i, max_pixels=self.max_pixels, reduce_to=reduce_to)
        if picture.frames > 1:
            self.several_pages.append(i)
        inputs = network_inputs(picture.pixels, self.preprocessing, self.judge.tile)
        return Item(i, inputs)

    def finish(self, item: Item, outputs: Outputs) -> None:
        i, inputs = item.index, item.inputs
        if not self.judge.tile:
            inputs = inputs[None]
            outputs = {name: row[None] for name, row in outputs.items()}
        scores, maps = measure(self.detector, inputs, outputs)
        maps = [each[self.judge.map] for each in maps]
        if self.heatmaps or self.masks:
            self._locate(i, maps)
        value = self.judge.value(scores)
        self.values[i] = value
        if self.shown:
            self._keep_highest(i, maps)
        if self.watch:
            self.watch.add(i, self.row(i, value))

    def whole(self, maps: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
        """The map of a picture of this size, float32 (height, width), from those of its tiles."""
        how = self.preprocessing["fit"]
        if not self.judge.tile:
            return restore_map(maps[0], size, self.size, how)
        boxes = tile_boxes(size, self.judge.tile)
        sides = [(bottom - top, right - left) for top, left, bottom, right in boxes]
        restored = [
            restore_map(values, side, self.size, how)
            for values, side in zip(maps, sides, strict=True)
        ]
        return stitch(restored, boxes, size)

    def _locate(self, i: int, maps: list[np.ndarray]) -> None:
        """Draw the map of a picture, and hold it against its mask."""
        pixels = self.pictures.load(i, max_pixels=self.max_pixels).pixels
        whole = self.whole(maps, pixels.shape[:2])
        if self.heatmaps:
            self.heatmaps.write(i, whole, pixels)
        mask = self.masks.load(i, pixels.shape[:2]) if self.masks else None
        if mask is not None:
            with self._counting:
                self.pixels.add(whole, mask)

    def _keep_highest(self, i: int, maps: list[np.ndarray]) -> None:
        """Keep the maps of the pictures with the highest scores so far."""
        with self._counting:
            self.highest[i] = maps
            if len(self.highest) > self.shown:
                self.highest.pop(min(self.highest, key=lambda n: (self.values[n], -n)))

    def row(self, i: int, value: float) -> tuple:
        """The row of picture i in the table."""
        label = self.pictures.label(i)
        name = self.pictures.class_names[label] if label >= 0 else None
        (p_value,) = self.judge.p_values(np.array([value]))
        return self.pictures.name(i), name, value, p_value, self.judge.verdict(value)

    def rows(self, scored: np.ndarray) -> Iterator[tuple]:
        return (self.row(int(i), self.values[i]) for i in scored)
