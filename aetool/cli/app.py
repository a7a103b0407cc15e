"""The aetool program: its commands, and the one boundary where an error becomes one line."""

import difflib
import errno
import io
import os
import re
import signal
import sys
import traceback
from types import FrameType
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

import aetool
from aetool.cli import (
    anomaly,
    classify,
    cluster,
    colorize,
    encode,
    export,
    generate,
    info,
    merge,
    pca,
    reconstruct,
    train,
    translate,
)
from aetool.cli.completion import complete_at_once
from aetool.cli.help import Command, Group, paragraphs
from aetool.cli.output import printable
from aetool.cli.silence import silence_tensorflow
from aetool.errors import AetoolError, UsageError

# What the system refuses a user: no room, no right, no such place. Other OSErrors are bugs.
REFUSALS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}

EPILOG = """Examples:

  aetool colorize scans/ coloured/
  aetool train photos/ -o model.h5
  aetool encode photos/ -c model.h5 -o - | aetool cluster - -k 10
"""

app = typer.Typer(
    name="aetool",
    cls=Group,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"aetool {aetool.__version__}")
        raise typer.Exit


@app.callback(epilog=EPILOG)
def aetool_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Image autoencoders on the command line.

    Image folders, .h5 models and .h5 latents chain from one command to the next.
    """


# In the order of the documentation. Each module holds one command of its own name and its EPILOG.
for module in (
    train,
    encode,
    reconstruct,
    colorize,
    cluster,
    pca,
    anomaly,
    classify,
    translate,
    generate,
    merge,
    info,
    export,
):
    name = module.__name__.rpartition(".")[2]
    function = getattr(module, name)
    settings = {"help": paragraphs(function.__doc__), "epilog": module.EPILOG}
    app.command(name, cls=Command, **settings)(function)


class Closed(io.FileIO):
    """Standard output that the caller has closed: a result that goes there is lost."""

    buffer = property(lambda self: self)

    def write(self, data: object) -> int:
        raise AetoolError("standard output is closed", "name a file: -o FILE")

    writelines = write


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: whatever puts work in safety on Ctrl-C does so for these as well."""


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated(signum)


def main() -> None:
    """Run the command line: errors and signals end in one line and a status, bugs stay bugs."""
    # A stream the caller has closed (2>&-) is None here, and print would fall back to the other.
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    sys.stdout = sys.stdout or Closed(os.open(os.devnull, os.O_RDONLY), "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):
        # Of a locale that lacks a name's characters they come escaped, as they do on stderr.
        sys.stdout.reconfigure(errors="backslashreplace")
    silence_tensorflow()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is signal.SIG_DFL:  # nohup ignores SIGHUP: so do we
            signal.signal(signum, _terminate)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status; a bug raises what it raised."""
    command = get_command(app)
    complete_at_once()
    if "_AETOOL_COMPLETE" in os.environ:
        command.main(arguments, "aetool")  # answers the shell and exits
    try:
        if not arguments:
            _invoke(command, ["--help"])
            return 2
        if "" in arguments:
            raise UsageError("an argument is empty", "is a variable of the shell not set?")
        return _invoke(command, arguments)
    except AetoolError as error:
        return _report(error.message, error.hint, error.exit_status)
    except TyperException as error:
        return _report(*_usage(error, command, arguments), error.exit_code)
    except BrokenPipeError:
        # The reader had enough (`aetool pca ... | head`): the last flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return _report(f"{where}{error.strerror or error}", None, 1)
    except Terminated as error:
        return _report(
            f"stopped by {signal.Signals(error.args[0]).name}", None, 128 + error.args[0]
        )
    except KeyboardInterrupt:
        return _report("interrupted", None, 128 + signal.SIGINT)


def _invoke(command: TyperGroup, arguments: list[str]) -> int:
    exit_status = 0
    try:
        with command.make_context("aetool", arguments) as context:
            command.invoke(context)
    except typer.Exit as exit_:
        exit_status = exit_.exit_code
    sys.stdout.flush()  # a full disk or a closed pipe shows here, where it still can be reported
    return exit_status


def _report(message: str, hint: str | None, exit_status: int) -> int:
    if os.environ.get("AETOOL_DEBUG", "0") not in ("", "0"):
        traceback.print_exc()
    print(f"aetool: error: {printable(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {printable(hint)}", file=sys.stderr)
    return exit_status


def _usage(
    error: TyperException, command: TyperGroup, arguments: list[str]
) -> tuple[str, str | None]:
    """Message and hint of wrong usage: the nearest right words where there are any, else --help."""
    message = " ".join(error.format_message().replace("Value error, ", "").split())
    near = re.fullmatch(r"(.*?)\.? \(?(?:Possible options:|Did you mean) (.*?)[)?]", message)
    if near:
        return near[1], f"did you mean {near[2]}?"
    choice = re.fullmatch(r".*'(.*)' is not one of (.*)", message)
    if choice:
        nearest = difflib.get_close_matches(choice[1], re.findall("'(.*?)'", choice[2]), n=1)
        if nearest:
            return message.rstrip("."), f"did you mean {nearest[0]}?"
    topic = f"{arguments[0]} " if arguments and arguments[0] in command.commands else ""
    return message.rstrip("."), f"see aetool {topic}--help"
