"""Features from other programs in place of latents: NumPy's .npy and .npz, .csv and .parquet."""

import array
import contextlib
import errno
import itertools
import math
import shutil
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aetool.errors import FormatError
from aetool.storage.tables import iterate_table

# Names under which an .npz holds features and their labels.
_PAIRS = (("features", "labels"), ("x", "y"))
_NOT_FEATURES = {"path", "label"}
# What an .npz of aetool's own says of its features beside their columns.
_ABOUT = ("source", "feature_shape", "precision", "checkpoint", "class_names")


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of numbers.

    Args:
        features: (n, ...) of any numeric dtype, memory-mapped where the format allows.
        paths: n names.
        labels: (n,) int32 positions in `class_names`, -1 where unknown; None without labels.
        class_names: () without labels.
        index: (n,) int64 positions in the source; None where the file does not say.
        about: `source`, `feature_shape`, `precision` and `checkpoint`, as far as the file says.
    """

    features: np.ndarray
    paths: list[str]
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    index: np.ndarray | None = None
    about: Mapping = field(default_factory=dict)


def read_npy(path: Path, name: str) -> Matrix:
    """An .npy file of (n, ...) numbers, memory-mapped. Never unpickles."""
    features = _check_features(_map(path, name), name)
    return Matrix(features, _numbered(len(features)))


def read_npz(path: Path, name: str) -> Matrix:
    """An .npz file: `features` and `labels`, `x` and `y`, or a single array. Never unpickles.

    Beside `features` all that `exchange.write_npz` writes is read.
    """
    about, columns, labels = {}, {}, None
    with tempfile.TemporaryDirectory(prefix="aetool-") as folder:
        arrays = _Archive(path, Path(folder), name)
        key, label_key = _choose(arrays.keys, name)
        features = _check_features(arrays.map(key), name)
        if label_key in arrays.keys:
            labels = _label_column(arrays.map(label_key), name)
        if key == "features":
            about = {k: arrays.map(k).tolist() for k in _ABOUT if k in arrays.keys}
            columns = {k: arrays.map(k) for k in ("paths", "index") if k in arrays.keys}
    paths = columns.get("paths", np.asarray(_numbered(len(features), f"{key}/")))
    if paths.ndim != 1 or paths.dtype.kind not in "SU":
        raise FormatError(f"{name} holds paths of type {paths.dtype}, shape {paths.shape}")
    index = columns.get("index")
    if index is not None and (index.ndim != 1 or index.dtype.kind not in "iu"):
        raise FormatError(f"{name} holds an index of type {index.dtype}, shape {index.shape}")
    return _described(name, features, _label_column(paths, name), labels, index, about)


def read_csv(path: Path, name: str) -> Matrix:
    """A .csv file of numbers, with or without a header; `path` and `label` are kept apart.

    A header of the numbers 0, 1, 2, ... is what pandas gives columns without names, and a first
    column without a title is its, or R's, numbering of the rows.
    """
    rows = iterate_table(path, name=name)
    header = next(rows)
    counted = len(header) > 2 and header == [str(i) for i in range(len(header))]
    if all(map(_is_number, header)) and not counted:
        rows = itertools.chain([header], rows)
        header = [f"column {i + 1}" for i in range(len(header))]
    columns = [i for i, title in enumerate(header) if title not in _NOT_FEATURES and (title or i)]
    if not columns:
        raise FormatError(f"{name} has no column of numbers")
    values, paths, labels = array.array("f"), [], []
    for number, row in enumerate(rows, start=1):
        try:
            values.extend([float(row[i]) for i in columns])
        except ValueError:
            bad = next(i for i in columns if not _is_number(row[i]))
            raise FormatError(
                f"{name}, row {number}: {header[bad]} is {row[bad]!r}, not a number",
                "only the columns `path` and `label` may hold text",
            ) from None
        if "path" in header:
            paths.append(row[header.index("path")])
        if "label" in header:
            labels.append(row[header.index("label")])
    features = np.frombuffer(values, np.float32).reshape(-1, len(columns))
    codes, class_names = _encode_labels(labels) if any(labels) else (None, ())
    return Matrix(features, paths or _numbered(len(features)), codes, class_names)


def read_parquet(path: Path, name: str) -> Matrix:
    """A .parquet file: columns of numbers or one of lists, `features`; `path` and `label` apart."""
    from aetool.storage import parquet

    with tempfile.TemporaryDirectory(prefix="aetool-") as folder:
        features, columns, about = parquet.read_columns(path, name, Path(folder))
    _check_features(features, name)
    index = columns.get("index")
    if index is not None:
        if not all(isinstance(position, int) for position in index):
            raise FormatError(f"{name} has an index that is no column of whole numbers")
        try:
            index = np.asarray(index, np.int64)
        except OverflowError as error:
            raise FormatError(f"{name} has an index that is larger than any row") from error
    paths = columns.get("path", _numbered(len(features)))
    return _described(name, features, paths, columns.get("label"), index, about)


READERS: dict[str, Callable[[Path, str], Matrix]] = {
    "npy": read_npy,
    "npz": read_npz,
    "csv": read_csv,
    "parquet": read_parquet,
}


def _described(
    name: str,
    features: np.ndarray,
    paths: list[str],
    labels: list[str] | None,
    index: np.ndarray | None,
    about: Mapping,
) -> Matrix:
    """The matrix of a file that may say what aetool's own files say, every claim checked."""
    for what, column in (("paths", paths), ("labels", labels), ("positions", index)):
        if column is not None and len(column) != len(features):
            raise FormatError(f"{name} has {len(features)} rows and {len(column)} {what}")
    texts = [about.get(key, "") for key in ("source", "precision", "checkpoint")]
    shape = about.get("feature_shape", features.shape[1:])
    given = about.get("class_names")
    lists = (list, tuple)
    if (
        not isinstance(given, (*lists, type(None)))
        or not all(isinstance(text, str) for text in texts + list(given or ()))
        or not isinstance(shape, lists)
        or not all(isinstance(side, int) for side in shape)
        or math.prod(shape) != math.prod(features.shape[1:])
    ):
        raise FormatError(f"{name} is damaged: its description makes no sense", "make it again")
    codes, class_names = None, ()
    if labels is not None and (given or any(labels)):
        codes, class_names = _encode_labels(labels, given)
        if (codes < -1).any():
            raise FormatError(f"{name} is damaged: a label has no class name", "make it again")
    source, precision, checkpoint = texts
    return Matrix(
        features,
        paths,
        codes,
        class_names,
        index,
        {
            "source": source,
            "feature_shape": tuple(shape),
            "precision": precision,
            "checkpoint": checkpoint,
        },
    )


