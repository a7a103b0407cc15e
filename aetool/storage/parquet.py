"""Latents as Parquet: a row a picture, its numbers a list, what they are in the file's metadata."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from aetool.errors import FormatError, MissingExtra
from aetool.storage.arrays import ArrayWriter
from aetool.storage.atomic import replacing

if TYPE_CHECKING:
    from aetool.storage.latents import Latents

_ABOUT = b"aetool"
_KNOWN = ("path", "label", "index")  # columns that are not features
_ROWS = 4096  # read at a time


def write_parquet(path: Path, latents: "Latents", labels: list[str]) -> None:
    """Write columns `path`, `label`, `index` and `features`, a list of float32 of one length.

    A row group is about 8 MiB. Where a name is not UTF-8, the column of names is bytes.

    Args:
        path: the file, replaced atomically.
        latents: the rows.
        labels: each row's class name, "" where unknown.

    Raises:
        OutputError: the file cannot be written.
        MissingExtra: pyarrow is not installed.
        FormatError: a value is not finite.
    """
    pyarrow, parquet = library(f"writing {path}")
    names, classes = _texts(pyarrow, latents.paths), _texts(pyarrow, labels)
    about = {
        "source": latents.source,
        "feature_shape": [int(side) for side in latents.feature_shape],
        "precision": latents.precision,
        "checkpoint": latents.checkpoint,
        "class_names": None if latents.labels is None else list(latents.class_names),
    }
    schema = pyarrow.schema(
        {
            "path": names.type,
            "label": classes.type,
            "index": pyarrow.int64(),
            "features": pyarrow.list_(pyarrow.float32(), latents.dimensions),
        }
    ).with_metadata({_ABOUT: json.dumps(about)})
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        start = 0
        for block in latents.chunks():
            end = start + len(block)
            columns = [
                names[start:end],
                classes[start:end],
                pyarrow.array(latents.index[start:end], pyarrow.int64()),
                pyarrow.FixedSizeListArray.from_arrays(block.ravel(), latents.dimensions),
            ]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
            start = end


def read_columns(path: Path, name: str, folder: Path) -> tuple[np.ndarray, dict, dict]:
    """The numbers, the other columns and the description of a Parquet file.

    Args:
        path: a file with a column `features` of lists of one length, or with columns of numbers,
            and perhaps `path`, `label` and `index`.
        name: what messages call it.
        folder: where the numbers wait, mapped and not in memory.

    Returns:
        (n, d) float32; {"path": n texts, "label": n texts, "index": n numbers}, those there are;
        and what `write_parquet` said of the file, {} for another program's.

    Raises:
        FormatError: no Parquet, or no rows of numbers in it.
        MissingExtra: pyarrow is not installed.
    """
    pyarrow, parquet = library(f"reading {name}")
    unpacked = folder / "features.npy"
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            numbers = _number_columns(pyarrow, schema, name)
            known = [column for column in _KNOWN if column in schema.names]
            columns: dict[str, list] = {column: [] for column in known}
            width = _width(pyarrow, file, numbers, name)
            with ArrayWriter(unpacked, (width,)) as writer:
                for batch in file.iter_batches(_ROWS, columns=[*known, *numbers]):
                    writer.append(_block(batch, numbers, width, name))
                    for column in known:
                        columns[column] += batch.column(column).to_pylist()
            about = _description(schema, name)
    except (pyarrow.ArrowException, OSError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it ends early"
        raise FormatError(f"{name} is no Parquet file of latents: {reason}") from error
    for column in {"path", "label"} & set(known):
        columns[column] = [_text(value) for value in columns[column]]
    return np.load(unpacked, mmap_mode="r"), columns, about


def library(what: str) -> tuple[ModuleType, ModuleType]:
    """pyarrow and its Parquet, imported where `what` needs them.

    Raises:
        MissingExtra: they are not installed.
    """
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtra(what, "parquet") from error


def _texts(pyarrow: ModuleType, texts: list[str]):
    """A column of text, or of bytes where one of them is no UTF-8."""
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    try:
        return pyarrow.array([text.decode() for text in encoded], pyarrow.string())
    except UnicodeDecodeError:
        return pyarrow.array(encoded, pyarrow.binary())


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return "" if value is None else str(value)


def _number_columns(pyarrow: ModuleType, schema, name: str) -> list[str]:
    if "features" in schema.names:
        return ["features"]
    of_numbers = (pyarrow.types.is_integer, pyarrow.types.is_floating)
    found = [
        field.name
        for field in schema
        if field.name not in _KNOWN and any(holds(field.type) for holds in of_numbers)
    ]
    if not found:
        raise FormatError(
            f"{name} has no column of numbers", "name a column of lists features, or give numbers"
        )
    return found


def _width(pyarrow: ModuleType, file, numbers: list[str], name: str) -> int:
    """How many numbers a row has, by the first row where its type does not say."""
    if numbers != ["features"]:
        return len(numbers)
    kind = file.schema_arrow.field("features").type
    if pyarrow.types.is_fixed_size_list(kind):
        return kind.list_size
    if not (pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)):
        raise FormatError(f"{name} has a column features of {kind}, not of lists of numbers")
    first = next(file.iter_batches(1, columns=numbers), ())
    if not len(first) or not first.column(0)[0].is_valid:
        raise FormatError(f"{name} has no rows of numbers")
    return len(first.column(0)[0])


def _block(batch, numbers: list[str], width: int, name: str) -> np.ndarray:
    """A batch's rows of numbers, (n, width)."""
    columns = [batch.column(number) for number in numbers]
    if any(column.null_count for column in columns):
        raise FormatError(f"{name} lacks some of its numbers")
    if numbers != ["features"]:
        return np.stack([column.to_numpy(zero_copy_only=False) for column in columns], axis=1)
    values = columns[0].flatten()
    block = values.to_numpy(zero_copy_only=False)
    if values.null_count or block.dtype.kind not in "fiu":
        raise FormatError(f"{name} has a column features of {columns[0].type}")
    lengths = set(columns[0].value_lengths().to_pylist())
    if not lengths <= {width}:
        raise FormatError(f"{name} has rows of {', '.join(map(str, sorted(lengths)))} numbers")
    return block.reshape(-1, width)


def _description(schema, name: str) -> dict:
    """What `write_parquet` said of the file; {} for another program's."""
    text = (schema.metadata or {}).get(_ABOUT, b"{}")
    try:
        about = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{name} is damaged: its description is not JSON") from error
    if not isinstance(about, dict):
        raise FormatError(f"{name} is damaged: its description is no object")
    return about
