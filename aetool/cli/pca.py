"""aetool pca."""

from pathlib import Path
from typing import Annotated

from typer import Option

from aetool.cli import options
from aetool.errors import UsageError

EPILOG = """Examples:

  aetool pca latents.h5 -o coordinates.csv --plot pca.png --thumbnails

  aetool pca latents.h5 --components 3 -o coordinates.csv --plot pca.pdf --json

  aetool pca latents.h5 -o coordinates.csv --save axes.h5 --html map.html

  aetool pca new.h5 --apply axes.h5 -o new.csv

  aetool pca latents-*.h5 -o coordinates.csv
"""


def pca(
    latents: options.LatentsArg,
    output: options.TableOpt = None,
    components: Annotated[
        int | None,
        Option(
            "--components",
            metavar="2|3",
            min=2,
            max=3,
            help="Dimensions to project to; 2, or those of --apply.",
            show_default=False,
        ),
    ] = None,
    save: Annotated[
        Path | None, Option("--save", metavar="P.h5", help="Keep the axes for --apply.")
    ] = None,
    apply: Annotated[
        Path | None, Option("--apply", metavar="P.h5", help="Use axes that --save kept.")
    ] = None,
    plot: Annotated[
        Path | None,
        Option(
            "--plot",
            metavar="PNG",
            help="Draw the rows, a colour a class; also .pdf, .svg.",
            rich_help_panel=options.SHOW_PANEL,
        ),
    ] = None,
    thumbnails: options.ThumbnailsOpt = False,
    scree: Annotated[
        Path | None,
        Option(
            "--scree",
            metavar="PNG",
            help="Draw the variance along each axis; also .pdf, .svg.",
            rich_help_panel=options.SHOW_PANEL,
        ),
    ] = None,
    loadings: Annotated[
        Path | None,
        Option(
            "--loadings",
            metavar="PNG",
            help="Draw each axis as pictures, by the decoder of -c.",
            rich_help_panel=options.SHOW_PANEL,
        ),
    ] = None,
    checkpoint: options.CheckpointOpt = None,
    html: options.HtmlOpt = None,
    images: options.ImagesOpt = None,
    allow_failures: options.AllowFailuresOpt = "0",
    json: options.JsonOpt = False,
    quiet: options.QuietOpt = False,
    verbose: options.VerboseOpt = False,
) -> None:
    """Project latents on their first two or three principal components."""
    from aetool.cli.output import Output
    from aetool.tasks.pca import project_latents

    out = Output(json=json, quiet=quiet, verbose=verbose)
    out.check_stdout(output)
    if thumbnails and (not plot or components == 3):
        raise UsageError(
            "--thumbnails is of use with a --plot in two dimensions only", "add --plot PNG"
        )
    if loadings and not checkpoint:
        raise UsageError("--loadings needs the model of the latents", "give it with -c MODEL.h5")
    if images and not (thumbnails or html):
        raise UsageError("--images is of use where pictures are shown only", "add --html PAGE.html")
    if apply and (save or scree):
        raise UsageError(
            "--apply takes the axes as they are: no --save or --scree", "leave those out"
        )
    result = project_latents(
        latents,
        None if str(output) == "-" else output,
        components=components,
        plot=plot,
        thumbnails=thumbnails,
        scree=scree,
        loadings=loadings,
        checkpoint=checkpoint,
        page=html,
        images=images,
        save=save,
        apply_axes=apply,
    )
    out.finish(result, summary=_summary(result), allow_failures=allow_failures)


def _summary(result) -> str:
    ratios = result.explained_variance_ratio
    if None in ratios:
        return "all rows are the same"
    shares = ", ".join(f"{ratio:.1%}" for ratio in ratios)
    return f"{sum(ratios):.1%} of the variance explained ({shares})"
