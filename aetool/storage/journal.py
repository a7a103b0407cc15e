"""A table that grows run by run: what is in it stays, whatever ends a run."""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from aetool.errors import OutputError
from aetool.storage.atomic import blaming
from aetool.storage.tables import decode_rows, encode_header, encode_rows


class Journal:
    """Appends rows to a table, each batch in one write that is on the disk before it counts.

    A run that was killed leaves at most one torn row, at the end: it is cut off. The caller holds
    the table's lock.

    Args:
        path: a CSV file, or JSON lines where it ends in .jsonl; it need not exist.
        header: the columns.

    Raises:
        OutputError: it cannot be read or written, or has other columns.
    """

    def __init__(self, path: Path, header: Sequence[str]):
        self._path, self._header = path, tuple(header)
        with blaming(self._path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            if not self._is_ours():  # nothing is cut off somebody else's file
                os.close(self._file)
                raise OutputError(
                    f"{path} has other columns than --append writes",
                    f"name a new file; its columns would be {','.join(self._header)}",
                )
            os.ftruncate(self._file, self._whole())
            if os.fstat(self._file).st_size == 0:
                self._write(encode_header(path, self._header))

    def rows(self) -> Iterator[dict[str, str]]:
        """The rows that are there, every cell as text."""
        return decode_rows(self._path, self._header)

    def append(self, rows: Iterable[Sequence]) -> None:
        """Add rows, all of them or none."""
        data = encode_rows(self._path, self._header, rows)
        if data:
            with blaming(self._path):
                self._write(data)

    def close(self) -> None:
        os.close(self._file)

    def _write(self, data: bytes) -> None:
        before = os.fstat(self._file).st_size
        try:
            if os.write(self._file, data) != len(data):
                raise OutputError(f"cannot write {self._path}: no space left on device")
            os.fsync(self._file)
        except (OSError, OutputError):
            os.ftruncate(self._file, before)
            raise

    def _is_ours(self) -> bool:
        """Whether the file begins as this table does, as far as it goes."""
        header = encode_header(self._path, self._header)
        with open(self._path, "rb") as stream:
            first = stream.readline()
        torn = not first.endswith(b"\n")  # it is all there is
        if header:
            return first == header or (torn and header.startswith(first))
        if torn:
            row = encode_rows(self._path, self._header, [[None] * len(self._header)])
            named = row[: row.index(b":") + 1]
            return named.startswith(first[: len(named)])
        try:
            row = json.loads(first)
        except ValueError:
            return False
        return isinstance(row, dict) and tuple(row) == self._header

    def _whole(self) -> int:
        """Bytes up to the end of the last whole row; a line end inside quotes ends none.

        Raises:
            OutputError: more than one row would be cut off, for a quotation that nobody closed.
        """
        end = position = 0
        complete = False

        def lines() -> Iterator[str]:
            nonlocal position, complete
            for line in stream:
                position, complete = position + len(line), line.endswith(b"\n")
                yield line.decode("latin-1")

        # JSON has no line end in a string.
        encoded = not encode_header(self._path, self._header)
        with open(self._path, "rb") as stream:
            rows = lines() if encoded else csv.reader(lines(), strict=True)
            number = 1
            try:
                for _ in rows:
                    number += 1
                    end = position if complete else end
            except csv.Error as error:  # torn within quotes, unless whole rows follow
                stream.seek(end)
                rest = stream.read().decode("latin-1").split("\n")[1:-1]
                if any(len(row) == len(self._header) for row in csv.reader(rest)):
                    raise OutputError(
                        f"{self._path}: a quotation mark in row {number} is one too many",
                        "mend it, or name a new file",
                    ) from error
        return end
