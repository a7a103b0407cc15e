"""Pairs of pictures: from two sources, or side by side in one picture."""

from pathlib import PurePosixPath

import numpy as np

from aetool.errors import ImageError, SourceError
from aetool.images.source import Source

SIDES = ("left", "right")


def match(source: Source, targets: Source) -> list[int]:
    """Which target belongs to each picture.

    Files belong together that have the same name, in the same sub-folder; where there is none of
    that very name, its suffix may be another. Rows of arrays belong together by their order, and so
    do two sources of one picture each.

    Args:
        source: the pictures.
        targets: what they shall become.

    Returns:
        For each picture an index into `targets`, -1 where it has no target.

    Raises:
        SourceError: no picture has a target, arrays differ in length, or a picture might belong to
            several.
    """
    if len(source) == len(targets) == 1:
        return [0]
    if source.path(0) is None or targets.path(0) is None:
        if len(source) != len(targets):
            raise SourceError(
                f"{len(source)} pictures in {source.root}, but {len(targets)} targets in "
                f"{targets.root}",
                "rows of arrays are paired by their order, so there must be as many",
            )
        return list(range(len(source)))
    exact: dict[str, int] = {}
    without_suffix: dict[str, list[int]] = {}
    for i in range(len(targets)):
        name = targets.name(i)
        exact[name] = i
        without_suffix.setdefault(_stem(name), []).append(i)
    matched = []
    for i in range(len(source)):
        name = source.name(i)
        found = [exact[name]] if name in exact else without_suffix.get(_stem(name), [])
        if len(found) > 1:
            both = " or ".join(targets.name(n) for n in found[:2])
            raise SourceError(
                f"the target of {name} may be {both}", f"remove one in {targets.root}"
            )
        matched.append(found[0] if found else -1)
    if max(matched) < 0:
        raise SourceError(
            f"no picture has a target in {targets.root}, not even {source.name(0)}",
            "a target has the name of its picture, in the same sub-folder",
        )
    return matched


def halves(pixels: np.ndarray, target: str) -> tuple[np.ndarray, np.ndarray]:
    """A picture that holds a pair, taken apart.

    Args:
        pixels: (h, w) or (h, w, 3); a middle column belongs to neither half.
        target: "left" or "right": the half that is the target.

    Returns:
        The input and its target, both of width w // 2.

    Raises:
        ImageError: it is too narrow to have halves.
    """
    width = pixels.shape[1] // 2
    if not width:
        raise ImageError("one pixel wide: it has no halves")
    left, right = pixels[:, :width], pixels[:, -width:]
    return (left, right) if target == "right" else (right, left)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
