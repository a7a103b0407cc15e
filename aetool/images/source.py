"""Where pictures come from: every kind of SOURCE behind one small interface."""

import hashlib
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from aetool.errors import ImageError, SourceError
from aetool.images import arrays, listing, sets
from aetool.images.decode import MAX_PIXELS, Picture, check_size, decode


class Pictures(Protocol):
    """What a Source reads its rows from."""

    def __len__(self) -> int: ...
    def name(self, row: int) -> str: ...
    def path(self, row: int) -> Path | None: ...
    def load(self, row: int, max_pixels: int, reduce_to: tuple[int, int] | None) -> Picture: ...
    def fingerprint(self, row: int) -> bytes: ...
    def only(self, rows: Sequence[int]) -> "Pictures": ...


class Files:
    """Picture files below a folder, kept as plain names: a million of them stay cheap."""

    def __init__(self, folder: str, names: list[str] | dict[int, str]):
        self.folder = folder
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        return self.names[row]

    def path(self, row: int) -> Path:
        return Path(self.folder, self.names[row])

    def load(self, row: int, max_pixels: int, reduce_to: tuple[int, int] | None) -> Picture:
        try:
            return decode(self.path(row), max_pixels=max_pixels, reduce_to=reduce_to)
        except OSError as error:
            raise ImageError((error.strerror or str(error)).lower()) from error

    def fingerprint(self, row: int) -> bytes:
        """The size of the file, -1 when it is gone."""
        try:
            return b"%d" % os.stat(os.path.join(self.folder, self.names[row])).st_size
        except OSError:
            return b"-1"

    def only(self, rows: Sequence[int]) -> "Files":
        return Files(self.folder, {row: self.names[row] for row in rows})


class Bytes:
    """One encoded picture that was read from a pipe."""

    def __init__(self, name: str, data: bytes):
        self._name = name
        self._data = data

    def __len__(self) -> int:
        return 1

    def name(self, row: int) -> str:
        return self._name

    def path(self, row: int) -> None:
        return None

    def load(self, row: int, max_pixels: int, reduce_to: tuple[int, int] | None) -> Picture:
        return decode(self._data, max_pixels=max_pixels, reduce_to=reduce_to)

    def fingerprint(self, row: int) -> bytes:
        return hashlib.sha256(self._data).digest()

    def only(self, rows: Sequence[int]) -> "Bytes":
        return self


