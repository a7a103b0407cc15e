"""Latents stream in and out, and any matrix of numbers can stand in for them."""

import io
import os
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from aetool.errors import FormatError, OutputError
from aetool.storage.container import BLOCK_BYTES, open_container, write_container
from aetool.storage.latents import LatentsWriter, open_latents

NAMES = [
    "a/b c.png",
    "a/line\nbreak.png",
    "b/Größe.png",
    os.fsdecode(b"b/latin \xe9.png"),
    "c/'\".png",
]


def _features(rows: int, shape: tuple[int, ...] = (2, 3, 4), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, *shape), dtype=np.float32)


def _write(path: Path | str, rows: int = 5, *, labelled: bool = True, batch: int = 2) -> np.ndarray:
    features = _features(rows)
    with LatentsWriter(
        path,
        dimensions=24,
        feature_shape=(2, 3, 4),
        source=os.fsdecode(b"/pictures/\xe9t\xe9"),
        class_names=("a", "b b", "ç") if labelled else (),
        precision="bfloat16",
        checkpoint_digest="ab" * 32,
    ) as writer:
        for start in range(0, rows, batch):
            index = np.arange(start, min(start + batch, rows))
            writer.append(
                features[index],
                index * 10,
                [NAMES[i % len(NAMES)] for i in index],
                [int(i) % 4 - 1 for i in index] if labelled else None,
            )
        assert writer.rows == rows
    return features.reshape(rows, 24)


def _all(latents) -> np.ndarray:
    return np.concatenate(list(latents.chunks()))


@pytest.mark.parametrize("labelled", [True, False])
def test_what_was_written_is_read(tmp_path, labelled):
    features = _write(tmp_path / "l.h5", labelled=labelled)
    with open_latents(tmp_path / "l.h5") as latents:
        assert (len(latents), latents.dimensions) == (5, 24)
        np.testing.assert_array_equal(_all(latents), features, strict=True)
        np.testing.assert_array_equal(latents.index, np.array([0, 10, 20, 30, 40]), strict=True)
        assert latents.paths == NAMES
        assert os.fsencode(latents.source) == b"/pictures/\xe9t\xe9"
        assert latents.feature_shape == (2, 3, 4)
        assert latents.precision == "bfloat16"
        assert latents.checkpoint == "ab" * 32
        if labelled:
            expected = np.array([-1, 0, 1, 2, -1], np.int32)
            np.testing.assert_array_equal(latents.labels, expected, strict=True)
            assert latents.class_names == ("a", "b b", "ç")
        else:
            assert (latents.labels, latents.class_names) == (None, ())


def test_any_hdf5_library_reads_the_columns(tmp_path):
    features = _write(tmp_path / "l.h5")
    with h5py.File(tmp_path / "l.h5") as file:
        np.testing.assert_array_equal(file["features"], features)
        assert file["features"].chunks is not None
        assert file["paths"].asstr()[2] == "b/Größe.png"
        assert list(file["class_names"].asstr()) == ["a", "b b", "ç"]
        assert file.attrs["precision"] == "bfloat16"


def test_the_batch_size_does_not_show(tmp_path):
    for batch in (1, 5):
        _write(tmp_path / f"{batch}.h5", batch=batch)
    one, five = open_latents(tmp_path / "1.h5"), open_latents(tmp_path / "5.h5")
    np.testing.assert_array_equal(_all(one), _all(five))
    assert one.paths == five.paths
    one.close()
    five.close()


def test_no_rows_are_a_valid_file(tmp_path):
    _write(tmp_path / "l.h5", rows=0)
    with open_latents(tmp_path / "l.h5") as latents:
        assert (len(latents), latents.dimensions, latents.paths) == (0, 24, [])
        assert list(latents.chunks()) == []


def test_an_error_leaves_no_file(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        LatentsWriter(tmp_path / "l.h5", dimensions=2, feature_shape=(2,), source="s") as writer,
    ):
        writer.append(np.zeros((1, 2)), [0], ["a"])
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_rows_of_another_length_are_a_bug(tmp_path):
    with LatentsWriter(tmp_path / "l.h5", dimensions=2, feature_shape=(2,), source="") as writer:
        with pytest.raises(ValueError, match="rows of 2"):
            writer.append(np.zeros((1, 3)), [0], ["a"])
        with pytest.raises(ValueError, match="1 names"):
            writer.append(np.zeros((2, 2)), [0, 1], ["a"])
    with pytest.raises(ValueError, match="not 5 long"):
        LatentsWriter(tmp_path / "l.h5", dimensions=5, feature_shape=(2, 2), source="")


