"""Reading feature rows in blocks whose boundaries never depend on where the rows live.

Every sum in this folder runs block by block, so an array in memory and a data set on disk
give the same bits.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from aetool.errors import FormatError

BLOCK_VALUES = 1 << 19
"""Numbers in a block: 2 MB of float32, which a processor's cache holds from one sum to the next."""

BLOCK_ROWS = 1 << 15
"""Most rows in a block, however narrow."""

MEMORY_VALUES = 1 << 27
"""Rows of up to this many numbers (512 MB) are kept in memory instead of being read again."""

LARGEST = 1e15
"""Values beyond this are refused: sums of their squares leave float32, which distances are in."""


class Features(Protocol):
    """Anything two-dimensional that can be sliced by rows: an array, an HDF5 data set."""

    shape: tuple[int, int]

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


class Shifted:
    """Rows minus a vector, as float32: near their mean, products of rows lose fewer digits.

    Kept in memory where they are few, else made again whenever they are read.

    Args:
        features: (n, d), any real dtype.
        shift: (d,).
    """

    def __init__(self, features: Features, shift: np.ndarray):
        self.shape = features.shape
        self._features = features
        self._shift = shift.astype(np.float32)
        self._kept: np.ndarray | None = None
        if features.shape[0] * features.shape[1] <= MEMORY_VALUES:
            kept = np.empty(features.shape, dtype=np.float32)
            for start, block in blocks(features):
                np.subtract(block, self._shift, out=kept[start : start + len(block)])
            self._kept = kept

    def __getitem__(self, rows: slice) -> np.ndarray:
        if self._kept is not None:
            return self._kept[rows]
        return np.asarray(self._features[rows], dtype=np.float32) - self._shift


def blocks(features: Features) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, float32 (rows, d)) in order."""
    count, dimensions = features.shape
    step = min(max(64, BLOCK_VALUES // max(dimensions, 1)), BLOCK_ROWS)
    for start in range(0, count, step):
        # A float64 too large becomes inf, which moments() refuses like what is no number.
        with np.errstate(over="ignore", invalid="ignore"):
            block = np.asarray(features[start : start + step], dtype=np.float32)
        yield start, block


def take(features: Features, rows: np.ndarray) -> np.ndarray:
    """Rows of ascending numbers (m,) as float32 (m, d), in one pass over the blocks they lie in."""
    taken = np.empty((len(rows), features.shape[1]), dtype=np.float32)
    for start, block in blocks(features):
        first, last = np.searchsorted(rows, (start, start + len(block)))
        taken[first:last] = block[rows[first:last] - start]
    return taken


def moments(features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population variance of every column, float64 (d,) each, in one pass.

    Raises:
        FormatError: no rows, no columns, or a value that is not a finite number.
    """
    count, dimensions = features.shape
    if count == 0 or dimensions == 0:
        raise FormatError(
            "the latents hold no rows" if count == 0 else "the latents hold no columns",
            "encode a source that has readable pictures",
        )
    total = np.zeros(dimensions)
    squares = np.zeros(dimensions)
    shift = None
    for start, block in blocks(features):
        with np.errstate(invalid="ignore"):
            values = block.astype(np.float64)
            if shift is None:
                shift = values[0].copy()  # near the mean: the squares then lose no digits
            values -= shift
            sums = values.sum(axis=0)
        if not np.isfinite(sums).all():
            bad = start + 1 + int(np.argmin(np.isfinite(block).all(axis=1)))
            raise FormatError(
                f"row {bad} of the latents holds a value that is not a finite number",
                "encode again, or leave that row out",
            )
        if abs(block).max() > LARGEST:
            bad = start + 1 + int(np.argmax(abs(block).max(axis=1) > LARGEST))
            raise FormatError(
                f"row {bad} of the latents holds a value beyond {LARGEST:g}",
                "scale the numbers down, or leave that row out",
            )
        total += sums
        squares += np.einsum("ij,ij->j", values, values)
    mean = total / count
    return shift + mean, np.maximum(squares / count - mean * mean, 0.0)