class Rows:
    """Rows of one or more arrays, one after the other."""

    def __init__(self, parts: Sequence[arrays.Part]):
        self._parts = parts
        self._ends = np.cumsum([len(part.pixels) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _find(self, row: int) -> tuple[arrays.Part, int]:
        number = int(np.searchsorted(self._ends, row, side="right"))
        part = self._parts[number]
        return part, int(row - self._ends[number]) + len(part.pixels)

    def name(self, row: int) -> str:
        part, row = self._find(row)
        return f"{part.key}/{row:06d}" if part.key else f"{row:06d}"

    def path(self, row: int) -> None:
        return None

    def load(self, row: int, max_pixels: int, reduce_to: tuple[int, int] | None) -> Picture:
        part, row = self._find(row)
        check_size(part.pixels.shape[2:0:-1], max_pixels)
        return Picture(arrays.picture_pixels(part.pixels, row), "ARRAY", None, None, 1)

    def fingerprint(self, row: int) -> bytes:
        pixels = self._row(row)
        return b"damaged" if pixels is None else pixels.tobytes()

    def only(self, rows: Sequence[int]) -> "LooseRows":
        return LooseRows({row: (self.name(row), self._row(row)) for row in rows})

    def _row(self, row: int) -> np.ndarray | None:
        part, row = self._find(row)
        try:
            return np.asarray(part.pixels[row : row + 1])
        except (OSError, MemoryError):  # one picture's misfortune, told when it is loaded
            return None


class LooseRows:
    """Some rows of arrays in memory, each with its name: (1, h, w, ...), or None where damaged."""

    def __init__(self, rows: dict[int, tuple[str, np.ndarray | None]]):
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, row: int) -> str:
        return self._rows[row][0]

    def path(self, row: int) -> None:
        return None

    def load(self, row: int, max_pixels: int, reduce_to: tuple[int, int] | None) -> Picture:
        pixels = self._rows[row][1]
        if pixels is None:
            raise ImageError("damaged: this part of the file cannot be read")
        check_size(pixels.shape[2:0:-1], max_pixels)
        return Picture(arrays.picture_pixels(pixels, 0), "ARRAY", None, None, 1)

    def fingerprint(self, row: int) -> bytes:
        pixels = self._rows[row][1]
        return b"damaged" if pixels is None else pixels.tobytes()

    def only(self, rows: Sequence[int]) -> "LooseRows":
        return LooseRows({row: self._rows[row] for row in rows})


class Source:
    """Pictures in a fixed order, each with a name and perhaps a label; nothing is decoded yet.

    Attributes:
        root: what the names are relative to: an absolute folder, an array file (with the split
            that was named), a data set's name, or "-".
        class_names: the labels' names in natural order; empty when the pictures have no labels.
        files: absolute paths of what pictures without a file of their own are read from, an array
            file or those of a data set with their labels.
    """

    def __init__(
        self,
        root: str,
        pictures: Pictures,
        class_names: tuple[str, ...] = (),
        labels: np.ndarray | dict[int, int] | None = None,
        rows: np.ndarray | None = None,
        files: tuple[Path, ...] = (),
    ):
        self.root = root
        self.class_names = class_names
        self.files = files
        self._pictures = pictures
        self._labels = labels  # int32, one for each of `pictures`
        self._rows = rows  # int64, which of `pictures` these are; None: all

    def __len__(self) -> int:
        return len(self._pictures) if self._rows is None else len(self._rows)

    def position(self, i: int) -> int:
        """The index of picture i in the SOURCE as the user named it, before any `select`."""
        if not 0 <= i < len(self):
            raise IndexError(i)
        return int(i) if self._rows is None else int(self._rows[i])

    def name(self, i: int) -> str:
        """ "sub/a b.jpg" with "/" between folders; "x_test/000017" in an array; or "stdin"."""
        return self._pictures.name(self.position(i))

    def label(self, i: int) -> int:
        """The index of picture i's label in `class_names`, -1 when it has none."""
        row = self.position(i)
        return -1 if self._labels is None else int(self._labels[row])

    def path(self, i: int) -> Path | None:
        """The file of picture i, None when it has no file of its own."""
        return self._pictures.path(self.position(i))

    def load(
        self, i: int, *, max_pixels: int = MAX_PIXELS, reduce_to: tuple[int, int] | None = None
    ) -> Picture:
        """Picture i, decoded.

        Args:
            i: its index.
            max_pixels: larger files are refused.
            reduce_to: (h, w), when a caller needs no more than that.

        Raises:
            ImageError: it cannot be read.
        """
        return self._pictures.load(self.position(i), max_pixels, reduce_to)

    def select(self, indices: Sequence[int]) -> "Source":
        """The pictures at these indices, in that order; each keeps its `position`."""
        wanted = np.asarray(indices, np.int64).reshape(-1)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"an index outside 0 to {len(self) - 1}")
        rows = wanted if self._rows is None else self._rows[wanted]
        return Source(self.root, self._pictures, self.class_names, self._labels, rows, self.files)

    def __reduce__(self) -> tuple:
        """Pickled it takes its own pictures along and no others: names of files, rows of arrays."""
        rows = [self.position(i) for i in range(len(self))]
        labels = None if self._labels is None else {row: int(self._labels[row]) for row in rows}
        pictures = self._pictures.only(rows)
        positions = np.array(rows, np.int64)
        return Source, (self.root, pictures, self.class_names, labels, positions, self.files)

    @property
    def piped(self) -> bool:
        """Whether it came through a pipe, so that nothing tells how old it is."""
        return isinstance(self._pictures, Bytes)

    @property
    def whole(self) -> "Source":
        """The SOURCE as the user named it, before any `select`."""
        return Source(self.root, self._pictures, self.class_names, self._labels, files=self.files)

    def digest(self) -> str:
        """SHA-256 in hexadecimal over names, labels, and file sizes or array values, in order.

        Modification times and the place of the folder do not count.
        """
        digest = hashlib.sha256()
        for i in range(len(self)):
            row = self.position(i)
            name = os.fsencode(self._pictures.name(row))
            label = self.label(i)
            class_name = os.fsencode(self.class_names[label]) if label >= 0 else b""
            for field in (name, class_name, self._pictures.fingerprint(row)):
                digest.update(len(field).to_bytes(8, "little") + field)
        return digest.hexdigest()


