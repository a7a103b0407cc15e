"""Clusters by any method, found in some rows and given to others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from aetool.analysis.clustering import Centres, by_size, repeated_kmeans
from aetool.analysis.count import Count, choose_count
from aetool.analysis.mixture import Mixture, fit_mixture
from aetool.analysis.rows import Features, blocks, moments
from aetool.analysis.space import Placed, Space, map_space, principal_space
from aetool.errors import FormatError

METHODS = ("manifold", "gmm", "kmeans")

LEAST_ROWS = 60
"""Of fewer rows a neighbour graph says little: they are clustered by k-means unless told."""

FAR_FENCE = 3.0
"""Rows are outliers whose distance exceeds the upper quartile of their cluster by so many
interquartile ranges (Tukey 1977)."""


@dataclass(frozen=True, slots=True)
class Model:
    """What cluster any row of latents belongs to.

    Args:
        method: one of METHODS.
        cells: the clusters, numbered by their size where they were found, the largest first.
        space: where they lie; None for the latents themselves.
    """

    method: str
    cells: Centres | Mixture
    space: Space | None

    @property
    def k(self) -> int:
        return len(self.cells.means)

    @property
    def dimensions(self) -> int:
        return self.cells.means.shape[1] if self.space is None else len(self.space.mean)

    def places(self, features: Features) -> Features:
        """The rows of latents (n, d) where the clusters lie."""
        return features if self.space is None else Placed(self.space, features)


@dataclass(frozen=True, slots=True)
class Grouping:
    """Rows in clusters.

    Args:
        labels: int32 (n,), the cluster of every row.
        distances: float32 (n,), to the middle of the cluster: Euclidean for k-means, Mahalanobis
            for mixtures.
        sizes: int64 (k,).
        quality: what the method maximises: minus the sum of squared distances, or the mean
            log-likelihood of a row.
        model: gives the same clusters to other rows.
        places: (n, s), the rows where the clusters lie.
    """

    labels: np.ndarray
    distances: np.ndarray
    sizes: np.ndarray
    quality: float
    model: Model
    places: Features

    def outliers(self) -> np.ndarray:
        """The rows that lie far outside their cluster: bool (n,)."""
        far = np.zeros(len(self.labels), dtype=bool)
        for cluster in np.flatnonzero(self.sizes):
            rows = self.labels == cluster
            low, high = np.quantile(self.distances[rows], (0.25, 0.75))
            far[rows] = self.distances[rows] > high + FAR_FENCE * (high - low)
        return far


class Grouper:
    """Clusters the same rows any number of times; what the runs share is done once.

    Args:
        features: (n, d), any real dtype, an array or an HDF5 data set.
        method: one of METHODS; n is at least 2 for other methods than "kmeans".
        seed: draws the rows that a map is made of.
        progress: called with the share done, 0 to 1.

    Raises:
        FormatError: no rows, or a value that is not a finite number.
    """

    def __init__(
        self,
        features: Features,
        method: str,
        *,
        seed: int = 0,
        progress: Callable[[float], None] | None = None,
    ):
        self._features = features
        self._method = method
        self._space: Space | None = None
        self._places = features
        if method == "gmm":
            self._space = principal_space(features)
            self._places = Placed(self._space, features)
        elif method == "kmeans":
            moments(features)  # that each row is there and a number
        elif not moments(features)[1].any() and features.shape[0] > 1:
            # Their map would be of nothing but the noise by which equal rows are told apart.
            raise FormatError(
                "all rows of the latents are the same, so there are no clusters to find",
                "aetool reconstruct shows what the model makes of its pictures",
            )
        else:
            rng = np.random.default_rng([seed, 1])
            self._space, self._places = map_space(features, rng, progress)

    def count(self, *, seed: int = 0, progress: Callable[[float], None] | None = None) -> Count:
        """How many clusters these rows have, at least three of them, by the silhouette."""
        one_run = _kmeans_labels if self._method == "kmeans" else _mixture_labels
        return choose_count(self._places, one_run, np.random.default_rng([seed, 2]), progress)

    def runs(self, k: int, seeds: list[list[int]]) -> Iterator[Grouping]:
        """One clustering a seed; clusters are numbered by size, the largest first, ties by row.

        Args:
            k: clusters, 1 to n.
        """
        if self._method != "kmeans":
            for seed in seeds:
                mixture, quality = fit_mixture(self._places, k, np.random.default_rng(seed))
                yield self._grouping(mixture, quality)
            return
        for found in repeated_kmeans(self._features, k, seeds=seeds):
            model = Model(self._method, Centres(found.centres), None)
            parts = (found.labels, found.distances, found.sizes, -found.inertia)
            yield Grouping(*parts, model, self._features)

    def _grouping(self, mixture: Mixture, quality: float) -> Grouping:
        model = Model(self._method, mixture, self._space)
        found = _assigned(model, self._places, quality)
        order, number = by_size(found.labels, len(found.sizes))
        return replace(
            found,
            labels=number[found.labels],
            sizes=found.sizes[order],
            model=replace(model, cells=mixture.ordered(order)),
        )


def apply(model: Model, features: Features) -> Grouping:
    """Give rows (n, d) to the clusters of a model, numbered as there; `quality` is 0."""
    return _assigned(model, model.places(features), 0.0)


def _assigned(model: Model, places: Features, quality: float) -> Grouping:
    count = places.shape[0]
    labels = np.empty(count, dtype=np.int32)
    distances = np.empty(count, dtype=np.float32)
    for start, block in blocks(places):
        part = slice(start, start + len(block))
        labels[part], distances[part] = model.cells.assign(block)
    sizes = np.bincount(labels, minlength=model.k)
    return Grouping(labels, distances, sizes, quality, model, places)


def _kmeans_labels(rows: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    (found,) = repeated_kmeans(rows, k, seeds=[int(rng.integers(2**31))])
    return found.labels


def _mixture_labels(rows: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    return fit_mixture(rows, k, rng, restarts=2)[0].assign(rows)[0]
