"""Pictures sorted into a folder a cluster."""

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np

from aetool.analysis.groups import Grouping
from aetool.errors import Failure, ImageError, UsageError
from aetool.images.write import output_name, png_bytes
from aetool.storage.atomic import replacing
from aetool.tasks.sheets import Pictures

_FOLDER = re.compile(r"cluster-\d+")


def check_copies(folder: Path, pictures: Pictures, count: int) -> None:
    """Refuse to sort pictures anew that lie in the folders of clusters themselves.

    Args:
        folder: as in `copy_pictures`.
        count: rows.

    Raises:
        UsageError: a picture would have to make way for another, or for itself.
    """
    top = os.path.realpath(folder)
    for row in range(count):
        with suppress(ImageError):
            source, position = pictures.source(row)
            path = source.path(position)
            places = (os.path.abspath(path), os.path.realpath(path)) if path else ()
            for place in places:
                inside = os.path.relpath(os.path.realpath(os.path.dirname(place)), top)
                home = PurePosixPath(inside).parts[:1]
                if home and _FOLDER.fullmatch(home[0]):
                    raise UsageError(
                        f"{path} lies where --copy-to would sort it anew",
                        f"name another folder than {folder}",
                    )


def copy_pictures(
    folder: Path,
    grouping: Grouping,
    pictures: Pictures,
    how: str,
    progress: Callable[[float], None],
) -> list[Failure]:
    """Put every picture under cluster-00/ and so on, with the name and sub-folders it has.

    `check_copies` comes first. What is there already and the same is left alone. A picture that an
    earlier run put in another cluster is removed there, or it would be in two. Pictures of arrays
    are written as PNG.

    Args:
        folder: made if need be.
        how: "copy", "link" (hard links; copies on another file system) or "symlink".
        progress: called with the share done.

    Returns:
        The pictures that could not be read.
    """
    digits = max(2, len(str(grouping.model.k - 1)))
    failures, wanted = [], {}
    for row, cluster in enumerate(grouping.labels.tolist()):
        name = pictures.name(row)
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            failures.append(Failure(name, "its name leads out of the folder"))
            continue
        home = f"cluster-{cluster:0{digits}d}"
        try:
            source, position = pictures.source(row)
            path = source.path(position)
            relative = name if path else output_name(name)
            _put(folder / home / relative, path, source, position, how)
            wanted[relative] = home
        except ImageError as error:
            failures.append(Failure(name, error.message))
        except FileNotFoundError:
            failures.append(Failure(name, "it is gone"))
        progress((row + 1) / len(grouping.labels))
    _remove_moved(folder, wanted)
    return failures


def _put(target: Path, path: Path | None, source, position: int, how: str) -> None:
    if path is None:
        pixels = source.load(position).pixels
        if pixels.dtype == np.float32:
            pixels = np.round(pixels * 65535).astype(np.uint16)
        data = png_bytes(pixels, None)
        if not (target.is_file() and target.read_bytes() == data):
            with replacing(target) as temporary:
                temporary.write_bytes(data)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if how == "symlink":
        path.stat()  # a link to nothing would be of no use
        place = str(path.absolute())
        if not (target.is_symlink() and os.readlink(target) == place):
            target.unlink(missing_ok=True)
            target.symlink_to(place)
        return
    if _same(target, path, how):
        return
    if how == "link":
        target.unlink(missing_ok=True)
        try:
            os.link(path, target)
            return
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without hard links
            pass
    with replacing(target) as temporary:
        _copy(path, temporary)


def _copy(path: Path, target: Path) -> None:
    try:
        source = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ImageError(error.strerror.lower()) from error
    with source, open(target, "wb") as copy:
        shutil.copyfileobj(source, copy)
    shutil.copystat(path, target)


def _same(target: Path, path: Path, how: str) -> bool:
    """Whether a target is the picture already: the file itself, or of its length and time."""
    if target.is_symlink() or not target.exists():
        target.unlink(missing_ok=True)
        return False
    if target.samefile(path):
        if how == "link":
            return True
        target.unlink()  # a hard link of an earlier run; now a copy of its own is wanted
        return False
    old, new = target.stat(), path.stat()
    return (old.st_size, old.st_mtime_ns) == (new.st_size, new.st_mtime_ns)


def _remove_moved(folder: Path, wanted: dict[str, str]) -> None:
    for home in folder.iterdir() if folder.is_dir() else ():
        if not _FOLDER.fullmatch(home.name) or home.is_symlink():
            continue
        for place, _, files in os.walk(home):
            for file in files:
                path = Path(place, file)
                if wanted.get(path.relative_to(home).as_posix(), home.name) != home.name:
                    path.unlink()
