"""Chroma joined to a full-size grey: the grey stays, colour keeps to edges."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from aetool.images import chroma as chroma_module
from aetool.images.chroma import ab_to_chroma, chroma_of, colorfulness, grey_of, join
from aetool.images.color import lab_to_rgb, luma, rgb_to_lab

WEIGHTS = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """A sharp colour photograph, uint8 (427, 640, 3)."""
    folder = Path(sklearn.datasets.__file__).parent / "images"
    return np.asarray(Image.open(folder / "china.jpg"))


def box_reduced(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(size[::-1], Image.Resampling.BOX)
        for plane in np.moveaxis(values, -1, 0)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_luma_is_the_grey_that_came_in_even_where_the_gamut_clips(dtype):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, np.iinfo(dtype).max, (211, 97), dtype, endpoint=True)
    wild = rng.normal(0, 0.5, (12, 17, 2)).astype(np.float32)
    colored = join(grey, wild)
    assert colored.dtype == dtype
    assert colored.shape == (211, 97, 3)
    assert np.abs(colored @ WEIGHTS - grey).max() <= 1
    assert np.ptp(colored.astype(int), axis=-1).max() > np.iinfo(dtype).max / 2


def test_black_and_white_take_no_colour():
    grey = np.array([[0, 255] * 8] * 16, np.uint8)
    red = np.full((4, 4, 2), [0.5, -0.2], np.float32)
    assert (join(grey, red) == grey[..., None]).all()


def test_even_chroma_is_kept_exactly_and_saturation_scales_it():
    grey = np.full((50, 70), 128, np.uint8)
    even = np.broadcast_to(np.float32([0.1, -0.05]), (6, 9, 2))
    plain = join(grey, even)[20, 30].astype(int)
    assert plain.tolist() == [154, 117, 115]  # G - Y = -(0.299 x 0.1 - 0.114 x 0.05) / 0.587
    doubled = join(grey, even, saturation=2.0)[20, 30].astype(int)
    assert np.abs((doubled - 128) - 2 * (plain - 128)).max() <= 1
    assert (join(grey, even, saturation=0.0) == 128).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (5, 3)])
def test_pictures_smaller_than_the_chroma(size):
    grey = np.full(size, 100, np.uint8)
    colored = join(grey, np.full((32, 32, 2), [0.1, 0.0], np.float32))
    assert colored.shape == (*size, 3)
    assert np.abs(colored[..., 0].astype(int) - 125.5).max() <= 1


def test_strips_leave_no_seams(photograph, monkeypatch):
    grey = grey_of(photograph)
    small = box_reduced(chroma_of(photograph / np.float32(255)), (53, 80))
    whole = join(grey, small)
    monkeypatch.setattr(chroma_module, "_STRIP_PIXELS", 640 * 5)
    assert np.abs(join(grey, small).astype(int) - whole).max() <= 1  # sums in another order


@pytest.mark.parametrize("factor", [4, 8])
def test_colour_keeps_to_edges_better_than_bilinear_scaling(photograph, factor):
    truth = photograph / np.float32(255)
    grey = grey_of(photograph)
    size = tuple(round(side / factor) for side in grey.shape)
    small = box_reduced(chroma_of(truth), size)
    bilinear = np.stack(
        [
            Image.fromarray(np.ascontiguousarray(small[..., i])).resize(
                grey.shape[::-1], Image.Resampling.BILINEAR
            )
            for i in (0, 1)
        ],
        axis=-1,
    )
    guided = chroma_of(join(grey, small) / np.float32(255))

    def decibels(chroma):
        return -10 * np.log10(np.mean((chroma - chroma_of(truth)) ** 2))

    assert decibels(guided) > decibels(bilinear) + 0.4


def test_colour_stops_at_a_luma_edge():
    grey = np.full((64, 64), 60, np.uint8)
    grey[:, 29:] = 200  # not where two small pixels meet
    truth = np.zeros((64, 64, 2), np.float32)
    truth[:, 29:] = [0.1, -0.1]
    colored = chroma_of(join(grey, box_reduced(truth, (8, 8))) / np.float32(255))
    assert np.abs(colored[:, :28]).max() < 0.03
    assert np.abs(colored[:, 30:] - truth[:, 30:]).max() < 0.03


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_of_is_the_luma_to_the_nearest_level(dtype):
    rng = np.random.default_rng(1)
    unit = rng.random((40, 30, 3))
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    pixels = (unit * top).astype(dtype)
    levels = 255 if dtype == np.uint8 else 65535
    grey = grey_of(pixels)
    assert grey.dtype == (np.uint8 if dtype == np.uint8 else np.uint16)
    assert np.abs(grey - pixels @ WEIGHTS / top * levels).max() <= 0.51
    assert grey_of(grey) is grey


def test_ab_at_the_right_lightness_gives_the_colours_chroma():
    rng = np.random.default_rng(2)
    rgb = rng.random((6, 7, 3), np.float32)
    lab = rgb_to_lab(rgb)
    neutral = luma(lab_to_rgb(lab * np.float32([1, 0, 0])))
    assert np.abs(ab_to_chroma(lab[..., 1:], neutral) - chroma_of(rgb)).max() < 2e-3


def test_colorfulness_of_known_pictures():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert colorfulness(np.full((8, 8, 3), 77, np.uint8)) == 0
    assert colorfulness(red) == pytest.approx(0.3 * np.hypot(255, 127.5))
    halves = red.copy()
    halves[:4] = 0  # rg is 0 or 255, yb 0 or 127.5: deviation and mean are half of each
    assert colorfulness(halves) == pytest.approx(1.3 * np.hypot(127.5, 63.75))
    assert colorfulness(halves.astype(np.uint16) * 257) == pytest.approx(colorfulness(halves))


def dense_resampling(count: int, goal: int) -> np.ndarray:
    """Every weight of the cubic kernel, most of them zero."""
    step = count / goal
    centre = (np.arange(goal, dtype=np.float32)[:, None] + 0.5) * step - 0.5
    x = np.abs(np.arange(count, dtype=np.float32) - centre) / max(step, 1)
    kernel = np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2)
    kernel[x >= 2] = 0
    return kernel / kernel.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("count", [1, 5, 32, 56, 100, 128, 224, 256])
@pytest.mark.parametrize("goal", [1, 2, 77, 128, 1000])
def test_a_few_weights_a_row_are_all_there_are(count, goal):
    sparse = chroma_module._resampling(count, goal, 0, goal)
    dense = dense_resampling(count, goal)
    assert sparse.dtype == np.float32
    assert sparse.nnz == np.count_nonzero(dense)
    if count % 8 == 0 and goal >= count:  # a photograph: to the last bit
        np.testing.assert_array_equal(sparse.toarray(), dense)
    np.testing.assert_allclose(sparse.toarray(), dense, atol=2e-7)
    middle = chroma_module._resampling(count, goal, goal // 3, goal - goal // 4)
    assert (middle != sparse[goal // 3 : goal - goal // 4]).nnz == 0


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1)])
def test_a_thin_picture_takes_little_memory(size, monkeypatch):
    monkeypatch.setattr(chroma_module, "_WIDE_VALUES", 2**14, raising=False)
    monkeypatch.setattr(chroma_module, "_LONGEST", 2**10, raising=False)
    monkeypatch.setattr(chroma_module, "_STRIP_PIXELS", 2**10)
    chroma_module._resampling.cache_clear()
    tracemalloc.start()
    colored = join(np.full(size, 100, np.uint8), np.full((32, 32, 2), [0.1, 0.0], np.float32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.abs(colored[..., 0].astype(int) - 125.5).max() <= 1
    assert peak < 5e6  # where each pixel had a weight for all 32 columns, 11 or more


@pytest.mark.parametrize("size", [(300, 200), (6, 600), (600, 6)])
def test_parts_leave_no_seams(size, monkeypatch):
    rng = np.random.default_rng(3)
    grey = rng.integers(0, 256, size, np.uint8)
    small = rng.normal(0, 0.1, (16, 24, 2)).astype(np.float32)
    whole = join(grey, small)
    monkeypatch.setattr(chroma_module, "_WIDE_VALUES", 16 * 4 * 70)
    monkeypatch.setattr(chroma_module, "_LONGEST", 90)
    assert np.abs(join(grey, small).astype(int) - whole).max() <= 1  # sums in another order
