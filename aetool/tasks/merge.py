"""The files of all shards of one run joined: what the run would have written in one piece."""

import heapq
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.errors import FormatError, UsageError
from aetool.inference.stream import Progress
from aetool.storage.container import container_kind
from aetool.storage.joined import allow_files
from aetool.storage.latents import Latents, LatentsWriter, open_latents
from aetool.storage.shards import Part
from aetool.storage.tables import iterate_table, write_table
from aetool.tasks.outputs import held
from aetool.tasks.shards import COLUMN

STDOUT = "-"
_BLOCK_BYTES = 1 << 23  # of the rows that are read at a time
_NAMED_SHARDS = 5


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What was joined.

    Args:
        kind: "latents" or "table".
        parts: files read.
        rows: of all of them, and of the whole.
        missing: pictures of SOURCE that have no row, since they could not be read.
        seconds: wall time.
    """

    kind: str
    parts: int
    rows: int
    missing: int
    seconds: float


def merge_parts(
    parts: Sequence[Path], output: Path | str, *, progress: Progress | None = None
) -> MergeResult:
    """Join latents, or tables, that were written with `--shard`.

    Args:
        parts: the file of every shard, in any order.
        output: the whole, or "-" for standard output.
        progress: called with (rows written, rows in all).

    Returns:
        What was joined. The whole has the very bytes that the run without shards writes.

    Raises:
        FormatError: a file that is no part, or damaged; parts of several runs; a shard that is
            missing or given twice.
        UsageError: latents and tables together.
        OutputError: the whole cannot be written.
    """
    started = time.perf_counter()
    allow_files(len(parts))
    kinds = {path: container_kind(path) for path in parts}
    for path, kind in kinds.items():
        if not path.exists():
            raise FormatError(f"cannot read {path}: no such file or directory")
        if kind not in (None, "latents"):
            raise FormatError(
                f"{path} is a {kind}, not latents or a table", "merge joins parts of those"
            )
    latents = [path for path, kind in kinds.items() if kind is not None]
    if latents and len(latents) < len(kinds):
        table = next(path for path, kind in kinds.items() if kind is None)
        raise UsageError(
            f"{latents[0]} holds latents and {table} does not", "merge one kind of files at a time"
        )
    with ExitStack() as stack:
        stack.enter_context(held([output], parts))
        merge = _merge_latents if latents else _merge_tables
        rows, pictures = merge(parts, output, progress or (lambda done, total: None), stack)
    seconds = time.perf_counter() - started
    kind = "latents" if latents else "table"
    return MergeResult(kind, len(parts), rows, pictures - rows, seconds)


# Latents.


def _merge_latents(
    paths: Sequence[Path], output: Path | str, progress: Progress, stack: ExitStack
) -> tuple[int, int]:
    opened = [stack.enter_context(open_latents(path)) for path in paths]
    for part in opened:
        if part.part is None:
            raise _no_part(part.name)
        _check_positions(part.name, part.part, part.index)
        _check_same_latents(opened[0], part)
    pictures = _check_shards([(part.name, part.part) for part in opened])
    first = opened[0]
    writer = stack.enter_context(
        LatentsWriter(
            output,
            dimensions=first.dimensions,
            feature_shape=first.feature_shape,
            source=first.source,
            class_names=first.class_names,
            precision=first.precision,
            checkpoint_digest=first.checkpoint,
        )
    )
    total = sum(map(len, opened))
    if not total:
        raise FormatError(f"{first.name} and the other parts hold no row", "no picture was read")
    for block in _blocks(opened, total):
        writer.append(*block)
        progress(writer.rows, total)
    return total, pictures


def _check_same_latents(first: Latents, part: Latents) -> None:
    for what in ("checkpoint", "source", "feature_shape", "precision", "class_names"):
        if getattr(first, what) != getattr(part, what):
            label = what.replace("_", " ")
            raise FormatError(
                f"{part.name} has another {label} than {first.name}",
                "merge the parts of one run: the same model, SOURCE and options",
            )


def _blocks(parts: Sequence[Latents], total: int) -> Iterator[tuple]:
    """What `LatentsWriter.append` takes, in the order of the source.

    Each part ascends, so that a block's rows of one part lie next to each other in its file.
    """
    owner = np.concatenate([np.full(len(part), n) for n, part in enumerate(parts)])
    owner = owner[np.argsort(np.concatenate([part.index for part in parts]), kind="stable")]
    dimensions = parts[0].dimensions
    rows = max(1, _BLOCK_BYTES // (4 * dimensions))
    taken = [0] * len(parts)
    for start in range(0, total, rows):
        owners = owner[start : start + rows]
        features = np.empty((len(owners), dimensions), np.float32)
        index = np.empty(len(owners), np.int64)
        labels = np.empty(len(owners), np.int32)
        names = np.empty(len(owners), object)
        for number in np.unique(owners):
            part, where = parts[number], np.flatnonzero(owners == number)
            own = slice(taken[number], taken[number] + len(where))
            taken[number] = own.stop
            features[where] = part.features[own]
            index[where] = part.index[own]
            labels[where] = -1 if part.labels is None else part.labels[own]
            names[where] = part.paths[own]
        yield features, index, names.tolist(), labels


# Tables.


def _merge_tables(
    paths: Sequence[Path], output: Path | str, progress: Progress, stack: ExitStack
) -> tuple[int, int]:
    headers, tables, parts = [], [], []
    for path in paths:
        rows = stack.enter_context(closing(iterate_table(path)))
        first, *header = next(rows)
        part = Part.parse(first.removeprefix(COLUMN)) if first.startswith(COLUMN) else None
        if part is None:
            raise _no_part(str(path))
        headers.append(header)
        parts.append((str(path), part))
        tables.append(_positioned(str(path), part, rows))
        if header != headers[0]:
            raise FormatError(
                f"{path} has other columns than {paths[0]}", "merge the parts of one run"
            )
    pictures = _check_shards(parts)
    count = 0

    def joined() -> Iterator[list[str]]:
        nonlocal count
        for _, row in heapq.merge(*tables, key=lambda pair: pair[0]):
            count += 1
            yield row
            progress(count, pictures)

    if Path(output).suffix.lower() == ".jsonl":
        raise UsageError("parts of tables become a table", "merge to .csv")
    write_table(None if str(output) == STDOUT else Path(output), headers[0], joined())
    return count, pictures


def _positioned(
    name: str, part: Part, rows: Iterable[Sequence[str]]
) -> Iterator[tuple[int, list[str]]]:
    """Pairs (position, the row without it) of a shard's table."""
    last = -1
    for position, *row in rows:
        if not position.isascii() or not position.isdigit():
            raise FormatError(f"{name}: {position!r} is no position", "make it again")
        here = int(position)
        if here <= last:
            raise FormatError(f"{name}: its positions do not ascend", "make it again")
        _check_positions(name, part, np.array([here]))
        last = here
        yield here, row


