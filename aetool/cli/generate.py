"""aetool generate."""

from typing import Annotated

from typer import Option

from aetool.cli import options
from aetool.errors import UsageError

EPILOG = """Examples:

  aetool generate -c vae.h5 -o plane.png --grid 30

  aetool generate -c vae.h5 -o walk.gif --walk -0.7,-3 -0.7,2

  aetool generate -c vae.h5 -o scatter.png --scatter mnist.npz/test
"""

WHAT_PANEL = "What to draw"


def generate(
    checkpoint: options.CheckpointOpt,
    output: options.OutputOpt,
    samples: Annotated[
        int | None,
        Option(
            "--samples",
            metavar="N",
            min=1,
            max=10_000,
            help="A sheet of so many random pictures.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = None,
    grid: Annotated[
        int | None,
        Option(
            "--grid",
            metavar="N",
            min=1,
            max=100,
            help="The latent plane: N x N pictures, edge to edge.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = None,
    reach: Annotated[
        float | None,
        Option(
            "--range",
            metavar="A",
            help="How far --grid reaches: from -A to A; 4 without it.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = None,
    walk: Annotated[
        tuple[str, str] | None,
        Option(
            "--walk",
            metavar="FROM TO",
            help="An animation (GIF) between two points such as -0.7,2, or two images.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = None,
    frames: Annotated[
        int | None,
        Option(
            "--frames",
            metavar="N",
            min=2,
            help="Pictures of --walk; 50 without it.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = None,
    scatter: Annotated[
        str | None,
        Option(
            "--scatter",
            metavar="SOURCE",
            help="Where the images of SOURCE lie, a colour a class: .png, .pdf or .svg.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = None,
    seed: options.SeedOpt = 0,
    batch_size: options.BatchSizeOpt = None,
    precision: options.PrecisionOpt = "auto",
    max_pixels: options.MaxPixelsOpt = 500_000_000,
    allow_failures: options.AllowFailuresOpt = "0",
    json: options.JsonOpt = False,
    quiet: options.QuietOpt = False,
    verbose: options.VerboseOpt = False,
) -> None:
    """Draw pictures from a variational autoencoder, or its latent space.

    One of --samples, --grid, --walk and --scatter says what.
    """
    from aetool.cli.output import Output
    from aetool.tasks import generate as task

    wishes = {"--samples": samples, "--grid": grid, "--walk": walk, "--scatter": scatter}
    given = [name for name, value in wishes.items() if value]
    if len(given) != 1:
        raise UsageError(
            f"one drawing a run, not {' and '.join(given)}" if given else "generate draws nothing",
            hint=f"give one of {', '.join(wishes)}",
        )
    if reach is not None and not grid:
        raise UsageError("--range goes with --grid", hint="leave it out")
    if frames is not None and not walk:
        raise UsageError("--frames goes with --walk", hint="leave it out")
    out = Output(json=json, quiet=quiet, verbose=verbose)
    space = task.Space(
        checkpoint,
        batch_size=batch_size,
        precision=precision,
        max_pixels=max_pixels,
        note=out.note,
    )
    if samples:
        result = task.draw_samples(space, output, samples, seed=seed)
        what = "pictures"
    elif grid:
        result = task.draw_grid(space, output, grid, reach=task.RANGE if reach is None else reach)
        what = "pictures"
    elif walk:
        result = task.draw_walk(space, output, walk, frames=frames or task.FRAMES)
        what = "frames"
    else:
        with out.progress("Encoding") as progress:
            result = task.draw_scatter(space, output, scatter, progress=progress)
        what = "points"
    summary = f"{result.written} {what} drawn in {result.seconds:.1f} s"
    out.finish(result, summary=summary, allow_failures=allow_failures)
