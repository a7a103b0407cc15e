"""A folder that is looked at again and again: what stands still is given once."""

import os

import pytest

from aetool.errors import SourceError
from aetool.images.arrivals import Arrivals, Arrived


def names(arrived: Arrived) -> tuple[list[str], list[str]]:
    return tuple([arrived.source.name(i) for i in rows] for rows in (arrived.new, arrived.changed))


def test_a_picture_is_given_when_two_looks_find_it_alike(tmp_path):
    arrivals = Arrivals(tmp_path)
    assert len(arrivals.look().source) == 0
    (tmp_path / "a.png").write_bytes(b"1")
    assert names(arrivals.look()) == ([], [])
    assert names(arrivals.look()) == (["a.png"], [])
    assert names(arrivals.look()) == ([], [])


def test_a_picture_that_grows_waits(tmp_path):
    arrivals = Arrivals(tmp_path)
    for size in range(1, 5):
        (tmp_path / "a.png").write_bytes(bytes(size))
        os.utime(tmp_path / "a.png", ns=(1, 1))  # a clock too coarse to tell
        assert names(arrivals.look()) == ([], [])
    assert names(arrivals.look()) == (["a.png"], [])


def test_a_picture_that_changes_is_given_again(tmp_path):
    arrivals = Arrivals(tmp_path)
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "a.png"
    path.write_bytes(b"1")
    arrivals.look()
    assert names(arrivals.look()) == (["sub/a.png"], [])
    os.utime(path, ns=(1, 1))  # older, and of the same size
    assert names(arrivals.look()) == ([], [])
    assert names(arrivals.look()) == ([], ["sub/a.png"])
    path.unlink()
    arrivals.look()
    path.write_bytes(b"2")
    arrivals.look()
    assert names(arrivals.look()) == (["sub/a.png"], [])


def test_what_cannot_be_read_is_given_once(tmp_path):
    arrivals = Arrivals(tmp_path)
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nothing.png")
    arrivals.look()
    assert names(arrivals.look()) == (["dangling.png"], [])
    assert names(arrivals.look()) == ([], [])
    (tmp_path / "nothing.png").write_bytes(b"1")
    arrivals.look()
    assert names(arrivals.look()) == (["nothing.png"], ["dangling.png"])


def test_the_results_and_hidden_files_do_not_arrive(tmp_path):
    arrivals = Arrivals(tmp_path, tmp_path / "out")
    (tmp_path / "out").mkdir()
    for name in ("out/a.png", ".b.png", "c.txt", "d.png"):
        (tmp_path / name).write_bytes(b"1")
    arrivals.look()
    assert names(arrivals.look()) == (["d.png"], [])


def test_a_folder_that_is_gone_is_an_error_each_time(tmp_path):
    arrivals = Arrivals(tmp_path / "in")
    for _ in range(2):
        with pytest.raises(SourceError):
            arrivals.look()
    (tmp_path / "in").mkdir()
    assert names(arrivals.look()) == ([], [])
