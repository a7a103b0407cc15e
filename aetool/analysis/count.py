"""How many clusters there are, from the rows alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from aetool.analysis.rows import Features, take
from aetool.analysis.scores import silhouette

MOST = 30
SAMPLES = 5
SAMPLE_ROWS = 1_500


@dataclass(frozen=True, slots=True)
class Count:
    """How many clusters, and how sure that is.

    Args:
        measure: "silhouette", the mean over the samples is highest at k.
        k: the answer.
        low, high: the least and the most that one of the samples alone would answer.
        votes: share of the samples that alone answer k.
        silhouettes: number of clusters -> mean silhouette.
    """

    measure: str
    k: int
    low: int
    high: int
    votes: float
    silhouettes: dict[int, float]


def choose_count(
    rows: Features,
    cluster: Callable[[np.ndarray, int, np.random.Generator], np.ndarray],
    rng: np.random.Generator,
    progress: Callable[[float], None] | None = None,
) -> Count:
    """Cluster samples of the rows into 2 to MOST, and take the number with the best silhouette.

    Args:
        rows: (n, d), n at least 3.
        cluster: from rows, a number of clusters and a generator to the cluster of every row.
        rng: draws the samples.
        progress: called with the share done, 0 to 1.
    """
    n = rows.shape[0]
    size = min(SAMPLE_ROWS, max(3, 2 * n // 3))  # all of them would be one sample, five times
    numbers = range(2, min(MOST, size - 1) + 1)
    found = np.full((SAMPLES, len(numbers)), -1.0)
    for sample in range(SAMPLES):
        drawn = take(rows, np.sort(rng.choice(n, size, replace=False)))
        for column, k in enumerate(numbers):
            with threadpool_limits(1):  # so little work takes longer when it is shared
                score = silhouette(drawn, cluster(drawn, k, rng))
            found[sample, column] = -1.0 if score is None else score
            if progress:
                progress((sample * len(numbers) + column + 1) / found.size)
    means = found.mean(axis=0)
    best = int(means.argmax())
    own = found.argmax(axis=1)
    return Count(
        measure="silhouette",
        k=numbers[best],
        low=numbers[int(own.min())],
        high=numbers[int(own.max())],
        votes=float((own == best).mean()),
        silhouettes=dict(zip(numbers, means.tolist(), strict=True)),
    )
