"""Where clusters are looked for: the latents, their principal components, or a map of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from aetool.analysis.embedding import embed
from aetool.analysis.neighbours import (
    NEIGHBOURS,
    firmness,
    neighbour_graph,
    neighbour_index,
)
from aetool.analysis.projection import principal_components
from aetool.analysis.rows import Features, block_rows, blocks, moments, take

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors

PRINCIPAL_COMPONENTS = 50
"""Wider rows are reduced to so many: the rest is mostly noise, and distances cost less."""

EVENNESS = 0.5
"""The power of a principal component's standard deviation that is divided out of wide rows before
their neighbours are sought: 0 leaves the few strongest to decide, 1 lets the noise of the weakest
decide as much."""

LEAST_VARIANCE = 1e-9
"""Of the strongest component's; what is weaker counts as this."""

MAP_ROWS = 70_000
"""Rows that a map is made of; of more, so many are drawn, and the others placed among them."""

PLACED_ROWS = 4_096

MEDIAN_STEPS = 20
SAME_ROW = 1e-6
"""Of the distance to the furthest neighbour: a row that near to an anchor is the anchor."""


@dataclass(frozen=True, slots=True)
class Space:
    """Takes rows of latents to the places that are clustered.

    Args:
        mean: float64 (d,), taken off first.
        axes: float64 (c, d), principal axes, orthogonal; None for rows narrow enough as they are.
        directions: whether rows on those axes are brought to length one, so that neighbours are
            those in the same direction from the mean.
        anchors: float32 (m, c), rows with a known place on the map; None without a map.
        positions: float32 (m, 2), the places.
        index: finds the anchors nearest to a row.
    """

    mean: np.ndarray
    axes: np.ndarray | None = None
    directions: bool = False
    anchors: np.ndarray | None = None
    positions: np.ndarray | None = None
    index: "NearestNeighbors | None" = None

    @property
    def dimensions(self) -> int:
        if self.positions is not None:
            return 2
        return len(self.mean) if self.axes is None else len(self.axes)

    def reduce(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, d) as float32 (n, c), before any map."""
        rows = rows - self.mean.astype(np.float32)
        if self.axes is not None:
            rows = rows @ self.axes.T.astype(np.float32)
        if self.directions:
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-30))
        return rows

    def place(self, rows: np.ndarray) -> np.ndarray:
        """The places of rows (n, d), float32 (n, dimensions).

        On a map a row lies where most of its nearest anchors do, those it would hold to firmly
        counting more; an anchor lies where it was put.
        """
        rows = self.reduce(rows)
        if self.positions is None:
            return rows
        distances, nearest = self.index.kneighbors(rows)
        near = 1e-4 * float(self.positions.std()) + 1e-30
        places = _medians(self.positions[nearest], firmness(distances), near)
        same = distances[:, 0] <= SAME_ROW * distances[:, -1]
        places[same] = self.positions[nearest[same, 0]]
        return places


class Placed:
    """Rows at their places, made when they are read.

    Args:
        space: where to.
        features: (n, d).
    """

    def __init__(self, space: Space, features: Features):
        self.shape = (features.shape[0], space.dimensions)
        self._space = space
        self._features = features

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        places = np.empty((stop - start, self.shape[1]), dtype=np.float32)
        step = block_rows(self._features)  # those may be much wider than their places
        for first in range(start, stop, step):
            part = self._features[first : min(first + step, stop)]
            places[first - start :][: len(part)] = self._space.place(
                np.asarray(part, dtype=np.float32)
            )
        return places


def principal_space(features: Features) -> Space:
    """The first PRINCIPAL_COMPONENTS of rows (n, d); narrower rows are only centred.

    Raises:
        FormatError: no rows, or a value that is not a finite number.
    """
    if features.shape[1] <= PRINCIPAL_COMPONENTS:
        return Space(moments(features)[0])
    found = principal_components(features, PRINCIPAL_COMPONENTS)
    return Space(found.mean, found.components)


def neighbour_space(features: Features) -> Space:
    """Where rows (n, d) are neighbours that are alike: wide ones by direction, on even axes.

    The latents of a convolutional encoder vary most along few axes, such as a stroke's thickness,
    that tell nothing of what is in the picture, and in length with its contrast. Narrow rows, such
    as those of a dense bottleneck, are taken as they are: each of their axes was paid for.

    Raises:
        FormatError: no rows, or a value that is not a finite number.
    """
    if features.shape[1] <= PRINCIPAL_COMPONENTS:
        return principal_space(features)
    found = principal_components(features, PRINCIPAL_COMPONENTS)
    variance = found.explained_variance
    variance = np.maximum(variance, LEAST_VARIANCE * (variance[0] or 1.0))
    axes = found.components * (variance ** (-EVENNESS / 2))[:, None]
    return Space(found.mean, axes, directions=True)


def map_space(
    features: Features,
    rng: np.random.Generator,
    progress: Callable[[float], None] | None = None,
) -> tuple[Space, np.ndarray]:
    """Make a map of rows (n, d), n at least 2, and place them all on it.

    Args:
        rng: draws the rows the map is made of, where there are more than MAP_ROWS.
        progress: called with the share done, 0 to 1.

    Returns:
        The space, and the places float32 (n, 2).

    Raises:
        FormatError: no rows, or a value that is not a finite number.
    """
    plain = neighbour_space(features)
    count = features.shape[0]
    chosen = np.arange(count)
    if count > MAP_ROWS:
        chosen = np.sort(rng.choice(count, MAP_ROWS, replace=False))
    rows = take(Placed(plain, features), chosen)
    anchors, which = _distinct(rows)
    layout = embed(neighbour_graph(anchors), _first_two(anchors), progress)
    space = with_map(plain, anchors, layout)
    positions = layout[which]
    if count == len(chosen):
        return space, positions
    places = np.empty((count, 2), dtype=np.float32)
    for start, block in blocks(features):
        for first in range(0, len(block), PLACED_ROWS):
            part = block[first : first + PLACED_ROWS]
            places[start + first : start + first + len(part)] = space.place(part)
    places[chosen] = positions
    return space, places


def with_map(plain: Space, anchors: np.ndarray, positions: np.ndarray) -> Space:
    """A space without a map, and the map that belongs on it."""
    index = neighbour_index(anchors, min(NEIGHBOURS, len(anchors)))
    return replace(plain, anchors=anchors, positions=positions, index=index)


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different ones among rows (n, d), in the order they come in, and which each row is.

    Of many equal rows, such as blank scans, the nearest neighbours are any few others of them:
    tied to nothing else, they would be scattered over the map instead of sharing a place.
    """
    keys = np.ascontiguousarray(rows + np.float32(0))  # 0 and -0 are the same number
    keys = keys.view(np.dtype((np.void, keys.dtype.itemsize * keys.shape[1]))).ravel()
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    if len(first) < 2:  # all are equal once they are reduced: there is nothing to tie one to
        return rows, np.arange(len(rows))
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rows[first[order]], rank[which]


def _medians(points: np.ndarray, weights: np.ndarray, near: float) -> np.ndarray:
    """Weighted geometric medians of points (n, m, 2) by weights (n, m): float32 (n, 2).

    Where neighbours lie on two islands a mean would lie in the sea between them. Weiszfeld's steps
    (1937) from the mean; no point counts as nearer than `near`.
    """
    found = np.einsum("ij,ijk->ik", weights, points) / weights.sum(axis=1, keepdims=True)
    for _ in range(MEDIAN_STEPS):
        apart = points - found[:, None]
        pulls = weights / np.maximum(np.sqrt(np.einsum("ijk,ijk->ij", apart, apart)), near)
        found = np.einsum("ij,ijk->ik", pulls, points) / pulls.sum(axis=1, keepdims=True)
    return found.astype(np.float32)


def _first_two(anchors: np.ndarray) -> np.ndarray:
    """The first two principal coordinates (n, 2); zero where the rows have but one."""
    count = min(2, anchors.shape[1])
    found = np.zeros((len(anchors), 2), dtype=np.float32)
    found[:, :count] = principal_components(anchors, count).coordinates(anchors)
    return found
