"""aetool encode."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Context, Option

from aetool.cli import options
from aetool.errors import AetoolError

EPILOG = """Examples:

  aetool encode scans/ -c model.h5 -o latents.h5

  aetool encode mnist.npz/test -c model.h5 -o - | aetool cluster - -k 10
"""


def _complete_layer(context: Context) -> list[str]:
    """The layers of the model that -c names, read from its file alone."""
    from aetool.tasks.info import layer_names

    try:
        return layer_names(Path(context.params["checkpoint"]))
    except (AetoolError, TypeError):  # no such model, or none given yet
        return []


def encode(
    source: options.SourceArg,
    output: options.OutputOpt,
    checkpoint: options.CheckpointOpt = None,
    layer: Annotated[
        str | None,
        Option(
            "--layer",
            metavar="NAME",
            help="Layer to take instead of the family's latent one.",
            autocompletion=_complete_layer,
        ),
    ] = None,
    pool: Annotated[
        Literal["none", "mean"],
        Option("--pool", metavar="HOW", help="none, or mean over each feature map."),
    ] = "none",
    pixels: Annotated[
        bool,
        Option("--pixels", help="Write the pixels themselves, without a model: the baseline."),
    ] = False,
    size: Annotated[
        str | None,
        Option(
            "--size",
            metavar="N|WxH",
            help="Size of --pixels; that of the first picture without it.",
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
    """Turn images into latents: the numbers a model's encoder gives them.

    One row an image, in the order of SOURCE, in an .h5 file that cluster and pca read.
    """
    from aetool.cli.output import Output
    from aetool.tasks.encode import encode_images
    from aetool.tasks.plan import parse_size

    out = Output(json=json, quiet=quiet, verbose=verbose)
    out.check_stdout(output)
    with out.progress("Encoding") as progress:
        result = encode_images(
            source,
            output,
            checkpoint,
            layer=layer,
            pool=pool,
            pixels=pixels,
            size=parse_size(size) if size else None,
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
        summary=f"{result.rows} images encoded in {result.seconds:.1f} s, "
        + (f"{result.dimensions} numbers each" if result.rows else "so nothing is written"),
        allow_failures=allow_failures,
    )
