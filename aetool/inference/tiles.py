"""Large pictures as overlapping tiles: shrinking one to a network's size hides what is small."""

import numpy as np

from aetool.inference.stream import Predictor

Box = tuple[int, int, int, int]


def tile_boxes(size: tuple[int, int], side: int) -> list[Box]:
    """Where the tiles of a picture lie: evenly, and each over at least a quarter of the next.

    Args:
        size: (height, width) of the picture.
        side: of the square tiles; where the picture is smaller, its own side.

    Returns:
        Boxes (top, left, bottom, right), row by row, which together cover the picture.
    """
    return [
        (top, left, top + min(side, size[0]), left + min(side, size[1]))
        for top in _starts(size[0], side)
        for left in _starts(size[1], side)
    ]


def _starts(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    count = 1 + -(-4 * (length - side) // (3 * side))
    return [round(n * (length - side) / (count - 1)) for n in range(count)]


def stitch(maps: list[np.ndarray], boxes: list[Box], size: tuple[int, int]) -> np.ndarray:
    """One map of the picture from those of its tiles, the highest value where they overlap.

    Args:
        maps: float (h, w) each, of its box's size.
        boxes: as from `tile_boxes`.
        size: (height, width) of the picture.
    """
    whole = np.full(size, -np.inf, np.float32)
    for tile, (top, left, bottom, right) in zip(maps, boxes, strict=True):
        part = whole[top:bottom, left:right]
        np.maximum(part, tile, out=part)
    return whole


class TileEngine:
    """An engine for pictures of any number of tiles: a batch is one picture.

    Args:
        engine: for the tiles.
    """

    batch_size = 1

    def __init__(self, engine: Predictor):
        self._engine = engine
        self.precision = engine.precision

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """(1, tiles, h, w, c) -> {output name: (1, tiles, ...)}."""
        tiles, most = batch[0], self._engine.batch_size
        parts = [
            self._engine.predict(tiles[start : start + most])
            for start in range(0, len(tiles), most)
        ]
        return {name: np.concatenate([part[name] for part in parts])[None] for name in parts[0]}
