"""aetool reconstruct."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from aetool.cli import options

EPILOG = """Examples:

  aetool reconstruct photos/ rebuilt/ -c model.h5 --grid grid.png

  aetool reconstruct mnist.npz/test rebuilt.npy -c model.h5 --precision float32
"""


def reconstruct(
    source: options.SourceArg,
    out: Annotated[
        str,
        Argument(
            metavar="OUT",
            help="Folder to write to, or NAME.npy; for one image, a file or - (PNG on stdout).",
            show_default=False,
        ),
    ],
    checkpoint: options.CheckpointOpt,
    grid: Annotated[
        Path | None,
        Option(
            "--grid", metavar="PNG", help="Also draw some originals above their reconstructions."
        ),
    ] = None,
    likelihood: Annotated[
        int | None,
        Option(
            "--likelihood",
            metavar="N",
            min=1,
            help="Also estimate log-likelihoods under a conv-vae, by N samples a picture.",
        ),
    ] = None,
    overwrite: options.OverwriteOpt = False,
    batch_size: options.BatchSizeOpt = None,
    precision: options.PrecisionOpt = "auto",
    max_pixels: options.MaxPixelsOpt = 500_000_000,
    allow_failures: options.AllowFailuresOpt = "0",
    json: options.JsonOpt = False,
    quiet: options.QuietOpt = False,
    verbose: options.VerboseOpt = False,
) -> None:
    """Rebuild images with a trained autoencoder.

    Pictures come back at their own size, scaled from the network's; NAME.npy holds the raw numbers.
    What is already there, and newer than picture and model, is skipped.
    """
    from aetool.cli.output import Output
    from aetool.tasks.reconstruct import reconstruct_images

    talk = Output(json=json, quiet=quiet, verbose=verbose)
    talk.check_picture(out)
    with talk.progress("Rebuilding") as progress:
        result = reconstruct_images(
            source,
            out,
            checkpoint,
            grid=grid,
            likelihood=likelihood,
            overwrite=overwrite,
            batch_size=batch_size,
            precision=precision,
            max_pixels=max_pixels,
            progress=progress,
            note=talk.note,
        )
    talk.finish(result, summary=_summary(result), allow_failures=allow_failures)


def _summary(result) -> str:
    line = f"{result.written} images rebuilt in {result.seconds:.1f} s"
    if result.skipped:
        line += f", {result.skipped} already there"
    if result.psnr is not None:
        line += f"; PSNR {result.psnr:.2f} dB, SSIM {result.ssim:.3f}"
    if result.nll is not None:
        line += f"; ELBO {result.elbo:.2f}, NLL {result.nll:.2f} nats"
    return line
