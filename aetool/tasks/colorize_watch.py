"""Colour what comes into a folder, until a signal ends it."""

import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep, time_ns

from aetool.errors import Failure, ImageError, SourceError, UsageError
from aetool.images.arrivals import Arrivals
from aetool.images.source import MAX_PIXELS, Source
from aetool.inference.stream import Item, Outputs, Progress, in_memory
from aetool.inference.workplace import Here
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.colorize import ColorizeResult, Colouring, Done, factor
from aetool.tasks.colors import Decoder, shipped_checkpoint
from aetool.tasks.encode import note_pages
from aetool.tasks.outputs import STDOUT, holding, modified, plan

INTERVAL = 2.0
LONGEST_INTERVAL = 86_400.0
# Of a folder so large that looking takes long, looking takes at most one part in so many.
LEISURE = 10


def colorize_arrivals(
    source: str,
    out: Path | None,
    *,
    rounds: Callable[[], AbstractContextManager[Progress]],
    note: Callable[[str], None],
    complain: Callable[[Failure], None],
    checkpoint: Path | None = None,
    saturation: float = 1.0,
    vivid: bool = False,
    render_size: int | None = None,
    overwrite: bool = False,
    batch_size: int | None = None,
    precision: str = "auto",
    max_pixels: int = MAX_PIXELS,
    interval: float = INTERVAL,
) -> tuple[ColorizeResult, int]:
    """Colour every picture of a folder, and those to come, until SIGINT, SIGTERM or SIGHUP.

    A picture is taken when two looks at the folder find it alike. One that failed is tried again
    when it changes.

    Args:
        source: the folder; it may be empty.
        out: the folder of the results.
        rounds: makes the context of one round of work, which gives its `progress`.
        note: called with remarks for people.
        complain: called at once with each picture that fails, from any thread.
        overwrite: colour again what lies in `out` already as the run begins.
        interval: seconds between two looks.
        checkpoint, saturation, vivid, render_size: as `colorize_images`.
        batch_size, precision, max_pixels: likewise.

    Returns:
        What was done, `failed` those pictures that stayed so, and the number of the signal.

    Raises:
        UsageError: SOURCE or OUT is no folder, or a number is out of range.
        SourceError: the folder cannot be listed as the run begins.
        FormatError: the checkpoint is damaged or no colorizer.
        OutputError: another run writes to `out`, or nothing can be written there.
    """
    started = monotonic()
    if out is None or str(out) == STDOUT:
        raise UsageError("--watch needs a folder for OUT")
    if not Path(source).is_dir():
        raise UsageError(f"--watch needs a folder, and {source} is none")
    if not 0 < interval <= LONGEST_INTERVAL:
        raise UsageError(f"--interval {interval:g} is not between 0 and a day of seconds")
    strength = factor(saturation, vivid)
    path = checkpoint or shipped_checkpoint()

    def colouring(pictures: Source) -> Colouring:
        stored = read_checkpoint(path)
        return Colouring(
            pictures,
            stored,
            Decoder(path, stored, render_size),
            None,
            keep_truth=False,
            saturation=strength,
            evaluate=False,
            compare=None,
            batch_size=batch_size,
            precision=Here().resolve(precision, stored.metadata),
            max_pixels=max_pixels,
        )

    arrivals = Arrivals(Path(source), out)
    model, work = modified(path), colouring(arrivals.look().source)
    with holding(out) as target:
        painter = _Painter(replace(work, target=target), path, rounds, note, complain)
        note(f"watching {source}")
        missing = False
        pause = interval
        try:
            while True:
                sleep(pause)
                began, since = monotonic(), time_ns()
                try:
                    arrived = arrivals.look()
                except SourceError as error:
                    if not missing:
                        note(f"{error.message}; waiting for it")
                    missing = True
                    continue
                missing = False
                pause = max(interval, (LEISURE - 1) * (monotonic() - began))
                if modified(path) not in (0, model):
                    model = modified(path)
                    painter.take_up(colouring(arrived.source))
                painter.colour(arrived.source, arrived.new, overwrite, since)
                painter.colour(arrived.source, arrived.changed, True, since)
        except KeyboardInterrupt as stop:
            ended_by = stop.args[0] if stop.args else signal.SIGINT
    done, seconds = painter.finished, monotonic() - started
    failed = list(painter.failed.values())
    each = seconds / done if done else None
    return ColorizeResult(done, done, painter.skipped, failed, seconds, each), int(ended_by)


class _Painter:
    """One network through which round after round of pictures goes: a Work of its own.

    Args:
        work: what is done to each picture.
        checkpoint: the file that the results depend on.
        rounds, note, complain: as `colorize_arrivals`.

    `finished` counts the pictures written and `failed` holds the failures by name, both right at
    any moment; `skipped` counts results that were there already.
    """

    def __init__(self, work: Colouring, checkpoint: Path, rounds, note, complain):
        self._work = work
        self._checkpoint = checkpoint
        self._rounds, self._note, self._complain = rounds, note, complain
        self._engine = None
        self._lock = threading.Lock()
        self.finished = 0
        self.failed: dict[str, Failure] = {}
        self.skipped = 0

    @property
    def pictures(self) -> Source:
        return self._work.pictures

    def take_up(self, work: Colouring) -> None:
        """Go on with the network of another model."""
        self._work, self._engine = replace(work, target=self._work.target), None

    def colour(self, source: Source, indices: list[int], overwrite: bool, since: int) -> None:
        """Colour some pictures of a source, those left out that have newer results.

        Args:
            source: what the look at the folder found.
            indices: the pictures in it.
            overwrite: leave none out.
            since: when the look began, as `Target`: a picture that is replaced while it is coloured
                is to be newer than its result.
        """
        if not indices:
            return
        target = replace(self._work.target, since=since)
        results = plan(
            source.select(indices), target, checkpoint=self._checkpoint, overwrite=overwrite
        )
        self.skipped += results.skipped
        for failure in results.failures:
            self._fail(failure)
        if not results.todo:
            return
        self._work = replace(self._work, pictures=results.source, target=target)
        before, several_pages = self.finished, []

        def take(i: int, done: Done) -> None:
            if done.frames > 1:
                several_pages.append(i)

        with self._rounds() as progress:
            Here().stream(self, results.todo, take, progress)
        note_pages(self._note, self.pictures, several_pages)
        count = self.finished - before
        if count:
            self._note("1 picture coloured" if count == 1 else f"{count} pictures coloured")

    def load(self, i: int) -> Item:
        try:
            return in_memory(self._work.load, i)
        except ImageError as error:
            self._fail(Failure(self.pictures.name(i), error.message))
            raise

    def make_engine(self):
        self._engine = self._engine or self._work.make_engine()
        return self._engine

    def finish(self, item: Item, outputs: Outputs) -> Done:
        name = self.pictures.name(item.index)
        try:
            result = in_memory(self._work.finish, item, outputs)
        except ImageError as error:
            self._fail(Failure(name, error.message))
            raise
        with self._lock:
            self.finished += 1
            self.failed.pop(name, None)
        return result

    def _fail(self, failure: Failure) -> None:
        with self._lock:
            self.failed[failure.path] = failure
        self._complain(failure)
