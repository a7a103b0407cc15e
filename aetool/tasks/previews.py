"""The pictures that belong to a model or latents file: what it was shown, what it is made of."""

from pathlib import Path

import numpy as np

from aetool.errors import FormatError, SourceError
from aetool.images.write import save_picture
from aetool.plots.sheets import contact_sheet
from aetool.storage.atomic import replacing
from aetool.storage.checkpoint import read_checkpoint
from aetool.storage.container import container_kind
from aetool.storage.latents import open_latents
from aetool.tasks.info import stored_previews
from aetool.tasks.outputs import check_outputs, check_picture_name
from aetool.tasks.sheets import Pictures

SHOWN = 8  # of a latents file


def write_previews(file: Path, picture: Path) -> None:
    """Write the previews of a model, or the first of some rows of latents, as a contact sheet.

    Args:
        file: a checkpoint or latents.
        picture: the sheet, in the format that its suffix names.

    Raises:
        UsageError: the sheet's name is no picture's, or that of the file.
        FormatError: the file is damaged, or a model without previews.
        SourceError: the pictures of the latents cannot be opened.
    """
    check_picture_name(picture)
    check_outputs([picture], [file])
    is_latents = container_kind(file) == "latents"
    bands = _of_latents(file, picture) if is_latents else model_previews(file)
    sheet = contact_sheet([pixels for band in bands for pixels in band], len(bands[0]))
    with replacing(picture) as temporary:
        save_picture(temporary, sheet)


def model_previews(file: Path) -> np.ndarray:
    """What `train --preview` left in a checkpoint: uint8 (bands, n, h, w, 3).

    Raises:
        FormatError: nothing, or the file is damaged.
    """
    strip = stored_previews(read_checkpoint(file, weights=False))
    if strip is None:
        raise FormatError(
            f"{file} holds no previews", "aetool train keeps some where --preview DIR is given"
        )
    return strip


def _of_latents(file: Path, picture: Path) -> list[list[np.ndarray]]:
    with open_latents(file) as latents:
        rows = np.unique(np.linspace(0, len(latents) - 1, SHOWN).astype(int))
        found = []
        if len(latents):
            pictures = Pictures(latents, None)
            check_outputs([picture], [pictures.inputs])
            found = pictures.thumbnails(rows)
    if not found:
        raise SourceError(f"no picture of {file} can be read", "have they moved?")
    return [[pixels for _, pixels in found]]
