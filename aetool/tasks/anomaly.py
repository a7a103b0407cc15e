"""How badly a model of normal pictures rebuilds new ones: scores, verdicts, heatmaps."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from aetool.analysis import anomaly
from aetool.errors import Failure, ImageError, UsageError
from aetool.images.source import MAX_PIXELS, Source
from aetool.inference.prepare import prepare, restore_whole
from aetool.inference.stream import Item, Outputs, Progress
from aetool.inference.workplace import workplace
from aetool.storage.atomic import locked
from aetool.storage.checkpoint import Checkpoint
from aetool.storage.shards import Shard
from aetool.tasks.encode import note_pages
from aetool.tasks.outputs import write_picture
from aetool.tasks.reconstruct import RECONSTRUCTION, make_reconstructor, read_reconstructor
from aetool.tasks.shards import open_shard, part_of, write_rows

HEADER = ("path", "label", "score", "p_value", "anomaly")
CALIBRATION_SCORES = "calibration/scores"
# The labels that mean normal where training had none.
NORMAL = ("good", "normal")
# The brightest heatmap colour is an error this many times the root mean square error at the
# threshold.
HEATMAP_TOP = 3


@dataclass(frozen=True, slots=True)
class AnomalyResult:
    """What a scoring run found.

    Args:
        read: pictures decoded.
        written: rows of the table.
        skipped: always 0: the table is written whole.
        failed: pictures left out, in input order.
        seconds: wall time.
        threshold: scores above it are anomalies; None without one.
        anomalies: how many there are; None without a threshold.
        auroc: how well scores tell the labels that are normal from the others; None unless both
            occur.
    """

    read: int
    written: int
    skipped: int
    failed: list[Failure]
    seconds: float
    threshold: float | None
    anomalies: int | None
    auroc: float | None


@dataclass(frozen=True, slots=True)
class _Scoring:
    """What is done to each picture.

    Args:
        pictures: the source.
        stored: the model of normal ones.
        painter: draws heatmaps, if they are asked for.
        precision, batch_size, max_pixels: as `score_images`.
    """

    pictures: Source
    stored: Checkpoint
    painter: "_Painter | None"
    precision: str
    batch_size: int | None
    max_pixels: int

    def load(self, i: int) -> Item:
        preprocessing = self.stored.metadata["preprocessing"]
        size = tuple(preprocessing["size"])
        # Reduced as in training, whose held-out pictures set the threshold.
        picture = self.pictures.load(i, max_pixels=self.max_pixels, reduce_to=size)
        return Item(i, prepare(picture.pixels, preprocessing, size), picture.frames)

    def make_engine(self):
        return make_reconstructor(self.stored, self.precision, self.batch_size)

    def finish(self, item: Item, outputs: Outputs) -> tuple[float, int]:
        """(score, pages of the file)."""
        errors = anomaly.error_maps(item.inputs, outputs[RECONSTRUCTION])
        if self.painter:
            self.painter.paint(self.pictures, item.index, errors)
        return errors.mean(), item.payload


def score_images(
    source: str,
    output: Path | None,
    checkpoint: Path,
    *,
    false_alarms: float | None = None,
    threshold: float | None = None,
    needs_threshold: bool = False,
    heatmaps: Path | None = None,
    overlay: bool = False,
    batch_size: int | None = None,
    precision: str = "auto",
    max_pixels: int = MAX_PIXELS,
    shard: Shard | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> AnomalyResult:
    """Score every readable picture of a source by its reconstruction error, and judge it.

    The score is the mean squared error over pixels and channels, at the network's size and in its
    range. A picture whose score is above the threshold is an anomaly.

    Args:
        source: SOURCE as on the command line.
        output: the table, rows in input order; None for standard output.
        checkpoint: a model that learnt to reconstruct normal pictures.
        false_alarms: the share of normal pictures that may be flagged; by default as calibrated.
        threshold: a threshold instead of the calibrated one.
        needs_threshold: refuse a checkpoint from which no threshold follows.
        heatmaps: a folder for a PNG a picture, of its size: the error of each pixel, all on one
            scale.
        overlay: draw the heatmaps over the pictures.
        batch_size: pictures a batch; by default chosen from the picture size.
        precision: "float32" or "bfloat16"; "auto" is what the calibration used.
        max_pixels: refuse larger pictures.
        shard: the share of the pictures to score, for `merge` to join.
        scheduler: address of a Dask cluster to score on.
        progress: called with (pictures done or failed, pictures in all).
        note: called with a line worth telling.

    Raises:
        SourceError, FormatError, OutputError: a source, checkpoint or output that cannot be used.
        UsageError: options that make no sense together, or need a calibration that is not there.
    """
    if overlay and heatmaps is None:
        raise UsageError("--overlay needs a folder", "give one with --heatmaps DIR")
    started = time.perf_counter()
    tell = note or (lambda text: None)
    stored = read_reconstructor(checkpoint)
    judge = _judge(stored, threshold, false_alarms, tell)
    if judge.threshold is None and needs_threshold:
        raise UsageError(
            f"{checkpoint} has no calibration, so nothing can be called an anomaly",
            "give --threshold SCORE, or train with validation pictures",
        )
    precision = _precision(precision, judge, tell)
    pictures = open_shard(source, shard, exclude=heatmaps)
    painter = _Painter(pictures, stored, heatmaps, overlay, judge, max_pixels) if heatmaps else None
    several_pages: list[int] = []
    scores = np.full(len(pictures), np.nan)

    def take(i: int, result: tuple[float, int]) -> None:
        scores[i], pages = result
        if pages > 1:
            several_pages.append(i)

    lock_table = locked(output) if output else nullcontext()
    lock_folder = locked(heatmaps, part=str(shard or "")) if heatmaps else nullcontext()
    with lock_table, lock_folder, workplace(scheduler) as place:
        precision = place.resolve(precision)
        work = _Scoring(pictures, stored, painter, precision, batch_size, max_pixels)
        failures = place.stream(work, range(len(pictures)), take, progress)
        scored = np.flatnonzero(~np.isnan(scores))
        settings = ("anomaly", stored.digest, judge.threshold, precision)
        write_rows(
            output,
            HEADER,
            _rows(pictures, scored, scores, judge),
            part_of(pictures, shard, settings),
            map(pictures.position, scored),
        )
    note_pages(note, several_pages)
    return AnomalyResult(
        read=len(scored),
        written=len(scored),
        skipped=0,
        failed=failures,
        seconds=time.perf_counter() - started,
        threshold=judge.threshold,
        anomalies=judge.count(scores[scored]),
        auroc=_auroc(pictures, scored, scores, stored.metadata),
    )


@dataclass(frozen=True, slots=True)
class _Judge:
    """What scores are held against.

    Args:
        threshold: None where there is no calibration and none was given.
        calibration: scores of held-out normal pictures, ascending; None without a calibration.
        precision: the one those were computed in.
    """

    threshold: float | None
    calibration: np.ndarray | None = None
    precision: str | None = None

    def count(self, scores: np.ndarray) -> int | None:
        return None if self.threshold is None else int((scores > self.threshold).sum())


def _judge(
    stored: Checkpoint, given: float | None, false_alarms: float | None, tell: Callable[[str], None]
) -> _Judge:
    if given is not None and false_alarms is not None:
        raise UsageError("--threshold and --false-alarms both set the threshold", "leave out one")
    about = stored.metadata.get("calibration")
    calibration = stored.arrays.get(CALIBRATION_SCORES)
    if not about or calibration is None or not len(calibration):
        if false_alarms is not None:
            raise UsageError(
                "--false-alarms needs a calibrated model, and this one is not",
                "give --threshold SCORE, or train with validation pictures",
            )
        if given is None:
            tell("the model has no calibration: scores only, no p-values and no verdicts")
        return _Judge(given)
    threshold = about["threshold"] if given is None else given
    if false_alarms is not None:
        threshold = anomaly.threshold(calibration, false_alarms)
        lowest = anomaly.smallest_rate(len(calibration))
        if false_alarms < lowest:
            tell(
                f"{len(calibration)} calibration scores cannot promise fewer false alarms than "
                f"{lowest:.2g}; the threshold is their highest"
            )
    return _Judge(threshold, calibration, about["precision"])


def _precision(asked: str, judge: _Judge, tell: Callable[[str], None]) -> str:
    """The precision to score in: the calibration's, unless another one was asked for."""
    if judge.precision is None:
        return asked
    if asked not in ("auto", judge.precision):
        tell(f"the model was calibrated in {judge.precision}: p-values are approximate in {asked}")
        return asked
    return judge.precision


