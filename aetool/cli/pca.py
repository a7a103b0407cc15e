"""aetool pca."""

from pathlib import Path
from typing import Annotated

from typer import Option

from aetool.cli import options

EPILOG = """Examples:

  aetool pca latents.h5 -o coordinates.csv --plot pca.png

  aetool pca latents.h5 --components 3 -o coordinates.csv --plot pca.pdf --json

  aetool encode photos/ -c model.h5 -o - | aetool pca - -o coordinates.csv
"""


def pca(
    latents: options.LatentsArg,
    output: options.TableOpt = None,
    components: Annotated[
        int, Option("--components", metavar="2|3", min=2, max=3, help="Dimensions to project to.")
    ] = 2,
    plot: Annotated[
        Path | None,
        Option("--plot", metavar="PNG", help="Draw the rows, a colour a class; also .pdf, .svg."),
    ] = None,
    json: options.JsonOpt = False,
    quiet: options.QuietOpt = False,
    verbose: options.VerboseOpt = False,
) -> None:
    """Project latents on their first two or three principal components."""
    from aetool.cli.output import Output
    from aetool.tasks.pca import project_latents

    out = Output(json=json, quiet=quiet, verbose=verbose)
    out.check_stdout(output)
    target = None if str(output) == "-" else output
    result = project_latents(latents, target, components=components, plot=plot)
    out.finish(result, summary=_summary(result))


def _summary(result) -> str:
    ratios = result.explained_variance_ratio
    if None in ratios:
        return "all rows are the same"
    shares = ", ".join(f"{ratio:.1%}" for ratio in ratios)
    return f"{sum(ratios):.1%} of the variance explained ({shares})"
