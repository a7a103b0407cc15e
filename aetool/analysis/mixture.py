"""Gaussian mixtures (Dempster, Laird and Rubin 1977): clusters of any width and direction."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aetool.analysis.rows import Features, take

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

RESTARTS = 20
"""In the plane. Each from seeds of k-means++ alone: what k-means makes of them is nearly always the
same, and likelier mixtures are missed."""

RESTARTS_WIDE = 3
"""Elsewhere, where a pass costs more and seeds alone lie too far from the answer: from k-means."""

RESTART_ROWS = 10_000
"""Restarts are compared by their likelihood on so many rows; the best goes on over FIT_ROWS."""

FIT_ROWS = 100_000
MAX_PASSES = 200
LEAST_VARIANCE = 1e-2
"""Added to every variance, as a share of the mean one: no cluster shrinks to a point."""

NARROWER = (1e-3, 1e-4, 1e-5, 1e-6)
"""In its place, one after the other, where Gaussians so wide leave clusters without a row."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """k Gaussians with a covariance of their own each.

    Args:
        weights: float64 (k,), their shares; they sum to 1.
        means: float64 (k, d).
        factors: float64 (k, d, d), upper triangular: the inverse covariance is factor @ factor.T.
    """

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray

    def distances(self, rows: np.ndarray) -> np.ndarray:
        """Mahalanobis distance, in standard deviations, of rows (n, d) to each mean: (n, k)."""
        found = np.empty((len(rows), len(self.means)))
        for cluster, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            apart = (rows - mean) @ factor
            found[:, cluster] = np.sqrt(np.einsum("ij,ij->i", apart, apart))
        return found

    def log_densities(self, distances: np.ndarray) -> np.ndarray:
        """The log of weight times density, up to one constant, from `distances` (n, k)."""
        heights = np.log(np.diagonal(self.factors, axis1=1, axis2=2)).sum(axis=1)
        with np.errstate(divide="ignore"):  # a cluster without rows has weight 0
            return np.log(self.weights) + heights - distances**2 / 2

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """The share of each cluster in rows (n, d): float32 (n, k), each row sums to 1."""
        logs = self.log_densities(self.distances(rows))
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)

    def assign(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The most probable cluster of rows (n, d), int32 (n,), and the distance to its mean."""
        distances = self.distances(rows)
        labels = self.log_densities(distances).argmax(axis=1)
        return labels.astype(np.int32), distances[np.arange(len(rows)), labels].astype(np.float32)

    def ordered(self, order: np.ndarray) -> "Mixture":
        """The same with its clusters numbered anew."""
        return Mixture(self.weights[order], self.means[order], self.factors[order])


def fit_mixture(
    rows: Features, k: int, rng: np.random.Generator, *, restarts: int | None = None
) -> tuple[Mixture, float]:
    """Fit a mixture by expectation and maximisation, the likeliest of several starts.

    Args:
        rows: (n, d), n at least k and at least 2.
        k: Gaussians.
        rng: draws the rows to fit and the starts.
        restarts: so many, from k-means, whatever rows they leave to each Gaussian; without it
            RESTARTS in the plane, RESTARTS_WIDE above, and each has a row if rows differ enough.

    Returns:
        The mixture, and its mean log-likelihood a row.
    """
    count, dimensions = rows.shape
    few = _drawn(rows, max(RESTART_ROWS, 2 * k), rng)
    least = LEAST_VARIANCE
    if restarts is None and dimensions <= 3:
        start = _fit(few, k, rng, least, n_init=RESTARTS, init_params="k-means++")
    else:
        start = _fit(few, k, rng, least, n_init=restarts or RESTARTS_WIDE)
    if restarts is None and (filled := _filled(start, few)) < k:
        wanted = min(k, len(np.unique(few, axis=0)))
        for narrower in NARROWER:
            if filled == wanted:
                break
            trial = _fit(few, k, rng, narrower, n_init=RESTARTS_WIDE)
            if (found := _filled(trial, few)) > filled:
                start, filled, least = trial, found, narrower
    if count > len(few):
        start = _fit(
            _drawn(rows, max(FIT_ROWS, 2 * k), rng),
            k,
            rng,
            least,
            weights_init=start.weights_,
            means_init=start.means_,
            precisions_init=start.precisions_,
        )
    mixture = Mixture(start.weights_, start.means_, start.precisions_cholesky_)
    return mixture, float(start.lower_bound_)


def _filled(fitted: "GaussianMixture", rows: np.ndarray) -> int:
    """To how many of the Gaussians a row belongs."""
    return len(np.unique(fitted.predict(rows)))


def _drawn(rows: Features, most: int, rng: np.random.Generator) -> np.ndarray:
    count = rows.shape[0]
    if count <= most:
        return np.asarray(rows[0:count], dtype=np.float64)
    return take(rows, np.sort(rng.choice(count, most, replace=False))).astype(np.float64)


def _fit(
    rows: np.ndarray, k: int, rng: np.random.Generator, least: float, **start
) -> "GaussianMixture":
    # Imported where it is needed: a second, which clusters found before do without.
    from sklearn.mixture import GaussianMixture

    floor = least * float(rows.var(axis=0).mean()) + 1e-12
    state = int(rng.integers(2**31))
    model = GaussianMixture(k, reg_covar=floor, max_iter=MAX_PASSES, random_state=state, **start)
    return fit_quietly(model, rows)


def fit_quietly(model: "GaussianMixture", rows: np.ndarray) -> "GaussianMixture":
    """Fit a mixture without scikit-learn's remarks on standard error.

    Fewer different rows than Gaussians leave some empty, as the results show; and a fit that ends
    after its last pass is one.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(rows)
