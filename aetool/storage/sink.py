"""A file for the HDF5 library to write to that never fails under its hands.

When a write fails, HDF5 keeps its file open, tries again whenever an object is freed, and prints
what it thinks of that. So it is told that all is well, and the truth comes out once it has closed.
"""

import os
from pathlib import Path


class Sink:
    """A new file, open for reading and writing; what cannot be written is dropped.

    Args:
        path: the file, emptied.
    """

    def __init__(self, path: Path):
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115
        self._error: OSError | None = None

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: the first error of all that happened to it, such as a full disk.
        """
        self._attempt(self._file.close)
        if self._error is not None:
            raise self._error

    # What HDF5 calls.

    def write(self, data) -> int:
        rest = memoryview(data)
        while len(rest) and self._error is None:
            written = self._attempt(self._file.write, rest)
            rest = rest[written or 0 :]
        return len(data)

    def readinto(self, buffer) -> int:
        """Fill the buffer; what was never written reads as zeros."""
        view = memoryview(buffer)
        filled = 0
        while filled < len(view):
            count = self._attempt(self._file.readinto, view[filled:])
            if not count:
                view[filled:] = bytes(len(view) - filled)
                break
            filled += count
        return len(view)

    def read(self, size: int = -1) -> bytes:
        """Never called: h5py knows a file by it."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def truncate(self, size: int) -> None:
        self._attempt(self._file.truncate, size)

    def flush(self) -> None:
        """Nothing is held back."""

    def _attempt(self, function, *arguments):
        try:
            return function(*arguments)
        except OSError as error:
            self._error = self._error or error
