"""Rows that come in batches of any size, put together to blocks of one size."""

from collections.abc import Iterator, Mapping

import numpy as np


class Blocks:
    """Columns of equal length, collected until a block of rows is full.

    Args:
        rows: of a block.
    """

    def __init__(self, rows: int):
        self._rows = rows
        self._pieces: list[Mapping[str, np.ndarray]] = []
        self._waiting = 0

    def add(self, columns: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Take rows; yield every block that is full now."""
        self._pieces.append(columns)
        self._waiting += len(next(iter(columns.values())))
        if self._waiting < self._rows:
            return
        whole = self._joined()
        full = self._waiting - self._waiting % self._rows
        for start in range(0, full, self._rows):
            yield {name: values[start : start + self._rows] for name, values in whole.items()}
        self._pieces = [{name: values[full:] for name, values in whole.items()}]
        self._waiting -= full

    def rest(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the last block, which is not full, if there is one."""
        if self._waiting:
            yield self._joined()

    def _joined(self) -> dict[str, np.ndarray]:
        names = self._pieces[0]
        return {name: np.concatenate([piece[name] for piece in self._pieces]) for name in names}