class _Archive:
    """The arrays of an .npz, unpacked to files and mapped: they need not fit in memory."""

    def __init__(self, path: Path, folder: Path, name: str):
        self._path, self._folder, self._name = path, folder, name
        with self._open() as archive:
            self._members = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
        self.keys = set(self._members)

    def map(self, key: str) -> np.ndarray:
        unpacked = self._folder / "array.npy"
        with (
            self._open() as archive,
            archive.open(self._members[key]) as packed,
            open(unpacked, "wb") as stream,
        ):
            shutil.copyfileobj(packed, stream, 1 << 20)
        array = _map(unpacked, f"{self._name}, array {key}")
        unpacked.unlink()  # its bytes stay until nothing maps them
        return array

    @contextlib.contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self._path) as archive:
                yield archive
        # All that zipfile raises for a broken, encrypted or unknown member.
        except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError) as error:
            raise FormatError(f"{self._name} is damaged: {error}", "make it again") from error
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # Its directory puts a member before the file's first byte.
            raise FormatError(f"{self._name} is damaged: {error}", "make it again") from error


def _map(path: Path, name: str) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError, OverflowError, tokenize.TokenError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it ends early"
        raise FormatError(f"{name} is no NumPy array of numbers: {reason}") from error


def _check_features(features: np.ndarray, name: str) -> np.ndarray:
    if features.dtype.kind not in "fiub" or features.ndim < 2 or 0 in features.shape[1:]:
        raise FormatError(
            f"{name} holds {features.dtype} of shape {features.shape}, not rows of numbers"
        )
    return features


def _choose(members: set[str], name: str) -> tuple[str, str | None]:
    for features, labels in _PAIRS:
        if features in members:
            return features, labels
    if len(members) == 1:
        return next(iter(members)), None
    raise FormatError(
        f"{name} holds {', '.join(sorted(members)) or 'nothing'}",
        "name the arrays features and labels, or x and y, or store a single array",
    )


def _label_column(labels: np.ndarray, name: str) -> list[str]:
    if labels.dtype.kind not in "iubUS" or not labels.ndim or labels.size != len(labels):
        raise FormatError(f"{name} holds labels of type {labels.dtype}, shape {labels.shape}")
    values = labels.ravel().tolist()
    return [
        value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
        for value in values
    ]


def _encode_labels(
    labels: Sequence[str], class_names: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Positions in the class names, -1 for "", which is unknown, and -2 for one not among them.

    Where the names are not given they are sorted, by value where all are whole numbers.
    """
    if class_names is None:
        names = set(labels) - {""}
        numeric = all(name.removeprefix("-").isdecimal() for name in names)
        class_names = sorted(names, key=int if numeric else None)
    codes = {"": -1} | {name: code for code, name in enumerate(class_names)}
    return np.array([codes.get(label, -2) for label in labels], np.int32), tuple(class_names)


def _numbered(count: int, prefix: str = "") -> list[str]:
    return [f"{prefix}{i:06d}" for i in range(count)]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
