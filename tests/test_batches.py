"""Batches: every picture once an epoch, the same for the same seed, ready-made targets."""

import shutil
from itertools import chain

import numpy as np
import pytest

from aetool.errors import SourceError
from aetool.images.color import ab_bins, lab_to_rgb
from aetool.images.source import open_source
from aetool.training import pictures as pictures_module
from aetool.training.batches import Batches
from aetool.training.pairs import AbPair, ab_prior, colorize_pair, reconstruct_pair, shrink
from aetool.training.pictures import Pictures


@pytest.fixture
def numbered(tmp_path):
    """Ten 4x4 pictures; the n-th holds the value n."""
    rows = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((4, 4), np.uint8)
    np.save(tmp_path / "numbers.npy", rows)
    return open_source(str(tmp_path / "numbers.npy"))


def values(batches, epoch, start=0):
    return [list(np.round(x[:, 0, 0, 0] * 255).astype(int)) for x, _ in batches.epoch(epoch, start)]


def test_every_picture_comes_once_in_an_order_of_its_epoch(numbered):
    batches = Batches(Pictures(numbered, (4, 4), 1), reconstruct_pair, (4, 4), 4, seed=5)
    first, second = values(batches, 0), values(batches, 1)
    assert len(batches) == 3 and [len(rows) for rows in first] == [4, 4, 2]
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(10))
    assert first != second and first == values(batches, 0)
    assert values(batches, 0, start=1) == first[1:]


def test_validation_keeps_the_order(numbered):
    pictures = Pictures(numbered, (4, 4), 1)
    batches = Batches(pictures, reconstruct_pair, (4, 4), 4, shuffle=False)
    assert list(chain(*values(batches, 0))) == list(range(10))


def test_too_many_pictures_for_memory_are_decoded_again(numbered, monkeypatch):
    kept = Pictures(numbered, (4, 4), 1)
    monkeypatch.setattr(pictures_module, "_MEMORY_SHARE", 0)
    streamed = Pictures(numbered, (4, 4), 1)
    rows = np.array([7, 0, 3])
    np.testing.assert_array_equal(streamed.take(rows), kept.take(rows))
    assert streamed._memory is None and kept._memory is not None


def test_a_picture_that_vanishes_meanwhile_is_named(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures_module, "_MEMORY_SHARE", 0)
    folder = shutil.copytree(photos, tmp_path / "photos")
    streamed = Pictures(open_source(str(folder)), (4, 4), 3)
    (folder / "sky" / "sky 2.jpg").unlink()
    with pytest.raises(SourceError, match=r"sky/sky 2\.jpg can no longer be read: no such file"):
        streamed.take(np.arange(len(streamed)))


def test_an_error_while_making_a_batch_reaches_the_loop(numbered):
    def fail(pictures, labels):
        raise ZeroDivisionError("in the thread")

    batches = Batches(Pictures(numbered, (4, 4), 1), fail, (4, 4), 4)
    with pytest.raises(ZeroDivisionError, match="in the thread"):
        list(batches.epoch(0))


def test_pictures_that_cannot_be_read_are_left_out(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    pictures = Pictures(open_source(str(tmp_path)), (4, 4), 1)
    assert not len(pictures) and [failure.path for failure in pictures.failed] == ["a.png"]


def test_colorize_targets():
    red = np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    x, y = colorize_pair(red)
    assert x.shape == (1, 8, 8, 1) and x[0, 0, 0, 0] == pytest.approx(0.299)
    np.testing.assert_array_equal(y, red / 255)
    x, ab = AbPair(4)(red)
    assert ab.shape == (1, 2, 2, 2)
    np.testing.assert_allclose(ab[0, 0, 0], (80.09, 67.20), atol=0.05)
    np.testing.assert_allclose(AbPair(4, 100)(red)[1], ab / 100, rtol=1e-6)


def test_shrink_takes_means_and_repeats_the_edge():
    picture = np.arange(6, dtype=np.float32).reshape(1, 1, 6, 1).repeat(2, axis=1)
    np.testing.assert_allclose(shrink(picture, 4)[0, :, :, 0], [[1.5, 4.75]])


def test_the_prior_finds_the_colours_there_are(tmp_path):
    rgb = np.clip(lab_to_rgb(np.array([60.0, 20.0, 30.0])), 0, 1)
    np.save(tmp_path / "one.npy", np.uint8(np.round(rgb * 255)) * np.ones((3, 8, 8, 3), np.uint8))
    pictures = Pictures(open_source(str(tmp_path / "one.npy")), (8, 8), 3)
    prior = ab_prior(pictures, ab_bins())
    assert prior.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(ab_bins()[prior.argmax()], (20, 30))
