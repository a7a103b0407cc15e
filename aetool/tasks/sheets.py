"""Contact sheets of clusters: the pictures behind latents, opened again."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aetool.analysis.groups import Grouping
from aetool.errors import Failure, ImageError, SourceError, UsageError
from aetool.images.samples import to_uint8
from aetool.images.source import Source, open_source
from aetool.images.write import save_picture
from aetool.plots.sheets import TILE, contact_sheet
from aetool.storage.atomic import replacing
from aetool.storage.latents import Latents
from aetool.tasks.inputs import Inputs

SHEET_PICTURES = 100
SHEET_BORDERLINE = 20
"""Of larger clusters the last so many pictures of a sheet are those furthest from the middle."""

SHEET_COLUMNS = 10
_SHEET_NAME = re.compile(r"cluster-\d+\.png")


class Pictures:
    """The pictures that rows of latents were made from.

    Args:
        latents: rows with their names and their positions in the source.
        images: the SOURCE they are in now; the one recorded in the latents where None.

    Raises:
        SourceError: the source cannot be opened, or holds none of them.

    `failures` are those that `thumbnails` left out.
    """

    def __init__(self, latents: Latents, images: str | None):
        hint = "say where they are with --images ROOT"
        root = images or latents.source
        if root in ("", "-", "standard input") or (not images and not _may_be_read(root)):
            raise SourceError("the latents do not say where their pictures are", hint)
        try:
            self._source: Source = open_source(root)
        except SourceError as error:
            if images:
                raise
            message = f"the pictures of the latents cannot be opened: {error.message}"
            raise SourceError(message, hint) from error
        self.failures: list[Failure] = []
        self._names = latents.paths
        self._positions = _positions(self._source, latents)
        if len(latents) and (self._positions < 0).all():
            message = f"none of the latents' pictures is in {root}, not even {latents.paths[0]}"
            raise SourceError(message, hint)

    def thumbnail(self, row: int) -> np.ndarray:
        """The picture of a row, uint8 (h, w) or (h, w, 3), perhaps reduced but not below TILE.

        Raises:
            ImageError: it is gone or cannot be read.
        """
        source, position = self.source(row)
        pixels = source.load(position, reduce_to=(TILE, TILE)).pixels
        if pixels.dtype == np.float32:
            return np.round(pixels * 255).astype(np.uint8)
        return to_uint8(pixels)

    def thumbnails(self, rows: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """The pictures of those rows that can be read, with their numbers."""
        found = []
        for row in rows.tolist():
            try:
                found.append((row, self.thumbnail(row)))
            except ImageError as error:
                self.failures.append(Failure(self.name(row), error.message))
        return found

    @property
    def inputs(self) -> Source:
        """All that could be shown."""
        return self._source

    def name(self, row: int) -> str:
        return self._names[row]

    def source(self, row: int) -> tuple[Source, int]:
        """The source of a row's picture and its number there.

        Raises:
            ImageError: it is gone.
        """
        position = int(self._positions[row])
        if position < 0:
            raise ImageError(f"not in {self._source.root}")
        return self._source, position


def _may_be_read(root: str) -> bool:
    """Whether a file may send its reader there: not to a list, a device or a pipe."""
    if root.startswith("@") or "\0" in root:
        return False
    return os.path.isfile(root) or os.path.isdir(root) or not os.path.exists(root)


def _positions(source: Source, latents: Latents) -> np.ndarray:
    """Where each row's picture is in the source, int64 (n,), -1 where it is not.

    By name, since files come and go. But rows of a bare table, which no encoder wrote, have made-up
    names: where as many pictures as rows are there, the n-th row is the n-th picture.
    """
    wanted = latents.paths
    found = np.full(len(wanted), -1, dtype=np.int64)
    elsewhere: dict[str, list[int]] = {}
    for row, (name, position) in enumerate(zip(wanted, latents.index, strict=True)):
        if 0 <= position < len(source) and source.name(position) == name:
            found[row] = position
        else:
            elsewhere.setdefault(name, []).append(row)
    if elsewhere:
        for position in range(len(source)):
            found[elsewhere.get(source.name(position), [])] = position
    if not latents.precision and (found < 0).all() and len(source) == len(wanted):
        found = np.arange(len(wanted))
    return found


def check_sheets(folder: Path, pictures: Pictures) -> None:
    """Refuse a folder where a picture has the name of a sheet.

    Raises:
        UsageError: for that.
    """
    inputs = Inputs(pictures.inputs)
    for path in folder.iterdir() if folder.is_dir() else ():
        if _SHEET_NAME.fullmatch(path.name) and inputs.holds(path):
            raise UsageError(f"{path} is read: a sheet would replace it", "name another folder")


def write_sheets(
    folder: Path,
    grouping: Grouping,
    pictures: Pictures,
    progress: Callable[[float], None],
) -> list[Failure]:
    """Write cluster-00.png and so on, one a cluster that is not empty.

    The pictures nearest to the middle come first, the borderline ones last.

    Sheets of an earlier run that this one does not write are removed: they would pass for its own.

    Args:
        folder: made if need be.
        progress: called with the share of the clusters done.

    Returns:
        The pictures that could not be read; their places are grey.
    """
    digits = max(2, len(str(len(grouping.sizes) - 1)))
    failures, written = [], set()
    for cluster in range(len(grouping.sizes)):
        rows = np.flatnonzero(grouping.labels == cluster)
        rows = rows[np.argsort(grouping.distances[rows], kind="stable")]
        if len(rows) > SHEET_PICTURES:
            near = SHEET_PICTURES - SHEET_BORDERLINE
            rows = np.concatenate((rows[:near], rows[-SHEET_BORDERLINE:]))
        thumbnails = []
        for row in rows:
            try:
                thumbnails.append(pictures.thumbnail(row))
            except ImageError as error:
                failures.append(Failure(pictures.name(row), error.message))
                thumbnails.append(None)
        if thumbnails:
            name = f"cluster-{cluster:0{digits}d}.png"
            with replacing(folder / name) as temporary:
                save_picture(temporary, contact_sheet(thumbnails, SHEET_COLUMNS))
            written.add(name)
        progress((cluster + 1) / len(grouping.sizes))
    for path in folder.glob("cluster-*.png"):
        if _SHEET_NAME.fullmatch(path.name) and path.name not in written:
            path.unlink()
    return failures
