"""aetool classify."""

from typing import Annotated

from typer import Option

from aetool.cli import options

EPILOG = """Examples:

  aetool classify photos/ -c model.h5 -o labels.csv

  aetool classify photos/ -c model.h5 -o /dev/null --json
"""


def classify(
    source: options.SourceArg,
    checkpoint: options.CheckpointOpt,
    output: options.TableOpt = None,
    probabilities: Annotated[
        bool, Option("--probabilities", help="Add a column for each class: its probability.")
    ] = False,
    mirror: Annotated[
        bool,
        Option("--mirror", help="Look at the mirror image too: surer, in twice the time."),
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
    """Tell which class each image belongs to.

    Where the images have labels the accuracy is measured, classes matched by name.
    """
    from aetool.cli.output import Output
    from aetool.tasks.classify import classify_images

    out = Output(json=json, quiet=quiet, verbose=verbose)
    out.check_stdout(output)
    with out.progress("Classifying") as progress:
        result = classify_images(
            source,
            None if str(output) == "-" else output,
            checkpoint,
            probabilities=probabilities,
            mirror=mirror,
            batch_size=batch_size,
            precision=precision,
            max_pixels=max_pixels,
            shard=shard,
            scheduler=scheduler,
            progress=progress,
            note=out.note,
        )
    images = "1 image" if result.read == 1 else f"{result.read} images"
    summary = f"{images} classified in {result.seconds:.1f} s"
    if result.accuracy is not None:
        summary += f"; accuracy {result.accuracy:.4f}"
    out.finish(result, summary=summary, allow_failures=allow_failures)
