"""How unlike normal pictures new ones are: scores, verdicts, heatmaps, and how good those are."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.analysis import anomaly
from aetool.errors import Failure, UsageError
from aetool.images.source import MAX_PIXELS, Source, open_source
from aetool.inference.stream import Progress
from aetool.inference.workplace import workplace
from aetool.storage.atomic import locked
from aetool.storage.container import container_kind
from aetool.storage.shards import Shard
from aetool.tasks.encode import note_pages
from aetool.tasks.heatmaps import Heatmaps
from aetool.tasks.judge import choose_precision, make_judge
from aetool.tasks.masks import Masks
from aetool.tasks.outputs import check_drawing, held
from aetool.tasks.reconstruct import read_reconstructor
from aetool.tasks.scores import NORMAL
from aetool.tasks.scoring import Scoring, Tally
from aetool.tasks.shards import check_part, open_shard, part_of, write_rows
from aetool.tasks.watch import Watch, identity

REPORTED = 10
HEADER = ("path", "label", "score", "p_value", "anomaly")


@dataclass(frozen=True, slots=True)
class AnomalyResult:
    """What a scoring run found.

    Args:
        read: pictures decoded.
        written: rows of the table that were written.
        skipped: pictures whose row was there already.
        failed: pictures left out, in input order.
        seconds: wall time.
        score: the score's name.
        threshold: scores above it are anomalies; None without one.
        anomalies: how many there are among those read; None without a threshold.
        anomalous: which those are, in input order; None likewise.
        auroc: how well scores tell the labels that are normal from the others; None unless both
            occur.
        average_precision: the area under the precision-recall curve of the same; None likewise.
        pixel_auroc: how well maps tell pixels in masks from the others; None without masks.
        region_overlap: the mean share of each masked region that maps find, up to 30 % false
            pixels; None without masks.
    """

    read: int
    written: int
    skipped: int
    failed: list[Failure]
    seconds: float
    score: str
    threshold: float | None
    anomalies: int | None
    anomalous: list[str] | None
    auroc: float | None
    average_precision: float | None
    pixel_auroc: float | None
    region_overlap: float | None


@dataclass(frozen=True, slots=True)
class CalibrateResult:
    """What a calibration gave.

    Args:
        read: normal pictures scored.
        failed: pictures left out, in input order.
        seconds: wall time.
        score: the score that is used where none is asked for.
        threshold: its threshold at a false-alarm rate of 0.01.
        thresholds: that of every score by its name.
        smallest_rate: the lowest rate of false alarms that so many pictures can promise.
    """

    read: int
    failed: list[Failure]
    seconds: float
    score: str
    threshold: float
    thresholds: dict[str, float]
    smallest_rate: float


def score_images(
    source: str,
    output: Path | None,
    checkpoint: Path,
    *,
    score: str | None = None,
    false_alarms: float | None = None,
    threshold: float | None = None,
    needs_threshold: bool = False,
    tile: int | None = None,
    append: bool = False,
    heatmaps: Path | None = None,
    overlay: bool = False,
    masks: Path | None = None,
    report: Path | None = None,
    batch_size: int | None = None,
    precision: str = "auto",
    max_pixels: int = MAX_PIXELS,
    shard: Shard | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> AnomalyResult:
    """Score every readable picture of a source by how unlike normal pictures it is, and judge it.

    A picture whose score is above the threshold is an anomaly.

    Args:
        source: SOURCE as on the command line.
        output: the table, CSV or JSON lines, rows in input order; None for standard output.
        checkpoint: a model that learnt to reconstruct normal pictures.
        score: one of `analysis.detectors.SCORES`; by default the combined one where the model is
            calibrated, else the pixel error.
        false_alarms: the share of normal pictures that may be flagged; 0.01 by default.
        threshold: a threshold instead of the calibrated one.
        needs_threshold: refuse a checkpoint from which no threshold follows.
        tile: score overlapping tiles of so many pixels a side, and take the highest; by default as
            calibrated.
        append: add rows to the table, and skip pictures whose row is there.
        heatmaps: a folder for a PNG a picture, of its size: where the score comes from, all on one
            scale.
        overlay: draw the heatmaps over the pictures.
        masks: ground_truth/, with the true defects' masks.
        report: a figure of the scores, and of the pictures with the highest.
        batch_size: pictures a batch; by default chosen from the picture size.
        precision: "float32" or "bfloat16"; "auto" is what the calibration used.
        max_pixels: refuse larger pictures.
        shard: score only this shard of the source.
        scheduler: the address of a Dask cluster to do it on.
        progress: called with (pictures done or failed, pictures in all).
        note: called with a line worth telling.

    Raises:
        SourceError, FormatError, OutputError: a source, checkpoint or output that cannot be used.
        ClusterError: a cluster that does not answer, or loses its workers.
        UsageError: options that make no sense together, or need a calibration that is not there.
    """
    _check(overlay, heatmaps, append, output, report)
    if append and shard:
        raise UsageError("--append and --shard exclude each other", "leave out one")
    check_part(output, shard)
    if heatmaps and heatmaps.exists() and not heatmaps.is_dir():
        raise UsageError(f"--heatmaps {heatmaps} is no folder", "name one, or a new one")
    started = time.perf_counter()
    tell = note or (lambda text: None)
    stored = read_reconstructor(checkpoint)
    judge = make_judge(
        stored, score=score, threshold=threshold, false_alarms=false_alarms, tile=tile, tell=tell
    )
    if judge.threshold is None and needs_threshold:
        raise UsageError(
            f"{checkpoint} has no calibration, so nothing can be called an anomaly",
            "give --threshold SCORE, or train with validation pictures",
        )
    precision = choose_precision(precision, judge, tell)
    check_drawing(report, "--report", source)
    pictures = open_shard(source, shard, exclude=heatmaps, empty_list=append)
    with ExitStack() as stack:
        stack.enter_context(held((output, report), (source, pictures, checkpoint)))
        if heatmaps:
            stack.enter_context(locked(heatmaps, part=str(shard or "")))
        place = stack.enter_context(workplace(scheduler))
        precision = place.resolve(precision, stored.metadata)
        run = Scoring(pictures, stored, judge, precision, batch_size, max_pixels)
        if heatmaps:
            run.heatmaps = Heatmaps(pictures, heatmaps, overlay, run.top)
        if masks:
            run.masks = Masks(masks)
        run.keeps_maps = report is not None
        tally = Tally(run, REPORTED)
        todo = range(len(pictures))
        if append:
            tally.watch = stack.enter_context(Watch(output, HEADER, pictures, stored, judge))
            todo = tally.watch.todo()
        failures = place.stream(run, todo, tally.take, progress)
        scored = np.flatnonzero(~np.isnan(tally.values))
        if not append:
            settings = ("anomaly", identity(stored, judge), run.precision)
            part = part_of(pictures, shard, settings)
            write_rows(output, HEADER, tally.rows(scored), part, map(pictures.position, scored))
        odd = _anomalous(pictures, scored, stored.metadata)
        if report and len(scored):
            from aetool.tasks.anomaly_report import write_report

            write_report(report, tally, scored, odd)
        elif report:
            tell(f"no picture was scored, so {report} was not drawn")
    note_pages(note, pictures, tally.several_pages)
    values, labelled = tally.values[scored], odd >= 0
    found = judge.anomalous(values)
    if found is not None:
        found = [pictures.name(i) for i in scored[found]]
    return AnomalyResult(
        read=len(scored),
        written=len(scored),
        skipped=len(pictures) - len(todo),
        failed=failures,
        seconds=time.perf_counter() - started,
        score=judge.score,
        threshold=judge.threshold,
        anomalies=None if found is None else len(found),
        anomalous=found,
        auroc=anomaly.auroc(values[labelled], odd[labelled] > 0),
        average_precision=anomaly.average_precision(values[labelled], odd[labelled] > 0),
        pixel_auroc=tally.pixels.auroc() if masks else None,
        region_overlap=tally.pixels.region_overlap() if masks else None,
    )


def calibrate_model(
    normals: str,
    checkpoint: Path,
    output: Path,
    *,
    tile: int | None = None,
    batch_size: int | None = None,
    precision: str = "auto",
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> CalibrateResult:
    """Write a copy of a model whose calibration is that of other normal pictures.

    Args:
        normals: a SOURCE of normal pictures, at best ones that the model has not learnt from.
        checkpoint: a model that learnt to reconstruct.
        output: the copy; it may be the same file.
        tile: as scores are to be computed later.
        batch_size, precision, max_pixels, progress, note: as in `score_images`.

    Raises:
        SourceError, FormatError, OutputError: a source, checkpoint or output that cannot be used.
        UsageError: there are too few pictures.
    """
    from aetool.tasks.calibration import calibrate_file

    started = time.perf_counter()
    pictures = open_source(normals)
    if output.is_file() and container_kind(output) != "checkpoint":
        raise UsageError(f"{output} is no model, and a model would replace it", "name a new file")
    with locked(output):
        about, failures, pages = calibrate_file(
            pictures,
            read_reconstructor(checkpoint),
            output,
            tile=tile,
            precision=precision,
            batch_size=batch_size,
            max_pixels=max_pixels,
            progress=progress,
        )
    note_pages(note, pictures, pages)
    return CalibrateResult(
        read=about["count"],
        failed=failures,
        seconds=time.perf_counter() - started,
        score=about["score"],
        threshold=about["threshold"],
        thresholds=about["thresholds"],
        smallest_rate=anomaly.smallest_rate(about["count"]),
    )


def _check(
    overlay: bool, heatmaps: Path | None, append: bool, output: Path | None, report: Path | None
) -> None:
    if overlay and heatmaps is None:
        raise UsageError("--overlay needs a folder", "give one with --heatmaps DIR")
    if append and output is None:
        raise UsageError("--append needs a table", "give one with -o FILE")
    if report is not None:
        from aetool.plots.style import check_figure_path  # matplotlib, only where it is wanted

        check_figure_path(report)


def _anomalous(pictures: Source, scored: np.ndarray, metadata: dict) -> np.ndarray:
    """For each scored picture 1 where its label is no normal one, 0 where it is, -1 without."""
    seen = metadata["training"].get("only") or metadata.get("classes") or NORMAL
    normal = {n for n, name in enumerate(pictures.class_names) if name in seen}
    labels = [pictures.label(i) for i in scored]
    return np.array([-1 if label < 0 else int(label not in normal) for label in labels], int)
