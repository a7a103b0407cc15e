"""Animated GIFs."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

LEAST_SECONDS = 0.02
"""Browsers slow anything faster down to a tenth of a second."""


def write_gif(
    path: Path,
    frames: Iterable[np.ndarray | Path],
    seconds: float = 0.2,
    *,
    last_seconds: float | None = None,
) -> None:
    """Write an animation that repeats for ever.

    Grey frames keep their 256 levels; colour frames get a palette of their own each and are held
    at a byte a pixel. The caller makes the write atomic.

    Args:
        path: the .gif file.
        frames: uint8 (h, w), (h, w, 1) or (h, w, 3) arrays or picture files, all of one size.
        seconds: how long each is shown; at least LEAST_SECONDS.
        last_seconds: how long the last is shown; as long as the others without it.

    Raises:
        ValueError: no frames, or frames of different sizes.
    """
    paletted = _paletted(frames)
    first = next(paletted, None)
    if first is None:
        raise ValueError("an animation needs at least one frame")
    shown = max(seconds, LEAST_SECONDS)
    rest = list(paletted)
    if any(frame.size != first.size for frame in rest):
        raise ValueError("the frames of an animation must have one size")
    durations = [round(1000 * shown)] * (1 + len(rest))
    if last_seconds is not None:
        durations[-1] = round(1000 * max(last_seconds, LEAST_SECONDS))
    first.save(
        path,
        format="GIF",
        save_all=True,
        append_images=rest,
        duration=durations,
        loop=0,
        optimize=False,
    )


def _paletted(frames: Iterable[np.ndarray | Path]) -> Iterator[Image.Image]:
    for frame in frames:
        if isinstance(frame, np.ndarray):
            image = Image.fromarray(frame[..., 0] if frame.shape[2:] == (1,) else frame)
        else:
            with Image.open(frame) as opened:
                image = opened.convert("L" if opened.mode in ("1", "L") else "RGB")
        if image.mode == "L":
            yield image
        else:
            yield image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
