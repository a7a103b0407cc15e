"""aetool colorize."""

from pathlib import Path
from typing import Annotated

from typer import Option

from aetool.cli import options
from aetool.errors import UsageError

EPILOG = """Examples:

  aetool colorize scans/ coloured/
  aetool colorize - - < grey.jpg > colour.png
  aetool colorize album/ coloured/ --vivid --grid sheet.png
  aetool colorize scans/ coloured/ --watch
  aetool colorize photos/ --evaluate --compare strips/ --json
"""


WATCH_PANEL = "Watching"


def colorize(
    source: options.SourceArg,
    out: options.OutArg = None,
    checkpoint: Annotated[
        Path | None,
        Option(
            "--checkpoint",
            "-c",
            metavar="MODEL.h5",
            envvar="AETOOL_CHECKPOINT",
            help="Trained colorizer instead of the one that ships.",
            show_default=False,
        ),
    ] = None,
    saturation: Annotated[
        float,
        Option("--saturation", metavar="FACTOR", help="Factor on the colours, 0 to 10."),
    ] = 1.0,
    vivid: Annotated[
        bool,
        Option("--vivid", help="Strong colours, at the price of stronger wrong ones."),
    ] = False,
    render_size: Annotated[
        int | None,
        Option(
            "--render-size",
            metavar="N",
            help="Pixels a side that the network sees, 32 to 1024; as in training unless given.",
            show_default=False,
        ),
    ] = None,
    evaluate: Annotated[
        bool,
        Option("--evaluate", help="Measure against SOURCE's own colours; OUT may be left out."),
    ] = False,
    compare: Annotated[
        Path | None,
        Option(
            "--compare",
            metavar="DIR",
            help="Also write strips: grey, coloured, and SOURCE's own colours.",
            show_default=False,
        ),
    ] = None,
    grid: Annotated[
        Path | None,
        Option("--grid", metavar="PNG", help="Also draw some grey pictures above their colours."),
    ] = None,
    watch: Annotated[
        bool,
        Option(
            "--watch",
            help="Go on with each picture that comes into SOURCE, until Ctrl-C.",
            rich_help_panel=WATCH_PANEL,
        ),
    ] = False,
    interval: Annotated[
        float,
        Option(
            "--interval",
            metavar="SECONDS",
            help="Time between two looks at SOURCE; what changes from one to the next waits.",
            rich_help_panel=WATCH_PANEL,
        ),
    ] = 2.0,
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
    """Colour grey photographs of any size.

    Each keeps its name, size, format, EXIF and its own grey: only colour is added.
    What is already done, and newer than picture and model, is skipped.
    """
    from aetool.cli.output import Output
    from aetool.tasks.colorize import colorize_images

    talk = Output(json=json, quiet=quiet, verbose=verbose)
    if watch:
        if evaluate or compare or grid or shard or scheduler:
            raise UsageError(
                "--watch goes with none of --evaluate, --compare, --grid, --shard and --scheduler"
            )
        _watch(
            talk,
            source=source,
            out=out,
            checkpoint=checkpoint,
            saturation=saturation,
            vivid=vivid,
            render_size=render_size,
            overwrite=overwrite,
            batch_size=batch_size,
            precision=precision,
            max_pixels=max_pixels,
            interval=interval,
        )
        return
    talk.check_picture(out)
    with talk.progress("Colouring") as progress:
        result = colorize_images(
            source,
            out,
            checkpoint=checkpoint,
            saturation=saturation,
            vivid=vivid,
            render_size=render_size,
            evaluate=evaluate,
            compare=compare,
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


def _watch(talk, **settings) -> None:
    """Colour until a signal comes: the end of a watch, and its exit status."""
    from aetool.tasks.colorize_watch import colorize_arrivals

    result, signal_number = colorize_arrivals(
        rounds=lambda: talk.progress("Colouring"),
        note=talk.note,
        complain=talk.failed,
        **settings,
    )
    talk.finish(result, summary=_summary(result), listed=True, exit_status=128 + signal_number)


def _summary(result) -> str:
    pictures = "1 picture" if result.read == 1 else f"{result.read} pictures"
    counts = f"{pictures} coloured in {result.seconds:.1f} s"
    if result.skipped:
        counts += f", {result.skipped} already there"
    if result.failed:
        counts += f", {len(result.failed)} failed"
    if result.psnr is None:
        return counts
    return (
        f"{counts}\n"
        f"PSNR {result.psnr:.2f} dB (left grey: {result.psnr_grey:.2f} dB), "
        f"colourfulness {result.colorfulness:.1f} (truth: {result.colorfulness_true:.1f}), "
        f"bleeding {result.bleeding:.2f} (truth: {result.bleeding_true:.2f})"
    )
