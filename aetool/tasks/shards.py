"""The shard of a SOURCE that one run does, and how its files say so."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from aetool.errors import UsageError
from aetool.images.source import Source, open_source
from aetool.storage.shards import Part, Shard, run_digest
from aetool.storage.tables import write_table

STDOUT = "-"
COLUMN = "position "  # what the first column of a shard's table is called, before its part


def open_shard(
    text: str, shard: Shard | None, *, exclude: Path | None = None, empty_list: bool = False
) -> Source:
    """A SOURCE, or the pictures of it that are one shard's, each with its position in the whole.

    Args:
        text, exclude, empty_list: as `open_source`.
        shard: None for the whole.
    """
    pictures = open_source(text, exclude=exclude, empty_list=empty_list)
    return pictures.select(shard.rows(len(pictures))) if shard else pictures


def check_output(out: Path | str | None, scheduler: str | None) -> None:
    """Refuse a picture on standard output that a worker elsewhere would have to write.

    Raises:
        UsageError: for that.
    """
    if scheduler and str(out) == STDOUT:
        raise UsageError(
            "--scheduler writes files, not to standard output", "name a file or a folder for OUT"
        )


def check_part(output: Path | None, shard: Shard | None) -> None:
    """Refuse a part that `merge` could not read.

    Raises:
        UsageError: it would be JSON lines.
    """
    if shard is not None and output is not None and output.suffix.lower() == ".jsonl":
        raise UsageError("a shard's table is CSV, which merge reads", "name it .csv")


def part_of(pictures: Source, shard: Shard | None, settings: Iterable[object]) -> Part | None:
    """What the file of a shard says of itself; None where it holds the whole.

    Args:
        pictures: as `open_shard` gave them.
        shard: theirs.
        settings: what all shards must agree in.
    """
    if shard is None:
        return None
    whole = pictures.whole
    names = (whole.name(i) for i in range(len(whole)))
    return Part(shard, len(whole), run_digest(names, settings))


def write_rows(
    path: Path | None,
    header: Sequence[str],
    rows: Iterable[Sequence],
    part: Part | None,
    positions: Iterable[int],
) -> None:
    """Write a table; that of a shard gets a first column which says where its rows belong.

    Args:
        path, header, rows: as `write_table`.
        part: the shard, or None for the whole.
        positions: of the rows in SOURCE.
    """
    if part:
        header = [f"{COLUMN}{part}", *header]
        rows = _with_positions(rows, positions)
    write_table(path, header, rows)


def _with_positions(rows: Iterable[Sequence], positions: Iterable[int]) -> Iterator[tuple]:
    for position, row in zip(positions, rows, strict=True):
        yield position, *row
