"""Augmentation: drawn from one generator, and each kind does what its name says."""

import numpy as np
import pytest
from scipy import ndimage

from aetool.errors import UsageError
from aetool.images import augment as augment_module
from aetool.images.augment import (
    AUGMENTATIONS,
    augment,
    check_augmentations,
    stored_size,
    variants,
)

DRAWN = [name for name in AUGMENTATIONS if name != "five-crops"]  # whose windows are numbered


def gradient(side=32):
    """A picture whose red grows to the right and whose green grows downwards."""
    ramp = np.linspace(0, 255, side)
    red, green = np.meshgrid(ramp, ramp)
    return np.uint8(np.stack([red, green, np.full_like(red, 128)], axis=-1))


def varied(names, count=200, size=(32, 32), seed=0, pictures=None):
    pictures = np.repeat(gradient()[None], count, axis=0) if pictures is None else pictures
    return augment(pictures, names, size, np.random.default_rng(seed))


@pytest.mark.parametrize("names", [(), *[(name,) for name in DRAWN], tuple(AUGMENTATIONS)])
def test_the_same_generator_gives_the_same_pictures(names):
    np.testing.assert_array_equal(varied(names, 8), varied(names, 8))
    if names:
        assert not np.array_equal(varied(names, 8), varied(names, 8, seed=1))


def test_nothing_changes_without_a_name():
    np.testing.assert_array_equal(varied((), 2)[1], gradient())


def test_flip_mirrors_half_of_them_exactly():
    out = varied(("flip",))
    mirrored = (out == gradient()[:, ::-1]).all(axis=(1, 2, 3))
    same = (out == gradient()).all(axis=(1, 2, 3))
    assert (mirrored | same).all() and 70 < mirrored.sum() < 130


def test_crop_shows_a_window_of_at_least_70_percent():
    out = varied(("crop",)).astype(float)
    width = (out[:, 16, -1, 0] - out[:, 16, 0, 0]) / 255
    height = (out[:, -1, 16, 1] - out[:, 0, 16, 1]) / 255
    assert 0.6 < (width * height).min() < 0.8 and (width * height).max() <= 1
    assert np.abs(width - height).max() > 0.05  # the aspect changes too


def test_shift_moves_by_up_to_a_tenth_and_repeats_the_edge():
    out = varied(("shift",)).astype(float)
    moved = (out[:, 16, 16, 0] - gradient()[16, 16, 0]) / (255 / 31)
    assert 2.5 < np.abs(moved).max() <= 3.3
    assert out[..., 2].min() == out[..., 2].max() == 128  # no black border


def test_shift_keeps_every_pixel_as_sharp_as_it_was():
    noise = np.random.default_rng(1).integers(0, 256, (32, 32, 1), np.uint8)
    out = varied(("shift",), pictures=np.repeat(noise[None], 50, axis=0))
    around = np.pad(noise, ((3, 3), (3, 3), (0, 0)), mode="edge")
    places = {
        around[y : y + 32, x : x + 32].tobytes(): (y - 3, x - 3) for y in range(7) for x in range(7)
    }
    found = {places[picture.tobytes()] for picture in out}
    assert {y for y, x in found} == {x for y, x in found} == set(range(-3, 4))


def test_rotate_turns_about_the_centre():
    out = varied(("rotate",)).astype(float)
    centre = out[:, 15:17, 15:17, :2].mean(axis=(1, 2))
    np.testing.assert_allclose(centre, 127.5, atol=2)
    slope = (out[:, 24, 16, 0] - out[:, 8, 16, 0]) / 16 / (255 / 31)
    assert 0.12 < np.abs(slope).max() < np.tan(np.radians(10.5))


def test_brightness_keeps_the_picture_in_place():
    out = varied(("brightness",)).astype(float)
    offset = out[:, 16, 16, 2] - 128
    assert 30 < np.abs(offset).max() <= 52
    assert (np.diff(out[:, 16, :, 0], axis=1) >= 0).all()


def test_cutout_fills_one_square_with_the_mean_colour_and_leaves_the_rest():
    noise = np.random.default_rng(1).integers(0, 256, (32, 48, 3), np.uint8)
    out = varied(("cutout",), size=(32, 48), pictures=np.repeat(noise[None], 300, axis=0))
    mean = np.rint(noise.mean(axis=(0, 1)))
    firsts = []
    for picture in out:
        changed = (picture != noise).any(axis=-1)
        rows, columns = changed.any(axis=1).nonzero()[0], changed.any(axis=0).nonzero()[0]
        square = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert picture[square].shape == (12, 12, 3) and (picture[square] == mean).all()
        assert not np.delete(changed, np.s_[square[0]], axis=0).any()
        firsts.append((rows[0], columns[0]))
    # Anywhere, to the very edges.
    assert [set(first) for first in zip(*firsts, strict=True)] == [set(range(21)), set(range(37))]