def _rows(
    pictures: Source, scored: np.ndarray, scores: np.ndarray, judge: _Judge
) -> Iterator[tuple]:
    p_values = [None] * len(scored)
    if judge.calibration is not None:
        p_values = anomaly.p_values(scores[scored], judge.calibration)
    for i, p_value in zip(scored, p_values, strict=True):
        label = pictures.label(i)
        name = pictures.class_names[label] if label >= 0 else None
        verdict = None if judge.threshold is None else bool(scores[i] > judge.threshold)
        yield pictures.name(i), name, scores[i], p_value, verdict


def _auroc(
    pictures: Source, scored: np.ndarray, scores: np.ndarray, metadata: dict
) -> float | None:
    seen = metadata["training"].get("only") or metadata.get("classes") or NORMAL
    labels = np.array([pictures.label(i) for i in scored], int)
    labelled = labels >= 0
    normal = np.isin(labels, [n for n, name in enumerate(pictures.class_names) if name in seen])
    return anomaly.auroc(scores[scored][labelled], ~normal[labelled])


class _Painter:
    """Writes a heatmap a picture, all on one colour scale, known before the first is drawn."""

    def __init__(
        self,
        pictures: Source,
        stored: Checkpoint,
        folder: Path,
        overlay: bool,
        judge: _Judge,
        max_pixels: int,
    ):
        self.folder = folder.absolute()  # a worker of a cluster stands in another one
        self.overlay = overlay
        self.max_pixels = max_pixels
        self.how = stored.metadata["preprocessing"]["fit"]
        low, high = stored.metadata["preprocessing"]["range"]
        reference = judge.threshold
        self.top = HEATMAP_TOP**2 * reference if reference else (high - low) ** 2
        # Names clash in the whole of SOURCE, whichever shard of it this is.
        self.taken: dict[int, str] = {}  # position: the earlier picture that has its heatmap's name
        first: dict[Path, int] = {}
        whole = pictures.whole
        for position in range(len(whole)):
            holder = first.setdefault(self.path(whole.name(position)), position)
            if holder != position:
                self.taken[position] = whole.name(holder)

    def path(self, name: str) -> Path:
        """NAME.png; another format's suffix stays before it."""
        path = PurePosixPath(name)
        return self.folder / (path if path.suffix.lower() == ".png" else f"{path}.png")

    def paint(self, pictures: Source, i: int, errors: np.ndarray) -> None:
        from aetool.plots.heatmap import heatmap, levels, overlay

        other = self.taken.get(pictures.position(i))
        if other is not None:
            raise ImageError(f"its heatmap would have the name of that of {other}")
        pixels = pictures.load(i, max_pixels=self.max_pixels).pixels
        level = restore_whole(levels(errors, self.top), pixels.shape[:2], self.how)
        drawn = overlay(level, pixels) if self.overlay else heatmap(level)
        write_picture(self.path(pictures.name(i)), drawn, None)