def open_source(text: str, *, exclude: Path | None = None, empty_list: bool = False) -> Source:
    """The pictures that a SOURCE on the command line stands for.

    ==============================  ===============================================================
    a folder                        every picture below it in natural order; the first folder below
                                    it is the label
    a picture                       that one, whatever its suffix
    @list.txt, @-                   the paths in a list (`-`: on standard input), one a line or
                                    ended by NUL characters
    -                               one encoded picture on standard input
    .npy .npz .h5 .hdf5             arrays uint8, uint16, or float in [0, 1], of shape (n, h, w),
                                    (n, h, w, 1) or (n, h, w, 3), with labels
    idx files, STL-10's .bin files  one file, or the folder that holds them
    sklearn:digits, keras:mnist...  a data set by name
    ==============================  ===============================================================

    Behind an array file, such a folder or a set's name "/train" or "/test" takes that split, and
    behind an array file "/KEY" takes the array of that name. Without it all splits are taken, train
    before validation before test, as a folder with such sub-folders would be; STL-10's unlabelled
    pictures only by name. A file whose name begins with "@" or is "-" is given as "./@name".

    Args:
        text: SOURCE as typed.
        exclude: the folder of the results: what lies in it is no input.
        empty_list: a list without pictures is nothing to do, and no error.

    Raises:
        SourceError: it does not exist, cannot be read, or holds no pictures.
    """
    if text == "-":
        return _open_bytes("-", "stdin", sys.stdin.buffer.read())
    if text.startswith("@"):
        return _open_list(text[1:], exclude, empty_list)
    if text.startswith(("sklearn:", "keras:")):
        name, _, split = text.partition("/")
        return _open_parts(text, sets.read_named_set(name, split or None))
    try:
        mode = os.stat(text).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        return _open_split(text, error)
    except OSError as error:
        raise listing.unreadable(text, error) from error
    if stat.S_ISDIR(mode):
        return _open_folder(Path(text), exclude)
    try:
        with open(text, "rb") as file:
            piped = None if stat.S_ISREG(mode) else file.read()  # the shell's <(command)
    except OSError as error:
        raise listing.unreadable(text, error) from error
    if piped is not None:
        return _open_bytes(text, os.path.basename(text), piped)
    return _open_file(Path(text))


def _open_folder(folder: Path, exclude: Path | None) -> Source:
    root = os.path.abspath(folder)
    files = sets.set_files(folder)
    if files:
        return _open_parts(root, sets.read_set_folder(folder, files))
    names = listing.find_pictures(folder, exclude)
    if not names:
        raise SourceError(
            f"{folder}: no pictures in this folder",
            "hidden files and files without an image's suffix do not count",
        )
    return Source(root, Files(root, names), *listing.folder_labels(names))


def _open_list(path: str, exclude: Path | None, empty: bool) -> Source:
    listed = listing.read_list(path)
    root, names, class_names, labels = listing.place_list(listed, exclude)
    if not listed and not empty:
        raise SourceError(f"@{path}: the list is empty", "give it a path a line")
    if not names and not empty:
        raise SourceError(f"@{path}: every listed picture lies in the output folder")
    return Source(root, Files(root, names), class_names, labels)


def _open_bytes(root: str, name: str, data: bytes) -> Source:
    if not data:
        raise SourceError(
            f"{root}: nothing to read", "give the bytes of one picture; lists go to @-"
        )
    return Source(root, Bytes(name, data))


def _open_file(path: Path) -> Source:
    root = os.path.abspath(path)
    if path.suffix.lower() in arrays.ARRAY_SUFFIXES:
        return _open_parts(root, arrays.read_array_file(path))
    if path.suffix.lower() not in listing.IMAGE_SUFFIXES and sets.is_set_file(path):
        return _open_parts(root, [sets.read_set_file(path)])
    folder, name = os.path.split(root)
    return Source(folder, Files(folder, [name]))


def _open_split(text: str, error: OSError) -> Source:
    """A text that is no path: perhaps an array file or a data set's folder with a split behind."""
    for path in Path(text).parents:
        split = Path(text).relative_to(path).as_posix()
        if os.path.isfile(path) and path.suffix.lower() in arrays.ARRAY_SUFFIXES:
            return _open_parts(os.path.abspath(text), arrays.read_array_file(path, split))
        if os.path.isdir(path):
            files = sets.set_files(path) if "/" in text else {}
            if not files:
                break
            return _open_parts(os.path.abspath(text), sets.read_set_folder(path, files, split))
    raise listing.unreadable(text or "an empty SOURCE", error) from error


def _open_parts(root: str, parts: list[arrays.Part]) -> Source:
    parts = [arrays.check_part(part, root) for part in parts]
    files = tuple(file.absolute() for part in parts for file in part.files)
    try:
        class_names, labels = arrays.label_values(parts)
    except MemoryError as error:
        raise SourceError(f"{root}: more labels than fit the memory") from error
    return Source(root, Rows(parts), class_names, labels, files=files)
