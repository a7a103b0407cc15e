"""Latents in an `.h5` file: one row of features a picture, in the order of the source."""

import contextlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from aetool.errors import FormatError
from aetool.storage.blocks import Blocks
from aetool.storage.checked import (
    check_dataset,
    damaged,
    read_arrays,
    read_integers,
    read_text,
)
from aetool.storage.container import open_container, writing
from aetool.storage.exchange import WRITERS, check_writer
from aetool.storage.matrices import READERS
from aetool.storage.pipes import from_standard_input, to_standard_output
from aetool.storage.shards import Part

_TEXT = h5py.string_dtype("utf-8")
_CHUNK_BYTES = 1 << 16  # of an HDF5 chunk: small enough for many in HDF5's 1 MiB cache
_BLOCK_BYTES = 1 << 23  # of the rows that are read at a time
_WRITTEN_BYTES = 1 << 20  # of those that are written at a time
_ROWS_OF_TEXT = 1024


@dataclass(slots=True)
class Latents:
    """Rows of features and where each comes from. Close it, or use it as a context.

    Args:
        features: (n, d) numbers, on disk where the file is; read them through `chunks`.
        index: (n,) int64, each row's position in the source.
        paths: n names relative to `source`.
        labels: (n,) int32 positions in `class_names`, -1 where unknown; None without labels.
        class_names: () without labels.
        source: the folder or array file that the pictures came from.
        feature_shape: d as the network had it, for example (5, 5, 128).
        precision: "float32" or "bfloat16", what the encoder computed in; "" where unknown.
        checkpoint: digest of the encoder's checkpoint; "" where there was none.
        part: the shard that the file holds; None for the whole of a source.
        name: what messages call the file.
    """

    features: h5py.Dataset | np.ndarray
    index: np.ndarray
    paths: list[str]
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    source: str = ""
    feature_shape: tuple[int, ...] = ()
    precision: str = ""
    checkpoint: str = ""
    part: Part | None = None
    name: str = ""
    _resources: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)

    def __len__(self) -> int:
        return self.features.shape[0]

    @property
    def dimensions(self) -> int:
        return self.features.shape[1]

    def chunks(self, rows: int | None = None) -> Iterator[np.ndarray]:
        """The features in order, without holding them all.

        Args:
            rows: rows in a block; chosen so that a block has about 8 MiB where None.

        Yields:
            float32 (at most rows, d).

        Raises:
            FormatError: a value is infinite or not a number.
        """
        rows = rows or max(1, _BLOCK_BYTES // (4 * self.dimensions))
        for start in range(0, len(self), rows):
            with np.errstate(over="ignore"):
                block = np.ascontiguousarray(self.features[start : start + rows], np.float32)
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                raise FormatError(
                    f"{self.name}, row {start + int(np.argmin(finite)) + 1}: not a finite number"
                )
            yield block

    def close(self) -> None:
        self._resources.close()

    def __enter__(self) -> "Latents":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LatentsWriter:
    """Writes latents row by row; the file appears, whole, when the context ends without an error.

    Its bytes follow from the rows alone, not from how many of them each `append` brought.

    Args:
        path: the file, or "-" for standard output (spooled to a temporary file until complete); the
            suffix .npz, .csv or .parquet asks for another format, which is made at the end.
        dimensions: d, the length of a row.
        feature_shape: d as the network has it.
        source: the folder or array file that the names are relative to.
        class_names: () where the source has no labels; then none are stored.
        precision: "float32" or "bfloat16".
        checkpoint_digest: of the encoder; "" for raw pixels.
        part: the shard of the source that these rows are; None for the whole.

    Raises:
        OutputError: the file cannot be written, or standard output is a terminal.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        dimensions: int,
        feature_shape: Sequence[int],
        source: str,
        class_names: Sequence[str] = (),
        precision: str = "float32",
        checkpoint_digest: str = "",
        part: Part | None = None,
    ):
        if np.prod(feature_shape, dtype=int) != dimensions:
            raise ValueError(f"features of shape {tuple(feature_shape)} are not {dimensions} long")
        self.rows = 0
        self._path = path
        self._dimensions = dimensions
        self._attributes = {
            "feature_shape": np.asarray(feature_shape, np.int64),
            "source": np.asarray(_encode(source), dtype=_TEXT),
            "precision": precision,
            "checkpoint": checkpoint_digest,
        }
        if part:
            self._attributes["part"] = str(part)
        self._class_names = tuple(class_names)
        self._blocks = Blocks(max(1, _WRITTEN_BYTES // (4 * dimensions)))
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> "LatentsWriter":
        with contextlib.ExitStack() as resources:
            path = self._path
            if str(path) == "-":
                path = resources.enter_context(to_standard_output("latents.h5"))
            elif Path(path).suffix.lower() in WRITERS:
                path = resources.enter_context(_converted(Path(path)))
            self._file = resources.enter_context(writing(Path(path), "latents"))
            self._create()
            resources.push(self._finish)
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resources.__exit__(kind, error, trace)

    def append(
        self,
        features: np.ndarray,
        index: Sequence[int],
        names: Sequence[str],
        labels: Sequence[int] | None = None,
    ) -> None:
        """Add rows at the end.

        Args:
            features: (b, ...) of any shape with d values a row; stored as float32.
            index: (b,) positions in the source.
            names: b names relative to the source.
            labels: (b,) positions in `class_names`, -1 for unknown; not stored without class names.
        """
        features = np.asarray(features, np.float32).reshape(len(features), -1)
        if features.shape[1] != self._dimensions or not len(features) == len(index) == len(names):
            raise ValueError(
                f"features {features.shape}, {len(index)} positions and {len(names)} names "
                f"are not rows of {self._dimensions}"
            )
        columns = {
            "features": features,
            "index": np.asarray(index, np.int64),
            "paths": np.array([_encode(name) for name in names], object),
        }
        if self._class_names:
            unknown = np.full(len(names), -1)
            columns["labels"] = np.asarray(unknown if labels is None else labels, np.int32)
        self.rows += len(features)
        for block in self._blocks.add(columns):
            self._write(block)

    def _write(self, columns: dict[str, np.ndarray]) -> None:
        for column, values in columns.items():
            dataset = self._file[column]
            dataset.resize(len(dataset) + len(values), axis=0)
            dataset[-len(values) :] = values

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for block in self._blocks.rest():
                self._write(block)

    def _create(self) -> None:
        file, rows = self._file, max(1, _CHUNK_BYTES // (4 * self._dimensions))
        file.attrs.update(self._attributes)
        file.create_dataset(
            "features",
            shape=(0, self._dimensions),
            maxshape=(None, self._dimensions),
            chunks=(rows, self._dimensions),
            dtype="<f4",
        )
        column = {"shape": (0,), "maxshape": (None,), "chunks": (1024,)}
        file.create_dataset("index", dtype="<i8", **column)
        file.create_dataset("paths", dtype=_TEXT, **column)
        if self._class_names:
            file.create_dataset("labels", dtype="<i4", **column)
            names = [_encode(name) for name in self._class_names]
            file.create_dataset("class_names", data=np.asarray(names, object), dtype=_TEXT)


def open_latents(text: str | Path) -> Latents:
    """Open latents, or any table of numbers in their place.

    Args:
        text: an aetool latents file, a NumPy .npy or .npz (`features` and `labels`, `x` and `y`,
            or a single array), a .csv (columns of numbers, and `path` and `label` where there
            are), a .parquet, or "-" for any of these on standard input. What a file is follows from
            its first bytes, not from its name.

    Raises:
        FormatError: the file cannot be read as any of these.
    """
    with contextlib.ExitStack() as resources:
        path, name = Path(text), str(text)
        if name == "-":
            path, name = resources.enter_context(from_standard_input()), "standard input"
        kind = _kind_of_file(path, name)
        if kind == "aetool":
            return _open_native(path, name)
        matrix = READERS[kind](path, name)
    features, about = matrix.features, matrix.about
    own = name if name == "standard input" else str(path.absolute())
    return Latents(
        features.reshape(len(features), math.prod(features.shape[1:])),
        index=np.arange(len(features)) if matrix.index is None else matrix.index,
        paths=matrix.paths,
        labels=matrix.labels,
        class_names=matrix.class_names,
        source=about.get("source") or own,
        feature_shape=about.get("feature_shape", features.shape[1:]),
        precision=about.get("precision", ""),
        checkpoint=about.get("checkpoint", ""),
        name=name,
    )


def _kind_of_file(path: Path, name: str) -> str:
    """What reads a file; "aetool" also gets the unreadable, as its messages are the clearest."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(8)
    except OSError:
        return "aetool"
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start.startswith(b"PK\x03\x04"):
        return "npz"
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith((b"aetool", b"\x89HDF")) or not start:
        return "aetool"
    return "csv" if name == "standard input" or path.suffix.lower() == ".csv" else "aetool"


def _open_native(path: Path, name: str) -> Latents:
    with contextlib.ExitStack() as resources:
        file = resources.enter_context(open_container(path, "latents", name=name))
        try:
            latents = _read_format_1(file, name)  # the header let no other format through
        except (OSError, RuntimeError) as error:  # how h5py reports a broken HDF5 structure
            raise damaged(name, "its HDF5 structure is broken") from error
        latents._resources = resources.pop_all()
        return latents


def _read_format_1(file: h5py.File, name: str) -> Latents:
    features = check_dataset(file, "features", kinds="f")
    labelled = "labels" in file
    columns = read_arrays(file, ["index", *["labels"] * labelled])
    latents = Latents(
        features,
        index=columns["index"],
        paths=_read_lines(file, "paths"),
        labels=columns.get("labels"),
        class_names=tuple(_read_lines(file, "class_names")) if labelled else (),
        source=read_text(file, "source"),
        feature_shape=read_integers(file, "feature_shape"),
        precision=read_text(file, "precision"),
        checkpoint=read_text(file, "checkpoint"),
        part=_read_part(file, name),
        name=name,
    )
    if features.ndim != 2 or math.prod(latents.feature_shape) != features.shape[1]:
        raise damaged(name, f"its features have shape {features.shape}")
    rows = (features.shape[0],)
    if any(column.shape != rows or column.dtype.kind != "i" for column in columns.values()):
        raise damaged(name, "its columns differ in length")
    if len(latents.paths) != rows[0]:
        raise damaged(name, "its columns differ in length")
    if labelled and rows[0]:
        low, high = latents.labels.min(), latents.labels.max()
        if low < -1 or high >= len(latents.class_names):
            raise damaged(name, "a label has no class name")
    return latents


def _read_part(file: h5py.File, name: str) -> Part | None:
    if "part" not in file.attrs:
        return None
    part = Part.parse(read_text(file, "part"))
    if part is None:
        raise damaged(name, "its part makes no sense")
    return part


def _read_lines(file: h5py.File, path: str) -> list[str]:
    """A column of text, a block at a time: many rows may claim one long text of the file."""
    dataset = check_dataset(file, path, kinds="O")
    if dataset.ndim != 1:
        raise damaged(file.filename, f"{path} is not a column")
    texts, left = [], file.id.get_filesize()
    for start in range(0, len(dataset), _ROWS_OF_TEXT):
        block = dataset[start : start + _ROWS_OF_TEXT]
        left -= sum(map(len, block))
        if left < 0:
            raise damaged(file.filename, f"{path} claims more text than the file holds")
        texts += [text.decode("utf-8", "surrogateescape") for text in block]
    return texts


def _encode(text: str) -> bytes:
    """UTF-8, where a name that is none keeps its own bytes."""
    return text.encode("utf-8", "surrogateescape")


@contextlib.contextmanager
def _converted(path: Path) -> Iterator[Path]:
    """A file for latents that becomes, when it is complete, the file of another format."""
    check_writer(path)
    with tempfile.TemporaryDirectory(prefix="aetool-") as folder:
        spool = Path(folder, "latents.h5")
        yield spool
        with open_latents(spool) as latents:
            WRITERS[path.suffix.lower()](path, latents)