# What all parts must agree in.


def _no_part(name: str) -> FormatError:
    return FormatError(f"{name} is no part: it was written without --shard", "nothing to merge")


def _check_positions(name: str, part: Part, index: np.ndarray) -> None:
    own = (index % part.shard.count == part.shard.number - 1) & (index >= 0)
    if not (own & (index < part.pictures)).all() or (np.diff(index) <= 0).any():
        raise FormatError(
            f"{name} has rows that are not those of shard {part.shard}", "make it again"
        )


def _check_shards(parts: Sequence[tuple[str, Part]]) -> int:
    """Whether the parts are one whole; how many pictures there are in its SOURCE."""
    (first_name, first), *_ = parts
    names: dict[int, str] = {}
    for name, part in parts:
        if part.shard.count != first.shard.count:
            raise FormatError(
                f"{name} is shard {part.shard}, but {first_name} is shard {first.shard}",
                "merge the parts of one run",
            )
        if (part.pictures, part.run) != (first.pictures, first.run):
            raise FormatError(
                f"{name} and {first_name} come from different runs",
                "merge parts made with the same model and options of a SOURCE that did not change",
            )
        if part.shard.number in names:
            raise FormatError(
                f"shard {part.shard} is given twice: {names[part.shard.number]} and {name}",
                "name every part once",
            )
        names[part.shard.number] = name
    count = first.shard.count
    missing = [n for n in range(1, count + 1) if n not in names]
    if missing:
        listed = ", ".join(f"{n}/{count}" for n in missing[:_NAMED_SHARDS])
        more = f" and {len(missing) - _NAMED_SHARDS} more" if len(missing) > _NAMED_SHARDS else ""
        raise FormatError(f"missing: shard {listed}{more}", "run it, or name its file too")
    return first.pictures
