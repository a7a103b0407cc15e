"""NumPy's `.npy`, written row by row: nobody knows beforehand how many pictures can be read."""

from io import BytesIO
from pathlib import Path

import numpy as np

from aetool.storage.atomic import replacing


class ArrayWriter:
    """A context that writes rows of float32 to a `.npy` file, put in place when it ends well.

    Args:
        path: the file.
        row_shape: of each row.
    """

    def __init__(self, path: Path, row_shape: tuple[int, ...]):
        self._row_shape = tuple(int(side) for side in row_shape)
        self._replacing = replacing(path)
        self._rows = 0

    def __enter__(self) -> "ArrayWriter":
        self._file = open(self._replacing.__enter__(), "wb")
        self._file.write(self._header())
        return self

    def append(self, rows: np.ndarray) -> None:
        """Write (n, *row_shape)."""
        if rows.shape[1:] != self._row_shape:
            raise ValueError(f"rows of shape {rows.shape[1:]}, not {self._row_shape}")
        self._file.write(np.ascontiguousarray(rows, dtype="<f4").data)
        self._rows += len(rows)

    def __exit__(self, *error) -> bool | None:
        try:
            if error[0] is None:
                self._file.seek(0)
                self._file.write(self._header())
            self._file.close()  # what is not written yet is now, and the disk may be full
        except OSError as full:
            self._replacing.__exit__(type(full), full, full.__traceback__)  # names the file
            raise
        return self._replacing.__exit__(*error)

    def _header(self) -> bytes:
        """NumPy leaves room for the first axis to grow: the header's length is always the same."""
        buffer = BytesIO()
        shape = (self._rows, *self._row_shape)
        about = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(buffer, about)
        return buffer.getvalue()
