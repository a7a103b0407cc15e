"""What was fitted to some latents, kept for others: clusters and principal axes."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from aetool.errors import FormatError
from aetool.storage.checked import array_paths, damaged, read_arrays, read_text
from aetool.storage.container import open_container, write_container

_TEXT = h5py.string_dtype("utf-8")


@dataclass(frozen=True, slots=True)
class Fitted:
    """The contents of a clustering or a projection.

    Args:
        method: how it was found.
        checkpoint: digest of the encoder of the latents it was found in, "" where there was none.
        arrays: name -> numbers.
    """

    method: str
    checkpoint: str
    arrays: dict[str, np.ndarray]


def write_fitted(path: Path, kind: str, fitted: Fitted) -> None:
    """Write a file whole or not at all.

    Args:
        path: the file, replaced atomically.
        kind: "clustering" or "projection".

    Raises:
        OutputError: the file cannot be written.
    """

    def fill(file: h5py.File) -> None:
        for name in ("method", "checkpoint"):
            file.attrs[name] = np.asarray(getattr(fitted, name), dtype=_TEXT)
        for name, values in fitted.arrays.items():
            file.create_dataset(name, data=values)

    write_container(path, kind, fill)


def read_fitted(path: Path, kind: str) -> Fitted:
    """Read a file of this kind; every number in it is finite.

    Raises:
        FormatError: missing, foreign, of another kind, newer, truncated or damaged.
    """
    with open_container(path, kind) as file:
        try:
            texts = [read_text(file, name) for name in ("method", "checkpoint")]
            arrays = read_arrays(file, array_paths(file))
        except (OSError, RuntimeError) as error:  # how h5py reports a broken HDF5 structure
            raise damaged(str(path), "its HDF5 structure is broken") from error
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise damaged(str(path), f"{name} holds a value that is not a finite number")
    return Fitted(*texts, arrays)


def check_fits(path: Path, fitted: Fitted, dimensions: int, latents) -> None:
    """Refuse latents that a file was not fitted to the like of.

    Args:
        path: the file, for the message.
        dimensions: the length of the rows it takes.
        latents: what `open_latents` returns.

    Raises:
        FormatError: the rows differ in length, or come from another encoder.
    """
    if len(latents) and latents.dimensions != dimensions:
        raise FormatError(
            f"{path} takes rows of {dimensions} numbers, {latents.name} has {latents.dimensions}",
            "encode with the model and layer it was fitted to",
        )
    # A bare table, which no encoder wrote, does not say what its numbers are.
    if latents.precision and latents.checkpoint != fitted.checkpoint:
        raise FormatError(
            f"{path} was fitted to latents of another encoder than those of {latents.name}",
            "encode with the model it was fitted to",
        )
