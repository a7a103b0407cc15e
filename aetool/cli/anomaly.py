"""aetool anomaly."""

from pathlib import Path
from typing import Annotated

from typer import Option

from aetool.cli import options

EPILOG = """Examples:

  aetool anomaly parts/ -c good-parts.h5 -o scores.csv --heatmaps errors/

  aetool anomaly today/ -c good-parts.h5 -o scores.csv --fail-on-anomaly || mail-the-foreman
"""


def anomaly(
    source: options.SourceArg,
    checkpoint: options.CheckpointOpt,
    output: options.TableOpt = None,
    false_alarms: Annotated[
        float | None,
        Option(
            "--false-alarms",
            metavar="RATE",
            min=0,
            max=1,
            help="Share of normal images that may be flagged; 0.01 as trained.",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        Option("--threshold", metavar="SCORE", help="Flag scores above this instead."),
    ] = None,
    heatmaps: Annotated[
        Path | None,
        Option("--heatmaps", metavar="DIR", help="Write where each image was rebuilt badly."),
    ] = None,
    overlay: Annotated[
        bool, Option("--overlay", help="Draw the heatmaps over the images.")
    ] = False,
    fail_on_anomaly: Annotated[
        bool, Option("--fail-on-anomaly", help="Exit 3 when there is an anomaly.")
    ] = False,
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
    """Score images by how badly a model of normal ones rebuilds them.

    The threshold comes from normal images held out in training: by default 1 in 100 of them is
    flagged.
    """
    from aetool.cli.output import Output
    from aetool.tasks.anomaly import score_images

    out = Output(json=json, quiet=quiet, verbose=verbose)
    out.check_stdout(output)
    with out.progress("Scoring") as progress:
        result = score_images(
            source,
            None if str(output) == "-" else output,
            checkpoint,
            false_alarms=false_alarms,
            threshold=threshold,
            needs_threshold=fail_on_anomaly,
            heatmaps=heatmaps,
            overlay=overlay,
            batch_size=batch_size,
            precision=precision,
            max_pixels=max_pixels,
            shard=shard,
            scheduler=scheduler,
            progress=progress,
            note=out.note,
        )
    out.finish(
        result,
        summary=_summary(result),
        allow_failures=allow_failures,
        exit_status=3 if fail_on_anomaly and result.anomalies else 0,
    )


def _summary(result) -> str:
    line = f"{result.read} images scored in {result.seconds:.1f} s"
    if result.anomalies is not None:
        line += f", {result.anomalies} above the threshold of {result.threshold:.4g}"
    if result.auroc is not None:
        line += f"; AUROC {result.auroc:.3f}"
    return line
