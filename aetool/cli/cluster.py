"""aetool cluster."""

from pathlib import Path
from typing import Annotated

from typer import Option

from aetool.cli import options
from aetool.errors import UsageError

EPILOG = """Examples:

  aetool cluster latents.h5 -k 10 -o clusters.csv --sheets clusters/

  aetool cluster latents.h5 -k 10 --repeats 10 -o clusters.csv --json | jq .purity_mean

  aetool encode photos/ -c model.h5 -o - | aetool cluster - -k 10
"""


def cluster(
    latents: options.LatentsArg,
    k: Annotated[
        int,
        Option("--clusters", "-k", metavar="K", min=1, help="How many.", show_default=False),
    ],
    output: options.TableOpt = None,
    repeats: Annotated[
        int,
        Option("--repeats", metavar="N", min=1, help="Runs; the best is written, all are scored."),
    ] = 1,
    sheets: Annotated[
        Path | None,
        Option("--sheets", metavar="DIR", help="Write a contact sheet a cluster."),
    ] = None,
    images: Annotated[
        str | None,
        Option("--images", metavar="ROOT", help="Where the images are, if they have moved."),
    ] = None,
    seed: options.SeedOpt = 0,
    allow_failures: options.AllowFailuresOpt = "0",
    json: options.JsonOpt = False,
    quiet: options.QuietOpt = False,
    verbose: options.VerboseOpt = False,
) -> None:
    """Group latents into k clusters, by k-means.

    Clusters are numbered by size, the largest is 0. Where labels are known the clusters are scored
    against them; no label is used to find them.
    """
    from aetool.cli.output import Output
    from aetool.tasks.cluster import cluster_latents

    out = Output(json=json, quiet=quiet, verbose=verbose)
    out.check_stdout(output)
    if images and not sheets:
        raise UsageError("--images is of use with --sheets only", "add --sheets DIR")
    with out.progress("Clustering") as progress:
        result = cluster_latents(
            latents,
            None if str(output) == "-" else output,
            k=k,
            repeats=repeats,
            seed=seed,
            sheets=sheets,
            images=images,
            progress=progress,
        )
    out.finish(result, summary=_summary(result), allow_failures=allow_failures)


def _summary(result) -> str:
    sizes = result.cluster_sizes
    line = f"{sum(sizes):,} rows in {result.k} clusters of {sizes[-1]:,} to {sizes[0]:,}"
    if result.silhouette is not None:
        line += f", silhouette {result.silhouette:.3f}"
    if result.purity_mean is not None:
        line += f", purity {result.purity_mean:.4f}"
        if result.repeats > 1:
            line += f" ({result.purity_std:.4f} over {result.repeats} runs)"
    return line
