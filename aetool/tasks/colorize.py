"""Grey photographs in, the same photographs in colour out."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aetool.errors import Failure, UsageError
from aetool.images.chroma import grey_of, join, strips
from aetool.images.decode import Picture, fit
from aetool.images.source import MAX_PIXELS, Source
from aetool.inference.prepare import prepare
from aetool.inference.stream import Item, Outputs, Progress
from aetool.inference.workplace import workplace
from aetool.storage.atomic import locked
from aetool.storage.checkpoint import Checkpoint, read_checkpoint
from aetool.storage.shards import Shard
from aetool.tasks.collisions import check_apart
from aetool.tasks.colors import Decoder, Scores, score, shipped_checkpoint
from aetool.tasks.encode import note_pages
from aetool.tasks.grids import GRID_TILE, grid_sample, write_grid
from aetool.tasks.inputs import Inputs
from aetool.tasks.outputs import (
    Target,
    check_drawing,
    check_picture_name,
    held,
    named,
    output_folder,
    planned,
)
from aetool.tasks.shards import check_output, open_shard

COMPARISON_SIDE = 1024  # the longer side of each picture in a strip, at most
# What --vivid multiplies the colours by: as colourful as photographs are, at the price of being
# further off where the guess is wrong.
VIVID = 1.3


@dataclass(frozen=True, slots=True)
class ColorizeResult:
    """What a run did; from `psnr` on means over the pictures that came in colour, or None.

    Args:
        read: pictures decoded.
        written: pictures written.
        skipped: pictures whose result was already there.
        failed: pictures left out.
        seconds: of the whole run.
        seconds_per_picture: of the whole run, by the pictures decoded.
        psnr: of the results against the truth, in dB.
        psnr_grey: what leaving them grey scores.
        colorfulness: of the results (Hasler and Suesstrunk, 2003).
        colorfulness_true: of the truth.
        bleeding: the share of the results' colour changes that lie where luma does not change.
        bleeding_true: of the truth's.
    """

    read: int
    written: int
    skipped: int
    failed: list[Failure]
    seconds: float
    seconds_per_picture: float | None = None
    psnr: float | None = None
    psnr_grey: float | None = None
    colorfulness: float | None = None
    colorfulness_true: float | None = None
    bleeding: float | None = None
    bleeding_true: float | None = None


@dataclass(frozen=True, slots=True)
class _Work:
    """What is kept of a picture while the network looks at its small version."""

    picture: Picture  # its pixels grey, (h, w) uint8 or uint16
    truth: np.ndarray | None  # (h, w, 3), where the picture came in colour and that is asked for

    @property
    def nbytes(self) -> int:
        return self.picture.pixels.nbytes + (0 if self.truth is None else self.truth.nbytes)


@dataclass(frozen=True, slots=True)
class Done:
    """What is found out about a picture.

    Args:
        frames: pages of its file.
        scores: where it came in colour and is measured.
        shown: its column of the grid, if it is in it.
    """

    frames: int
    scores: Scores | None
    shown: tuple[np.ndarray | None, ...] | None


@dataclass(frozen=True, slots=True)
class Colouring:
    """What is done to each picture.

    Args:
        pictures: the source.
        stored: the colorizer.
        decoder: what it says of its input and output.
        target: where the results go; None writes none.
        keep_truth: whether the colours of pictures that have them are of use.
        saturation: a factor on the colours.
        evaluate, compare, batch_size, precision, max_pixels: as `colorize_images`.
        sample: positions in SOURCE of the pictures that the grid shows.
        unwanted: positions of those that are for the grid alone.
    """

    pictures: Source
    stored: Checkpoint
    decoder: Decoder
    target: Target | None
    keep_truth: bool
    saturation: float
    evaluate: bool
    compare: Path | None
    batch_size: int | None
    precision: str
    max_pixels: int
    sample: frozenset[int] = frozenset()
    unwanted: frozenset[int] = frozenset()

    def load(self, i: int) -> Item:
        picture = self.pictures.load(i, max_pixels=self.max_pixels)
        work = _Work(
            replace(picture, pixels=grey_of(picture.pixels)),
            picture.pixels if self.keep_truth and _in_color(picture.pixels) else None,
        )
        inputs = prepare(work.picture.pixels, self.decoder.preprocessing, self.decoder.size)
        return Item(i, inputs, work, work.nbytes)

    def make_engine(self):
        # Imported when the first picture has been read: TensorFlow costs seconds.
        from aetool.inference.engine import Engine
        from aetool.inference.load import rebuild

        model = self.decoder.prepare(rebuild(self.stored, size=self.decoder.size).model)
        return Engine(model, precision=self.precision, batch_size=self.batch_size)

    def finish(self, item: Item, outputs: Outputs) -> Done:
        work: _Work = item.payload
        grey, name = work.picture.pixels, self.pictures.name(item.index)
        chroma, small = self.decoder.chroma(outputs, grey)
        colored = join(grey, chroma, self.saturation, small_grey=small)
        position = self.pictures.position(item.index)
        scores = shown = None
        if position not in self.unwanted:
            if self.target is not None:
                self.target.write(name, colored, work.picture)
            if self.compare is not None:
                panels = _panels(grey, colored, work.truth, COMPARISON_SIDE)
                strip = np.concatenate([panel for panel in panels if panel is not None], axis=1)
                Target(self.compare, one_file=False).write(name, strip, work.picture)
            if self.evaluate and work.truth is not None:
                scores = score(grey, colored, work.truth)
        if position in self.sample:
            shown = _panels(grey, colored, work.truth, GRID_TILE)
        return Done(work.picture.frames, scores, shown)


def colorize_images(
    source: str,
    out: Path | None,
    *,
    checkpoint: Path | None = None,
    saturation: float = 1.0,
    vivid: bool = False,
    render_size: int | None = None,
    evaluate: bool = False,
    compare: Path | None = None,
    grid: Path | None = None,
    overwrite: bool = False,
    batch_size: int | None = None,
    precision: str = "auto",
    max_pixels: int = MAX_PIXELS,
    shard: Shard | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> ColorizeResult:
    """Colour every picture of a source at its full size.

    Args:
        source: SOURCE as typed.
        out: a folder, a file for one picture, "-" for PNG on standard output; None with `evaluate`
            `compare` or `grid` writes no pictures.
        checkpoint: a colorizer; by default the one that ships.
        saturation: a factor on the colours, 0 to 10; 1 is what the checkpoint states.
        vivid: strong colours: VIVID times the saturation.
        render_size: pixels a side that the network sees of a picture; the checkpoint's by default.
        evaluate: take pictures that come in colour as the truth and measure against it; then no
            picture is skipped.
        compare: a folder for strips: the grey picture, the coloured one, the truth if known.
        grid: a file: up to 20 grey pictures, evenly taken from the source, above what became of
            them and above the truth if known.
        overwrite: colour again what is newer than its input and the checkpoint.
        batch_size, precision: of the engine.
        max_pixels: larger pictures are left out.
        shard: the share of the pictures to colour.
        scheduler: address of a Dask cluster to colour on.
        progress: called with (done, total).
        note: called with remarks for people.

    Raises:
        UsageError: nothing to write to, or options that do not go together.
        SourceError: the source cannot be opened.
        FormatError: the checkpoint is damaged or no colorizer.
        OutputError: another run writes to `out`, or nothing can be written there.
    """
    started, since = time.monotonic(), time.time_ns()
    if grid:
        check_picture_name(grid)
    if out is None and compare is None and grid is None and not evaluate:
        raise UsageError("colorize needs OUT", "name a folder, or use --evaluate without OUT")
    strength = factor(saturation, vivid)
    path = checkpoint or shipped_checkpoint()
    stored = read_checkpoint(path)
    decoder = Decoder(path, stored, render_size)
    check_output(out, scheduler)
    pictures = open_shard(
        source,
        shard,
        exclude=output_folder(out) if out else None,
        empty_list=out is not None and not evaluate and grid is None,
    )
    for drawing, option in ((compare, "--compare"), (grid, "--grid")):
        check_drawing(drawing, option, source, out)
    sample = grid_sample(len(pictures)) if grid else set()
    several_pages: list[int] = []
    colored: list[int] = []
    scores: dict[int, Scores] = {}
    shown: dict[int, tuple[np.ndarray | None, ...]] = {}

    def take(i: int, done: Done) -> None:
        if done.frames > 1:
            several_pages.append(i)
        if i in wanted:
            colored.append(i)
        if done.scores:
            scores[i] = done.scores
        if done.shown:
            shown[i] = done.shown

    check_apart(pictures, out, compare=compare, grid=grid)
    with ExitStack() as stack:
        stack.enter_context(held([grid], [source, pictures, checkpoint]))
        if compare is not None:
            stack.enter_context(locked(compare, part=str(shard or "")))
        results = None
        wanted = set(range(len(pictures))) if evaluate or compare else sample
        clashes: dict[int, Failure] = {}
        if compare is not None and out is None:  # with OUT its results clash as the strips do
            clashes = _without_strip(pictures, compare)
            wanted -= set(clashes)
        if out is not None:
            results = stack.enter_context(
                planned(
                    pictures,
                    source,
                    out,
                    since=since,
                    checkpoint=path,
                    overwrite=overwrite or evaluate,
                    shard=shard,
                    beside=compare,
                )
            )
            wanted = set(results.todo)
        failed = list(results.failures) if results else list(clashes.values())
        stale = bool(wanted) or (grid is not None and not grid.exists())
        if todo := sorted(wanted | sample) if stale else []:
            place = stack.enter_context(workplace(scheduler))
            work = Colouring(
                pictures,
                stored,
                decoder,
                results and results.target,
                evaluate or compare is not None or grid is not None,
                strength,
                evaluate,
                compare and compare.absolute(),
                batch_size,
                place.resolve(precision, stored.metadata),
                max_pixels,
                frozenset(map(pictures.position, sample)),
                frozenset(map(pictures.position, sample - wanted)),
            )
            failed += place.stream(work, todo, take, progress)
        if shown and (colored or not grid.exists()):  # none may have been readable
            write_grid(grid, _rows([shown[i] for i in sorted(shown)]))
    note_pages(note, pictures, several_pages)
    read = len(colored)
    seconds = time.monotonic() - started
    means = np.mean([scores[i] for i in sorted(scores)], axis=0).tolist() if scores else ()
    return ColorizeResult(
        read,
        0 if results is None else read,
        0 if results is None else results.skipped,
        failed,
        seconds,
        seconds / read if read else None,
        *means,
    )


def _without_strip(pictures: Source, folder: Path) -> dict[int, Failure]:
    """Why some pictures get no strip."""
    names, clash = named(pictures)
    inputs, without = Inputs(pictures), {}
    for i in range(len(pictures)):
        position = pictures.position(i)
        if position in clash:
            without[i] = clash[position]
        elif inputs.holds(folder / names[position]):
            without[i] = Failure(pictures.name(i), "its strip would replace a picture that is read")
    return without


def factor(saturation: float, vivid: bool) -> float:
    """What the colours that a checkpoint states are multiplied by.

    Raises:
        UsageError: `saturation` is out of range.
    """
    if not 0 <= saturation <= 10:
        raise UsageError(f"--saturation {saturation} is not between 0 and 10")
    return saturation * (VIVID if vivid else 1)


def _in_color(pixels: np.ndarray) -> bool:
    """Whether any pixel is not neutral."""
    if pixels.ndim == 2:
        return False
    return any((pixels[rows, :, :2] != pixels[rows, :, 1:]).any() for rows in strips(pixels.shape))


def _panels(
    grey: np.ndarray, colored: np.ndarray, truth: np.ndarray | None, side: int
) -> tuple[np.ndarray | None, ...]:
    """Grey, colour and truth, uint8 (h, w, 3) of at most `side` pixels; None without a truth."""
    scale = min(1, side / max(grey.shape))
    size = tuple(max(1, round(length * scale)) for length in grey.shape)
    return tuple(
        None if pixels is None else (fit(pixels, size, 3) * 255 + 0.5).astype(np.uint8)
        for pixels in (grey, colored, truth)
    )


def _rows(columns: list[tuple[np.ndarray | None, ...]]) -> list[tuple[np.ndarray | None, ...]]:
    """Without the row of truths where few pictures came in colour: one may be a sepia print."""
    known = sum(truth is not None for *_, truth in columns)
    return columns if 2 * known >= len(columns) else [column[:2] for column in columns]
