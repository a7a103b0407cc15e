"""aetool anomaly."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from aetool.cli import options
from aetool.errors import UsageError

EPILOG = """Examples:

  aetool anomaly parts/ -c good-parts.h5 -o scores.csv --heatmaps where/ --report report.png

  aetool anomaly camera/ -c good-parts.h5 -o scores.csv --append --fail-on-anomaly || mail-foreman

  aetool anomaly --calibrate new-good-parts/ -c good-parts.h5 -o good-parts-2.h5
"""

SCORING_PANEL = "Scoring"
WHERE_PANEL = "Where and how well"


def anomaly(
    checkpoint: options.CheckpointOpt,
    source: Annotated[
        str | None,
        Argument(
            metavar="SOURCE",
            help="A folder, image, @list.txt, - (stdin) or array file; none with --calibrate.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Table to write, CSV or .jsonl; stdout without it. The model, with --calibrate.",
        ),
    ] = None,
    append: Annotated[
        bool, Option("--append", help="Add rows for the images that -o has no row of yet.")
    ] = False,
    fail_on_anomaly: Annotated[
        bool, Option("--fail-on-anomaly", help="Exit 3 when there is an anomaly.")
    ] = False,
    score: Annotated[
        Literal[
            "combined",
            "mse",
            "ssim",
            "elbo",
            "mahalanobis",
            "knn",
            "gmm",
            "patch",
            "texture",
        ]
        | None,
        Option(
            "--score",
            metavar="NAME",
            help="What to go by: combined unless given; mse for a model without calibration.",
            show_default=False,
            rich_help_panel=SCORING_PANEL,
        ),
    ] = None,
    false_alarms: Annotated[
        float | None,
        Option(
            "--false-alarms",
            metavar="RATE",
            min=0,
            max=1,
            help="Share of normal images that may be flagged; 0.01 unless given.",
            rich_help_panel=SCORING_PANEL,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        Option(
            "--threshold",
            metavar="SCORE",
            help="Flag scores above this instead.",
            rich_help_panel=SCORING_PANEL,
        ),
    ] = None,
    tile: Annotated[
        int | None,
        Option(
            "--tile",
            metavar="N",
            min=8,
            help="Score overlapping tiles of N pixels a side; as calibrated unless given.",
            rich_help_panel=SCORING_PANEL,
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        Option(
            "--calibrate",
            metavar="NORMALS",
            help="Write the model to -o with thresholds from these normal images.",
            rich_help_panel=SCORING_PANEL,
        ),
    ] = None,
    heatmaps: Annotated[
        Path | None,
        Option(
            "--heatmaps",
            metavar="DIR",
            help="Write where each image is unusual.",
            rich_help_panel=WHERE_PANEL,
        ),
    ] = None,
    overlay: Annotated[
        bool,
        Option("--overlay", help="Draw the heatmaps over the images.", rich_help_panel=WHERE_PANEL),
    ] = False,
    masks: Annotated[
        Path | None,
        Option(
            "--masks",
            metavar="DIR",
            help="True defects, DIR/DEFECT/NAME_mask.png: measure the heatmaps.",
            rich_help_panel=WHERE_PANEL,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        Option(
            "--report",
            metavar="PNG",
            help="Draw the scores, the curves and the worst ten.",
            rich_help_panel=WHERE_PANEL,
        ),
    ] = None,
    batch_size: options.BatchSizeOpt = None,
    precision: options.PrecisionOpt = "auto",
    max_pixels: options.MaxPixelsOpt = 500_000_000,
    shard: options.ShardOpt = None,
    scheduler: options.SchedulerOpt = None,
    allow_failures: options.AllowFailuresOpt = "0",
    json: options.JsonOpt = False,
    quiet: options.QuietOpt = False,
    verbose: options.VerboseOpt = False,
) -> None:
    """Score images by how unlike the normal ones a model has learnt from they are.

    The threshold comes from normal images held out in training: by default 1 in 100 of them is
    flagged.
    """
    from aetool.cli.output import Output
    from aetool.tasks.anomaly import calibrate_model, score_images

    out = Output(json=json, quiet=quiet, verbose=verbose)
    common = {
        "tile": tile,
        "batch_size": batch_size,
        "precision": precision,
        "max_pixels": max_pixels,
        "note": out.note,
    }
    if calibrate is not None:
        switches = (append, fail_on_anomaly, overlay)
        scoring = (source, score, false_alarms, threshold, heatmaps, masks, report)
        if any(switches) or any(option is not None for option in (*scoring, shard, scheduler)):
            raise UsageError("--calibrate scores nothing", "leave out SOURCE and scoring options")
        if output is None or str(output) == "-":
            raise UsageError("--calibrate writes a model", "name a file: -o NEW.h5")
        with out.progress("Calibrating") as progress:
            result = calibrate_model(calibrate, checkpoint, output, progress=progress, **common)
        line = f"calibrated by {result.read} images: above {result.threshold:.4g} is an anomaly"
        out.finish(result, summary=line, allow_failures=allow_failures)
        return
    if source is None:
        raise UsageError("no SOURCE", "name what to score, or normal images with --calibrate")
    out.check_stdout(output)
    with out.progress("Scoring") as progress:
        result = score_images(
            source,
            None if str(output) == "-" else output,
            checkpoint,
            score=score,
            false_alarms=false_alarms,
            threshold=threshold,
            needs_threshold=fail_on_anomaly,
            append=append,
            heatmaps=heatmaps,
            overlay=overlay,
            masks=masks,
            report=report,
            shard=shard,
            scheduler=scheduler,
            progress=progress,
            **common,
        )
    out.finish(
        result,
        summary=_summary(result),
        allow_failures=allow_failures,
        exit_status=3 if fail_on_anomaly and result.anomalies else 0,
    )


def _summary(result) -> str:
    images = "1 image" if result.read == 1 else f"{result.read} images"
    line = f"{images} scored in {result.seconds:.1f} s"
    if result.skipped:
        line += f", {result.skipped} were in the table"
    if result.anomalies is not None:
        line += f", {result.anomalies} above the threshold of {result.threshold:.4g}"
    if result.auroc is not None:
        line += f"; AUROC {result.auroc:.3f}"
    if result.pixel_auroc is not None:
        line += f", of pixels {result.pixel_auroc:.3f}"
    return line
