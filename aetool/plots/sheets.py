"""Contact sheets: many small pictures on one."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TILE = 96
GAP = 4
LABEL_POINTS = 12
LABEL_HEIGHT = 17
PAPER = (255, 255, 255)
MISSING = (236, 236, 236)
INK = (38, 38, 38)


def contact_sheet(
    images: Sequence[np.ndarray | None],
    columns: int | None = None,
    *,
    labels: Sequence[str] | None = None,
    tile: int = TILE,
) -> np.ndarray:
    """Lay pictures out in rows, each whole in a square of the same size.

    Large ones are scaled down (Lanczos); small ones are enlarged by a whole factor, pixel by pixel,
    so that 8x8 digits stay what they are.

    Args:
        images: uint8 (h, w), (h, w, 1) or (h, w, 3), of any sizes; None leaves a grey square.
        columns: pictures in a row; without it about as many as rows.
        labels: a line of text below each.
        tile: side of the squares in pixels.

    Returns:
        uint8 (H, W, 3) on white.

    Raises:
        ValueError: no images.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one picture")
    columns = min(columns or int(np.ceil(np.sqrt(len(images)))), len(images))
    rows = -(-len(images) // columns)
    step_x, step_y = tile + GAP, tile + GAP + (LABEL_HEIGHT if labels else 0)
    sheet = Image.new("RGB", (columns * step_x + GAP, rows * step_y + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(LABEL_POINTS)
    for number, image in enumerate(images):
        left, top = GAP + number % columns * step_x, GAP + number // columns * step_y
        if image is None:
            draw.rectangle((left, top, left + tile - 1, top + tile - 1), fill=MISSING)
        else:
            small = fitted(image, tile)
            corner = (left + (tile - small.width) // 2, top + (tile - small.height) // 2)
            sheet.paste(small, corner)
        if labels:
            text = _shortened(labels[number], tile, font)
            draw.text((left + tile / 2, top + tile + 2), text, INK, font, anchor="ma")
    return np.asarray(sheet)


def fitted(image: np.ndarray, tile: int) -> Image.Image:
    """A picture whose longer side is as near `tile` as its pixels allow, never more."""
    picture = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).convert("RGB")
    longer = max(picture.size)
    if longer > tile:
        size = [max(1, round(side * tile / longer)) for side in picture.size]
        return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    factor = tile // longer
    return picture.resize([side * factor for side in picture.size], Image.Resampling.NEAREST)


def _shortened(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The text on one line, its end cut where it is wider than `width` pixels."""
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
