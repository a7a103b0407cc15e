"""Grey photographs in, the same photographs in colour out."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from aetool.errors import Failure, FormatError, UsageError
from aetool.images.chroma import (
    ab_to_chroma,
    chroma_of,
    colorfulness,
    grey_of,
    join,
    strips,
    unit,
)
from aetool.images.color import annealed_mean
from aetool.images.decode import Picture, fit
from aetool.images.quality import PSNR_CEILING
from aetool.images.source import MAX_PIXELS, Source
from aetool.images.write import output_name
from aetool.inference.prepare import prepare
from aetool.inference.stream import Item, Outputs, Progress
from aetool.inference.workplace import workplace
from aetool.storage.checkpoint import Checkpoint, read_checkpoint
from aetool.storage.shards import Shard
from aetool.tasks.encode import note_pages
from aetool.tasks.outputs import Target, output_folder, planned, write_picture
from aetool.tasks.shards import check_output, open_shard

COMPARISON_SIDE = 1024  # the longer side of each picture in a strip, at most


@dataclass(frozen=True, slots=True)
class ColorizeResult:
    """What a run did; the last four are means over the pictures that came in colour, or None.

    Args:
        read: pictures decoded.
        written: pictures written.
        skipped: pictures whose result was already there.
        failed: pictures left out.
        seconds: of the whole run.
        psnr: of the results against the truth, in dB.
        psnr_grey: what leaving them grey scores.
        colorfulness: of the results (Hasler and Suesstrunk, 2003).
        colorfulness_true: of the truth.
    """

    read: int
    written: int
    skipped: int
    failed: list[Failure]
    seconds: float
    psnr: float | None = None
    psnr_grey: float | None = None
    colorfulness: float | None = None
    colorfulness_true: float | None = None


@dataclass(frozen=True, slots=True)
class _Work:
    """What is kept of a picture while the network looks at its small version."""

    picture: Picture  # its pixels grey, (h, w) uint8 or uint16
    truth: np.ndarray | None  # (h, w, 3), where the picture came in colour and that is asked for

    @property
    def nbytes(self) -> int:
        return self.picture.pixels.nbytes + (0 if self.truth is None else self.truth.nbytes)


@dataclass(frozen=True, slots=True)
class Colouring:
    """What is done to each picture.

    Args:
        pictures: the source.
        stored: the colorizer.
        decoder: what it says of its input and output.
        target: where the results go; None writes none.
        keep_truth: whether the colours of pictures that have them are of use.
        saturation, evaluate, compare, batch_size, precision, max_pixels: as `colorize_images`.
    """

    pictures: Source
    stored: Checkpoint
    decoder: "Decoder"
    target: Target | None
    keep_truth: bool
    saturation: float
    evaluate: bool
    compare: Path | None
    batch_size: int | None
    precision: str
    max_pixels: int

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

        model = rebuild(self.stored).model
        return Engine(model, precision=self.precision, batch_size=self.batch_size)

    def finish(self, item: Item, outputs: Outputs) -> tuple[int, tuple[float, ...] | None]:
        """(pages of the file, its scores where they are asked for)."""
        work: _Work = item.payload
        grey, name = work.picture.pixels, self.pictures.name(item.index)
        colored = join(grey, self.decoder.chroma(outputs, grey), self.saturation)
        if self.target is not None:
            write_picture(self.target.path(name), colored, work.picture)
        if self.compare is not None:
            strip = _strip(grey, colored, work.truth)
            write_picture(self.compare / output_name(name), strip, work.picture)
        scored = self.evaluate and work.truth is not None
        return work.picture.frames, _scores(grey, colored, work.truth) if scored else None


def colorize_images(
    source: str,
    out: Path | None,
    *,
    checkpoint: Path | None = None,
    saturation: float = 1.0,
    evaluate: bool = False,
    compare: Path | None = None,
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
            or `compare` writes no pictures.
        checkpoint: a colorizer; by default the one that ships.
        saturation: a factor on the colours, 0 to 10.
        evaluate: take pictures that come in colour as the truth and measure against it; then no
            picture is skipped.
        compare: a folder for strips: the grey picture, the coloured one, the truth if known.
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
    started = time.monotonic()
    if out is None and compare is None and not evaluate:
        raise UsageError("colorize needs OUT", "name a folder, or use --evaluate without OUT")
    check_saturation(saturation)
    path = checkpoint or shipped_checkpoint()
    stored = read_checkpoint(path)
    decoder = Decoder(path, stored)
    check_output(out, scheduler)
    pictures = open_shard(source, shard, exclude=output_folder(out) if out else None)
    _check_compare(compare, out, pictures.whole)
    several_pages: list[int] = []
    scores: dict[int, tuple[float, ...]] = {}

    def take(i: int, result: tuple[int, tuple[float, ...] | None]) -> None:
        pages, measured = result
        if pages > 1:
            several_pages.append(i)
        if measured:
            scores[i] = measured

    with ExitStack() as stack:
        results = None
        if out is not None:
            results = stack.enter_context(
                planned(
                    pictures,
                    source,
                    out,
                    checkpoint=path,
                    overwrite=overwrite or evaluate,
                    shard=shard,
                )
            )
        todo = range(len(pictures)) if results is None else results.todo
        failed = list(results.failures) if results else []
        clashes = len(failed)
        if todo:
            place = stack.enter_context(workplace(scheduler))
            work = Colouring(
                pictures,
                stored,
                decoder,
                results and results.target,
                evaluate or compare is not None,
                saturation,
                evaluate,
                compare and compare.absolute(),
                batch_size,
                place.resolve(precision, stored.metadata),
                max_pixels,
            )
            failed += place.stream(work, todo, take, progress)

    note_pages(note, several_pages)
    read = len(todo) - (len(failed) - clashes)
    means = np.mean([scores[i] for i in sorted(scores)], axis=0).tolist() if scores else [None] * 4
    return ColorizeResult(
        read,
        0 if results is None else read,
        0 if results is None else results.skipped,
        failed,
        time.monotonic() - started,
        *means,
    )


def check_saturation(saturation: float) -> None:
    """Refuse what is no factor on colours.

    Raises:
        UsageError: for that.
    """
    if not 0 <= saturation <= 10:
        raise UsageError(f"--saturation {saturation} is not between 0 and 10")


def shipped_checkpoint() -> Path:
    """The colorizer in the package.

    Raises:
        FormatError: this installation has none.
    """
    path = Path(str(resources.files("aetool") / "weights" / "colorizer.h5"))
    if not path.is_file():
        raise FormatError(
            "this installation lacks the colorizer that ships", "give another with -c MODEL.h5"
        )
    return path


class Decoder:
    """What a colorizer's checkpoint says of its input and of its output, checked."""

    def __init__(self, path: Path, checkpoint: Checkpoint):
        metadata = checkpoint.metadata
        if metadata["task"] != "colorize":
            raise FormatError(
                f"{path} is no colorizer: its task is {metadata['task']}",
                "train one with --task colorize, or leave -c out for the one that ships",
            )
        # Colour is laid over the whole picture, so the network must see the whole picture.
        self.preprocessing = {**metadata["preprocessing"], "fit": "stretch"}
        self.size = tuple(self.preprocessing["size"])
        self._output = metadata["output"][0]
        decoding = self._output["decoding"]
        if decoding not in ("rgb", "ab-bins"):
            raise FormatError(
                f"{path}: this version knows no output decoding {decoding!r}", "upgrade aetool"
            )
        self._bins = checkpoint.arrays.get("ab_bins")
        if decoding == "ab-bins" and self._bins is None:
            raise FormatError(f"{path} lacks the ab bins of its output", "train it again")

    def chroma(self, outputs: Outputs, grey: np.ndarray) -> np.ndarray:
        """One picture's chroma, float32 (h, w, 2), from its row of the network's outputs."""
        values = outputs[self._output["name"]]
        if self._output["decoding"] == "rgb":
            return chroma_of(values)
        return ab_to_chroma(annealed_mean(values, self._bins, self._output["temperature"]), grey)


