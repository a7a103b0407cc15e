"""Loading two pictures for one: what to translate, and what it is to become."""

from typing import Protocol

import numpy as np

from aetool.errors import ImageError
from aetool.images.pairs import halves, match
from aetool.images.source import Source


class Pairing(Protocol):
    """Where the target of each picture of a source is found."""

    def load(
        self, source: Source, i: int, max_pixels: int, reduce_to: tuple[int, int] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The pixels of input and target of picture i; ImageError where either is not readable."""
        ...


class Halves:
    """Pictures that hold both side by side.

    Args:
        target: "left" or "right", the half that is the target.
    """

    def __init__(self, target: str):
        self._target = target

    def load(self, source, i, max_pixels, reduce_to):
        whole = reduce_to and (reduce_to[0], 2 * reduce_to[1])
        picture = source.load(i, max_pixels=max_pixels, reduce_to=whole)
        return halves(picture.pixels, self._target)


class Targets:
    """Targets in another source.

    Args:
        source: the inputs, before any `select`.
        targets: what they are to become, by name, or rows of arrays by number.

    Raises:
        SourceError: when they do not go together.
    """

    def __init__(self, source: Source, targets: Source):
        self._targets = targets
        self._matched = match(source, targets)

    def load(self, source, i, max_pixels, reduce_to):
        number = self._matched[source.position(i)]
        if number < 0:
            raise ImageError(f"no target in {self._targets.root}")
        given = source.load(i, max_pixels=max_pixels, reduce_to=reduce_to)
        try:
            wanted = self._targets.load(number, max_pixels=max_pixels, reduce_to=reduce_to)
        except ImageError as error:
            raise ImageError(f"its target: {error.message}") from error
        return given.pixels, wanted.pixels
