"""Latents for other programs: NumPy's .npz, .csv and .parquet, each of which is read back."""

import itertools
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aetool.storage.atomic import replacing
from aetool.storage.tables import write_columns

if TYPE_CHECKING:
    from aetool.storage.latents import Latents


def write_npz(path: Path, latents: "Latents") -> None:
    """Write the columns of a latents file as arrays of the same names, uncompressed.

    `labels` are class names, "" where unknown, in an array of text; nothing is pickled.

    Raises:
        OutputError: the file cannot be written.
        FormatError: a value is not finite.
    """
    columns = {
        "index": np.asarray(latents.index, "<i8"),
        "paths": np.asarray(latents.paths, str),
        "source": np.asarray(latents.source, str),
        "feature_shape": np.asarray(latents.feature_shape, "<i8"),
        "precision": np.asarray(latents.precision, str),
        "checkpoint": np.asarray(latents.checkpoint, str),
    }
    if latents.labels is not None:
        columns["labels"] = np.asarray(list(label_names(latents)), str)
        columns["class_names"] = np.asarray(latents.class_names, str)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open("features.npy", "w", force_zip64=True) as member:
            shape = (len(latents), latents.dimensions)
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            for block in latents.chunks():
                member.write(block.astype("<f4", copy=False).data)
        for name, column in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, column, allow_pickle=False)


def write_csv(path: Path | None, latents: "Latents") -> None:
    """Write `path`, `label` and a column for each number, f0 and so on; None is standard output.

    Raises:
        OutputError: the file cannot be written.
        FormatError: a value is not finite.
    """
    names = [f"f{i}" for i in range(latents.dimensions)]
    write_rows(path, latents, names, (block.T for block in latents.chunks()))


def write_rows(
    path: Path | None,
    latents: "Latents",
    names: Sequence[str],
    blocks: Iterable[Sequence[np.ndarray]],
) -> None:
    """Write a table with `path`, `label` and more columns for every row of latents.

    Args:
        path: as `write_columns` takes it.
        latents: of which rows only the names and labels are written.
        names: of the other columns.
        blocks: the other columns, (n,) each, of some rows at a time, in order.

    Raises:
        OutputError: the file cannot be written.
    """
    labels = label_names(latents)

    def columns() -> Iterator[list[Sequence]]:
        start = 0
        for block in blocks:
            stop = start + len(block[0])
            known = [name or None for name in itertools.islice(labels, stop - start)]
            yield [latents.paths[start:stop], known, *block]
            start = stop

    write_columns(path, ["path", "label", *names], columns())


def write_parquet(path: Path, latents: "Latents") -> None:
    """As `storage.parquet.write_parquet`, whose package not every installation has."""
    from aetool.storage import parquet

    parquet.write_parquet(path, latents, list(label_names(latents)))


# By suffix, what writes latents as another program's file.
WRITERS: dict[str, Callable[[Path, "Latents"], None]] = {
    ".npz": write_npz,
    ".csv": write_csv,
    ".parquet": write_parquet,
}


def check_writer(path: Path) -> None:
    """Find out before any work whether what writes `path` is installed.

    Raises:
        MissingExtra: it is not.
    """
    if path.suffix.lower() == ".parquet":
        from aetool.storage import parquet

        parquet.library(f"writing {path}")


def label_names(latents: "Latents") -> Iterator[str]:
    """Each row's class name, "" where it is unknown."""
    if latents.labels is None:
        return itertools.repeat("", len(latents))
    return (latents.class_names[code] if code >= 0 else "" for code in latents.labels)