@pytest.mark.parametrize("rows", [1, 2, 4, 5, 1000])
def test_chunks_cover_every_row_once(tmp_path, rows):
    features = _write(tmp_path / "l.h5")
    with open_latents(tmp_path / "l.h5") as latents:
        blocks = list(latents.chunks(rows))
    assert {len(block) for block in blocks[:-1]} <= {rows}
    np.testing.assert_array_equal(np.concatenate(blocks), features)


def test_memory_does_not_grow_with_the_rows(tmp_path):
    block = _features(500, (1000,))
    tracemalloc.start()
    with LatentsWriter(
        tmp_path / "l.h5", dimensions=1000, feature_shape=(1000,), source=""
    ) as writer:
        for start in range(0, 15_000, 500):
            writer.append(block, np.arange(start, start + 500), [str(i) for i in range(500)])
    with open_latents(tmp_path / "l.h5") as latents:
        assert sum(len(rows) for rows in latents.chunks()) == 15_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25_000_000  # the file is 60 MB


class _Standard(io.TextIOWrapper):
    """Standard input or output of bytes, on or off a terminal."""

    def __init__(self, content: bytes = b"", *, terminal: bool = False):
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_a_pipe_carries_the_same_bytes_as_a_file(tmp_path, monkeypatch):
    features = _write(tmp_path / "l.h5")
    stdout = _Standard()
    monkeypatch.setattr(sys, "stdout", stdout)
    _write("-")
    assert stdout.buffer.getvalue() == (tmp_path / "l.h5").read_bytes()
    monkeypatch.setattr(sys, "stdin", _Standard(stdout.buffer.getvalue()))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    with open_latents("-") as latents:
        assert os.listdir(tmp_path / "spool") == []
        np.testing.assert_array_equal(_all(latents), features)
        assert latents.paths == NAMES


def test_two_processes_chain(tmp_path):
    write = (
        "import numpy as np\nfrom aetool.storage.latents import LatentsWriter\n"
        "with LatentsWriter('-', dimensions=2, feature_shape=(2,), source='') as w:\n"
        "    w.append(np.eye(2), [0, 1], ['a', 'b'])\n"
    )
    read = (
        "from aetool.storage.latents import open_latents\n"
        "print(sum(float(b.sum()) for b in open_latents('-').chunks()))"
    )
    command = f'"{sys.executable}" -c "{write}" | "{sys.executable}" -c "{read}"'
    done = subprocess.run(
        command, shell=True, check=True, capture_output=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == b"2.0"


def test_terminals_and_empty_pipes_are_named(monkeypatch):
    monkeypatch.setattr(sys, "stdout", _Standard(terminal=True))
    with pytest.raises(OutputError, match="terminal"):
        _write("-")
    monkeypatch.setattr(sys, "stdin", _Standard(terminal=True))
    with pytest.raises(FormatError, match="terminal"):
        open_latents("-")
    monkeypatch.setattr(sys, "stdin", _Standard(b""))
    with pytest.raises(FormatError, match="standard input is empty"):
        open_latents("-")


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "u1", "i8", "?", ">f4"])
def test_npy_of_any_number(tmp_path, dtype):
    values = (_features(7) > 0).astype(dtype)
    np.save(tmp_path / "f.npy", values)
    with open_latents(tmp_path / "f.npy") as latents:
        assert latents.feature_shape == (2, 3, 4)
        assert latents.paths[:2] == ["000000", "000001"]
        assert latents.source == str(tmp_path / "f.npy")
        np.testing.assert_array_equal(
            _all(latents), values.reshape(7, 24).astype(np.float32), strict=True
        )


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("features", "labels")])
def test_npz_with_labels(tmp_path, x, y):
    features = _features(4, (3,))
    arrays = {x: features, y: np.array([[7], [10], [7], [9]], "u1"), "more": np.zeros(2)}
    np.savez_compressed(tmp_path / "f.npz", **arrays)
    with open_latents(tmp_path / "f.npz") as latents:
        np.testing.assert_array_equal(_all(latents), features)
        assert latents.class_names == ("7", "9", "10")
        np.testing.assert_array_equal(latents.labels, np.array([0, 2, 0, 1], np.int32), strict=True)
        assert latents.paths[3] == f"{x}/000003"


def test_npz_of_a_single_array(tmp_path):
    np.savez(tmp_path / "f.npz", whatever=np.eye(3))
    with open_latents(tmp_path / "f.npz") as latents:
        assert (len(latents), latents.labels) == (3, None)


def test_csv_with_names_and_labels(tmp_path):
    (tmp_path / "f.csv").write_text('path,pc1,label,pc2\n"a,b",1,dog,2.5\nc,-3e1,,0\nd,0,cat,1\n')
    with open_latents(tmp_path / "f.csv") as latents:
        np.testing.assert_array_equal(_all(latents), np.float32([[1, 2.5], [-30, 0], [0, 1]]))
        assert latents.paths == ["a,b", "c", "d"]
        assert latents.class_names == ("cat", "dog")
        assert latents.labels.tolist() == [1, -1, 0]


