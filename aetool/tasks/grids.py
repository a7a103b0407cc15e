"""Sheets that show what went into a network above what came out of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aetool.images.write import save_picture
from aetool.storage.atomic import replacing

GRID_PICTURES = 20
GRID_COLUMNS = 10
GRID_TILE = 128


def grid_sample(count: int) -> set[int]:
    """Which of `count` pictures a sheet shows: evenly taken, and whole rows of them."""
    shown = GRID_PICTURES if count >= GRID_PICTURES else min(count, GRID_COLUMNS)
    return {int(i) for i in np.linspace(0, count - 1, shown).round()}


def write_grid(path: Path, pictures: Sequence[tuple[np.ndarray | None, ...]]) -> None:
    """Draw columns of pictures that belong together, ten columns a row.

    Args:
        path: the sheet, replaced atomically.
        pictures: a tuple a column, all of one length: uint8 (h, w) or (h, w, 3); None leaves a gap.
    """
    # Imported where it is needed: most runs draw nothing.
    from aetool.plots.sheets import contact_sheet

    columns = min(GRID_COLUMNS, len(pictures))
    tiles: list[np.ndarray | None] = []
    for start in range(0, len(pictures), columns):
        for row in zip(*pictures[start : start + columns], strict=True):
            tiles += [*row, *[None] * (columns - len(row))]
    with replacing(path) as temporary:
        save_picture(temporary, contact_sheet(tiles, columns, tile=GRID_TILE))
