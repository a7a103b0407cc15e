"""The neighbour graph of rows: who is near whom, and how firmly."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors

NEIGHBOURS = 15
"""How many nearest rows a row is tied to."""

TREE_DIMENSIONS = 12
"""Up to this width a k-d tree finds them faster than all distances do."""

BISECTIONS = 40


def neighbour_index(rows: np.ndarray, count: int) -> "NearestNeighbors":
    """What finds the `count` nearest of rows (n, d), exactly, under Euclidean distance."""
    # Imported where it is needed: most of a second, which k-means does without.
    from sklearn.neighbors import NearestNeighbors

    algorithm = "kd_tree" if rows.shape[1] <= TREE_DIMENSIONS else "brute"
    return NearestNeighbors(n_neighbors=count, algorithm=algorithm).fit(rows)


def firmness(distances: np.ndarray) -> np.ndarray:
    """How firmly rows hold to their neighbours, 0 to 1, as UMAP has it (McInnes et al. 2018).

    The nearest counts 1; from there it falls off exponentially, at a rate that differs from row to
    row so that the sum is the same for all: the logarithm of the number of neighbours.

    Args:
        distances: (n, count), ascending in each row.

    Returns:
        float64 (n, count).
    """
    beyond = np.maximum(distances - distances[:, :1], 0).astype(np.float64)
    least = 1e-3 * distances.mean(axis=1, dtype=np.float64) + 1e-12
    wanted = np.log2(max(distances.shape[1], 2))
    low, high = np.log(least), np.log(np.maximum(1e3 * beyond[:, -1], 2 * least))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        wide = np.exp(-beyond / np.exp(middle)[:, None]).sum(axis=1) > wanted
        low, high = np.where(wide, low, middle), np.where(wide, middle, high)
    return np.exp(-beyond / np.exp(high)[:, None])


def neighbour_graph(rows: np.ndarray) -> csr_array:
    """Tie each row to its nearest: two rows are tied as firmly as either holds to the other.

    Args:
        rows: float32 (n, d), n at least 2.

    Returns:
        float64 (n, n), symmetric, between 0 and 1, nothing on the diagonal.
    """
    n = len(rows)
    count = min(NEIGHBOURS, n - 1)
    distances, nearest = neighbour_index(rows, count).kneighbors()
    starts = np.arange(0, n * count + 1, count)
    ties = csr_array((firmness(distances).ravel(), nearest.ravel(), starts), shape=(n, n))
    return ties + ties.T - ties * ties.T
