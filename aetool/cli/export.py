"""aetool export."""

from typing import Annotated

from typer import Argument

from aetool.cli import options

EPILOG = """Examples:

  aetool export model.h5 model.onnx
  aetool export latents.h5 latents.parquet
  aetool export latents.h5 - | head -3
"""


def export(
    file: Annotated[
        str,
        Argument(
            metavar="FILE.h5",
            help="A model, or latents (also -, .npy, .npz, .csv, .parquet).",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        Argument(
            metavar="OUT",
            help="Model: .onnx, .keras, or a folder. Latents: .npz, .csv, .parquet, or -.",
            show_default=False,
        ),
    ],
    json: options.JsonOpt = False,
    quiet: options.QuietOpt = False,
) -> None:
    """Write a model or latents for other programs.

    A model to ONNX, Keras or a SavedModel folder; latents to NumPy, CSV or Parquet, or as CSV to
    standard output.
    """
    from aetool.cli.output import Output
    from aetool.tasks.export import export_file

    talk = Output(json=json, quiet=quiet)
    talk.check_stdout(out, file="NAME.csv")
    result = export_file(file, out)
    talk.finish(result, summary=_summary(result, out))


def _summary(result, out: str) -> str:
    what = "" if result.rows is None else f"{_rows(result.rows)} of {result.dimensions:,} numbers, "
    size = "" if result.bytes is None else f"{result.bytes:,} bytes of "
    return f"{out}: {what}{size}{result.format} in {result.seconds:.1f} s"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
