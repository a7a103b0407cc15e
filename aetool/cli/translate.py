"""aetool translate."""

from pathlib import Path
from typing import Annotated

from typer import Option

from aetool.cli import options

EPILOG = """Examples:

  aetool translate photos/ painted/ -c model.h5 --edges

  aetool translate facades/ -c model.h5 --target left --evaluate --grid grid.png
"""

TARGETS_PANEL = "Targets"


def translate(
    source: options.SourceArg,
    checkpoint: options.CheckpointOpt,
    out: options.OutArg = None,
    edges: Annotated[
        bool, Option("--edges", help="Make edge pictures (Canny) of SOURCE and translate those.")
    ] = False,
    grid: Annotated[
        Path | None,
        Option("--grid", metavar="PNG", help="Also draw some inputs above what became of them."),
    ] = None,
    evaluate: Annotated[
        bool,
        Option(
            "--evaluate",
            help="Measure against the targets; OUT may be left out.",
            rich_help_panel=TARGETS_PANEL,
        ),
    ] = False,
    target: Annotated[
        str | None,
        Option(
            "--target",
            metavar="SOURCE|left|right",
            help="Targets: by file name, rows of arrays by order; or a half of each picture.",
            rich_help_panel=TARGETS_PANEL,
        ),
    ] = None,
    overwrite: options.OverwriteOpt = False,
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
    """Make one kind of picture of another: edges or labels to photographs.

    Pictures come back at their own size, scaled from the network's. What is already there, and
    newer than picture and model, is skipped.
    """
    from aetool.cli.output import Output
    from aetool.tasks.translate import translate_images

    talk = Output(json=json, quiet=quiet, verbose=verbose)
    talk.check_picture(out)
    with talk.progress("Translating") as progress:
        result = translate_images(
            source,
            out,
            checkpoint,
            edge_inputs=edges,
            target=target,
            evaluate=evaluate,
            grid=grid,
            overwrite=overwrite,
            batch_size=batch_size,
            precision=precision,
            max_pixels=max_pixels,
            shard=shard,
            scheduler=scheduler,
            progress=progress,
            note=talk.note,
        )
    talk.finish(result, summary=_summary(result), allow_failures=allow_failures)


def _summary(result) -> str:
    pictures = "1 picture" if result.read == 1 else f"{result.read} pictures"
    line = f"{pictures} translated in {result.seconds:.1f} s"
    if result.skipped:
        line += f", {result.skipped} already there"
    if result.l1 is not None:
        line += f"; L1 {result.l1:.4f}, PSNR {result.psnr:.2f} dB"
    return line
