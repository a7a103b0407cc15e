"""A table that grows: nothing torn stays, nothing whole is lost."""

import pytest

from aetool.errors import OutputError
from aetool.storage.journal import Journal
from aetool.storage.tables import write_table

HEADER = ("path", "score")
NAMES = ["plain.png", 'quote " and, comma.png', "line\nbreak.png", "Größe.png"]


def write(path, *rows):
    journal = Journal(path, HEADER)
    before = [(row["path"], row["score"]) for row in journal.rows()]
    journal.append(rows)
    journal.close()
    return before


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_rows_of_earlier_runs_come_back(tmp_path, name):
    path = tmp_path / name
    assert write(path, *((name, 0.5) for name in NAMES)) == []
    assert write(path, ("more.png", None)) == [(name, "0.5") for name in NAMES]
    assert write(path) == [*((name, "0.5") for name in NAMES), ("more.png", "")]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_growing_table_is_the_bytes_of_one_written_at_once(tmp_path, name):
    rows = [(name, 1 / 3) for name in NAMES]
    for row in rows:
        write(tmp_path / name, row)
    write_table(tmp_path / f"whole-{name}", HEADER, rows)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_torn_row_is_cut_wherever_it_was_torn(tmp_path, name):
    path = tmp_path / name
    write(path, ("first.png", 1.0))
    whole = path.read_bytes()
    write(path, ('a "b",\n c.png', 2.0))
    longer = path.read_bytes()
    for length in range(len(whole), len(longer)):
        path.write_bytes(longer[:length])
        assert write(path) == [("first.png", "1.0")]
        assert path.read_bytes() == whole


def test_a_torn_header_is_written_again(tmp_path):
    write(tmp_path / "t.csv", ("a.png", 1.0))
    whole = (tmp_path / "t.csv").read_bytes()
    (tmp_path / "t.csv").write_bytes(whole[:3])
    write(tmp_path / "t.csv", ("a.png", 1.0))
    assert (tmp_path / "t.csv").read_bytes() == whole


def test_a_table_with_other_columns_is_refused_and_kept(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, ["path", "cluster"], [["a.png", 3]])
    before = path.read_bytes()
    with pytest.raises(OutputError, match="other columns"):
        Journal(path, HEADER)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("t.csv", b"one precious line, no line end"),
        ("t.csv", b'an odd "quote\nand a line\n'),
        ("t.csv", b"path,label\na.png,cat\ntorn"),
        ("t.csv", b"\x89PNG\r\n\x1a\n\0\0"),
        ("t.jsonl", b'{"mine": 1}\n{"mine": 2}'),
        ("t.jsonl", b"no JSON"),
        ("t.jsonl", b"3\n"),
    ],
)
def test_nothing_is_cut_off_a_file_that_is_another_thing(tmp_path, name, before):
    (tmp_path / name).write_bytes(before)
    with pytest.raises(OutputError, match="other columns"):
        Journal(tmp_path / name, HEADER)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("odd", ['"a.png', '"a"x.png', '"# a note'])
def test_a_stray_quotation_mark_costs_no_rows(tmp_path, odd):
    path = tmp_path / "t.csv"
    write(path, *((f"{name}.png", 1.0) for name in "abcd"))
    before = path.read_text().replace("b.png", odd)
    path.write_text(before)
    with pytest.raises(OutputError, match="a quotation mark in row 3 is one too many"):
        Journal(path, HEADER)
    assert path.read_text() == before


def test_a_quotation_mark_inside_a_cell_is_a_character(tmp_path):
    path = tmp_path / "t.csv"
    write(path, *((f"{name}.png", 1.0) for name in "abcd"))
    path.write_text(path.read_text().replace("b.png", 'b"b.png'))
    assert [row[0] for row in write(path)] == ["a.png", 'b"b.png', "c.png", "d.png"]
