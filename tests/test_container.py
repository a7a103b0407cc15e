"""The 512-byte block: every file that is not whole, ours and of a known format is refused early."""

import gc
import hashlib
import os
import random
import resource
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from aetool.errors import FormatError, OutputError
from aetool.storage.checked import check_dataset, read_arrays, read_group, read_integers, read_texts
from aetool.storage.container import (
    BLOCK_BYTES,
    container_kind,
    open_container,
    write_container,
    writing,
)


def _write(path: Path, kind: str = "checkpoint") -> Path:
    def fill(file: h5py.File) -> None:
        file.attrs["text"] = "what"
        file["numbers"] = np.arange(1000, dtype=np.float32)

    write_container(path, kind, fill)
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    return _write(tmp_path / "m.h5")


def _refused(path: Path, kind: str | None = "checkpoint") -> FormatError:
    with pytest.raises(FormatError) as caught:
        open_container(path, kind)
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
    return caught.value


def test_what_was_written_is_read(path):
    with open_container(path, "checkpoint") as file:
        assert file.attrs["text"] == "what"
        np.testing.assert_array_equal(file["numbers"], np.arange(1000))
    with open_container(path, None) as file:
        assert file.userblock_size == BLOCK_BYTES


def test_the_block_tells_a_person_what_the_file_is(path):
    block = path.read_bytes()[:BLOCK_BYTES]
    lines = block.rstrip(b"\0").decode("ascii").splitlines()
    rest = path.read_bytes()[BLOCK_BYTES:]
    assert lines == [
        "aetool HDF5 container",
        "kind: checkpoint",
        "format: 1",
        f"length: {len(rest)}",
        f"sha256: {hashlib.sha256(rest).hexdigest()}",
    ]


def test_any_hdf5_library_opens_the_file(path):
    with h5py.File(path) as file:
        assert file["numbers"][999] == 999


def test_the_same_contents_are_the_same_bytes(path, tmp_path):
    assert _write(tmp_path / "again.h5").read_bytes() == path.read_bytes()


def test_the_kind_is_known_from_the_block_alone(path, tmp_path):
    assert container_kind(path) == "checkpoint"
    assert container_kind(_write(tmp_path / "l.h5", "latents")) == "latents"
    (tmp_path / "text").write_text("aetool")
    assert container_kind(tmp_path / "text") is None
    assert container_kind(tmp_path / "missing") is None
    assert container_kind(tmp_path) is None


def test_every_truncation_is_refused(path):
    whole = path.read_bytes()
    for length in {*range(1, BLOCK_BYTES, 37), BLOCK_BYTES, BLOCK_BYTES + 1, len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert "truncated" in _refused(path).message


def test_bytes_after_the_end_are_refused(path):
    with open(path, "ab") as stream:
        stream.write(b"more")
    assert "4 bytes follow its end" in _refused(path).message


def test_every_changed_byte_is_refused(path, monkeypatch):
    """And the HDF5 library sees none of it."""

    def seen(*_: object, **__: object) -> None:
        raise AssertionError("HDF5 saw a damaged file")

    monkeypatch.setattr(h5py, "File", seen)
    whole = path.read_bytes()
    chance = random.Random(0)
    for position in [*range(BLOCK_BYTES), *chance.sample(range(BLOCK_BYTES, len(whole)), 200)]:
        damaged = bytearray(whole)
        damaged[position] ^= chance.randrange(1, 256)
        path.write_bytes(damaged)
        _refused(path, None)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _missing(path: Path) -> None:
    path.unlink()


def _text(path: Path) -> None:
    path.write_text("epoch,loss\n1,0.5\n" * 100)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _plain_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"


def _newer(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"format: 1\n", b"format: 2\n", 1))


def _newer_with_another_block(path: Path) -> None:
    block = b"aetool HDF5 container\nkind: checkpoint\nformat: 12\nblake3: ...\n"
    path.write_bytes(block.ljust(BLOCK_BYTES, b"\0"))


def _latents(path: Path) -> None:
    _write(path, "latents")


@pytest.mark.parametrize(
    ("spoil", "message", "hint"),
    [
        (_empty, "is empty", "aetool train"),
        (_folder, "is a folder, not a checkpoint", "aetool train"),
        (_missing, "does not exist", "aetool train"),
        (_text, "is not an aetool file", "aetool train"),
        (_pipe, "is not a regular file", "on disk"),
        (_plain_hdf5, "is a plain HDF5 file", "saved by Keras"),
        (_newer, "has checkpoint format 2", "upgrade aetool"),
        (_newer_with_another_block, "has checkpoint format 12", "upgrade aetool"),
        (_latents, "holds latents, not a checkpoint", "aetool train"),
    ],
)
def test_each_wrong_file_has_its_own_message(path, spoil, message, hint):
    spoil(path)
    error = _refused(path)
    assert message in error.message
    assert hint in error.hint


def test_a_right_digest_over_what_is_no_hdf5_is_refused(path):
    with writing(path, "checkpoint"):
        pass
    rest = b"\x89HDF\r\n\x1a\n" + bytes(1000)
    block = (
        "aetool HDF5 container\nkind: checkpoint\nformat: 1\n"
        f"length: {len(rest)}\nsha256: {hashlib.sha256(rest).hexdigest()}\n"
    )
    path.write_bytes(block.encode().ljust(BLOCK_BYTES, b"\0") + rest)
    assert "not HDF5" in _refused(path).message


