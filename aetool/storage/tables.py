"""CSV tables that are the same bytes for the same values, and that any name survives."""

import csv
import io
import itertools
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from aetool.errors import FormatError
from aetool.storage.atomic import replacing
from aetool.storage.digits import shortest, shortest_all

JSON_LINES = ".jsonl"
_ROWS = 1 << 14  # of columns that are put into words together


def write_table(path: Path | None, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    r"""Write a table as CSV: UTF-8, a comma between cells, "\n" after each row.

    Under a name that ends in .jsonl it is JSON lines instead: an object a row; unknown and infinite
    values are null.

    Floats are written with the fewest digits that give back the same float32; True and False as 1
    and 0; None and NaN as an empty cell. Cells with commas, quotes or line ends are quoted. Names
    that are no UTF-8 keep their bytes.

    Args:
        path: the file, replaced atomically; None or "-" for standard output.
        header: column names.
        rows: as many cells each as `header`.

    Raises:
        OutputError: the file cannot be written.
        ValueError: a row of another length than the header.
    """
    _write(path, _json_lines(header, rows) if _is_json(path) else _lines(header, rows))


def write_columns(
    path: Path | None, header: Sequence[str], blocks: Iterable[Sequence[Sequence]]
) -> None:
    """`write_table` of columns: the same bytes, where there are many rows in a tenth of the time.

    Args:
        path: as for `write_table`.
        header: column names.
        blocks: for some rows at a time as many columns as names, each an array (n,) of numbers or
            booleans, or a list of text and None.

    Raises:
        OutputError: the file cannot be written.
        ValueError: more or fewer columns than names, or columns of different lengths.
    """
    if _is_json(path):
        rows = (row for columns in blocks for row in zip(*columns, strict=True))
        _write(path, _json_lines(header, rows))
    else:
        _write(path, _line_blocks(header, blocks))


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read a table that `write_table` or another program wrote.

    Returns:
        The header and the rows, every cell a string.

    Raises:
        FormatError: missing, empty, a folder, not CSV, or rows of different lengths.
    """
    rows = iterate_table(path)
    return next(rows), list(rows)


def iterate_table(path: Path, *, name: str | None = None) -> Iterator[list[str]]:
    """`read_table` a row at a time, the header first; `name` is what messages call the file."""
    name = name or str(path)
    try:
        # utf-8-sig: spreadsheets put a byte order mark before the first column's name.
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            width = None
            for row in reader:
                if not row:  # an empty line
                    continue
                width = width or len(row)
                if len(row) != width:
                    raise FormatError(
                        f"{name}, line {reader.line_num}: {len(row)} cells where there should be "
                        f"{width}"
                    )
                yield row
    except OSError as error:
        raise FormatError(f"cannot read {name}: {os.strerror(error.errno).lower()}") from error
    except csv.Error as error:
        raise FormatError(f"{name}, line {reader.line_num}: {error}") from error
    if width is None:
        raise FormatError(f"{name} is empty")


def encode_header(path: Path, header: Sequence[str]) -> bytes:
    """What the table at `path` begins with: nothing, in JSON lines."""
    return b"" if _is_json(path) else next(_lines(header, ()))


def encode_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> bytes:
    """Rows as `write_table` would write them to `path`, without what comes before."""
    if _is_json(path):
        return b"".join(_json_lines(header, rows))
    return b"".join(list(_lines(header, rows))[1:])


def decode_rows(path: Path, header: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a table that was written with this header, every cell as text.

    Raises:
        FormatError: it cannot be read, or is no such table.
    """
    if not _is_json(path):
        rows = iterate_table(path)
        next(rows)
        yield from (dict(zip(header, row, strict=True)) for row in rows)
        return
    with open(path, encoding="ascii", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                row = json.loads(line)
                yield {name: "" if row[name] is None else str(row[name]) for name in header}
            except (ValueError, TypeError, KeyError) as error:
                raise FormatError(f"{path}, line {number}: no row of this table") from error


def _write(path: Path | None, lines: Iterable[bytes]) -> None:
    if path is None or str(path) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
        return
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        stream.writelines(lines)


def _is_json(path: Path | None) -> bool:
    return path is not None and Path(path).suffix.lower() == JSON_LINES


def _json_lines(header: Sequence[str], rows: Iterable[Sequence]) -> Iterator[bytes]:
    for row in rows:
        values = (_json_value(value) for value in row)
        row = dict(zip(header, values, strict=True))
        yield json.dumps(row, allow_nan=False).encode("ascii") + b"\n"


def _json_value(value: object) -> object:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return shortest(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def _lines(header: Sequence[str], rows: Iterable[Sequence]) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    # With "\r\n" as its line end the writer also quotes a lone "\r"; the file gets "\n".
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    yield _take(text)
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row has {len(row)} cells, the header {len(header)}")
        writer.writerow([_cell(value) for value in row])
        yield _take(text)


def _line_blocks(header: Sequence[str], blocks: Iterable[Sequence[Sequence]]) -> Iterator[bytes]:
    """`_lines` of columns, many rows at a time."""
    yield next(_lines(header, ()))
    for columns in blocks:
        if len(columns) != len(header) or len(set(map(len, columns))) > 1:
            raise ValueError(f"columns of {[*map(len, columns)]} rows for {len(header)} names")
        for start in range(0, len(columns[0]), _ROWS):
            part = [column[start : start + _ROWS] for column in columns]
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator="\n").writerows(zip(*map(_cells, part), strict=True))
            if "\r" in text.getvalue():
                # Older writers quote a lone "\r" only as a part of their line end.
                yield from itertools.islice(_lines(header, zip(*part, strict=True)), 1, None)
            else:
                yield text.getvalue().encode("utf-8", "surrogateescape")


def _cells(column: Sequence) -> list:
    """What the writer puts down as `_cell` would: it knows text, None, whole numbers and floats."""
    if not isinstance(column, np.ndarray):
        return list(column)
    if column.dtype.kind != "f":
        return (column.astype(np.int8) if column.dtype.kind == "b" else column).tolist()
    numbers = shortest_all(column)
    return [None if number != number else number for number in numbers.tolist()]


def _take(text: io.StringIO) -> bytes:
    line = text.getvalue()[: -len("\r\n")] + "\n"
    text.seek(0)
    text.truncate()
    return line.encode("utf-8", "surrogateescape")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return "" if math.isnan(value) else repr(shortest(value))
    return str(value)
