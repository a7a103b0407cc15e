"""How well clusters agree with known classes, and how well they stand apart."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from aetool.analysis.rows import Features, take

SILHOUETTE_ROWS = 4_000
"""Rows the silhouette is measured on: enough for a standard error of about 0.005."""


def contingency(classes: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """How many rows of each class lie in each cluster.

    Args:
        classes: int (n,), 0 and up; rows with -1 have no known class and are left out.
        clusters: int (n,), 0 and up.

    Returns:
        int64 (classes, clusters), without classes and clusters that hold no row.
    """
    known = classes >= 0
    classes, clusters = classes[known], clusters[known]
    shape = (int(classes.max(initial=-1)) + 1, int(clusters.max(initial=-1)) + 1)
    table = np.zeros(shape, dtype=np.int64)
    np.add.at(table, (classes, clusters), 1)
    return table[table.any(axis=1)][:, table.any(axis=0)]


def purity(table: np.ndarray) -> float | None:
    """Share of rows in the largest class of their cluster; None without rows.

    Args:
        table: counts (classes, clusters), as `contingency` makes them; so below.
    """
    return float(table.max(axis=0).sum() / table.sum()) if table.size else None


def accuracy(table: np.ndarray) -> float | None:
    """Share of rows that are right when clusters are matched to classes one to one, at best.

    The matching is Kuhn's (1955); clusters left over count as wrong. None without rows.
    """
    if not table.size:
        return None
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / table.sum())


def normalized_mutual_information(table: np.ndarray) -> float | None:
    """Mutual information over the mean of both entropies, 0 to 1; None with less than two classes.

    The arithmetic normalisation of Strehl and Ghosh (2002) as scikit-learn has it.
    """
    if len(table) < 2:
        return None
    joint = table / table.sum()
    by_class, by_cluster = joint.sum(axis=1), joint.sum(axis=0)
    filled = joint > 0
    mutual = (joint * np.log(np.where(filled, joint / np.outer(by_class, by_cluster), 1))).sum()
    entropies = -(by_class @ np.log(by_class)) - (by_cluster @ np.log(by_cluster))
    return float(np.clip(2 * mutual / entropies, 0, 1))


def adjusted_rand_index(table: np.ndarray) -> float | None:
    """Agreement over pairs of rows, 0 by chance, 1 at best (Hubert and Arabie 1985).

    None with less than two classes.
    """
    if len(table) < 2:
        return None
    together = _pairs(table).sum()
    by_class = _pairs(table.sum(axis=1)).sum()
    by_cluster = _pairs(table.sum(axis=0)).sum()
    chance = by_class * by_cluster / _pairs(table.sum())
    best = (by_class + by_cluster) / 2
    return float((together - chance) / (best - chance)) if best > chance else 1.0


def _pairs(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts, dtype=np.float64)
    return counts * (counts - 1) / 2


def silhouette(features: Features, clusters: np.ndarray, *, seed: int = 0) -> float | None:
    """Mean silhouette (Rousseeuw 1987), -1 to 1, of at most SILHOUETTE_ROWS rows drawn by seed.

    Args:
        features: (n, d).
        clusters: int (n,), 0 and up.

    Returns:
        None where it is undefined: fewer than two clusters among the rows, or one row a cluster.
    """
    count = len(clusters)
    if count > SILHOUETTE_ROWS:
        drawn = np.random.default_rng(seed).choice(count, SILHOUETTE_ROWS, replace=False)
        drawn.sort()
    else:
        drawn = np.arange(count)
    _, labels = np.unique(clusters[drawn], return_inverse=True)
    sizes = np.bincount(labels)
    if not 2 <= len(sizes) < len(drawn):
        return None
    rows = take(features, drawn).astype(np.float64)
    rows -= rows.mean(axis=0)
    lengths = np.einsum("ij,ij->i", rows, rows)
    members = np.eye(len(sizes))[labels]  # (rows, clusters)
    total = 0.0
    for start in range(0, len(rows), 500):
        part = slice(start, start + 500)
        squared = lengths[part, None] + lengths - 2 * (rows[part] @ rows.T)
        distances = np.sqrt(np.maximum(squared, 0))
        distances[np.arange(len(distances)), np.arange(start, start + len(distances))] = 0
        sums = distances @ members  # (rows of the part, clusters)
        every, own = np.arange(len(sums)), labels[part]
        inside = sums[every, own] / np.maximum(sizes[own] - 1, 1)
        sums /= sizes
        sums[every, own] = np.inf
        outside = sums.min(axis=1)
        widest = np.maximum(inside, outside)
        scored = (sizes[own] > 1) & (widest > 0)
        total += ((outside - inside)[scored] / widest[scored]).sum()
    return float(total / len(rows))
