"""A curve on one line of text, for a terminal."""

import itertools
import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The curve of some values as block characters, the lowest ▁ and the highest █.

    Args:
        values: one an epoch; one that is not finite leaves a gap.
        width: characters at most; more values are averaged.
    """
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)] if count else []
    means = []
    for start, end in itertools.pairwise(edges):
        finite = [value for value in values[start:end] if math.isfinite(value)]
        means.append(math.fsum(finite) / len(finite) if finite else math.nan)
    drawn = [mean for mean in means if math.isfinite(mean)]
    low, high = min(drawn, default=0), max(drawn, default=0)
    top = len(BLOCKS) - 1
    return "".join(
        BLOCKS[round((mean - low) / (high - low) * top) if high > low else 0]
        if math.isfinite(mean)
        else " "
        for mean in means
    )
