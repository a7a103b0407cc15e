"""Pairs: which target belongs to which picture."""

import numpy as np
import pytest
from PIL import Image

from aetool.errors import ImageError, SourceError
from aetool.images.pairs import halves, match
from aetool.images.source import open_source


def folder(path, *names: str):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(path / name)
    return open_source(str(path))


def array(path, count: int):
    np.save(path, np.zeros((count, 4, 4), np.uint8))
    return open_source(str(path))


def test_files_are_paired_by_name_in_the_same_sub_folder(tmp_path):
    source = folder(tmp_path / "in", "1.png", "2.png", "a/1.png", "a/b.c.png")
    targets = folder(tmp_path / "out", "a/1.png", "a/b.c.png", "1.png", "3.png")
    names = [targets.name(n) if n >= 0 else None for n in match(source, targets)]
    assert names == ["1.png", None, "a/1.png", "a/b.c.png"]


def test_the_suffix_may_differ_where_no_name_is_the_same(tmp_path):
    source = folder(tmp_path / "in", "1.png", "2.png")
    targets = folder(tmp_path / "out", "1.jpg", "1.png", "2.jpg")
    names = [targets.name(n) for n in match(source, targets)]
    assert names == ["1.png", "2.jpg"]
    several = folder(tmp_path / "several", "1.jpg", "1.bmp", "2.png")
    with pytest.raises(SourceError, match=r"1.png may be 1.bmp or 1.jpg"):
        match(source, several)


def test_names_that_never_meet_are_an_error(tmp_path):
    source = folder(tmp_path / "in", "1.png", "2.png")
    with pytest.raises(SourceError, match=r"not even 1.png"):
        match(source, folder(tmp_path / "out", "3.png", "4.png"))


def test_arrays_are_paired_by_order(tmp_path):
    source = array(tmp_path / "x.npy", 3)
    assert match(source, array(tmp_path / "y.npy", 3)) == [0, 1, 2]
    assert match(source, folder(tmp_path / "out", "a.png", "b.png", "c.png")) == [0, 1, 2]
    with pytest.raises(SourceError, match=r"3 pictures in .* but 4 targets"):
        match(source, array(tmp_path / "z.npy", 4))


def test_two_single_pictures_are_a_pair(tmp_path):
    source = folder(tmp_path / "in", "drawing.png")
    assert match(source, folder(tmp_path / "out", "photo.jpg")) == [0]


@pytest.mark.parametrize("shape", [(2, 6), (2, 7), (2, 6, 3)])
def test_halves_have_one_width(shape):
    pixels = np.arange(np.prod(shape)).reshape(shape)
    left, right = halves(pixels, "right")
    np.testing.assert_array_equal(left, pixels[:, :3])
    np.testing.assert_array_equal(right, pixels[:, -3:])
    swapped = halves(pixels, "left")
    np.testing.assert_array_equal(swapped[0], right)
    np.testing.assert_array_equal(swapped[1], left)


def test_a_single_column_has_no_halves():
    with pytest.raises(ImageError, match="one pixel wide"):
        halves(np.zeros((5, 1)), "left")
