"""What a command says: data on standard output, talk and progress on standard error."""

import json as json_format
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import typer

from aetool.errors import Failure, UsageError

Progress = Callable[[int, int], None]

# Where no terminal shows a bar, a line this often is enough for a log (seconds).
LOG_INTERVAL = 60.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many inputs may fail before the exit status says so.

    Args:
        count: a number of inputs.
        fraction: a share of all inputs, 0 to 1; the larger of both holds.
    """

    count: int = 0
    fraction: Fraction = Fraction(0)  # exact: 29 % of 100 are 29, and not a little less

    @classmethod
    def parse(cls, text: str) -> "Allowance":
        """Read "12" or "2.5%"; anything else is a usage error that names the option."""
        number, percent, rest = text.strip().partition("%")
        try:
            if percent and not rest and 0 <= float(number) <= 100:
                return cls(fraction=Fraction(number) / 100)
            if not percent and int(number) >= 0:
                return cls(count=int(number))
        except ValueError:
            pass
        raise typer.BadParameter(f"{text!r} is neither a number such as 3 nor a share such as 2%")

    def permits(self, failed: int, total: int) -> bool:
        """Whether `failed` of `total` inputs may be missing from a result."""
        return failed <= max(self.count, self.fraction * total)


NONE_MAY_FAIL = Allowance()


class Output:
    """The one sink of a command: JSON for programs, lines for people, silence for neither.

    Args:
        json: print the result as one JSON object on standard output.
        quiet: say nothing but errors.
        verbose: with the summary say all that --json would.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, verbose: bool = False):
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self._print: Callable[[str], None] = _print_stderr

    def check_stdout(self, output: Path | str | None, *, file: str = "-o FILE") -> None:
        """Refuse --json together with data on standard output (`output` None or "-")."""
        if self.json and (output is None or str(output) == "-"):
            raise UsageError(
                "--json and the data cannot both go to standard output",
                hint=f"name a file for the data: {file}",
            )

    def check_picture(self, out: Path | str | None) -> None:
        """Refuse --json together with a picture on standard output (`out` "-")."""
        if self.json and str(out) == "-":
            raise UsageError(
                "--json and the picture cannot both go to standard output",
                hint="name a file for the picture",
            )

    def data(self, text: str) -> None:
        """Print a result made for reading on standard output; --json prints its own instead."""
        if not self.json:
            print(text)

    def note(self, text: str) -> None:
        """Say something in passing on standard error."""
        if not self.quiet:
            self._print("\n".join(map(printable, text.split("\n"))))

    def failed(self, failure: Failure) -> None:
        """Name an input that was left out, whatever is hidden."""
        self._print(f"aetool: {printable(failure.path)}: {printable(failure.reason)}")

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """Yield a callable (done, total): a bar on a terminal, now and then a line in a log."""
        if self.quiet:
            yield lambda done, total: None
        elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            yield from self._bar(title)
        else:
            yield _log_lines(title)

    @contextmanager
    def phases(self, *titles: str) -> Iterator[tuple[Progress, ...]]:
        """`progress` for each title; one begins when it is first called, which ends the last."""
        with ExitStack() as stack:
            running: dict[str, Progress] = {}

            def report(title: str, done: int, total: int) -> None:
                if title not in running:
                    stack.close()
                    running.clear()
                    running[title] = stack.enter_context(self.progress(title))
                running[title](done, total)

            yield tuple(partial(report, title) for title in titles)

    def _bar(self, title: str) -> Iterator[Progress]:
        from rich import progress as bars
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        columns = (
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(elapsed_when_finished=True),
        )
        with bars.Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(title, total=None)
            # A note scrolls by above the bar instead of tearing it.
            self._print = lambda text: console.print(
                text, markup=False, emoji=False, soft_wrap=True
            )
            try:
                yield lambda done, total: progress.update(task, completed=done, total=total)
            finally:
                self._print = _print_stderr

    def finish(
        self,
        result: object,
        *,
        summary: str = "",
        allow_failures: Allowance = NONE_MAY_FAIL,
        listed: bool = False,
        exit_status: int = 0,
    ) -> None:
        """Report a finished job and leave with its exit status.

        Args:
            result: a dataclass; --json prints it. Its `failed`, where it has one, is a sequence of
                Failure, counted against `read` + `skipped` + `failed`.
            summary: one line for people.
            allow_failures: how many may have failed.
            listed: `failed` has named them as they came.
            exit_status: the command's own verdict; anything but 0 outranks failures.

        Raises:
            typer.Exit: where the exit status is not 0.
        """
        failed = getattr(result, "failed", ())
        for failure in () if listed else failed:
            self.failed(failure)
        if self.json:
            print(to_json(result))
        else:
            if self.verbose:
                self._tell(result)
            if summary:
                self.note(summary)
        total = len(failed) + getattr(result, "read", 0) + getattr(result, "skipped", 0)
        if not exit_status and not allow_failures.permits(len(failed), total):
            exit_status = 1
        if exit_status:
            raise typer.Exit(exit_status)

    def _tell(self, result: object) -> None:
        """Every figure of a result, a line each."""
        for name, value in _plain(result).items():
            if name != "failed" and value is not None:
                shown = value if isinstance(value, str) else json_format.dumps(value)
                self.note(f"{name.replace('_', ' ')}: {shown}")


def to_json(result: object) -> str:
    """One JSON object of a result dataclass; undefined numbers are null, names stay ASCII-safe."""
    indent = 2 if sys.stdout.isatty() else None
    return json_format.dumps(_plain(result), indent=indent, allow_nan=False)


def _plain(value: object) -> object:
    """What JSON can hold of a result: dataclasses, paths, NumPy values, mappings and sequences."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy, without importing it
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def printable(text: str) -> str:
    """`text` on one line: line feeds, control characters and undecodable bytes as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _print_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _log_lines(title: str) -> Progress:
    last = time.monotonic()

    def log(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_INTERVAL:
            last = time.monotonic()
            _print_stderr(f"{title}: {done} of {total}")

    return log
