"""Where each picture's result goes, which results are already there, and how one is written."""

import errno
import os
import stat
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aetool.errors import Failure, ImageError, OutputError, UsageError
from aetool.images.decode import Picture
from aetool.images.listing import IMAGE_SUFFIXES
from aetool.images.source import Source
from aetool.images.write import output_name, output_names, png_bytes, save_picture
from aetool.storage.atomic import locked, replacing
from aetool.storage.container import container_kind
from aetool.storage.shards import Shard
from aetool.tasks.inputs import Inputs

STDOUT = "-"
NAME_BYTES = 255  # what the common file systems hold in one name
# What speaks against one result: another's folder or file in its place, a folder below OUT that is
# read-only, a path that is too long, or a side that its format does not hold.
_TAKEN = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EACCES, errno.EINVAL, errno.EILSEQ}
_TAKEN |= {errno.ENAMETOOLONG}


@dataclass(frozen=True, slots=True)
class Target:
    """Where results are written.

    Args:
        out: the folder that mirrors the source, or the one file, or None for standard output.
        one_file: `out` is the file itself.
        since: nanoseconds, the time that results are given as theirs: a picture that is replaced
            after it was read would else be older than what was made of its predecessor. None for
            the time they are written at.
    """

    out: Path | None
    one_file: bool
    since: int | None = None

    def path(self, name: str) -> Path | None:
        """The file that the picture of this name becomes; None is standard output."""
        if self.out is None or self.one_file:
            return self.out
        return self.out / output_name(name)

    def write(self, name: str, pixels: np.ndarray, like: Picture | None) -> None:
        """Write the result of the picture of this name, by `write_picture`.

        Raises:
            ImageError: there is no place for this result, though there is for others.
            OutputError: it cannot be written, and so may be no other.
        """
        try:
            write_picture(self.path(name), pixels, like, since=self.since)
        except OutputError as error:
            number = getattr(error.__cause__, "errno", None)
            folder = self.out is not None and not self.one_file
            if folder and number in _TAKEN and os.access(self.out, os.W_OK | os.X_OK):
                raise ImageError(error.message) from error
            raise


@dataclass(frozen=True, slots=True)
class Results:
    """The results of one run over a source.

    Args:
        source: the pictures that go in.
        target: where they go.
        todo: indices into `source` that this run has to do, ascending.
        skipped: how many results are newer than their input and the checkpoint.
        failures: inputs whose result would have another's name, or take the input's own place.
    """

    source: Source
    target: Target
    todo: list[int]
    skipped: int
    failures: list[Failure]

    def path(self, i: int) -> Path | None:
        """The file that picture `i` becomes; None is standard output."""
        return self.target.path(self.source.name(i))


def output_folder(out: str | Path) -> Path | None:
    """What to leave out of SOURCE when it is opened: OUT, unless that is standard output."""
    return None if str(out) == STDOUT else Path(out)


@contextmanager
def held(
    outputs: Collection[Path | str | None], reads: Iterable[Path | str | Source | None] = ()
) -> Iterator[None]:
    """Hold the outputs of one run for it alone, after `check_outputs`."""
    check_outputs(outputs, reads)
    with ExitStack() as stack:
        for output in outputs:
            if output is not None and str(output) != STDOUT:
                stack.enter_context(locked(Path(output)))
        yield


def check_outputs(
    outputs: Collection[Path | str | None],
    reads: Iterable[Path | str | Source | None] = (),
    *,
    models: Collection[Path] = (),
) -> None:
    """Refuse outputs that would replace one another, what they are made of, or a trained model.

    Args:
        outputs: files and folders; None and "-" are left out, and so are devices and pipes.
        reads: what the run reads, files, SOURCEs as they were written, or opened ones: none is to
            make way for an output.
        models: outputs that are models themselves, and may take another's place.

    Raises:
        UsageError: one output given twice, one that the run reads, or one that is a model.
    """
    files = [Path(output) for output in outputs if output is not None and str(output) != STDOUT]
    files = [path for path in files if path.is_file() or path.is_dir() or not path.exists()]
    reads = [each for each in reads if each is not None]
    for n, output in enumerate(files):
        if any(os.path.realpath(output) == os.path.realpath(other) for other in files[:n]):
            raise UsageError(f"{output} is given for two outputs", "name another for one of them")
        if output.is_file() and any(_reads(output, each) for each in reads):
            raise UsageError(f"{output} is read: its result would replace it", "name a new file")
        if output not in models and output.is_file() and container_kind(output) == "checkpoint":
            raise UsageError(f"{output} is a model: its result would replace it", "name a new file")


