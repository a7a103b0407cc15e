"""The pictures that come into a folder, each given when it has come to rest."""

import os
from dataclasses import dataclass
from pathlib import Path

from aetool.images.listing import find_pictures, folder_labels
from aetool.images.source import Files, Source

# Size and time of the last change; None for what cannot be asked, such as a dangling link.
_State = tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Arrived:
    """What one look at the folder found.

    Args:
        source: every picture that is there.
        new: indices into it of those that stand still and were never given before.
        changed: those that stand still and are not as they were when they were given.
    """

    source: Source
    new: list[int]
    changed: list[int]


class Arrivals:
    """A folder that is looked at again and again, on any file system.

    A picture stands still when two looks find its size and its time of change alike: one that is
    still being written is left for later. It is given once, and again when it changes. One that
    vanishes is forgotten.

    Args:
        folder: the folder.
        exclude: a folder below it whose contents do not count.
    """

    def __init__(self, folder: Path, exclude: Path | None = None):
        self._folder, self._exclude = folder, exclude
        self._seen: dict[str, _State] = {}
        self._given: dict[str, _State] = {}

    def look(self) -> Arrived:
        """List the folder, and say what has come to rest since the last time.

        Raises:
            SourceError: the folder cannot be listed, or is the excluded one.
        """
        names = find_pictures(self._folder, self._exclude)
        root = os.path.abspath(self._folder)
        now = {name: _state(os.path.join(root, name)) for name in names}
        given = {name: state for name, state in self._given.items() if name in now}
        new, changed = [], []
        for i, name in enumerate(names):
            if name not in self._seen or self._seen[name] != now[name]:
                continue
            if name not in given:
                new.append(i)
            elif given[name] != now[name]:
                changed.append(i)
            # As it was before it is read: what is written to it meanwhile shows at the next look.
            given[name] = now[name]
        self._seen, self._given = now, given
        return Arrived(Source(root, Files(root, names), *folder_labels(names)), new, changed)


def _state(path: str) -> _State:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns
