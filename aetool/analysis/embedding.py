"""A flat map of a neighbour graph, on which tied rows lie together.

It is t-SNE (van der Maaten and Hinton 2008) under lasting exaggeration: rows are pulled together
along their ties four times as hard as is usual, which draws groups into islands (Linderman and
Steinerberger 2019; Böhm, Berens and Kobak 2022 show it to be the balance UMAP strikes). All rows
repel all others; the sum over pairs is a convolution on a grid (Linderman et al. 2019). No step is
random, so the map of a graph is always the same.
"""

from collections.abc import Callable

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.sparse import csr_array, triu

PULL = 4.0
FIRST_PULL = 12.0
FIRST_STEPS = 75
STEPS = 300
START = 1e-2
"""Standard deviation of the first axis at the start: so small that nothing is torn apart."""

LEAST_PULL = 1.0
"""Where rows have no neighbours to speak of, as in noise, a harder pull draws all into one point.
It is halved, down to that of t-SNE, until they stay further apart than at the start."""

GRID_STEP = 0.35
GRID_NODES = (48, 768)
"""Nodes a side of the grid: no fewer and no more; a wide map gets a coarser grid."""


def embed(
    graph: csr_array, start: np.ndarray, progress: Callable[[float], None] | None = None
) -> np.ndarray:
    """Lay out a graph in the plane.

    Args:
        graph: symmetric (n, n), not negative.
        start: (n, 2), where the rows are at first, at any scale.
        progress: called with the share done, 0 to 1.

    Returns:
        float32 (n, 2) about the origin.
    """
    pull = PULL
    while True:
        places = _laid_out(graph, start, pull, progress)
        if pull <= LEAST_PULL or places.std() > START:
            return places
        pull /= 2


def _laid_out(
    graph: csr_array, start: np.ndarray, pull: float, progress: Callable[[float], None] | None
) -> np.ndarray:
    """`embed` by one pull."""
    n = graph.shape[0]
    upper = triu(graph, k=1, format="coo")
    pulls = (upper.data / (2 * upper.data.sum())).astype(np.float32)  # of both directions: 1
    edges = _differences(*upper.coords, n)
    together = edges.T.tocsr()
    places = START * start / max(float(start[:, 0].std()), 1e-30)
    # Equal rows would never part, and a line stay one.
    places = places + 1e-2 * START * np.random.default_rng(0).standard_normal((n, 2))
    places = places.astype(np.float32)
    speed = np.zeros_like(places)
    gains = np.ones_like(places)
    for step in range(STEPS):
        harder = FIRST_PULL * pull / PULL if step < FIRST_STEPS else pull
        apart = edges @ places
        apart *= (pulls / (1 + np.einsum("ij,ij->i", apart, apart)))[:, None]
        slope = harder * (together @ apart) - _repulsion(places)
        same = slope * speed < 0  # downhill still
        gains = np.maximum(np.where(same, gains + np.float32(0.2), gains * np.float32(0.8)), 0.01)
        speed *= 0.5 if step < FIRST_STEPS else 0.8
        speed -= np.float32(n / harder) * gains * slope
        places += speed
        places -= places.mean(axis=0)
        if progress:
            progress((step + 1) / STEPS)
    return places


def _differences(heads: np.ndarray, tails: np.ndarray, n: int) -> csr_array:
    """A float32 (m, n) that takes places (n, d) to the differences along m edges (m, d)."""
    ends = np.column_stack((heads, tails)).ravel()
    signs = np.tile(np.float32((1, -1)), len(heads))
    return csr_array((signs, ends, np.arange(0, 2 * len(heads) + 1, 2)), shape=(len(heads), n))


def _repulsion(places: np.ndarray) -> np.ndarray:
    """How all others push each of places (n, 2): q^2 (y_i - y_j) summed, over the sum of q.

    With q = 1 / (1 + squared distance), as in t-SNE. Places are spread over the nodes of a grid by
    quadratic interpolation, the kernels applied there by Fourier transforms, and read back.
    """
    n = len(places)
    corner = places.min(axis=0)
    span = float((places.max(axis=0) - corner).max())
    nodes = int(np.clip(span / GRID_STEP, *GRID_NODES))
    width = max(span, 1e-6) / (nodes - 3)
    spread = _interpolation((places - corner) / width + 1, nodes)
    size = next_fast_len(2 * nodes, real=True)
    lags = width * np.minimum(np.arange(size), size - np.arange(size))
    kernel = 1 / (1 + lags[:, None] ** 2 + lags**2)
    charges = spread.T @ np.column_stack((np.ones(n, np.float32), places))
    waves = rfft2(charges.T.reshape(3, nodes, nodes), (size, size))
    ones, squares = rfft2(kernel), rfft2(kernel**2)
    fields = irfft2(np.stack((waves[0] * ones, *(waves * squares))), (size, size))
    fields = fields[:, :nodes, :nodes].reshape(4, -1).T
    at = spread @ np.ascontiguousarray(fields)
    total = max(float(at[:, 0].sum()) - n, 1e-12)  # a row does not repel itself
    return ((places * at[:, 1:2] - at[:, 2:]) / total).astype(np.float32)


def _interpolation(points: np.ndarray, nodes: int) -> csr_array:
    """Quadratic weights (n, nodes * nodes) of the 3 x 3 nodes about each point, in grid steps."""
    nearest = np.rint(points).astype(np.int32)
    offset = points - nearest
    weights = np.stack(
        (offset * (offset - 1) / 2, 1 - offset * offset, offset * (offset + 1) / 2), axis=2
    )
    around = nearest[:, :, None] + np.arange(-1, 2, dtype=np.int32)
    values = (weights[:, 0, :, None] * weights[:, 1, None, :]).ravel()
    columns = (around[:, 0, :, None] * nodes + around[:, 1, None, :]).ravel()
    pointers = np.arange(0, 9 * len(points) + 1, 9)
    return csr_array((values, columns, pointers), shape=(len(points), nodes * nodes))
