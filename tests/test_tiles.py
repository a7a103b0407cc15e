"""Tiles cover a picture, overlap, and come back together."""

import itertools

import numpy as np
import pytest

from aetool.inference.tiles import TileEngine, stitch, tile_boxes


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (100, 333), (20, 500), (9, 9)])
def test_tiles_cover_the_picture_and_overlap_by_a_quarter(size):
    boxes = tile_boxes(size, 64)
    seen = np.zeros(size, int)
    for top, left, bottom, right in boxes:
        assert (bottom - top, right - left) == (min(64, size[0]), min(64, size[1]))
        seen[top:bottom, left:right] += 1
    assert seen.min() == 1
    for axis in (0, 1):
        starts = sorted({box[axis] for box in boxes})
        assert all(b - a <= 48 for a, b in itertools.pairwise(starts))


def test_stitching_takes_the_highest_where_tiles_overlap():
    boxes = [(0, 0, 4, 4), (0, 2, 4, 6)]
    whole = stitch([np.full((4, 4), 1.0), np.full((4, 4), 3.0)], boxes, (4, 6))
    np.testing.assert_array_equal(whole[0], [1, 1, 3, 3, 3, 3])


class Doubling:
    batch_size = 4
    precision = "float32"

    def predict(self, batch):
        assert len(batch) <= self.batch_size
        return {"y": batch * 2}


def test_a_picture_of_many_tiles_goes_through_in_batches():
    tiles = np.random.default_rng(0).random((1, 11, 3, 3, 1))
    np.testing.assert_array_equal(TileEngine(Doubling()).predict(tiles)["y"], tiles * 2)
