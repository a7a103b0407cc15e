"""Principal components of rows that need not fit in memory."""

from dataclasses import dataclass

import numpy as np

from aetool.analysis.rows import Features, Shifted, blocks, each, moments

COVARIANCE_DIMENSIONS = 1024
"""Up to this width the covariance is summed whole; wider rows go through Krylov passes."""

OVERSAMPLING = 13
# Squared distance of a column from zero, in its variances, up to which it is summed as it is. That
# of 4 costs the covariance 3e-6 of a variance, 64 would cost it 5e-5 (200,000 rows).
_NEAR = 4.0
_UNSUSPECTED = 1e20  # sums of squares up to which no row can hold what `moments` refuses

MAX_PASSES = 40
RESIDUAL = 1e-6
"""Krylov passes end when every component is an eigenvector up to this share of the variance."""


@dataclass(frozen=True, slots=True)
class Projection:
    """The first principal axes of some rows.

    Args:
        mean: float64 (d,).
        components: float64 (c, d), orthonormal; in each the entry of largest magnitude is positive.
        explained_variance: float64 (c,), descending: the variance along each axis (over n).
        explained_variance_ratio: float64 (c,), as shares of the whole variance; None if that is 0.
    """

    mean: np.ndarray
    components: np.ndarray
    explained_variance: np.ndarray
    explained_variance_ratio: np.ndarray | None

    def first(self, count: int) -> "Projection":
        """The first axes alone."""
        ratio = self.explained_variance_ratio
        return Projection(
            self.mean,
            self.components[:count],
            self.explained_variance[:count],
            None if ratio is None else ratio[:count],
        )

    def coordinates(self, features: Features) -> np.ndarray:
        """Project rows (n, d) to float32 (n, c)."""
        found = np.empty((features.shape[0], len(self.components)), dtype=np.float32)
        mean, axes = self.mean.astype(np.float32), self.components.T.astype(np.float32)

        def project(start: int, block: np.ndarray) -> None:
            found[start : start + len(block)] = (block - mean) @ axes

        for _ in each(project, features):
            pass
        return found


def principal_components(features: Features, count: int) -> Projection:
    """Fit the first `count` principal components.

    The rows are read block by block and the sums kept in float64, so the answer is the same whether
    they fit in memory or not. Rows of up to COVARIANCE_DIMENSIONS numbers go through their
    covariance matrix; wider ones through a block Krylov space of it (Musco and Musco 2015), which
    never forms it, to the same answer within 1e-4.

    Args:
        features: (n, d), any real dtype, an array or an HDF5 data set.
        count: 1 to d.

    Raises:
        FormatError: no rows, or a value that is not a finite number.
        ValueError: count out of range.
    """
    dimensions = features.shape[1]
    if not 1 <= count <= max(dimensions, 1):
        raise ValueError(f"count must be 1 to {dimensions}, not {count}")
    if dimensions <= COVARIANCE_DIMENSIONS:
        mean, covariance = _mean_and_covariance(features)
        total = float(covariance.trace())
        variances, axes = np.linalg.eigh(covariance)
        variances, axes = variances[::-1][:count], axes[:, ::-1][:, :count]
    else:
        mean, variance = moments(features)
        total = float(variance.sum())
        variances, axes = _krylov(Shifted(features, mean), count, total)
    variances = np.maximum(variances, 0.0)
    components = _signed(axes.T)
    ratio = np.minimum(variances / total, 1) if total > 0 else None
    return Projection(mean, components, variances, ratio)


def _mean_and_covariance(features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Mean float64 (d,) and population covariance float64 (d, d), as a rule in one pass.

    Raises:
        FormatError: as `moments`.
    """
    empty = np.empty((0, features.shape[1]), np.float32)
    _, first = next(blocks(features), (0, empty))
    mean, variance = moments(first)
    shift = mean if _far(mean, variance) else None
    mean, covariance, checked = _one_pass(features, shift)
    if not checked:
        moments(features)  # says which row it is, where there is one
    moved = mean if shift is None else mean - shift
    if _far(moved, covariance.diagonal()):  # the first rows were not like the others
        mean, covariance, _ = _one_pass(features, mean)
    return mean, covariance


def _one_pass(features: Features, shift: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, bool]:
    """Mean and covariance by sums over rows minus a vector, and whether all values are in range."""
    count, dimensions = features.shape
    products = np.zeros((dimensions, dimensions))
    sums = np.zeros(dimensions)
    narrow = None if shift is None else shift.astype(np.float32)

    def add_up(_: int, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore", invalid="ignore"):
            rows = block if narrow is None else block - narrow
            return rows.T @ rows, np.ones(len(rows), np.float32) @ rows

    with np.errstate(over="ignore", invalid="ignore"):
        for block_products, block_sums in each(add_up, features):
            products += block_products
            sums += block_sums
        middle = sums / count
        covariance = products / count - np.outer(middle, middle)
    checked = bool(products.diagonal().max() < _UNSUSPECTED)  # not so where there is a NaN
    return middle if narrow is None else narrow + middle, covariance, checked


def _far(middle: np.ndarray, variance: np.ndarray) -> bool:
    """Whether some column is so far from zero that products of it would lose digits."""
    return bool((middle**2 > _NEAR * variance).any())


def _krylov(rows: Features, count: int, total: float) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues (c,) and eigenvectors (d, c) of the covariance of wide rows."""
    dimensions = rows.shape[1]
    rng = np.random.default_rng(0)  # only a start: the answer does not depend on it
    width = min(count + OVERSAMPLING, dimensions)
    fresh = np.linalg.qr(rng.standard_normal((dimensions, width)))[0]
    basis = np.empty((dimensions, 0))
    images = np.empty((dimensions, 0))  # the covariance times the basis
    for _ in range(MAX_PASSES):
        basis = np.hstack((basis, fresh))
        images = np.hstack((images, _covariance_times(rows, fresh)))
        small = basis.T @ images
        variances, mix = np.linalg.eigh((small + small.T) / 2)
        variances, mix = variances[::-1][:count], mix[:, ::-1][:, :count]
        axes = basis @ mix
        residuals = np.linalg.norm(images @ mix - axes * variances, axis=0)
        if residuals.max() <= RESIDUAL * total:
            break
        fresh = _orthonormal(images[:, -fresh.shape[1] :], basis, RESIDUAL * total)
        if fresh.shape[1] == 0:
            break
    return variances, axes


def _covariance_times(rows: Features, vectors: np.ndarray) -> np.ndarray:
    """The population covariance of rows (n, d) of mean zero times vectors (d, w)."""
    narrow = vectors.astype(np.float32)
    total = np.zeros(vectors.shape)
    for product in each(lambda _, block: block.T @ (block @ narrow), rows):
        total += product
    return total / rows.shape[0]


def _orthonormal(vectors: np.ndarray, basis: np.ndarray, least: float) -> np.ndarray:
    """What vectors (d, w) add to an orthonormal basis (d, b): orthonormal (d, up to w)."""
    for _ in range(2):  # once leaves rounding behind, twice is enough
        vectors = vectors - basis @ (basis.T @ vectors)
    left, sizes, _ = np.linalg.svd(vectors, full_matrices=False)
    left = left[:, sizes > least]
    left -= basis @ (basis.T @ left)
    return np.linalg.qr(left)[0]


def _signed(components: np.ndarray) -> np.ndarray:
    """Turn each component (c, d) so that its entry of largest magnitude is positive."""
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(len(components)), largest])
    return components * np.where(signs == 0, 1, signs)[:, None]