def check_drawing(
    drawing: Path | None,
    option: str,
    source: str,
    out: Path | str | None = None,
    *,
    among: str = "SOURCE",
) -> None:
    """Refuse a picture or a folder of pictures in SOURCE: the next run would take them for input.

    Args:
        drawing: where it would be.
        option: that asks for it.
        source: SOURCE as it was written.
        out: OUT, of which nothing is taken for input.
        among: what SOURCE is called.

    Raises:
        UsageError: for that.
    """
    if drawing is None or not os.path.isdir(source):
        return
    place = os.path.realpath(drawing)
    if out is not None and Path(place).is_relative_to(os.path.realpath(out)):
        return
    if Path(place).is_relative_to(os.path.realpath(source)):
        raise UsageError(f"{option} lies inside {among}", "name a place outside")


def check_picture_name(path: Path) -> None:
    """Refuse a name that no picture can be written under as it stands.

    Raises:
        UsageError: for that.
    """
    if not _is_image_name(path.name):
        raise UsageError(
            f"{path} is no name of a picture", f"call it {path.stem or 'pictures'}.png"
        )


def _reads(output: Path, what: Path | str | Source) -> bool:
    """Whether a file is one that is read, or in it."""
    if isinstance(what, Source):
        return Inputs(what).holds(output)
    path = Path(str(what).removeprefix("@"))
    return any(_same_file(place, output) for place in (path, *path.parents))  # data.h5/cam/images


@contextmanager
def planned(
    source: Source,
    text: str,
    out: str | Path,
    *,
    since: int,
    checkpoint: Path | None = None,
    overwrite: bool = False,
    shard: Shard | None = None,
    beside: Path | None = None,
    kept: Source | None = None,
) -> Iterator[Results]:
    """Hold OUT for this run alone and say what is left to do.

    In a folder a result that is newer than its input and `checkpoint` is skipped unless
    `overwrite`. One file is always done: what stands there may be of another input. Two inputs
    never share a result: one of them is a failure.

    Args:
        source: the opened SOURCE.
        text: SOURCE as the user wrote it; one image in (or "-") may be one file out.
        out: a folder, an image file, or "-".
        since: nanoseconds, when the run began, before it read the checkpoint: the time of results
            in a folder.
        checkpoint: the model the results depend on.
        overwrite: skip nothing.
        shard: the one that `source` is; runs of other shards may write to OUT at the same time.
        beside: a folder of the same names; a result without its file there is not done.
        kept: pictures that no result may replace, besides those of SOURCE.

    Raises:
        UsageError: OUT is one file, SOURCE is not one image.
        OutputError: another run writes to OUT, or OUT cannot be made.
    """
    one_image = len(source.whole) == 1 and (
        text == "-" or Path(text).is_file() or Path(text).is_fifo()
    )
    if str(out) == STDOUT:
        if not one_image:
            raise UsageError("- as OUT takes one image as SOURCE", "name a folder for OUT")
        if _to_terminal():
            raise UsageError("a terminal shows no picture", "name a file, or pipe it on")
        yield Results(source, Target(None, True), list(range(len(source))), 0, [])
        return
    with holding(Path(out), one_image=one_image, part=str(shard or "")) as target:
        if not target.one_file:
            target = replace(target, since=since)
        yield plan(
            source, target, checkpoint=checkpoint, overwrite=overwrite, beside=beside, kept=kept
        )


@contextmanager
def holding(out: Path, *, one_image: bool = False, part: str = "") -> Iterator[Target]:
    """Hold OUT for this run alone.

    Args:
        out: a folder, which need not exist, or an image file.
        one_image: SOURCE is one image, so that OUT may be a file.
        part: as `locked`.

    Raises:
        UsageError: OUT is one file, SOURCE is not one image.
        OutputError: another run writes to OUT, or OUT cannot be made.
    """
    one_file = is_picture_file(out)
    if one_image and not one_file and not out.exists() and out.suffix.lower() in IMAGE_SUFFIXES:
        raise UsageError(
            f"{out.suffix[1:].upper()} does not hold a result in full", f"call it {out.stem}.png"
        )
    if one_file and not one_image:
        raise UsageError(f"OUT is one picture, {out}, but SOURCE is not", "name a folder for OUT")
    if not one_file and out.exists() and not out.is_dir():
        raise OutputError(f"OUT is not a folder: {out}", "name a folder that exists or may be made")
    with locked(out, part=part):
        yield Target(out.absolute(), one_file)  # a worker of a cluster stands in another folder


