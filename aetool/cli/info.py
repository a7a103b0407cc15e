"""aetool info."""

import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from aetool.cli import options
from aetool.errors import UsageError

EPILOG = """Examples:

  aetool info
  aetool info model.h5
  aetool info model.h5 --preview strip.png
  aetool info latents.h5 --json | jq .rows
"""


def info(
    file: Annotated[
        Path | None,
        Argument(metavar="FILE.h5", help="A model or latents file.", show_default=False),
    ] = None,
    preview: Annotated[
        Path | None,
        Option(
            "--preview",
            metavar="PNG",
            help="Write a strip of the model's previews, or of pictures behind latents.",
            rich_help_panel=options.REPORT_PANEL,
        ),
    ] = None,
    json: options.JsonOpt = False,
) -> None:
    """Show what a model or latents file holds; without a file, the models and recipes."""
    from dataclasses import asdict

    from aetool.cli.output import Output
    from aetool.tasks.info import describe_file, list_models

    out = Output(json=json)
    if file is None and preview:
        raise UsageError("--preview is of a file", "name a model or latents file")
    result = list_models() if file is None else describe_file(file)
    if preview:
        from aetool.tasks.previews import write_previews

        write_previews(file, preview)
    values = asdict(result)
    width = shutil.get_terminal_size().columns if file is None and sys.stdout.isatty() else None
    history, layers = values.pop("history", {}), values.pop("layers", [])
    out.data("\n".join([*_lines(values, width), *_curves(history)]))
    if values.get("previews") and not json:
        _draw(file)
    if layers:
        out.data("\n".join(_table(layers)))
    out.finish(result)


def _lines(values: dict, width: int | None = None, indent: str = "") -> Iterator[str]:
    """One line a value under its JSON key, nested ones indented; broken at `width`, if given."""
    from aetool.cli.output import printable

    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{printable(str(name))}"
            yield from _lines(value, width, indent + "  ")
        else:
            line = f"{indent}{printable(str(name))}".ljust(26) + f"  {printable(_text(value))}"
            yield textwrap.fill(line, max(width, 60), subsequent_indent=" " * 28) if width else line


def _curves(history: dict[str, list[float]]) -> Iterator[str]:
    """A line a quantity, its values at both ends and, on a terminal, the curve between."""
    from aetool.cli.output import printable
    from aetool.plots.sparkline import sparkline

    drawn = _draws()
    if history:
        yield "history"
    for name, values in history.items():
        curve = f" {sparkline(values)} " if drawn else " ... "
        ends = [f"{value:.4g}" for value in (values[:1] + values[-1:])[: len(values)]]
        yield f"  {printable(name)}".ljust(26) + f"  {curve.join(ends)}"


def _draws() -> bool:
    """Whether standard output is a terminal that has block characters."""
    return sys.stdout.isatty() and sys.stdout.encoding.lower().startswith("utf")


def _draw(file: Path) -> None:
    """The previews of a model, on a terminal with colours."""
    from rich.console import Console

    console = Console()
    if not _draws() or console.no_color or not console.color_system:
        return
    from aetool.plots.blocks import half_blocks
    from aetool.tasks.previews import model_previews

    console.print(half_blocks(model_previews(file), console.width), end="", soft_wrap=True)


def _table(layers: list[dict]) -> Iterator[str]:
    from aetool.cli.output import printable

    if layers:
        yield "layers".ljust(26) + f"  {'type':19}{'shape':>13}{'parameters':>12}{'sees':>6}"
    for layer in layers:
        shape = printable("x".join(map(str, layer["shape"] or ()))) or "-"
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
