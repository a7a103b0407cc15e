"""Points and the pictures behind them as one page for a browser, which needs nothing else."""

import base64
import html
import json
from collections.abc import Sequence
from importlib import resources
from io import BytesIO

import numpy as np
from PIL import Image

from aetool.plots.sheets import fitted
from aetool.plots.style import class_colors

PAGE_POINTS = 10_000
"""Of more points so many are on the page, chosen at random."""

TILE = 40
_EMPTY = (236, 236, 236)


def page_points(count: int) -> np.ndarray:
    """Which of `count` points a page shows: int64, ascending."""
    if count <= PAGE_POINTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, PAGE_POINTS, replace=False))


def html_page(
    title: str,
    points: np.ndarray,
    names: Sequence[str],
    colorings: Sequence[tuple[str, np.ndarray, Sequence[str]]],
    pictures: Sequence[np.ndarray | None],
) -> str:
    """A page on which the points can be moved and enlarged; each shows its picture under the mouse.

    Args:
        title: of the page.
        points: (n, 2).
        names: n.
        colorings: ways to colour the points: what they are called, labels int (n,), -1 where
            unknown, and the names of the groups; at least one.
        pictures: n, uint8 (h, w) or (h, w, 3); None leaves a grey square.

    Returns:
        HTML that loads nothing from anywhere: pictures are in it as one sprite.
    """
    low = points.min(axis=0)
    span = max(float((points.max(axis=0) - low).max()), 1e-12)
    columns = max(1, int(np.ceil(np.sqrt(len(pictures)))))
    data = {
        "points": np.round((points - low) / span, 5).tolist(),
        "names": [_text(name) for name in names],
        "colorings": [
            {
                "name": name,
                "labels": labels.tolist(),
                "groups": [_text(group) for group in groups],
                "colors": [_hex(color) for color in class_colors(max(len(groups), 1))],
            }
            for name, labels, groups in colorings
        ],
        "tile": TILE,
        "columns": columns,
        "sprite": _sprite(pictures, columns),
    }
    template = (resources.files("aetool") / "plots" / "page.html").read_text(encoding="utf-8")
    # In a script no tag may begin: a picture may be called </script>.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return template.replace("{{title}}", html.escape(_text(title))).replace("{{data}}", text)


def _sprite(pictures: Sequence[np.ndarray | None], columns: int) -> str:
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * TILE, max(rows, 1) * TILE), _EMPTY)
    for number, picture in enumerate(pictures):
        if picture is not None:
            tile = fitted(picture, TILE)
            row, column = divmod(number, columns)
            left, top = (TILE - tile.width) // 2, (TILE - tile.height) // 2
            sheet.paste(tile, (column * TILE + left, row * TILE + top))
    stream = BytesIO()
    sheet.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _text(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


def _hex(color: np.ndarray) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in color)
