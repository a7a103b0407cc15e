"""Tables are the same bytes for the same values, and every name comes back."""

import csv
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from aetool.errors import FormatError
from aetool.storage import tables
from aetool.storage.tables import read_table, write_columns, write_table

NAMES = [
    "plain.png",
    "a b.png",
    'quote " and, comma.png',
    "line\nbreak.png",
    "carriage\rreturn.png",
    "both\r\n.png",
    "Größe 中文.png",
    os.fsdecode(b"latin \xe9.png"),
    " edges ",
    "",
    "=1+1",
]


def test_every_name_comes_back(tmp_path):
    write_table(tmp_path / "t.csv", ["path", "label"], [[name, None] for name in NAMES])
    header, rows = read_table(tmp_path / "t.csv")
    assert header == ["path", "label"]
    assert [row[0] for row in rows] == NAMES
    assert {row[1] for row in rows} == {""}


def test_a_single_column_comes_back(tmp_path):
    write_table(tmp_path / "t.csv", ["path"], [[name] for name in NAMES])
    assert [row[0] for row in read_table(tmp_path / "t.csv")[1]] == NAMES


def test_a_name_keeps_its_bytes(tmp_path):
    write_table(tmp_path / "t.csv", ["path"], [[os.fsdecode(b"latin \xe9.png")]])
    assert (tmp_path / "t.csv").read_bytes() == b"path\nlatin \xe9.png\n"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (float("nan"), ""),
        (np.float32("nan"), ""),
        (0.1, "0.1"),
        (np.float32(0.1), "0.1"),
        (np.float32(0.1).item(), "0.1"),
        (1 / 3, "0.33333334"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (123456789.0, "123456790.0"),
        (1e-7, "1e-07"),
        (float("inf"), "inf"),
        (12345678901234567890, "12345678901234567890"),
        (np.int64(-1), "-1"),
        (True, "1"),
        (np.False_, "0"),
        ("0.10", "0.10"),
    ],
)
def test_cells(tmp_path, value, cell):
    write_table(tmp_path / "t.csv", ["a", "b"], [[value, "x"]])
    assert read_table(tmp_path / "t.csv") == (["a", "b"], [[cell, "x"]])


def test_float32_survives_exactly(tmp_path):
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    write_table(tmp_path / "t.csv", ["v"], [[v] for v in values])
    read = np.array([float(row[0]) for row in read_table(tmp_path / "t.csv")[1]], np.float32)
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("path", [None, "-", Path("-")])
def test_standard_output(capfdbinary, monkeypatch, path):
    stdout = io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    print("before")
    write_table(path, ["path"], [[name] for name in NAMES])
    stdout.close()
    first, rest = capfdbinary.readouterr().out.split(b"\n", 1)
    assert first == b"before"
    text = io.StringIO(rest.decode("utf-8", "surrogateescape"), newline="")
    assert list(csv.reader(text)) == [["path"], *([name] for name in NAMES)]


def test_a_failing_row_leaves_the_old_table(tmp_path):
    (tmp_path / "t.csv").write_text("old")
    with pytest.raises(ValueError, match="a row has 1 cells"):
        write_table(tmp_path / "t.csv", ["a", "b"], [["1", "2"], ["3"]])
    assert (tmp_path / "t.csv").read_text() == "old"
    assert os.listdir(tmp_path) == ["t.csv"]


def test_a_table_of_a_spreadsheet_is_read(tmp_path):
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbfpath,label\r\n"a ""b""",c\r\n')
    assert read_table(tmp_path / "t.csv") == (["path", "label"], [['a "b"', "c"]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n1\n", "line 2: 1 cells where there should be 2"),
        (b'a,b\n"1,2\n', "unexpected end of data"),
    ],
)
def test_a_broken_table_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        read_table(tmp_path / "t.csv")
    assert "t.csv" in caught.value.message


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_what_is_no_file_is_refused(tmp_path, name):
    with pytest.raises(FormatError, match="cannot read"):
        read_table(tmp_path / name)


COLUMNS = [
    [*NAMES, "last.png"],
    ["cat", None, *["dog, or so"] * 10],
    np.arange(12, dtype=np.int32) - 3,
    np.float32([0.1, 1 / 3, np.nan, np.inf, -0.0, 1e-7, 1e20, 5, 2**-20, 123456789, 1, 0.5]),
    np.linspace(0, 1, 12),
    np.arange(12) % 2 == 0,
]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("rows", [1, 5, 12])
@pytest.mark.parametrize("left_out", [(), ("carriage\rreturn.png", "both\r\n.png")])
def test_columns_are_written_like_rows(tmp_path, monkeypatch, suffix, rows, left_out):
    monkeypatch.setattr(tables, "_ROWS", 5)  # so that 12 rows are put into words in three parts
    kept = [row for row, name in enumerate(COLUMNS[0]) if name not in left_out]
    columns = [
        column[kept] if isinstance(column, np.ndarray) else [column[row] for row in kept]
        for column in COLUMNS
    ]
    header = ["path", "label", "cluster", "distance", "share", "outlier"]
    blocks = ([column[i : i + rows] for column in columns] for i in range(0, len(kept), rows))
    write_columns(tmp_path / f"columns{suffix}", header, blocks)
    write_table(tmp_path / f"rows{suffix}", header, zip(*columns, strict=True))
    written = (tmp_path / f"columns{suffix}").read_bytes()
    assert written == (tmp_path / f"rows{suffix}").read_bytes()


def test_no_rows_of_columns_are_a_header(tmp_path):
    write_columns(tmp_path / "t.csv", ["path", "pc1"], [])
    assert (tmp_path / "t.csv").read_bytes() == b"path,pc1\n"


def test_columns_that_do_not_fit_are_refused(tmp_path):
    for block in ([["a"]], [["a"], np.zeros(2)]):
        with pytest.raises(ValueError):
            write_columns(tmp_path / "t.csv", ["path", "pc1"], [block])
    assert not (tmp_path / "t.csv").exists()