def test_csv_without_a_header(tmp_path):
    (tmp_path / "f.csv").write_text("1,2\n3,4\n5,6\n")
    with open_latents(tmp_path / "f.csv") as latents:
        assert _all(latents).tolist() == [[1, 2], [3, 4], [5, 6]]
        assert (latents.labels, latents.paths[0]) == (None, "000000")


def test_csv_as_pandas_and_r_write_it(tmp_path):
    """Columns without names are numbered from 0; the numbers of rows have no title."""
    tables = {
        "0,1,2\n.5,1,2\n3,4,5\n": [[0.5, 1, 2], [3, 4, 5]],
        ",0,1\n0,.5,1\n1,3,4\n": [[0.5, 1], [3, 4]],
        '"","a","b"\n"one",1,2\n"two",3,4\n': [[1, 2], [3, 4]],
        "0,1\n1,0\n": [[0, 1], [1, 0]],  # two columns may as well be such values
        "a,,b\n1,2,3\n": [[1, 2, 3]],
    }
    for text, expected in tables.items():
        (tmp_path / "f.csv").write_text(text)
        with open_latents(tmp_path / "f.csv") as latents:
            assert _all(latents).tolist() == expected, text


@pytest.mark.parametrize("name", ["f.npy", "f.npz", "f.csv"])
def test_a_pipe_carries_every_format(tmp_path, monkeypatch, name):
    path = tmp_path / name
    if name == "f.npy":
        np.save(path, np.eye(3))
    elif name == "f.npz":
        np.savez(path, np.eye(3))
    else:
        path.write_text("a,b,c\n1,0,0\n0,1,0\n0,0,1\n")
    monkeypatch.setattr(sys, "stdin", _Standard(path.read_bytes()))
    with open_latents("-") as latents:
        assert _all(latents).tolist() == np.eye(3).tolist()
        assert latents.source == "standard input"


@pytest.mark.parametrize(("bad", "row"), [(np.nan, 3), (np.inf, 0), (1e39, 2)])
def test_values_that_are_no_numbers_are_named_by_row(tmp_path, bad, row):
    features = np.zeros((5, 2))
    features[row, 1] = bad
    np.save(tmp_path / "f.npy", features)
    with (
        open_latents(tmp_path / "f.npy") as latents,
        pytest.raises(FormatError, match=f"f.npy, row {row + 1}: not a finite number"),
    ):
        list(latents.chunks(2))


