"""aetool info."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from typer import Argument

from aetool.cli import options

EPILOG = """Examples:

  aetool info
  aetool info model.h5
  aetool info latents.h5 --json | jq .rows
"""


def info(
    file: Annotated[
        Path | None,
        Argument(metavar="FILE.h5", help="A model or latents file.", show_default=False),
    ] = None,
    json: options.JsonOpt = False,
) -> None:
    """Show what a model or latents file holds; without a file, the models and recipes."""
    from dataclasses import asdict

    from aetool.cli.output import Output
    from aetool.tasks.info import describe_file, list_models

    out = Output(json=json)
    result = list_models() if file is None else describe_file(file)
    out.data("\n".join(_lines(asdict(result))))
    out.finish(result)


def _lines(values: dict, indent: str = "") -> Iterator[str]:
    """One line a value under its JSON key, nested ones indented."""
    from aetool.cli.output import printable

    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{printable(str(name))}"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{printable(str(name))}".ljust(26) + f"  {printable(_text(value))}"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple) and value:
        return ", ".join(_text(item) for item in value)
    if value is None:
        return "-"
    return str(value) if value else "none"
