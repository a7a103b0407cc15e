"""Pictures that come as arrays: NumPy and HDF5 files, MNIST's idx, STL-10's binaries, named sets.

Each reader returns parts, one a split: pictures and, where known, a label each. A file that holds
several splits gives the named one, or without a name train, validation and test in that order.
"""

import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import h5py
import numpy as np

from aetool.errors import ImageError, SourceError
from aetool.images.listing import natural_sorted

ARRAY_SUFFIXES = frozenset({".npy", ".npz", ".h5", ".hdf5"})
SPLITS = ("train", "val", "test")

_OWN_FILE = b"aetool HDF5 container\n"  # how the user block of checkpoints and latents begins

_T = TypeVar("_T")
_Array = TypeVar("_Array", np.ndarray, h5py.Dataset)

_PICTURE_WORDS = frozenset({"x", "images", "image", "imgs", "data", "pixels"})
_LABEL_WORDS = frozenset({"y", "labels", "label", "targets", "target", "classes"})
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "unlabeled": "unlabeled",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One split of an array source.

    Args:
        key: what its rows are named after, "x_test"; "" when the array has no name.
        pixels: (n, h, w), (n, h, w, 1) or (n, h, w, 3), uint8, uint16 or float in [0, 1]; an array,
            a memory map or an HDF5 dataset.
        labels: (n,) or (n, 1) numbers or texts, or None.
        files: what pictures and labels are read from; none of a set known by name.
    """

    key: str
    pixels: np.ndarray | h5py.Dataset
    labels: np.ndarray | None = None
    files: tuple[Path, ...] = ()


def read_array_file(path: Path, split: str | None = None) -> list[Part]:
    """The parts of a .npy, .npz, .h5 or .hdf5 file.

    A .npy file is memory-mapped and an HDF5 dataset stays on disk; what is wanted of an .npz file
    is read into memory.

    Args:
        path: the file.
        split: "train", "val", "test", or the name of one array in it.

    Raises:
        SourceError: damaged, pickled, not pictures, or several arrays and none named.
    """
    if path.suffix.lower() in (".h5", ".hdf5"):
        return _choose(_open_hdf5(path), path, split)
    loaded = _read_numpy(path, lambda: np.load(path, mmap_mode="r", allow_pickle=False))
    if isinstance(loaded, np.ndarray):
        return _choose({"": loaded}, path, split)
    with loaded:
        return _choose(_Archive(path, loaded), path, split)


class _Archive(Mapping[str, np.ndarray]):
    """The arrays of an .npz file, each read when it is asked for."""

    def __init__(self, path: Path, file: np.lib.npyio.NpzFile):
        self._path = path
        self._file = file

    def __getitem__(self, key: str) -> np.ndarray:
        return np.asarray(_read_numpy(self._path, lambda: self._file[key]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.files)

    def __len__(self) -> int:
        return len(self._file.files)


# What NumPy, zipfile and Python's own parser, which reads the headers, say of damaged files.
_DAMAGED = (
    ValueError,
    EOFError,
    OSError,
    SyntaxError,
    RuntimeError,
    OverflowError,
    MemoryError,  # a header that claims more than there is
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def _read_numpy(path: Path, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except _DAMAGED as error:
        raise SourceError(
            f"{path}: not a readable NumPy array: {error}",
            "arrays are plain numbers written by np.save or np.savez; pickled objects are refused",
        ) from error


def _open_hdf5(path: Path) -> Mapping[str, h5py.Dataset]:
    try:
        with open(path, "rb") as raw:
            head = raw.read(64)
        if head.startswith(_OWN_FILE) and b"latents" in head:
            raise SourceError(
                f"{path}: latents, not pictures", f"latents are read by: aetool cluster {path}"
            )
        if head.startswith(_OWN_FILE):
            raise _is_model(path)
        file = h5py.File(path, "r", locking=False)  # read-only disks have no locks
    except OSError as error:
        raise _damaged_hdf5(path, error) from error
    if "model_config" in file.attrs or "model_weights" in file:
        raise _is_model(path)
    datasets: dict[str, h5py.Dataset] = {}

    def collect(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim:
            datasets[name] = item

    try:
        file.visititems(collect)
    except (OSError, RuntimeError) as error:
        raise _damaged_hdf5(path, error) from error
    return datasets


def _damaged_hdf5(path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"{path}: not a readable HDF5 file: {error}", "is it complete? compare its size"
    )


def _is_model(path: Path) -> SourceError:
    return SourceError(
        f"{path}: a model, not pictures", f"give the model as -c {path} and the pictures as SOURCE"
    )


def _choose(arrays: Mapping, path: Path, split: str | None) -> list[Part]:
    """Which of the arrays of a file are the pictures, and which their labels, going by names."""
    roles = {key: _role(key) for key in arrays}
    pictures = [key for key in roles if roles[key].kind == "pictures"]
    if not pictures:  # no name tells: what has the shape of pictures
        pictures = [key for key in arrays if len(arrays) == 1 or arrays[key].ndim in (3, 4)]
    if split in roles:
        chosen = [split]
    elif split is not None:
        chosen = [key for key in pictures if roles[key].split == _SPLIT_WORDS.get(split, split)]
    else:
        whole = [key for key in pictures if roles[key].split is None]
        split_up = [key for name in SPLITS for key in pictures if roles[key].split == name]
        chosen = whole or split_up or pictures
    if not chosen or len({roles[key].split for key in chosen}) < len(chosen):
        names = ", ".join(filter(None, arrays)) or "one array without a name"
        what = "several arrays of pictures" if chosen else f"no pictures {split or ''}".rstrip()
        raise SourceError(f"{path}: {what}; it holds {names}", f"name one array: {path}/NAME")
    labels = {role.split: key for key, role in roles.items() if role.kind == "labels"}
    parts = []
    for key in chosen:
        label_key = labels.get(roles[key].split)
        pixels = _stored_here(arrays[key], path, key)
        label_values = None if label_key in (None, key) else arrays[label_key]
        if label_values is not None and label_values.size <= len(pixels):  # or none at all
            label_values = _read_labels(
                _stored_here(label_values, path, label_key), path, label_key
            )
        parts.append(Part(key, pixels, label_values, (path,)))
    return parts


def _stored_here(array: _Array, path: Path, key: str) -> _Array:
    """The array, known to lie in the file: a forged one could name any that its user may read."""
    if isinstance(array, h5py.Dataset) and (array.external or array.is_virtual):
        raise SourceError(
            f"{path}: {key} takes its values from other files or arrays",
            "copy them into an array of its own",
        )
    return array


def _read_labels(labels: np.ndarray | h5py.Dataset, path: Path, key: str) -> np.ndarray:
    try:
        return np.asarray(labels)
    except (OSError, MemoryError) as error:
        raise SourceError(f"{path}: the labels in {key} are damaged") from error


class _Role(NamedTuple):
    kind: str | None  # "pictures" or "labels"
    split: str | None


def _role(key: str) -> _Role:
    """What an array is, going by its name."""
    words = re.split(r"[^a-z0-9]+", key.lower())
    split = next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), None)
    if not _LABEL_WORDS.isdisjoint(words):
        return _Role("labels", split)
    return _Role(None if _PICTURE_WORDS.isdisjoint(words) else "pictures", split)


def check_part(part: Part, where: str) -> Part:
    """The part, known to be pictures.

    Raises:
        SourceError: a shape, type, range, name or number of labels that cannot be right.
    """
    pixels, labels = part.pixels, part.labels
    shape = tuple(pixels.shape)
    if part.key and not {"", ".", ".."}.isdisjoint(part.key.split("/")):  # it names outputs
        raise SourceError(f"{where}: an array may not be called {part.key!r}", "rename it")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise SourceError(f"{where}: an array of shape {shape} is not pictures", _shape_hint(shape))
    if len(shape) == 3 and shape[2] == 3:
        raise SourceError(f"{where}: an array of shape {shape} is one picture", _shape_hint(shape))
    if 0 in shape:
        raise SourceError(f"{where}: no pictures in an array of shape {shape}")
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise SourceError(
            f"{where}: pictures of type {pixels.dtype}",
            "store them as uint8, or as float between 0 and 1",
        )
    if labels is not None and labels.shape not in ((shape[0],), (shape[0], 1)):
        raise SourceError(
            f"{where}: {shape[0]} pictures but labels of shape {labels.shape}",
            "labels are one number or name a picture",
        )
    if pixels.dtype.kind == "f":
        _check_range(pixels, where)
    return part


def _check_range(pixels: np.ndarray | h5py.Dataset, where: str) -> None:
    """One bad picture is left out when it is loaded; a sample without a good one is an error."""
    for row in np.linspace(0, len(pixels) - 1, 8, dtype=int):
        try:
            picture_pixels(pixels, row)
            return
        except ImageError as error:
            reason = error.message
    raise SourceError(f"{where}: {reason}", "divide by the largest value, or store uint8")


def _shape_hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 4 and shape[1] in (1, 3):
        return "put the channels last: np.moveaxis(x, 1, -1)"
    if len(shape) == 3:
        return "one picture: x[None]; grey ones three wide: x[..., None]"
    return "pictures are (n, h, w), (n, h, w, 1) or (n, h, w, 3)"


def picture_pixels(pixels: np.ndarray | h5py.Dataset, row: int) -> np.ndarray:
    """One picture of an array, read from disk where it lies there.

    Returns:
        (h, w) or (h, w, 3): uint8, uint16, or float32 in [0, 1]; a copy.

    Raises:
        ImageError: a float value that is no number or outside [0, 1], or no memory holds it.
    """
    try:
        picture = np.array(pixels[row])
    except OSError as error:  # a damaged HDF5 chunk
        raise ImageError("damaged: this part of the file cannot be read") from error
    except MemoryError as error:
        raise ImageError("too large for the memory") from error
    if picture.dtype.kind == "f":
        picture = picture.astype(np.float32)
        low, high = picture.min(), picture.max()
        if not (low >= -1e-3 and high <= 1 + 1e-3):
            raise ImageError(f"values from {low:g} to {high:g}, not from 0 to 1")
        picture = picture.clip(0, 1)
    return picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture


def label_values(parts: list[Part]) -> tuple[tuple[str, ...], np.ndarray | None]:
    """The labels of all parts in one numbering.

    Returns:
        The class names, the label values as text ("0" to "9"), numbers in order of value and texts
        in natural order; and int32 (n,) indices into them, -1 in a part without labels. ((), None)
        when no part has any.
    """
    if all(part.labels is None for part in parts):
        return (), None
    values = [None if part.labels is None else _label_texts(part.labels) for part in parts]
    class_names = tuple(natural_sorted({text for texts in values if texts for text in texts}))
    if all(part.labels is None or part.labels.dtype.kind in "biuf" for part in parts):
        class_names = tuple(sorted(class_names, key=float))
    position = {name: i for i, name in enumerate(class_names)}
    labels = [
        np.full(len(part.pixels), -1, np.int32)
        if texts is None
        else np.array([position[text] for text in texts], np.int32)
        for part, texts in zip(parts, values, strict=True)
    ]
    return class_names, np.concatenate(labels)


def _label_texts(labels: np.ndarray) -> list[str]:
    values = labels.reshape(-1)
    if values.dtype.kind == "b" or (values.dtype.kind == "f" and (values == values.round()).all()):
        values = values.astype(np.int64)
    return [
        value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
        for value in values.tolist()
    ]
