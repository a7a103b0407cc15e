"""How --help looks: what Typer's own would show at 80 columns, without its noise."""

from inspect import cleandoc

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from aetool.cli.options import REPORT_PANEL, RUN_PANEL


class _Help:
    """Mixed into Typer's commands: flags without a type, paragraphs that wrap, panels in order."""

    def get_params(self, context: typer.Context) -> list:
        """The parameters as --help shows them; they are parsed by settings made before."""
        params = super().get_params(context)
        for param in params:
            param.min = param.max = None  # "[0<=x<=4294967295]": the error message says it
            if isinstance(param, TyperOption) and param.is_flag:
                param.metavar = ""
            if isinstance(param, TyperArgument):
                param.display_type_rich = lambda ctx: None  # SOURCE says more than <str>
            if param.name == "help" and context.parent:
                param.rich_help_panel = REPORT_PANEL
        order = (RUN_PANEL, REPORT_PANEL)  # after all panels of the command's own
        return sorted(
            params,
            key=lambda param: (
                order.index(param.rich_help_panel) + 1 if param.rich_help_panel in order else 0
            ),
        )

    def format_help(self, context: typer.Context, formatter) -> None:
        try:
            super().format_help(context, formatter)
        except SystemExit as error:  # rich's, for a reader who had enough
            raise BrokenPipeError from error

    def collect_usage_pieces(self, context: typer.Context) -> list[str]:
        """SOURCE rather than {SOURCE}, PART... rather than {PART}..."""
        pieces = super().collect_usage_pieces(context)
        return [piece.replace("{", "").replace("}", "") for piece in pieces]


class Command(_Help, TyperCommand):
    """One subcommand."""


class Group(_Help, TyperGroup):
    """The program."""


def paragraphs(docstring: str) -> str:
    """A docstring with every paragraph on one line, for the terminal to wrap at its own width."""
    return "\n\n".join(" ".join(part.split()) for part in cleandoc(docstring).split("\n\n"))
