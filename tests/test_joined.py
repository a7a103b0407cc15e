"""Several files of latents as one."""

import os

import numpy as np
import pytest

from aetool.analysis.projection import principal_components
from aetool.errors import FormatError
from aetool.storage.joined import Stacked, open_joined
from aetool.storage.latents import LatentsWriter, open_latents

RANDOM = np.random.default_rng(0)


def write(path, rows, *, source="/data/a", labels=None, **changes):
    settings = {"dimensions": 3, "feature_shape": (3,), "checkpoint_digest": "c", **changes}
    with LatentsWriter(path, source=source, **settings) as writer:
        names = [f"{n}.png" for n in range(len(rows))]
        if len(rows):
            writer.append(rows, np.arange(len(rows)), names, labels)
    return path


@pytest.fixture
def three(tmp_path):
    """Files of 5, 0 and 4 rows, of three sources."""
    rows = RANDOM.normal(size=(9, 3)).astype(np.float32)
    one = write(tmp_path / "1.h5", rows[:5], labels=[0, 1, -1, 0, 1], class_names=("cat", "dog"))
    two = write(tmp_path / "2.h5", rows[5:5], source="/data/b")
    ends = write(
        tmp_path / "3.h5", rows[5:], source="/data/a/c", labels=[0, 0, 1, 1],
        class_names=("dog", "eel"),
    )  # fmt: skip
    return rows, [one, two, ends]


def test_rows_follow_each_other(three):
    rows, paths = three
    with open_joined(paths) as joined:
        assert len(joined) == 9 and joined.dimensions == 3 and joined.checkpoint == "c"
        np.testing.assert_array_equal(np.concatenate(list(joined.chunks(2))), rows)
        for start in range(10):
            for stop in range(start, 11):
                np.testing.assert_array_equal(joined.features[start:stop], rows[start:stop])


def test_names_and_labels_are_made_to_agree(three):
    _, paths = three
    with open_joined(paths) as joined:
        assert joined.source == "/data"
        assert joined.paths[0] == "a/0.png" and joined.paths[5] == "a/c/0.png"
        assert joined.class_names == ("cat", "dog", "eel")
        assert list(joined.labels) == [0, 1, -1, 0, 1, 1, 1, 2, 2]
        assert list(joined.index) == list(range(9))


def test_files_of_one_source_keep_its_names_and_positions(tmp_path):
    rows = np.eye(3, dtype=np.float32)
    paths = [write(tmp_path / f"{n}.h5", rows) for n in (1, 2)]
    with open_joined(paths) as joined:
        assert joined.source == "/data/a" and joined.labels is None
        assert joined.paths[3] == "0.png" and list(joined.index) == [0, 1, 2, 0, 1, 2]


def test_a_list_names_files(three, tmp_path):
    rows, paths = three
    for between, name in (("\n", "lines"), ("\0", "nul")):
        (tmp_path / name).write_text(between.join(map(str, paths)) + between)
        with open_joined([f"@{tmp_path / name}"]) as joined:
            np.testing.assert_array_equal(joined.features[0:9], rows)
    (tmp_path / "empty").touch()
    for name, message in (("empty", "lists no files"), ("missing", "cannot read")):
        with pytest.raises(FormatError, match=message):
            open_joined([f"@{tmp_path / name}"])


def test_one_file_is_itself(three):
    _, paths = three
    with open_joined(paths[:1]) as joined, open_latents(paths[0]) as alone:
        assert joined.paths == alone.paths and joined.source == alone.source


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint_digest": "d"}, "another checkpoint"),
        ({"precision": "bfloat16"}, "another precision"),
        ({"dimensions": 1, "feature_shape": (1,)}, "another dimensions"),
        ({"feature_shape": (3, 1)}, "another feature shape"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(three, tmp_path, changes, message):
    _, paths = three
    rows = np.zeros((2, changes.get("dimensions", 3)), np.float32)
    other = write(tmp_path / "other.h5", rows, **changes)
    with pytest.raises(FormatError, match=message):
        open_joined([paths[0], other])


def test_an_analysis_is_that_of_one_file(tmp_path):
    rows = RANDOM.normal(size=(400, 6)).astype(np.float32)
    settings = {"dimensions": 6, "feature_shape": (6,)}
    paths = [
        write(tmp_path / f"{start}.h5", rows[start : start + 150], **settings)
        for start in (0, 150, 300)
    ]
    with open_joined(paths) as joined:
        together = principal_components(joined.features, 2)
        expected = principal_components(rows, 2)
        np.testing.assert_array_equal(
            together.coordinates(joined.features), expected.coordinates(rows)
        )


def test_rows_are_read_in_order_only():
    with pytest.raises(ValueError, match="one after the other"):
        Stacked([np.zeros((4, 2))])[::2]


@pytest.mark.parametrize("command", ["cluster", "pca"])
def test_a_list_may_be_a_pipe(aetool, tmp_path, command):
    np.save(tmp_path / "rows.npy", np.arange(12.0).reshape(6, 2) ** 2)
    read, write = os.pipe()
    os.write(write, f"{tmp_path / 'rows.npy'}\n".encode())
    os.close(write)
    options = ["-k", 2] if command == "cluster" else []
    done = aetool(command, f"@/dev/fd/{read}", *options, "-o", tmp_path / "out.csv", "-q")
    os.close(read)
    assert done.status == 0, done.stderr
