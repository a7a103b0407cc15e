"""aetool info."""

import sys
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
    values = asdict(result)
    history, layers = values.pop("history", {}), values.pop("layers", [])
    lines = [*_lines(values), *_curves(history), *_table(layers)]
    out.data("\n".join(lines))
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


def _curves(history: dict[str, list[float]]) -> Iterator[str]:
    """A line a quantity, its values at both ends and, on a terminal, the curve between."""
    from aetool.cli.output import printable
    from aetool.plots.sparkline import sparkline

    drawn = sys.stdout.isatty() and sys.stdout.encoding.lower().startswith("utf")
    if history:
        yield "history"
    for name, values in history.items():
        curve = f" {sparkline(values)} " if drawn else " ... "
        ends = [f"{value:.4g}" for value in (values[:1] + values[-1:])[: len(values)]]
        yield f"  {printable(name)}".ljust(26) + f"  {curve.join(ends)}"


def _table(layers: list[dict]) -> Iterator[str]:
    from aetool.cli.output import printable

    if layers:
        yield "layers".ljust(26) + f"  {'type':19}{'shape':>13}{'parameters':>12}{'sees':>6}"
    for layer in layers:
        shape = "x".join(map(str, layer["shape"] or ())) or "-"
        sees = layer["receptive_field"] or "all"
        kind = printable(layer["type"])
        numbers = f"{kind:19}{shape:>13}{layer['parameters']:>12,}{sees:>6}"
        yield f"  {printable(layer['name'])}".ljust(26) + f"  {numbers}"


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
