"""Reading feature rows in blocks whose boundaries never depend on where the rows live.

Every sum in this folder runs block by block, so an array in memory and a data set on disk
give the same bits.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Protocol, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController  # scikit-learn stands on it

from aetool.errors import FormatError

BLOCK_VALUES = 1 << 19
"""Numbers in a block: 2 MB of float32, which a processor's cache holds from one sum to the next."""

BLOCK_ROWS = 1 << 15
"""Most rows in a block, however narrow."""

MEMORY_VALUES = 1 << 27
"""Rows of up to this many numbers (512 MB) are kept in memory instead of being read again."""

_AVAILABLE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
THREADS = min(8, _AVAILABLE or 1)
"""Blocks that are worked on at a time."""

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
        self.shift = shift.astype(np.float32)  # what is taken off, rounded
        self._kept: np.ndarray | None = None
        if features.shape[0] * features.shape[1] <= MEMORY_VALUES:
            kept = np.empty(features.shape, dtype=np.float32)

            def keep(start: int, block: np.ndarray) -> None:
                np.subtract(block, self.shift, out=kept[start : start + len(block)])

            for _ in each(keep, features):
                pass
            self._kept = kept

    def __getitem__(self, rows: slice) -> np.ndarray:
        if self._kept is not None:
            return self._kept[rows]
        return np.asarray(self._features[rows], dtype=np.float32) - self.shift


def blocks(features: Features) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, float32 (rows, d)) in order."""
    for start in _starts(features):
        yield start, _block(features, start)


T = TypeVar("T")


def each(function: Callable[[int, np.ndarray], T], features: Features) -> Iterator[T]:
    """What a function gives for every block, in order; it works on several blocks at a time.

    A product of matrices stays in one thread, which is faster than to share each among all of them,
    and lets a sum over the results not depend on how many there are.

    Args:
        function: called with a block's first row and the block, float32 (rows, d).
        features: (n, d).
    """
    starts = _starts(features)
    with _blas().limit(limits=1, user_api="blas"):
        if THREADS == 1 or len(starts) == 1:
            yield from (function(start, _block(features, start)) for start in starts)
            return
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="aetool-rows")
        results = deque()
        try:
            for start in starts:
                results.append(pool.submit(_applied, function, features, start))
                if len(results) > 2 * THREADS:
                    yield results.popleft().result()
            while results:
                yield results.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _applied(function: Callable[[int, np.ndarray], T], features: Features, start: int) -> T:
    return function(start, _block(features, start))


_blas = cache(ThreadpoolController)  # it looks through all libraries of the process


def block_rows(features: Features) -> int:
    """Rows in a block of such features (n, d)."""
    return min(max(64, BLOCK_VALUES // max(features.shape[1], 1)), BLOCK_ROWS)


def _starts(features: Features) -> range:
    return range(0, features.shape[0], block_rows(features))


def _block(features: Features, start: int) -> np.ndarray:
    # A float64 too large becomes inf, which moments() refuses like what is no number.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(features[start : start + _starts(features).step], dtype=np.float32)


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
    # Near the mean: the squares then lose no digits.
    shift = next(blocks(features))[1][0].astype(np.float64)
    for sums, sums_of_squares in each(partial(_sums, shift), features):
        total += sums
        squares += sums_of_squares
    mean = total / count
    return shift + mean, np.maximum(squares / count - mean * mean, 0.0)


def _sums(shift: np.ndarray, start: int, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the rows less `shift` and of their squares; FormatError as `moments`."""
    with np.errstate(invalid="ignore"):
        values = block.astype(np.float64)
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
    return sums, np.einsum("ij,ij->j", values, values)
