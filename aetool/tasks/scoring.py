"""Scores of the pictures of a source, one after the other, and all that is made of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aetool.analysis.detectors import Detector
from aetool.analysis.pixels import PixelCounts, PixelScores, count_pixels
from aetool.errors import ImageError
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


@dataclass(frozen=True, slots=True)
class Scored:
    """What is found out about one picture.

    Args:
        value: its score.
        pages: of its file.
        maps: of each of its tiles, where they are kept.
        pixels: what its mask says of its map, where the mask is known.
    """

    value: float
    pages: int
    maps: list[np.ndarray] | None
    pixels: PixelCounts | None


@dataclass
class Scoring:
    """What is done to each picture of a source: a `Work`.

    Args:
        pictures: the source.
        stored: the model, which is judged by its own normal pictures.
        judge: how.
        precision, batch_size: of the engine.
        max_pixels: refuse larger pictures.
        heatmaps, masks: where they are wanted.
        keeps_maps: whether results carry the maps.
    """

    pictures: Source
    stored: Checkpoint
    judge: Judge
    precision: str
    batch_size: int | None
    max_pixels: int
    heatmaps: Heatmaps | None = None
    masks: Masks | None = None
    keeps_maps: bool = False

    @property
    def preprocessing(self) -> dict:
        return self.stored.metadata["preprocessing"]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        return tuple(self.preprocessing["size"])

    @cached_property
    def detector(self) -> Detector:
        return Detector(fitted_arrays(self.stored), self.judge.names, self.preprocessing["range"])

    @property
    def top(self) -> float:
        """The value of the maps' brightest colour."""
        return map_top(self.judge, *self.preprocessing["range"])

    def load(self, i: int) -> Item:
        # Reduced as in training, whose held-out pictures set the threshold; tiles are cut from all
        # that is there.
        reduce_to = None if self.judge.tile else self.size
        picture = self.pictures.load(i, max_pixels=self.max_pixels, reduce_to=reduce_to)
        inputs = network_inputs(picture.pixels, self.preprocessing, self.judge.tile)
        return Item(i, inputs, picture.frames)

    def make_engine(self) -> Predictor:
        return make_engine(self.stored, self.precision, self.batch_size, self.judge.tile)

    def finish(self, item: Item, outputs: Outputs) -> Scored:
        i, inputs = item.index, item.inputs
        if not self.judge.tile:
            inputs = inputs[None]
            outputs = {name: row[None] for name, row in outputs.items()}
        scores, maps = measure(self.detector, inputs, outputs)
        maps = [each[self.judge.map] for each in maps]
        value = self.judge.value(scores)
        if np.isnan(value):
            raise ImageError("its score is no number")
        counts = self._locate(i, maps) if self.heatmaps or self.masks else None
        return Scored(value, item.payload, maps if self.keeps_maps else None, counts)

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

    def _locate(self, i: int, maps: list[np.ndarray]) -> PixelCounts | None:
        """Draw the map of a picture; count its pixels by its mask."""
        pixels = self.pictures.load(i, max_pixels=self.max_pixels).pixels
        whole = self.whole(maps, pixels.shape[:2])
        if self.heatmaps:
            self.heatmaps.write(self.pictures, i, whole, pixels)
        mask = self.masks.load(self.pictures, i, pixels.shape[:2]) if self.masks else None
        return None if mask is None else count_pixels(whole, mask)


class Tally:
    """What comes of a run over a source.

    Args:
        run: what is done to each picture.
        shown: of how many pictures with the highest scores the maps are kept, if there are any.

    Attributes:
        values: float64, the score of each picture; NaN where there is none.
        several_pages: pictures whose file has more than one.
        highest: the maps of the pictures with the highest scores, by their number.
        pixels: what the masks say of the maps.
        watch: set by the caller where it is wanted.
    """

    def __init__(self, run: Scoring, shown: int):
        self.run = run
        self.values = np.full(len(run.pictures), np.nan)
        self.several_pages: list[int] = []
        self.highest: dict[int, list[np.ndarray]] = {}
        self.pixels = PixelScores()
        self.watch: Watch | None = None
        self._shown = shown

    def take(self, i: int, scored: Scored) -> None:
        """Count one picture in."""
        self.values[i] = scored.value
        if scored.pages > 1:
            self.several_pages.append(i)
        if scored.pixels:
            self.pixels.add(scored.pixels)
        if scored.maps:
            self.highest[i] = scored.maps
            if len(self.highest) > self._shown:
                self.highest.pop(min(self.highest, key=lambda n: (self.values[n], -n)))
        if self.watch:
            self.watch.add(i, self.row(i, scored.value))

    def row(self, i: int, value: float) -> tuple:
        """The row of picture i in the table."""
        label = self.run.pictures.label(i)
        name = self.run.pictures.class_names[label] if label >= 0 else None
        (p_value,) = self.run.judge.p_values(np.array([value]))
        return self.run.pictures.name(i), name, value, p_value, self.run.judge.verdict(value)

    def rows(self, scored: np.ndarray) -> Iterator[tuple]:
        return (self.row(int(i), self.values[i]) for i in scored)
