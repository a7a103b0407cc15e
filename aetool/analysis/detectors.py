"""What makes a picture unlike the normal ones: scores on errors, latents and patches.

Each is a number a picture, higher where it is less normal. A `Detector` scores one picture at a
time, with what `normals.fit` kept of normal ones, so that no score depends on which pictures are
scored together.
"""

from collections.abc import Callable, Mapping

import numpy as np

from aetool.analysis.anomaly import error_maps
from aetool.analysis.texture import texture
from aetool.images.quality import ssim

COMBINED = "combined"
# Scores of the network's outputs alone, which need no normal pictures but to be judged by.
PLAIN = ("mse", "ssim", "elbo")
FITTED = ("texture", "patch", "mahalanobis", "knn", "gmm")
# The combined score is of these: on normal pictures alone they told painted defects, and kinds that
# were kept out of what is fitted, best from the rest (see examples/one-class).
PARTS = ("texture", "knn", "gmm")
# Scores that are the highest value of a map.
LOCAL = ("patch", "texture")
SCORES = (COMBINED, *PLAIN, *FITTED)

# Neighbours in the latent space.
NEIGHBOURS = 5


def whiten(latent: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """A latent on axes of unit variance; last, its distance from their span, in like units."""
    centred = latent - arrays["latent/mean"]
    white = centred @ arrays["latent/axes"]
    rest = float(arrays["latent/rest"][0])
    if not rest:
        return white
    basis = arrays["latent/axes"]
    basis = basis / np.linalg.norm(basis, axis=0)
    beyond = centred - basis @ (basis.T @ centred)
    return np.append(white, np.float32(np.linalg.norm(beyond) / rest))


class Detector:
    """Scores of one picture at a time.

    Args:
        arrays: what `normals.fit` made; may be empty where no fitted score is asked for.
        names: the scores to compute, of PLAIN and FITTED.
        limits: (least, greatest) value of the network's inputs.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        names: tuple[str, ...],
        limits: tuple[float, float] = (0, 1),
    ):
        self.names = names
        self._low, self._high = limits
        self._arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
        self._bank = _Bank(self._arrays) if "patch" in names else None

    def measure(
        self, inputs: np.ndarray, outputs: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """The scores of a picture, and where they come from.

        Args:
            inputs: float (h, w, c), what the network saw.
            outputs: its row of every output of `inference.features.with_features`.

        Returns:
            {name: score}; and {"mse": (h, w)}, root mean square errors a pixel, with what was asked
            for of LOCAL: (places down, places across), distances from what is normal there.
        """
        errors = error_maps(inputs, outputs["reconstruction"])
        maps = {"mse": np.sqrt(errors)}
        scores = {}
        if {"mahalanobis", "knn", "gmm"} & set(self.names):
            white = whiten(outputs["latents"], self._arrays)
        for name in self.names:
            match name:
                case "mse":
                    scores[name] = float(errors.mean())
                case "ssim":
                    scores[name] = float(1 - ssim(inputs, outputs["reconstruction"]))
                case "elbo":
                    scores[name] = negative_bound(inputs, outputs)
                case "mahalanobis":
                    scores[name] = float(np.linalg.norm(white))
                case "knn":
                    scores[name] = self._neighbours(white)
                case "gmm":
                    scores[name] = self._improbability(white)
                case "patch":
                    maps[name] = self._bank.distances(outputs["patches"])
                case "texture":
                    channels = self._arrays["texture/mean"].shape[-1]
                    responses = texture((inputs - self._low) / (self._high - self._low), channels)
                    maps[name] = self._from_places(responses)
            if name in LOCAL:
                scores[name] = float(maps[name].max())
        return scores, maps

    def _from_places(self, responses: np.ndarray) -> np.ndarray:
        """Mahalanobis distance (h, w) of texture (h, w, c) from the normal one of each place.

        As in Defard et al., "PaDiM: a patch distribution modeling framework for anomaly detection
        and localization" (2021).
        """
        offsets = responses - self._arrays["texture/mean"]
        white = np.matmul(offsets[..., None, :], self._arrays["texture/axes"])[..., 0, :]
        return np.linalg.norm(white, axis=-1) * self._arrays["texture/scale"][0]

    def _neighbours(self, white: np.ndarray) -> float:
        """The mean distance of the nearest normals."""
        distances = np.linalg.norm(self._arrays["knn/bank"] - white, axis=1)
        nearest = min(NEIGHBOURS, len(distances))
        return float(np.partition(distances, nearest - 1)[:nearest].mean())

    def _improbability(self, white: np.ndarray) -> float:
        """The negative logarithm of the density under the mixture, in nats."""
        precisions = self._arrays["gmm/precisions"]  # (k, d, d), upper triangular
        point = white[: precisions.shape[1]]
        offsets = point - self._arrays["gmm/means"]
        scaled = np.einsum("kd,kde->ke", offsets, precisions)
        volumes = np.log(np.diagonal(precisions, axis1=1, axis2=2)).sum(axis=1)
        logs = np.log(self._arrays["gmm/weights"]) + volumes - 0.5 * (scaled * scaled).sum(axis=1)
        highest = logs.max()
        density = highest + np.log(np.exp(logs - highest).sum())
        return float(0.5 * len(point) * np.log(2 * np.pi) - density)


class _Bank:
    """Patches of normal pictures, by their place.

    How far a patch is from the nearest normal one at its place: after Roth et al., "Towards total
    recall in industrial anomaly detection" (2022), with the features of a network that has seen
    nothing but normals.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self._mean, self._axes = arrays["patch/mean"], arrays["patch/axes"]
        self._bank = arrays["patch/bank"]  # (h, w, m, d)
        self._squares = (self._bank * self._bank).sum(axis=-1)

    def distances(self, patches: np.ndarray) -> np.ndarray:
        """float32 (h, w) of the patches (h, w, c) of one picture."""
        points = (patches - self._mean) @ self._axes  # (h, w, d)
        products = np.matmul(self._bank, points[..., None])[..., 0]  # (h, w, m)
        nearest = (self._squares - 2 * products).min(axis=-1)
        return np.sqrt(np.maximum(nearest + (points * points).sum(axis=-1), 0))


def negative_bound(inputs: np.ndarray, outputs: Mapping[str, np.ndarray]) -> float:
    """The negative evidence lower bound in nats, the expectation taken at the mean.

    Kingma and Welling, "Auto-Encoding Variational Bayes" (2014).
    """
    rebuilt = np.clip(outputs["reconstruction"].astype(np.float64), 1e-7, 1 - 1e-7)
    entropy = -(inputs * np.log(rebuilt) + (1 - inputs) * np.log1p(-rebuilt)).sum()
    mean, log_var = (outputs[name].astype(np.float64) for name in ("z_mean", "z_log_var"))
    divergence = 0.5 * (np.exp(log_var) + mean * mean - 1 - log_var).sum()
    return float(entropy + divergence)


def combine(
    scores: Mapping[str, np.ndarray],
    normal: Mapping[str, np.ndarray],
    join: Callable[..., np.ndarray] = np.max,
) -> np.ndarray:
    """Several scores as one: the highest, each in units of how far normals vary upward.

    The highest, since no defect shows in all of them, and a mean would drown it in the noise of
    those in which it does not (defects painted into normal pictures bear this out, see
    examples/one-class).

    Args:
        scores: {name: float (n,)}, of at least one.
        normal: {name: float (m,)}, of these and perhaps of others, by held-out normal pictures.
        join: instead of the highest: a function of an array and its axis.

    Returns:
        float64 (n,): of each score 0 is the median of normal pictures, 1 the mean of their upper
        twentieth.
    """
    parts = []
    for name, values in scores.items():
        ascending = np.sort(normal[name])
        middle = np.median(ascending)
        tail = ascending[-max(1, len(ascending) // 20) :].mean() - middle
        parts.append((np.asarray(values) - middle) / max(tail, 1e-12))
    return join(parts, axis=0)


def combine_apart(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """`combine` of normal pictures, each in the units of all the others.

    A new picture is no part of what it is measured by, and neither may be those that it is compared
    with: in units of their own the highest of few pictures is 1 by every score, and a threshold of
    that promises less than it holds.

    Args:
        scores: {name: float (n,)}, of at least one.

    Returns:
        float64 (n,).
    """
    parts = []
    for values in map(np.asarray, scores.values()):
        count = len(values)
        if count < 2:
            return combine(scores, scores)
        order = np.argsort(values, kind="stable")
        ascending = values[order].astype(np.float64)
        left_out = np.arange(count)
        # Of the others, in order, number k is k here, or one further where that is beyond the gap.
        low, high = (count - 2) // 2, (count - 1) // 2
        middle = (ascending[low + (low >= left_out)] + ascending[high + (high >= left_out)]) / 2
        most = max(1, count // 20)  # of as many as a new picture's, or units would differ by that
        first = count - most - 1
        top = ascending[first:].sum() - ascending[np.maximum(left_out, first)]
        part = np.empty(count)
        part[order] = (ascending - middle) / np.maximum(top / most - middle, 1e-12)
        parts.append(part)
    return np.max(parts, axis=0)