def _check_compare(compare: Path | None, out: Path | None, pictures: Source) -> None:
    """Strips inside SOURCE would be coloured themselves by the next run."""
    if compare is None:
        return
    folder = compare.resolve()
    left_out = out is not None and folder.is_relative_to(out.resolve())
    if out is not None and folder == out.resolve():
        raise UsageError("--compare and OUT are the same folder", "name another for --compare")
    if not left_out and pictures.path(0) is not None and folder.is_relative_to(pictures.root):
        raise UsageError("--compare lies inside SOURCE", "name a folder outside")


def _in_color(pixels: np.ndarray) -> bool:
    """Whether any pixel is not neutral."""
    if pixels.ndim == 2:
        return False
    return any((pixels[rows, :, :2] != pixels[rows, :, 1:]).any() for rows in strips(pixels.shape))


def _scores(grey: np.ndarray, colored: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    """The last four fields of a ColorizeResult, for one picture."""
    return (
        _psnr(colored, truth),
        _psnr(grey[..., None], truth),
        colorfulness(colored),
        colorfulness(truth),
    )


def _psnr(pixels: np.ndarray, truth: np.ndarray) -> float:
    """PSNR in dB, strip by strip; (h, w, 3) or (h, w, 1) against (h, w, 3), of any depths."""
    total = 0.0
    for rows in strips(truth.shape):
        difference = unit(pixels[rows]) - unit(truth[rows])
        total += float(np.square(difference, dtype=np.float64).sum())
    return min(PSNR_CEILING, -10 * math.log10(max(total, 1e-300) / truth.size))


def _strip(grey: np.ndarray, colored: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """Grey, colour and truth side by side: uint8 (h, 2 or 3 times w, 3)."""
    scale = min(1, COMPARISON_SIDE / max(grey.shape))
    size = tuple(max(1, round(side * scale)) for side in grey.shape)
    panels = [fit(pixels, size, 3) for pixels in (grey, colored, truth) if pixels is not None]
    return (np.concatenate(panels, axis=1) * 255 + 0.5).astype(np.uint8)
