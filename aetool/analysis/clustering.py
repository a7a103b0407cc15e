"""k-means over rows that need not fit in memory.

Restarts are seeded by greedy k-means++ (Arthur and Vassilvitskii 2007) and compared on a sample of
the rows; the best goes on over all rows by Lloyd's passes (Lloyd 1982). A pass leaves out the
rows whose centre cannot have changed, by the bounds of Hamerly (2010), so the late passes, of which
there are many, cost little. The answer is Lloyd's own.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array

from aetool.analysis.rows import Features, Shifted, blocks, each, moments, take

SAMPLE_ROWS = 10_000
SAMPLE_ROWS_PER_CLUSTER = 50
RESTARTS = 8
MAX_PASSES = 300

TOLERANCE = 1e-4
"""Passes end when the squared steps of the centres sum to less than this share of the mean
variance: scikit-learn's rule."""

SAMPLE_TOLERANCE = 1e-2
"""The same for the restarts, which are only compared with one another."""

SAME_ROW = 1e-5
"""Rows closer to their centre than this share of the typical row's length lie on it."""


@dataclass(frozen=True, slots=True)
class Clustering:
    """One k-means solution. Clusters are numbered by size, the largest first; ties by first row.

    Args:
        labels: int32 (n,), the cluster of every row.
        distances: float32 (n,), Euclidean, from the row to the centre of its cluster.
        centres: float64 (k, d).
        sizes: int64 (k,), descending; 0 only where there are fewer than k different rows.
        inertia: the sum of squared distances.
    """

    labels: np.ndarray
    distances: np.ndarray
    centres: np.ndarray
    sizes: np.ndarray
    inertia: float


