"""Outputs of one run that would take each other's place."""

import os
from pathlib import Path

from aetool.errors import UsageError
from aetool.images.source import Source
from aetool.tasks.outputs import STDOUT, is_picture_file, named


def check_apart(
    pictures: Source,
    out: Path | str | None,
    *,
    compare: Path | None = None,
    grid: Path | None = None,
) -> None:
    """Refuse strips that would replace results, and a grid that would replace either.

    Args:
        pictures: what goes in.
        out: OUT, a folder, one picture or "-".
        compare: a folder of strips, named as results are.
        grid: one picture.

    Raises:
        UsageError: for that.
    """
    places = {"OUT": out if str(out) != STDOUT else None, "--compare": compare, "--grid": grid}
    real = {option: os.path.realpath(path) for option, path in places.items() if path is not None}
    names = None
    taken: dict[str, str] = {}
    for option, place in real.items():
        if not any(_meet(place, other) for name, other in real.items() if name != option):
            continue
        names = names or [name for name in named(pictures)[0] if name is not None]
        one = option == "--grid" or (option == "OUT" and is_picture_file(Path(out)))
        for path in [place] if one else (os.path.join(place, name) for name in names):
            other = taken.setdefault(path, option)
            if other != option:
                raise UsageError(
                    f"{other} and {option} would both write {path}", f"name another for {option}"
                )


def _meet(one: str, other: str) -> bool:
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)