def test_the_digest_takes_constant_memory(tmp_path):
    def fill(file: h5py.File) -> None:
        file["big"] = np.zeros(8_000_000, np.float32)

    write_container(tmp_path / "big.h5", "latents", fill)
    tracemalloc.start()
    open_container(tmp_path / "big.h5", "latents").close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def _huge(file: h5py.File) -> None:
    file.create_dataset("x", shape=(1 << 40,), dtype="f4", chunks=(1024,))


def _huge_compressed(file: h5py.File) -> None:
    file.create_dataset("x", data=np.zeros(1 << 20, np.float32), compression="gzip")


def _huge_contiguous(file: h5py.File) -> None:
    file.create_dataset("x", shape=(1 << 40,), dtype="f4")


def _soft_link(file: h5py.File) -> None:
    file["y"] = np.zeros(3)
    file["x"] = h5py.SoftLink("/y")


def _external_link(file: h5py.File) -> None:
    file["x"] = h5py.ExternalLink("/etc/passwd", "/x")


def _external_data(file: h5py.File) -> None:
    file.create_dataset("x", shape=(10,), dtype="u1", external=[("/etc/passwd", 0, 10)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(10,), dtype="f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", shape=(10,))
    file.create_virtual_dataset("x", layout)


def _objects(file: h5py.File) -> None:
    file.create_dataset("x", shape=(3,), dtype=h5py.ref_dtype)


def _texts(file: h5py.File) -> None:
    file["x"] = ["a", "b"]


def _compound(file: h5py.File) -> None:
    file["x"] = np.zeros(3, dtype=[("a", "f4"), ("b", "i4")])


def _nothing(file: h5py.File) -> None:
    file["x"] = h5py.Empty("f4")


def _group(file: h5py.File) -> None:
    file.create_group("x")


@pytest.mark.parametrize(
    "fill",
    [
        _huge,
        _huge_compressed,
        _huge_contiguous,
        _soft_link,
        _external_link,
        _external_data,
        _virtual,
        _objects,
        _texts,
        _compound,
        _nothing,
        _group,
    ],
)
def test_forged_arrays_are_refused_before_memory_is_taken(tmp_path, fill: Callable):
    write_container(tmp_path / "forged.h5", "checkpoint", fill)
    with open_container(tmp_path / "forged.h5", "checkpoint") as file:
        tracemalloc.start()
        with pytest.raises(FormatError, match="not a valid aetool file"):
            check_dataset(file, "x")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()


def test_arrays_that_share_their_bytes_are_refused(tmp_path):
    def fill(file: h5py.File) -> None:
        file["x0"] = np.zeros(10_000)
        for i in range(1, 100):
            file[f"x{i}"] = file["x0"]

    write_container(tmp_path / "forged.h5", "checkpoint", fill)
    with open_container(tmp_path / "forged.h5", "checkpoint") as file:
        assert len(read_arrays(file, ["x0"])["x0"]) == 10_000
        with pytest.raises(FormatError, match="overlap"):
            read_arrays(file, [f"x{i}" for i in range(100)])


@pytest.mark.parametrize("path", ["nothing", "", "numbers/below", "a//b"])
def test_a_missing_group_is_refused(path, tmp_path):
    with (
        open_container(_write(tmp_path / "m.h5"), "checkpoint") as file,
        pytest.raises(FormatError, match="is missing"),
    ):
        read_group(file, path)


@pytest.mark.parametrize("read", [read_texts, read_integers])
@pytest.mark.parametrize("value", [3.5, h5py.Empty("f4"), np.zeros((2, 2)), [1.5, 2]])
def test_an_attribute_of_another_type_is_refused(tmp_path, read, value):
    def fill(file: h5py.File) -> None:
        file.attrs["a"] = value

    write_container(tmp_path / "m.h5", "latents", fill)
    with open_container(tmp_path / "m.h5", "latents") as file:
        with pytest.raises(FormatError):
            read(file, "a")
        with pytest.raises(FormatError, match="no attribute"):
            read(file, "b")


@pytest.mark.parametrize("numbers", [100, 1_000, 10_000])
def test_a_full_disk_leaves_the_old_file_and_one_line(path, capfd, numbers):
    before = path.read_bytes()

    def fill(file: h5py.File) -> None:
        for name in "abcdefghij":
            file.create_dataset(f"group/{name}", data=np.arange(float(numbers)))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*m\.h5: file too large"):
            write_container(path, "checkpoint", fill)
        gc.collect()  # HDF5 tries again whenever an object of its is freed
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and os.listdir(path.parent) == ["m.h5"]
    assert capfd.readouterr() == ("", "")
    write_container(path, "checkpoint", fill)
    with open_container(path, "checkpoint") as file:
        np.testing.assert_array_equal(file["group/j"], np.arange(float(numbers)))


def test_a_folder_that_vanishes_is_one_line(path):
    with (
        pytest.raises(OutputError, match=r"cannot write .*m\.h5: no such file or directory"),
        writing(path, "checkpoint") as file,
    ):
        file["numbers"] = np.arange(1000)
        path.parent.rename(path.parent.with_name("moved"))
