"""The names of the pictures below a folder or in a list, and the labels their folders give them."""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from aetool.errors import SourceError

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".icns", ".ico", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpg", ".jpx", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".psd",
    ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
})
# fmt: on

_DIGITS = re.compile("[0-9]+")


def natural_key(name: str) -> str:
    """A sort key under which "img2" comes before "img10", whatever the case of its letters.

    Folders are compared before what they hold. Numbers are compared by value, of any length.
    """
    return _DIGITS.sub(_number_key, name.lower().replace("/", "\0"))


def _number_key(match: re.Match) -> str:
    digits = match[0].lstrip("0")
    return "0" + chr(len(digits)) + digits


def natural_sorted(names: Iterable[str]) -> list[str]:
    """The names in natural order, ties such as "a1" and "A01" broken by code point."""
    return sorted(sorted(names), key=natural_key)


def find_pictures(folder: Path, exclude: Path | None = None) -> list[str]:
    """Every picture below a folder, in natural order.

    Hidden files and folders, files whose suffix is no image's, pipes and devices are left out. A
    link is followed unless it leads back to a folder it lies in. A folder that cannot be listed
    stands in the result under its own name, so that it is reported like an unreadable picture.

    Args:
        folder: the folder.
        exclude: a folder below it whose contents are left out.

    Returns:
        Names relative to `folder`, with "/" between the parts.

    Raises:
        SourceError: `folder` itself cannot be listed, or is the excluded one.
    """
    root = os.path.realpath(folder)
    excluded = exclude and os.path.realpath(exclude)
    if excluded == root:
        raise SourceError(
            f"{folder}: the output folder is the source itself", "choose another folder for OUT"
        )
    found = []
    pending = [("", (root,))]  # name below the folder, and the real folders that lead to it
    while pending:
        prefix, trail = pending.pop()
        try:
            with os.scandir(os.path.join(folder, prefix)) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    name = prefix + entry.name
                    if not _is_folder(entry):
                        if _is_picture(entry):
                            found.append(name)
                        continue
                    inner = _trail(entry, trail)
                    if inner and inner[-1] != excluded:
                        pending.append((name + "/", inner))
        except OSError as error:
            if not prefix:
                raise unreadable(str(folder), error) from error
            found.append(prefix.rstrip("/"))
    return natural_sorted(found)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_picture(entry: os.DirEntry) -> bool:
    """True for a file with an image's suffix; a dangling link counts, to be reported."""
    if os.path.splitext(entry.name)[1].lower() not in IMAGE_SUFFIXES:
        return False
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True


def _trail(entry: os.DirEntry, trail: tuple[str, ...]) -> tuple[str, ...] | None:
    """The real folders that lead to this one: one a link and the last; None when it is a loop."""
    if not entry.is_symlink():
        return (*trail[:-1], os.path.join(trail[-1], entry.name))
    target = os.path.realpath(entry.path)
    inside = os.path.join(target, "")
    if any(os.path.join(real, "").startswith(inside) for real in trail):
        return None
    return (*trail, target)


def folder_labels(names: list[str]) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Labels from the first folder of each name.

    Returns:
        The class names in natural order and int32 (n,) indices into them, -1 for a name without a
        folder; ((), None) when no name has one.
    """
    folders = [name.partition("/")[0] if "/" in name else None for name in names]
    class_names = tuple(natural_sorted({folder for folder in folders if folder is not None}))
    if not class_names:
        return (), None
    position = {name: i for i, name in enumerate(class_names)}
    labels = np.fromiter((position.get(folder, -1) for folder in folders), np.int32, len(names))
    return class_names, labels


def read_list(path: str) -> list[str]:
    """The paths in a list file, one a line or each ended by a NUL character (`find -print0`).

    Args:
        path: the list file, or "-" for standard input.

    Raises:
        SourceError: the list cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise unreadable(f"@{path}", error) from error
    if b"\0" in data:
        lines = data.split(b"\0")
    else:
        lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        lines = [line.removesuffix(b"\r") for line in lines]
    return [os.fsdecode(line) for line in lines if line]


def place_list(
    listed: list[str], exclude: Path | None = None
) -> tuple[str, list[str], tuple[str, ...], np.ndarray | None]:
    """Where the pictures of a list are, by names that stay below one folder.

    Names are relative to the current folder when it holds every picture, else to "/": so a name
    never contains ".." and an output named after it stays in its folder. Labels are the first
    folder below the deepest one that holds them all.

    Args:
        listed: paths, absolute or relative to the current folder.
        exclude: a folder whose contents are left out.

    Returns:
        The absolute folder, the names, and the class names and labels as `folder_labels` gives.
    """
    paths = [_absolute(path) for path in listed]
    if exclude is not None:
        outside = (_absolute(str(exclude)) + "/", os.path.realpath(exclude) + "/")
        paths = [path for path in paths if not path.startswith(outside)]
    current = os.path.join(os.getcwd(), "")
    folder = current if all(path.startswith(current) for path in paths) else "/"
    names = [path[len(folder) :] for path in paths]
    common = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else folder
    below = len(os.path.join(common, ""))
    class_names, labels = folder_labels([path[below:] for path in paths])
    return os.path.join("/", folder.rstrip("/")), names, class_names, labels


def _absolute(path: str) -> str:
    """The path from "/", without "." and ".."; links are followed only where ".." needs it."""
    folder, name = os.path.split(path)
    if ".." in path.split("/"):
        if name in ("", ".", ".."):
            return os.path.realpath(path)
        return os.path.join(os.path.realpath(folder), name)
    return os.path.abspath(path)


def unreadable(what: str, error: OSError) -> SourceError:
    """The error for a path that cannot be opened or listed."""
    hint = "SOURCE is a folder, a picture, @LIST, -, an array file or a data set's name"
    if isinstance(error, PermissionError):
        hint = "check its permissions"
    return SourceError(f"{what}: {(error.strerror or str(error)).lower()}", hint)
