"""Published data sets: MNIST's idx files, STL-10's binaries, and sets known by name."""

import contextlib
import gzip
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

from aetool.errors import SourceError
from aetool.images.arrays import SPLITS, Part

NAMED_SETS = ("sklearn:digits", "keras:mnist", "keras:fashion_mnist", "keras:cifar10")

# File names of the pictures of each split, as published and as commonly unpacked.
_SET_FILES = {
    "train": ("train-images-idx3-ubyte", "train-images.idx3-ubyte", "train_X.bin"),
    "test": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte", "test_X.bin"),
    "unlabeled": ("unlabeled_X.bin",),
}
_STL_SHAPE = (3, 96, 96)  # channel, column, row
_IDX_TYPES = (b"\x08", b"\x09", b"\x0b", b"\x0c", b"\x0d", b"\x0e")
_IDX_AXES = (b"\1", b"\3", b"\4")

# What keras.datasets looks for below its cache folder before it turns to the network.
_KERAS_FILES = {
    "mnist": "mnist.npz",
    "fashion_mnist": "fashion-mnist/ (the four idx files)",
    "cifar10": "cifar-10-batches-py-target_archive (the file cifar-10-python.tar.gz)",
}


def set_files(folder: Path) -> dict[str, Path]:
    """The picture files of a folder that holds MNIST's idx files or STL-10's, by split."""
    found = {}
    for split, names in _SET_FILES.items():
        candidates = (folder / (name + suffix) for name in names for suffix in ("", ".gz"))
        path = next((path for path in candidates if os.path.isfile(path)), None)
        if path is not None:
            found[split] = path
    return found


def read_set_folder(folder: Path, files: dict[str, Path], split: str | None = None) -> list[Part]:
    """The parts of such a folder: the split named, or else train and test, or what there is.

    Raises:
        SourceError: no such split, or a damaged file.
    """
    if split is not None and split not in files:
        raise SourceError(f"{folder}: no part called {split}", f"it has {', '.join(files)}")
    splits = [split] if split else [name for name in SPLITS if name in files] or list(files)
    return [read_set_file(files[name], f"x_{name}") for name in splits]


def is_set_file(path: Path) -> bool:
    """True for an idx file, gzipped or not, and for STL-10's *_X.bin and *_y.bin."""
    if path.name.endswith(("_X.bin", "_y.bin")):
        return True
    try:
        with _open_maybe_gzipped(path) as file:
            head = file.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return head[:2] == b"\0\0" and head[2:3] in _IDX_TYPES and head[3:] in _IDX_AXES


def read_set_file(path: Path, key: str = "x") -> Part:
    """One picture file, with the labels that lie beside it under the matching name.

    Raises:
        SourceError: damaged, or the labels were given instead of the pictures.
    """
    stl = path.name.endswith(".bin")
    read = _read_stl if stl else _read_idx
    pictures, labels = ("_X.", "_y.") if stl else ("images", "labels")
    if pictures not in path.name and labels in path.name:
        instead = path.name.replace(labels, pictures).replace("idx1", "idx3")
        raise SourceError(f"{path}: labels, not pictures", f"give {instead}")
    beside = path.with_name(path.name.replace(pictures, labels).replace("idx3", "idx1"))
    if beside == path or not beside.is_file():
        return Part(key, read(path), files=(path,))
    return Part(key, read(path), read(beside), (path, beside))


def _open_maybe_gzipped(path: Path):
    with open(path, "rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if gzipped else open(path, "rb")


def _read_idx(path: Path) -> np.ndarray:
    """An idx file: two zero bytes, type, number of axes, big-endian axis lengths, the values."""
    try:
        with _open_maybe_gzipped(path) as file:
            data = file.read()
        axes = data[3]
        if data[:3] != b"\0\0\x08":
            raise SourceError(f"{path}: not an idx file of unsigned bytes")
        shape = struct.unpack_from(f">{axes}I", data, 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, IndexError, ValueError) as error:
        raise SourceError(f"{path}: damaged idx file: {error}", "copy it again") from error


def _read_stl(path: Path) -> np.ndarray:
    """STL-10's pictures, a memory map seen as (n, 96, 96, 3), or its labels, uint8 (n,)."""
    if path.name.endswith("_y.bin"):
        return np.fromfile(path, np.uint8)
    size = os.path.getsize(path)
    count, rest = divmod(size, int(np.prod(_STL_SHAPE)))
    if rest or not count:
        raise SourceError(
            f"{path}: {size} bytes are not whole pictures of 96x96x3", "copy it again"
        )
    return np.memmap(path, np.uint8, "r", shape=(count, *_STL_SHAPE)).transpose(0, 3, 2, 1)


def read_named_set(name: str, split: str | None = None) -> list[Part]:
    """A data set by its name: one of `NAMED_SETS`.

    `sklearn:digits` ships with scikit-learn and has no splits. The others come through
    keras.datasets, from its cache folder or the network; each has "train" and "test".

    Raises:
        SourceError: an unknown name or split, or a set that is neither cached nor within reach.
    """
    if name not in NAMED_SETS:
        raise SourceError(f"{name}: no such data set", f"there are {', '.join(NAMED_SETS)}")
    splits = ("",) if name == "sklearn:digits" else ("train", "test")
    if split is not None and split not in splits:
        known = " and ".join(f"{name}/{part}" for part in splits if part)
        raise SourceError(f"{name} has no part called {split}", f"there is {known or name}")
    parts = _load_digits() if name == "sklearn:digits" else _load_keras_set(name.partition(":")[2])
    return list(parts.values()) if split is None else [parts[split]]


def _load_digits() -> dict[str, Part]:
    # scikit-learn takes a second to import, which no other source should cost
    from sklearn.datasets import load_digits

    digits = load_digits()
    # Values 0 to 16 scaled to 0 to 255, halves up.
    pixels = np.floor(digits.images * (255 / 16) + 0.5).astype(np.uint8)
    return {"": Part("x", pixels, digits.target)}


def _load_keras_set(name: str) -> dict[str, Part]:
    # keras.datasets brings TensorFlow with it, which no other source should cost
    from keras import datasets

    try:
        with contextlib.redirect_stdout(sys.stderr):  # its download bar is talk, not data
            (x_train, y_train), (x_test, y_test) = getattr(datasets, name).load_data()
    except Exception as error:  # a failed download is raised as a bare Exception
        home = os.environ.get("KERAS_HOME", os.path.join("~", ".keras"))
        raise SourceError(
            f"keras:{name} cannot be loaded: {error}",
            f"without a network put it at {home}/datasets/{_KERAS_FILES[name]}, "
            "or give array files of your own as SOURCE",
        ) from error
    return {"train": Part("x_train", x_train, y_train), "test": Part("x_test", x_test, y_test)}
