"""aetool cluster."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Option

from aetool.cli import options
from aetool.errors import UsageError

KEEP_PANEL = "Keeping"

EPILOG = """Examples:

  aetool cluster latents.h5 -k 10 -o clusters.csv --sheets clusters/

  aetool cluster latents.h5 --save clusters.h5 -o clusters.csv

  aetool cluster new.h5 --apply clusters.h5 -o new.csv

  aetool cluster latents.h5 new.h5 -k 10 -o clusters.csv

  aetool encode photos/ -c model.h5 -o - | aetool cluster - -k 10
"""


def _count(text: str) -> int:
    """The K of -k; 0 stands for auto."""
    if text == "auto":
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is neither a number of clusters nor auto")
    return int(text)


def cluster(
    latents: options.LatentsArg,
    k: Annotated[
        int | None,
        Option(
            "--clusters",
            "-k",
            metavar="K|auto",
            parser=_count,
            help="Number of clusters; auto, as without it: the silhouette chooses.",
            show_default=False,
        ),
    ] = None,
    output: options.TableOpt = None,
    method: Annotated[
        Literal["manifold", "gmm", "kmeans"] | None,
        Option(
            "--method",
            metavar="NAME",
            help="manifold (for 60 rows or more), gmm or kmeans.",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[
        int,
        Option(
            "--repeats", metavar="N", min=1, help="Starts; the best is written, all are scored."
        ),
    ] = 1,
    outliers: Annotated[
        bool, Option("--outliers", help="Add a column: 1 for rows far outside their cluster.")
    ] = False,
    probabilities: Annotated[
        bool, Option("--probabilities", help="Add a column for each cluster; not for kmeans.")
    ] = False,
    save: Annotated[
        Path | None,
        Option(
            "--save",
            metavar="C.h5",
            help="Keep the clusters for --apply.",
            rich_help_panel=KEEP_PANEL,
        ),
    ] = None,
    apply: Annotated[
        Path | None,
        Option(
            "--apply",
            metavar="C.h5",
            help="Sort the rows into clusters that --save kept.",
            rich_help_panel=KEEP_PANEL,
        ),
    ] = None,
    sheets: Annotated[
        Path | None,
        Option(
            "--sheets",
            metavar="DIR",
            help="Write a sheet of pictures of each cluster.",
            rich_help_panel=options.SHOW_PANEL,
        ),
    ] = None,
    copy_to: Annotated[
        Path | None,
        Option(
            "--copy-to",
            metavar="DIR",
            help="Copy the pictures into a folder for each cluster.",
            rich_help_panel=options.SHOW_PANEL,
        ),
    ] = None,
    copy_as: Annotated[
        Literal["copy", "link", "symlink"] | None,
        Option(
            "--copy-as",
            metavar="HOW",
            help="copy (unless given), link (hard) or symlink.",
            rich_help_panel=options.SHOW_PANEL,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        Option(
            "--plot",
            metavar="PNG",
            help="Draw a map by cluster and class; also .pdf, .svg.",
            rich_help_panel=options.SHOW_PANEL,
        ),
    ] = None,
    thumbnails: options.ThumbnailsOpt = False,
    html: options.HtmlOpt = None,
    images: options.ImagesOpt = None,
    seed: options.SeedOpt = 0,
    allow_failures: options.AllowFailuresOpt = "0",
    json: options.JsonOpt = False,
    quiet: options.QuietOpt = False,
    verbose: options.VerboseOpt = False,
) -> None:
    """Group latents into clusters.

    Clusters are numbered by size, the largest is 0. Where labels are known the clusters are scored
    against them; no label is used to find them.
    """
    from aetool.cli.output import Output
    from aetool.tasks.cluster import cluster_latents

    out = Output(json=json, quiet=quiet, verbose=verbose)
    out.check_stdout(output)
    if copy_as and not copy_to:
        raise UsageError("--copy-as is of use with --copy-to only", "add --copy-to DIR")
    if thumbnails and not plot:
        raise UsageError("--thumbnails is of use with --plot only", "add --plot PNG")
    if images and not (sheets or copy_to or thumbnails or html):
        raise UsageError("--images is of use where pictures are shown only", "add --sheets DIR")
    if apply and (k is not None or method or repeats > 1 or save):
        raise UsageError(
            "--apply takes the clusters as they are: no -k, --method, --repeats or --save",
            "leave those out",
        )
    with out.progress("Clustering") as progress:
        result = cluster_latents(
            latents,
            None if str(output) == "-" else output,
            k=k or None,
            method=method,
            repeats=repeats,
            seed=seed,
            save=save,
            apply_model=apply,
            outliers=outliers,
            probabilities=probabilities,
            sheets=sheets,
            copy_to=copy_to,
            copy_as=copy_as or "copy",
            plot=plot,
            thumbnails=thumbnails,
            page=html,
            images=images,
            progress=progress,
        )
    out.finish(result, summary=_summary(result), allow_failures=allow_failures)


def _summary(result) -> str:
    sizes = result.cluster_sizes
    line = f"{sum(sizes):,} rows in {result.k} clusters of {min(sizes):,} to {max(sizes):,}"
    if (choice := result.k_choice) is not None:
        line += f" (chosen by the {choice.measure}: {choice.low} to {choice.high} in samples)"
    line += f" by {result.method}"
    if result.silhouette is not None:
        line += f", silhouette {result.silhouette:.3f}"
    if result.purity_mean is not None:
        line += f", purity {result.purity_mean:.4f}"
        if result.repeats > 1:
            line += f" ({result.purity_std:.4f} over {result.repeats} runs)"
    return line