@dataclass(frozen=True, slots=True)
class Centres:
    """Clusters as k-means has them: a row belongs to the nearest centre.

    Args:
        means: float64 (k, d).
    """

    means: np.ndarray

    def assign(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The cluster of rows (n, d), int32 (n,), and the Euclidean distance to its centre."""
        middle = self.means.mean(axis=0).astype(np.float32)  # near it products lose fewer digits
        rows, centres = rows - middle, self.means - middle
        nearest = two_nearest(rows, centres)[0]
        return nearest, own_distances(rows, centres, nearest)


def kmeans(features: Features, k: int, *, seed: int | Sequence[int] = 0) -> Clustering:
    """Cluster rows by k-means under Euclidean distance.

    The same rows, k and seed give the same bits, in memory or on disk.

    Args:
        features: (n, d), any real dtype, an array or an HDF5 data set.
        k: clusters, 1 to n.
        seed: draws the sample and the k-means++ starts.

    Raises:
        FormatError: no rows, or a value that is not a finite number.
        ValueError: k out of range.
    """
    return next(repeated_kmeans(features, k, seeds=[seed]))


def repeated_kmeans(
    features: Features, k: int, *, seeds: Iterable[int | Sequence[int]]
) -> Iterator[Clustering]:
    """One `kmeans` a seed, one after the other; the rows are read once where they fit in memory."""
    count = features.shape[0]
    mean, variance = moments(features)
    if not 1 <= k <= count:
        raise ValueError(f"k must be 1 to {count}, not {k}")
    rows = Shifted(features, mean)
    spread = float(variance.mean())
    for seed in seeds:
        yield _kmeans(rows, k, np.random.default_rng(seed), spread)


def _kmeans(rows: Shifted, k: int, rng: np.random.Generator, spread: float) -> Clustering:
    count = rows.shape[0]
    sample_rows = min(count, max(SAMPLE_ROWS, SAMPLE_ROWS_PER_CLUSTER * k))
    sample = take(rows, np.sort(rng.choice(count, sample_rows, replace=False)))
    starts = [_Lloyd(sample, plus_plus(sample, k, rng)) for _ in range(RESTARTS)]
    for start in starts:
        start.run(SAMPLE_TOLERANCE * spread)
    best = max(starts, key=lambda start: start.between)
    final = _Lloyd(rows, best.centres)
    final.run(TOLERANCE * spread)
    return _finished(rows, final.centres)


class _Lloyd:
    """Lloyd's passes from given centres.

    Args:
        rows: (n, d), shifted near their mean.
        centres: float64 (k, d), shifted likewise.
    """

    def __init__(self, rows: Features, centres: np.ndarray):
        count = rows.shape[0]
        self.rows = rows
        self.centres = centres
        self.labels = np.full(count, -1, dtype=np.int32)
        self.upper = np.full(count, np.inf, dtype=np.float32)  # at least the distance to its centre
        self.lower = np.zeros(count, dtype=np.float32)  # at most the distance to any other centre
        self.sums = np.zeros(centres.shape)
        self.sizes = np.zeros(len(centres), dtype=np.int64)

    @property
    def between(self) -> float:
        """Sum of squares between clusters: what it gains the inertia loses."""
        return float(((self.sums**2).sum(axis=1) / np.maximum(self.sizes, 1)).sum())

    def run(self, tolerance: float) -> None:
        """Alternate assignment and means until the centres rest."""
        for _ in range(MAX_PASSES):
            moved = self._assign()
            steps = self._move_centres()
            if self._fill_empty():
                continue
            if moved == 0 or float((steps**2).sum()) <= tolerance:
                break

    def _assign(self) -> int:
        """Give every row its nearest centre; return how many rows changed theirs."""
        reach = half_gaps(self.centres)
        moved = 0
        for change in each(lambda start, block: self._assign_block(start, block, reach), self.rows):
            if change is not None:
                count, sizes, sums = change
                moved += count
                self.sizes += sizes
                self.sums += sums
        return moved

    def _assign_block(
        self, start: int, block: np.ndarray, reach: np.ndarray
    ) -> tuple[int, np.ndarray, np.ndarray] | None:
        """Give the rows of a block their nearest centres.

        Returns:
            How many changed theirs, and by how much the clusters' sizes (k,) and sums (k, d)
            change; None where no row did.
        """
        part = slice(start, start + len(block))
        labels = self.labels[part]
        safe = np.maximum(self.lower[part], reach[labels])
        unsure = np.flatnonzero(self.upper[part] > safe)
        if unsure.size == 0:
            return None
        rows = block if unsure.size == len(block) else block[unsure]
        nearest, first, second = two_nearest(rows, self.centres)
        self.upper[start + unsure] = first
        self.lower[start + unsure] = second
        changed = np.flatnonzero(nearest != labels[unsure])
        if changed.size == 0:
            return None
        differences = self._differences(rows[changed], labels[unsure[changed]], nearest[changed])
        self.labels[start + unsure[changed]] = nearest[changed]
        return changed.size, *differences

    def _differences(
        self, rows: np.ndarray, old: np.ndarray, new: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What rows (m, d) that leave their old clusters, -1 for none, make of sizes and sums."""
        k = len(self.centres)
        sizes = np.bincount(new, minlength=k) - np.bincount(old + 1, minlength=k + 1)[1:]
        # "None" comes first, so that each of the m columns holds one -1 and one +1.
        clusters = np.column_stack((old, new)).ravel() + 1
        signs = np.tile((-1.0, 1.0), len(rows))
        pointers = np.arange(0, 2 * len(rows) + 1, 2)
        choice = csc_array((signs, clusters, pointers), shape=(k + 1, len(rows)))
        return sizes, (choice @ rows)[1:]

    def _move_centres(self) -> np.ndarray:
        """Put every centre at its rows' mean, loosen the bounds; return the steps (k,)."""
        new = np.where(
            self.sizes[:, None] > 0,
            self.sums / np.maximum(self.sizes, 1)[:, None],
            self.centres,
        )
        steps = np.sqrt(((new - self.centres) ** 2).sum(axis=1))
        self.centres = new
        furthest = int(steps.argmax())
        others = np.full(len(steps), steps[furthest])
        others[furthest] = np.delete(steps, furthest).max(initial=0.0)
        self.upper += steps.astype(np.float32)[self.labels]
        self.lower -= others.astype(np.float32)[self.labels]
        return steps

    def _fill_empty(self) -> bool:
        """Move empty clusters' centres onto the rows furthest from theirs; False if none could."""
        empty = np.flatnonzero(self.sizes == 0)
        if empty.size == 0:
            return False
        distances, lengths = [], 0.0
        for start, block in blocks(self.rows):
            distances.append(own_distances(block, self.centres, self.labels[start:]))
            lengths += float(np.square(block, dtype=np.float64).sum())
        distance = np.concatenate(distances)
        furthest = np.argsort(-distance, kind="stable")[: empty.size]
        typical = np.sqrt(lengths / len(distance))
        furthest = furthest[distance[furthest] > SAME_ROW * typical]
        for cluster, row in zip(empty, furthest, strict=False):
            self.centres[cluster] = self.rows[row : row + 1][0]
        self.upper[:] = np.inf
        self.lower[:] = 0
        return furthest.size > 0


def plus_plus(sample: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k rows of a sample, float64 (k, d), far apart by greedy k-means++.

    Each is the best of 2 + ln k rows drawn with odds proportional to the squared distance to the
    rows chosen so far.
    """
    lengths = np.einsum("ij,ij->i", sample, sample)
    chosen = [int(rng.integers(len(sample)))]
    nearest = _squared(sample, lengths, chosen)[0]
    for _ in range(1, k):
        odds = np.cumsum(nearest, dtype=np.float64)
        drawn = np.searchsorted(odds, rng.random(2 + int(np.log(k))) * odds[-1])
        drawn = np.minimum(drawn, len(sample) - 1)
        trials = np.minimum(_squared(sample, lengths, drawn), nearest)  # (trials, rows)
        best = int(trials.sum(axis=1, dtype=np.float64).argmin())
        chosen.append(int(drawn[best]))
        nearest = trials[best]
    return sample[chosen].astype(np.float64)


def _squared(sample: np.ndarray, lengths: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    """Squared distances (chosen, rows) from chosen rows of a sample to all of them."""
    squared = sample[chosen] @ (-2 * sample.T)
    squared += lengths
    squared += lengths[chosen][:, None]
    return np.maximum(squared, 0, out=squared)


def two_nearest(rows: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest centre of each row (m,), its distance and that of the second nearest, float32."""
    points = centres.astype(np.float32)
    squared = rows @ (-2 * points.T)  # (m, k), short of the row's own squared length
    squared += np.einsum("ij,ij->i", points, points)
    every = np.arange(len(rows))
    nearest = squared.argmin(axis=1)
    first = squared[every, nearest]
    squared[every, nearest] = np.inf
    second = squared[every, squared.argmin(axis=1)]
    lengths = np.einsum("ij,ij->i", rows, rows)
    first, second = (np.sqrt(np.maximum(part + lengths, 0)) for part in (first, second))
    return nearest.astype(np.int32), first, second


def own_distances(rows: np.ndarray, centres: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Distance of each row to the centre of its own cluster, float32 (m,), to full precision."""
    apart = rows - centres.astype(np.float32)[labels[: len(rows)]]
    return np.sqrt(np.einsum("ij,ij->i", apart, apart))


def half_gaps(centres: np.ndarray) -> np.ndarray:
    """Half the distance from each centre to the nearest other, float32 (k,).

    A row closer to its centre than that can have no nearer one. A lone centre has no other: 0, so
    that its rows are looked at once.
    """
    if len(centres) == 1:
        return np.zeros(1, dtype=np.float32)
    lengths = np.einsum("ij,ij->i", centres, centres)
    squared = lengths[:, None] + lengths - 2 * (centres @ centres.T)
    np.fill_diagonal(squared, np.inf)
    return (np.sqrt(np.maximum(squared.min(axis=1), 0)) / 2).astype(np.float32)


def _finished(rows: Shifted, centres: np.ndarray) -> Clustering:
    """Label every row by its nearest centre and number the clusters by size."""
    count, k = rows.shape[0], len(centres)
    labels = np.empty(count, dtype=np.int32)
    distances = np.empty(count, dtype=np.float32)

    def label(start: int, block: np.ndarray) -> None:
        nearest = two_nearest(block, centres)[0]
        labels[start : start + len(block)] = nearest
        distances[start : start + len(block)] = own_distances(block, centres, nearest)

    for _ in each(label, rows):
        pass
    order, number = by_size(labels, k)
    return Clustering(
        labels=number[labels],
        distances=distances,
        centres=centres[order] + rows.shift,
        sizes=np.bincount(labels, minlength=k)[order],
        inertia=float(np.square(distances, dtype=np.float64).sum()),
    )


def by_size(labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The clusters from large to small, of equal ones that with the earlier row first.

    Returns:
        The old numbers in the new order, and the new number of each old one: int (k,) both.
    """
    sizes = np.bincount(labels, minlength=k)
    first_rows = np.full(k, len(labels))
    np.minimum.at(first_rows, labels, np.arange(len(labels)))
    order = np.lexsort((first_rows, -sizes))
    number = np.empty(k, dtype=np.int32)
    number[order] = np.arange(k)
    return order, number
