"""Files that need to be read or written in any order, through pipes: by way of a temporary one."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aetool.errors import FormatError, OutputError


@contextlib.contextmanager
def to_standard_output(name: str) -> Iterator[Path]:
    """Where to write a file of this name, which goes to standard output when the body ends.

    Raises:
        OutputError: standard output is a terminal.
    """
    if sys.stdout.isatty():
        raise OutputError(
            "latents are binary and standard output is a terminal", "redirect it, or name a file"
        )
    with tempfile.TemporaryDirectory(prefix="aetool-") as folder:
        path = Path(folder, name)
        yield path
        with open(path, "rb") as whole:
            sys.stdout.flush()
            shutil.copyfileobj(whole, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()


@contextlib.contextmanager
def from_standard_input() -> Iterator[Path]:
    """Standard input as a file of latents, which may be unlinked once open: its bytes stay.

    Raises:
        FormatError: standard input is a terminal, or empty.
    """
    if sys.stdin.isatty():
        raise FormatError("standard input is a terminal", "pipe latents into it, or name a file")
    with tempfile.TemporaryDirectory(prefix="aetool-") as folder:
        path = Path(folder, "latents")
        with open(path, "wb") as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool, 1 << 20)
        if not path.stat().st_size:
            raise FormatError("standard input is empty", "see what the command before it says")
        yield path
