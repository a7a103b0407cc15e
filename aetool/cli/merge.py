"""aetool merge."""

from pathlib import Path
from typing import Annotated

from typer import Argument

from aetool.cli import options

EPILOG = """Examples:

  aetool merge latents-*.h5 -o latents.h5

  aetool merge scores-*.csv -o scores.csv
"""


def merge(
    parts: Annotated[
        list[Path],
        Argument(
            metavar="PART",
            help="Latents, or tables, of all shards of one run.",
            show_default=False,
        ),
    ],
    output: options.OutputOpt,
    json: options.JsonOpt = False,
    quiet: options.QuietOpt = False,
    verbose: options.VerboseOpt = False,
) -> None:
    """Join what was written with --shard: latents, or tables.

    Rows come back in the order of SOURCE. The whole is, byte for byte, what the run without shards
    writes.
    """
    from aetool.cli.output import Output
    from aetool.tasks.merge import merge_parts

    out = Output(json=json, quiet=quiet, verbose=verbose)
    out.check_stdout(output)
    with out.progress("Merging") as progress:
        result = merge_parts(parts, output, progress=progress)
    summary = f"{result.parts} parts merged, {result.rows} rows"
    if result.missing:
        summary += f"; {result.missing} pictures have none"
    out.finish(result, summary=summary)
