"""Principal axes of latents as pictures: what a model's decoder makes of steps along them."""

from pathlib import Path

import numpy as np

from aetool.analysis.projection import Projection
from aetool.errors import FormatError
from aetool.images.write import save_picture
from aetool.inference.decoder import Decoder
from aetool.models.specs import FAMILIES
from aetool.plots.sheets import contact_sheet
from aetool.storage.atomic import replacing
from aetool.storage.checkpoint import read_checkpoint
from aetool.storage.latents import Latents

STEPS = (-3, -2, -1, 0, 1, 2, 3)
"""Where along an axis pictures are made, in standard deviations."""


def write_loadings(path: Path, model: Path, rows: Latents, projection: Projection) -> None:
    """Draw a row of pictures an axis, from three standard deviations below the mean to three above.

    Args:
        path: the sheet, replaced atomically.
        model: the checkpoint that the latents were made with.

    Raises:
        FormatError: the checkpoint cannot be read, or is not that of the latents.
        UsageError: its pictures are not made from the latents alone.
        OutputError: the sheet cannot be written.
    """
    checkpoint = read_checkpoint(model)
    if checkpoint.digest != rows.checkpoint:
        raise FormatError(
            f"{rows.name} was not encoded by {model}", "give the model it was encoded by: -c MODEL"
        )
    decoder = Decoder(checkpoint)
    if decoder.feature_shape != tuple(rows.feature_shape):
        raise FormatError(
            f"{rows.name} holds rows of shape {tuple(rows.feature_shape)}, the model decodes "
            f"{decoder.feature_shape}",
            "encode without --layer and --pool",
        )
    lengths = np.sqrt(projection.explained_variance)
    steps = lengths[:, None, None] * np.array(STEPS)[:, None] * projection.components[:, None]
    points = (projection.mean + steps).reshape(-1, len(projection.mean))
    low, high = FAMILIES[checkpoint.metadata["model"]["name"]].range
    pictures = (decoder.decode(points.astype(np.float32)) - low) / (high - low)
    shown = np.round(255 * np.clip(pictures, 0, 1)).astype(np.uint8)
    labels = [f"PC {axis + 1}: {step:+d} sd" for axis in range(len(lengths)) for step in STEPS]
    sheet = contact_sheet(list(shown), len(STEPS), labels=labels)
    with replacing(path) as temporary:
        save_picture(temporary, sheet)