def test_cutout_leaves_the_other_variations_as_they_are():
    others = ("flip", "rotate", "brightness")
    plain, cut = varied(others, 50), varied((*others, "cutout"), 50)
    same = (plain == cut).all(axis=-1).mean(axis=(1, 2))
    assert same.min() >= 1 - (12 / 32) ** 2 and same.max() < 0.9


def test_grey_pictures_and_other_sizes():
    pictures = np.repeat(gradient()[None, ..., :1], 3, axis=0)
    assert varied(("crop", "flip"), pictures=pictures, size=(20, 24)).shape == (3, 20, 24, 1)
    assert stored_size((128, 96), ("crop",)) == (144, 108)
    assert stored_size((128, 96), ("flip",)) == (128, 96)


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="'mirror'"):
        check_augmentations(["flip", "mirror"])


def test_five_crops_are_the_picture_its_corners_and_its_centre():
    assert variants(()) == 1 and variants(("five-crops", "flip")) == 6
    pictures = np.repeat(gradient()[None], 6, axis=0)
    out = augment(pictures, ("five-crops",), (32, 32), np.random.default_rng(0), np.arange(6))
    np.testing.assert_array_equal(out[0], gradient())
    # Where each window begins, and that it spans three quarters, in red (across) and green (down).
    quarter = 255 / 4
    starts = [(0, 0), (quarter, 0), (0, quarter), (quarter, quarter), (quarter / 2, quarter / 2)]
    for window, (red, green) in zip(out[1:].astype(float), starts, strict=True):
        np.testing.assert_allclose(window[16, 0, 0], red, atol=4)
        np.testing.assert_allclose(window[0, 16, 1], green, atol=4)
        np.testing.assert_allclose(window[16, -1, 0] - red, 3 * quarter, atol=6)
        np.testing.assert_allclose(window[-1, 16, 1] - green, 3 * quarter, atol=6)


def test_a_pair_is_varied_alike():
    pictures = np.random.default_rng(0).integers(0, 256, (12, 24, 24, 3), np.uint8)
    pairs = np.concatenate([pictures[..., :1], pictures], axis=-1)
    names = tuple(AUGMENTATIONS)
    both = augment(pairs, names, (16, 16), np.random.default_rng(1))
    alone = augment(pictures, names, (16, 16), np.random.default_rng(1))
    np.testing.assert_array_equal(both[..., 0], both[..., 1])
    np.testing.assert_array_equal(both[..., 1:], alone)


def test_what_needs_no_resampling_is_what_it_would_give():
    pictures = np.random.default_rng(0).integers(0, 256, (40, 9, 7, 3), np.uint8)
    draws = np.random.default_rng(0).random((40, 10))
    maps = augment_module._affine_maps((9, 7), ("flip",), (9, 7), draws, np.zeros(40, int))
    resampled = augment_module._resampled(pictures, (9, 7), maps)
    np.testing.assert_array_equal(varied(("flip",), size=(9, 7), pictures=pictures), resampled)


@pytest.mark.parametrize("names", [("crop",), ("rotate",), tuple(DRAWN[:-1])])
@pytest.mark.parametrize("shape", [(24, 20, 1), (9, 31, 3), (1, 5, 1), (5, 1, 3), (1, 1, 1)])
def test_resampling_is_bilinear_between_the_nearest_pixels(names, shape):
    """Against SciPy, pixel by pixel, with the edges repeated; the parts are of several pictures."""
    pictures = np.random.default_rng(2).integers(0, 256, (30, *shape), np.uint8)
    size = (40, 36)
    draws = np.random.default_rng(3).random((30, 10))
    maps = augment_module._affine_maps(shape[:2], names, size, draws, np.zeros(30, int))
    found = augment_module._resampled(pictures, size, maps)
    y, x = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5, indexing="ij")
    for number, picture in enumerate(pictures):
        rows, columns = (part[0] * y + part[1] * x + part[2] - 0.5 for part in maps[..., number])
        for channel in range(shape[2]):
            expected = ndimage.map_coordinates(
                picture[..., channel].astype(float), [rows, columns], order=1, mode="nearest"
            )
            np.testing.assert_allclose(found[number, ..., channel], expected, atol=0.51)


def test_rotated_edges_are_repeated_not_black():
    white = np.full((20, 16, 16, 3), 255, np.uint8)
    assert (varied(("rotate", "shift"), size=(16, 16), pictures=white) == 255).all()
