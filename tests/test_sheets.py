"""Contact sheets and animations: every picture in its place, its pixels untouched if they fit."""

import numpy as np
import pytest
from PIL import Image

from aetool.plots.animation import write_gif
from aetool.plots.sheets import GAP, LABEL_HEIGHT, MISSING, contact_sheet


def test_pictures_lie_in_rows_and_keep_their_pixels():
    random = np.random.default_rng(0)
    pictures = [random.integers(256, size=(32, 32, 3), dtype=np.uint8) for _ in range(5)]
    sheet = contact_sheet(pictures, 3, tile=32)
    assert sheet.shape == (2 * 32 + 3 * GAP, 3 * 32 + 4 * GAP, 3)
    assert sheet.dtype == np.uint8
    for number, picture in enumerate(pictures):
        top, left = (GAP + n * (32 + GAP) for n in divmod(number, 3))
        assert np.array_equal(sheet[top : top + 32, left : left + 32], picture)
    assert (sheet[GAP + 32 + GAP :, -32 - GAP :] == 255).all()  # the sixth place is empty


def test_small_pictures_grow_by_whole_pixels():
    digit = np.random.default_rng(0).integers(256, size=(8, 8), dtype=np.uint8)
    sheet = contact_sheet([digit], tile=30)
    enlarged = np.kron(digit, np.ones((3, 3), np.uint8))
    inner = sheet[GAP + 3 : GAP + 27, GAP + 3 : GAP + 27]
    assert np.array_equal(inner, np.repeat(enlarged[..., None], 3, axis=2))


def test_large_pictures_shrink_whole_and_centred():
    picture = np.zeros((50, 100, 3), np.uint8)
    picture[..., 0] = 200
    sheet = contact_sheet([picture], tile=20)
    inside = sheet[GAP : GAP + 20, GAP : GAP + 20]
    assert (inside[5:15] == (200, 0, 0)).all()
    assert (inside[:5] == 255).all()
    assert (inside[15:] == 255).all()


def test_sizes_and_channels_may_differ():
    pictures = [np.zeros(s, np.uint8) for s in ((5, 9), (300, 2, 3), (4, 4, 1), (1, 1000))]
    assert contact_sheet(pictures).shape == (2 * 96 + 3 * GAP, 2 * 96 + 3 * GAP, 3)


def test_a_missing_picture_leaves_a_grey_square():
    sheet = contact_sheet([None, np.zeros((8, 8), np.uint8)], 2, tile=8)
    assert (sheet[GAP : GAP + 8, GAP : GAP + 8] == MISSING).all()


def test_labels_stand_below():
    pictures = [np.full((16, 16), 128, np.uint8)] * 2
    sheet = contact_sheet(pictures, 2, labels=["7", "a very long name\nindeed"], tile=16)
    assert sheet.shape[0] == 16 + LABEL_HEIGHT + 2 * GAP
    below = sheet[GAP + 16 : GAP + 16 + LABEL_HEIGHT]
    assert below[:, : GAP + 16].min() < 120
    assert below[:, GAP + 16 + GAP :].min() < 120
    assert (below[:, -GAP:] == 255).all()


def test_no_pictures_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


def test_grey_frames_come_back_exactly(tmp_path):
    frames = np.random.default_rng(0).integers(256, size=(3, 10, 12), dtype=np.uint8)
    write_gif(tmp_path / "a.gif", frames, 0.3, last_seconds=1.5)
    with Image.open(tmp_path / "a.gif") as movie:
        assert movie.n_frames == 3
        assert movie.info["loop"] == 0
        durations = []
        for number, frame in enumerate(frames):
            movie.seek(number)
            durations.append(movie.info["duration"])
            assert np.array_equal(np.asarray(movie.convert("L")), frame)
    assert durations == [300, 300, 1500]


def test_colour_frames_come_from_files_and_stay_close(tmp_path):
    rows, columns = np.mgrid[0:40, 0:40].astype(np.uint8) * 6
    paths = []
    for number in range(2):
        picture = np.stack([rows, columns, np.full_like(rows, 100 * number)], axis=-1)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(picture).save(paths[-1])
    write_gif(tmp_path / "a.gif", iter(paths), 0.1)
    with Image.open(tmp_path / "a.gif") as movie:
        movie.seek(1)
        shown = np.asarray(movie.convert("RGB")).astype(int)
    assert np.abs(shown - picture).mean() < 8


@pytest.mark.parametrize("frames", [[], [np.zeros((4, 4), np.uint8), np.zeros((5, 4), np.uint8)]])
def test_no_frames_and_frames_of_two_sizes_are_refused(frames, tmp_path):
    with pytest.raises(ValueError, match="frame"):
        write_gif(tmp_path / "a.gif", frames)
    assert not (tmp_path / "a.gif").exists()