class _Trap:
    """Runs when unpickled."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


def _refused(path: Path) -> str:
    with pytest.raises(FormatError) as caught:
        open_latents(path)
    assert "\n" not in caught.value.message
    assert path.name in caught.value.message
    return caught.value.message


def test_pickles_are_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trap = np.array([[_Trap()]], object)
    np.save("trap.npy", trap)
    np.savez("trap.npz", x=np.eye(2), y=trap)
    _refused(Path("trap.npy"))
    _refused(Path("trap.npz"))
    assert not os.path.exists("sprung")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,x\n", "row 1: b is 'x', not a number"),
        ("a,b\n1,\n", "row 1: b is '', not a number"),
        ("path,label\na,b\n", "no column of numbers"),
        ("a,b\n1\n", "1 cells where there should be 2"),
        ("", "is empty"),
    ],
)
def test_a_csv_that_is_no_matrix(tmp_path, content, message):
    (tmp_path / "f.csv").write_text(content)
    assert message in _refused(tmp_path / "f.csv")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.eye(2), "b": np.eye(2)}, "holds a, b"),
        ({"x": np.eye(2), "y": np.arange(3)}, "2 rows and 3 labels"),
        ({"x": np.eye(2), "y": np.eye(2)}, "labels of type"),
        ({"x": np.arange(3)}, "not rows of numbers"),
        ({"x": np.array([["a"]])}, "not rows of numbers"),
        ({"x": np.eye(2) * 1j}, "not rows of numbers"),
    ],
)
def test_an_npz_that_is_no_matrix(tmp_path, arrays, message):
    np.savez(tmp_path / "f.npz", **arrays)
    assert message in _refused(tmp_path / "f.npz")


def test_an_npz_with_an_array_before_its_beginning(tmp_path):
    path = tmp_path / "latents.npz"
    np.savez(path, features=np.zeros((4, 3)))
    whole = bytearray(path.read_bytes())
    end = whole.rindex(b"PK\5\6")  # whose bytes 16 to 19 say where the directory begins
    begins = int.from_bytes(whole[end + 16 : end + 20], "little")
    whole[end + 16 : end + 20] = (begins + 100).to_bytes(4, "little")
    path.write_bytes(whole)
    with pytest.raises(FormatError, match="damaged"):
        open_latents(path)


def test_a_zip_that_is_no_npz(tmp_path):
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        archive.writestr("config.json", "{}")
    _refused(tmp_path / "f.zip")


@pytest.mark.parametrize("name", ["f.npy", "f.npz"])
def test_damaged_arrays_are_refused_or_read_but_never_crash(tmp_path, name):
    path = tmp_path / name
    save = np.save if name == "f.npy" else np.savez_compressed
    save(path, np.eye(4))
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for length in range(8, len(whole), 23):
        path.write_bytes(whole[:length])
        _refused(path)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[random.integers(8, min(150, len(whole)))] = random.integers(256)
        path.write_bytes(damaged)
        try:
            open_latents(path).close()
        except FormatError as error:
            assert "\n" not in error.message


@pytest.mark.parametrize("content", [b"\x89PNG\r\n", b"hello", bytes(600)])
def test_another_file_is_no_latents(tmp_path, content):
    (tmp_path / "f.h5").write_bytes(content)
    assert "is not an aetool file" in _refused(tmp_path / "f.h5")


def test_a_checkpoint_is_no_latents(tmp_path):
    write_container(tmp_path / "m.h5", "checkpoint", lambda file: None)
    assert "holds a checkpoint, not latents" in _refused(tmp_path / "m.h5")


def test_what_is_missing_or_truncated_is_said(tmp_path):
    _write(tmp_path / "l.h5")
    whole = (tmp_path / "l.h5").read_bytes()
    (tmp_path / "l.h5").write_bytes(whole[: BLOCK_BYTES + 100])
    assert "truncated" in _refused(tmp_path / "l.h5")
    assert "does not exist" in _refused(tmp_path / "none.csv")
    assert "is a folder" in _refused(tmp_path)


def _no_paths(file: h5py.File) -> None:
    del file["paths"]


def _short_index(file: h5py.File) -> None:
    file["index"].resize(4, axis=0)


def _short_paths(file: h5py.File) -> None:
    file["paths"].resize(4, axis=0)


def _flat_features(file: h5py.File) -> None:
    del file["features"]
    file["features"] = np.zeros(5, np.float32)


def _many_rows(file: h5py.File) -> None:
    file["features"].resize(1 << 40, axis=0)


def _another_shape(file: h5py.File) -> None:
    file.attrs["feature_shape"] = [5, 5]


def _label_without_name(file: h5py.File) -> None:
    file["labels"][0] = 3


def _float_labels(file: h5py.File) -> None:
    del file["labels"]
    file["labels"] = np.zeros(5)


def _no_class_names(file: h5py.File) -> None:
    del file["class_names"]


def _numeric_source(file: h5py.File) -> None:
    file.attrs["source"] = 3


def _paths_in_a_table(file: h5py.File) -> None:
    del file["paths"]
    file["paths"] = [["a"] * 5]


@pytest.mark.parametrize(
    "change",
    [
        _no_paths,
        _short_index,
        _short_paths,
        _flat_features,
        _many_rows,
        _another_shape,
        _label_without_name,
        _float_labels,
        _no_class_names,
        _numeric_source,
        _paths_in_a_table,
    ],
)
def test_forged_latents_are_refused_in_one_line(tmp_path, change):
    _write(tmp_path / "l.h5")
    with open_container(tmp_path / "l.h5", "latents") as old:

        def fill(file: h5py.File) -> None:
            file.attrs.update({name: old.attrs[name] for name in old.attrs} | {"source": "/"})
            for name in old:
                old.copy(name, file)
            change(file)

        write_container(tmp_path / "forged.h5", "latents", fill)
    _refused(tmp_path / "forged.h5")


def test_version_1_stays_readable():
    with open_latents(Path(__file__).parent / "data" / "latents-1.h5") as latents:
        assert _all(latents).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
        assert latents.paths == ["a/1.png", os.fsdecode(b"b/\xe9.png")]
        assert (latents.index.tolist(), latents.labels.tolist()) == ([0, 2], [0, 1])
        assert (latents.class_names, latents.source) == (("a", "b"), "/pictures")
        assert (latents.feature_shape, latents.precision) == ((2, 2), "bfloat16")
        assert latents.checkpoint == "ab" * 32


@pytest.mark.parametrize("name", ["a.csv", "a.npy"])
def test_a_table_without_rows_has_its_columns(tmp_path, name):
    np.save(tmp_path / "a.npy", np.zeros((0, 3), np.float32))
    (tmp_path / "a.csv").write_text("path,f0,f1,f2\n")
    with open_latents(tmp_path / name) as latents:
        assert (len(latents), latents.dimensions) == (0, 3)
