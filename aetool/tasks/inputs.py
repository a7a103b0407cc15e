"""The files that a run reads, none of which may make way for what it writes."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aetool.images.source import Source


class Inputs:
    """The files that sources are read from, looked at only when an output is already there.

    Args:
        sources: None is left out.
    """

    def __init__(self, *sources: Source | None):
        self._sources = [source for source in sources if source is not None]
        self._numbers: np.ndarray | None = None  # sorted

    def holds(self, output: Path) -> bool:
        """Whether a file is one of them, by whatever name."""
        number = _number(output)
        if number is None:
            return False
        if self._numbers is None:
            self._numbers = np.sort(np.fromiter(self._all_numbers(), np.uint64))
        place = np.searchsorted(self._numbers, number)
        if place == len(self._numbers) or self._numbers[place] != number:
            return False
        return any(_number(path) == number and path.samefile(output) for path in self._paths())

    def _paths(self) -> Iterator[Path]:
        for source in self._sources:
            yield from source.files
            paths = (source.path(i) for i in range(len(source)))
            yield from (path for path in paths if path is not None)

    def _all_numbers(self) -> Iterator[np.uint64]:
        return (number for number in map(_number, self._paths()) if number is not None)


def _number(path: Path) -> np.uint64 | None:
    """The same for all names of a file, None where none is there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return np.uint64((status.st_ino ^ status.st_dev << 48) & 0xFFFFFFFFFFFFFFFF)