def plan(
    source: Source,
    target: Target,
    *,
    checkpoint: Path | None = None,
    overwrite: bool = False,
    beside: Path | None = None,
    kept: Source | None = None,
) -> Results:
    """What is left to do of a source; arguments as `planned`."""
    empty = Results(source, target, [], 0, [])
    reference = modified(checkpoint) if checkpoint else 0
    shared = _array_time(source)
    todo, skipped, failures = [], 0, []
    names, clash = named(source)
    inputs = Inputs(_in_reach(source, target), kept)
    # What came through a pipe has no time, and the next run's may be another picture.
    overwrite = overwrite or target.one_file or shared is None
    for i in range(len(source)):
        position = source.position(i)
        if position in clash:
            failures.append(clash[position])
            continue
        if len(os.fsencode(names[position].rpartition("/")[2])) > NAME_BYTES:
            failures.append(Failure(source.name(i), "the name of its result would be too long"))
            continue
        path = source.path(i)
        result = empty.path(i)
        newest_input = max(reference, (shared or 0) if path is None else modified(path))
        if result is not None and inputs.holds(result):
            what = "it" if path and path.samefile(result) else "a picture that is read"
            failures.append(Failure(source.name(i), f"its result would replace {what}"))
        elif beside is not None and inputs.holds(beside / names[position]):
            why = "its strip would replace a picture that is read"
            failures.append(Failure(source.name(i), why))
        elif not overwrite and modified(result) > newest_input and _has(beside, names[position]):
            skipped += 1
        else:
            todo.append(i)
    return Results(source, target, todo, skipped, failures)


def _in_reach(source: Source, target: Target) -> Source:
    """The pictures that could lie where results go: those of all shards only where folders meet."""
    root, out = os.path.realpath(source.root), os.path.realpath(target.out or os.curdir)
    meet = Path(root).is_relative_to(out) or Path(out).is_relative_to(root)
    return source.whole if meet else source


def named(source: Source) -> tuple[list[str | None], dict[int, Failure]]:
    """(the name of each result, why some have none), both by position in the whole of SOURCE.

    Names clash there, whichever shard of it this is.
    """
    whole = source.whole
    names, clashes = output_names(whole.name(i) for i in range(len(whole)))
    without = (position for position, name in enumerate(names) if name is None)
    return names, dict(zip(without, clashes, strict=True))


def write_picture(
    path: Path | None, pixels: np.ndarray, like: Picture | None, *, since: int | None = None
) -> None:
    """Write a result whole or not at all.

    Args:
        path: the file, whose suffix names the format; None writes PNG to standard output.
        pixels: uint8 or uint16 (h, w) or (h, w, 3) sRGB.
        like: the input, for its EXIF and resolution.
        since: as `Target`.

    Raises:
        OutputError: it cannot be written (disk full, no permission).
    """
    if path is not None:
        with replacing(path) as temporary:
            save_picture(temporary, pixels, like=like)
        if since is not None:
            # Not before: an old temporary file could be taken for one that a killed run left.
            with suppress(OSError):  # some file systems know no such times
                os.utime(path, ns=(since, since))
        return
    sys.stdout.buffer.write(png_bytes(pixels, like))
    sys.stdout.buffer.flush()


def _to_terminal() -> bool:
    return sys.stdout.isatty()


def is_picture_file(out: Path) -> bool:
    """Whether an OUT stands for one picture, by its name, and not for a folder."""
    return not out.is_dir() and _is_image_name(out.name)


def _is_image_name(name: str) -> bool:
    """A name that a picture can be written under as it stands."""
    return bool(Path(name).suffix) and output_name(name) == name


def _same_file(path: Path, target: Path) -> bool:
    return target.exists() and path.exists() and path.samefile(target)


def _has(folder: Path | None, name: str) -> bool:
    return folder is None or (folder / name).exists()


def modified(path: Path) -> int:
    """Modification time in nanoseconds, 0 where no file can be seen."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns


def _array_time(source: Source) -> int | None:
    """When the files behind an array source were modified; None of one that came through a pipe.

    0 stands for a data set by name.
    """
    return None if source.piped else max(map(modified, source.files), default=0)
