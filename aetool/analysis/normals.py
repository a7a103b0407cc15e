"""What anomaly scores keep of normal pictures: plain arrays of bounded size."""

from dataclasses import dataclass

import numpy as np
from sklearn.covariance import ledoit_wolf
from sklearn.mixture import GaussianMixture

from aetool.analysis.detectors import WHITENING, white, whiten

# Bounds on what is kept: it is stored with the model.
LATENT_AXES = 256
LATENT_ROWS = 2048
MIXTURE_AXES = 32
MIXTURE_GAUSSIANS = 5
PATCH_AXES = 8
BANK_ROWS = 2**16
TEXTURES = 1500
# Added to every variance, as a share of their mean: an axis along which normals hardly differ must
# not outweigh all others.
FLOOR = 0.01
PLACE_FLOOR = 0.001


@dataclass(frozen=True, slots=True)
class Normals:
    """Features of normal pictures.

    Args:
        latents: float32 (n, d).
        textures: float32 (k, h, w, t), of at most TEXTURES of them.
        patches: float32 (k, h, w, c), of the same ones at the same places.
    """

    latents: np.ndarray
    textures: np.ndarray
    patches: np.ndarray


def bank_pictures(height: int, width: int) -> int:
    """Of how many pictures with a grid of height x width places the features are kept."""
    return max(1, BANK_ROWS // (height * width))


def fit(normals: Normals, seed: int = 0) -> dict[str, np.ndarray]:
    """What `Detector` needs of normal pictures.

    Args:
        normals: of at least one picture.
        seed: of the mixture's start and of the rows that are kept where there are too many.

    Returns:
        {name: array}, float32, but float16 where they are large.
    """
    return {
        **_fit_latents(normals.latents, seed),
        **_fit_places("texture", normals.textures, _spread(normals.textures)),
        **_fit_patches(normals),
    }


def _fit_latents(latents: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    if len(latents) < 2:
        latents = np.repeat(latents, 2, axis=0)  # no spread, but no failure either
    latents = latents.astype(np.float64)
    mean = latents.mean(axis=0)
    # Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices"
    # (2004): with few pictures the sample's own covariance cannot be inverted.
    covariance, _ = ledoit_wolf(latents)
    variances, axes = np.linalg.eigh(covariance)
    variances, axes = variances[::-1], axes[:, ::-1]
    axes = axes[:, :LATENT_AXES]
    floor = FLOOR * variances.mean() + 1e-12
    spread = np.sqrt(np.maximum(variances[: axes.shape[1]], 0) + floor)
    beyond = np.maximum(variances[axes.shape[1] :], 0)
    rest = np.sqrt(beyond.mean() + floor) if len(beyond) else 0.0
    arrays = {
        "latent/mean": np.float32(mean),
        "latent/axes": np.float32(axes / spread),
        "latent/rest": np.float32([rest]),
    }
    white = np.stack([whiten(row, arrays) for row in latents.astype(np.float32)])
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.permutation(len(white))[:LATENT_ROWS])
    mixture = GaussianMixture(
        min(MIXTURE_GAUSSIANS, max(1, len(white) // 20)), reg_covar=FLOOR, random_state=seed
    ).fit(white[kept, :MIXTURE_AXES])
    return {
        **arrays,
        "knn/bank": white[kept].astype(np.float16),
        "gmm/weights": np.float32(mixture.weights_),
        "gmm/means": np.float32(mixture.means_),
        "gmm/precisions": np.float32(mixture.precisions_cholesky_),
    }


def _fit_patches(normals: Normals) -> dict[str, np.ndarray]:
    """The principal axes of patches, and those beside the texture at each place."""
    spread = _spread(normals.patches)
    rows = normals.patches.reshape(-1, len(spread)).astype(np.float32)
    mean = rows.mean(axis=0)
    rows = (rows - mean) / spread
    _, axes = np.linalg.eigh(rows.T.astype(np.float64) @ rows / len(rows))
    axes = np.float32(axes[:, ::-1][:, :PATCH_AXES]) / spread[:, None]
    main = (normals.patches - mean) @ axes
    places = np.concatenate([normals.textures, main], axis=-1)
    # Each in its own units: a floor for the one must not be above the other.
    spread = np.concatenate([_spread(normals.textures), _spread(main)])
    return {"patch/mean": mean, "patch/axes": axes, **_fit_places("place", places, spread)}


def _fit_places(name: str, features: np.ndarray, spread: np.ndarray) -> dict[str, np.ndarray]:
    """A Gaussian for the features (k, h, w, c) of each place, and some of them in its units.

    Args:
        spread: (c,), units in which all channels are alike.
    """
    mean = features.mean(axis=0)  # (h, w, c)
    offsets = np.moveaxis((features - mean) / spread, 0, 2).astype(np.float64)  # (h, w, k, c)
    covariance = np.swapaxes(offsets, 2, 3) @ offsets / offsets.shape[2]
    covariance += PLACE_FLOOR * np.eye(len(spread))
    axes = np.linalg.cholesky(np.linalg.inv(covariance)) / spread[:, None]
    scale = np.abs(axes).max()
    arrays = {
        f"{name}/mean": np.float32(mean),
        f"{name}/scale": np.float32([scale]),
        f"{name}/axes": (axes / scale).astype(np.float16),
    }
    kept = features[: bank_pictures(*features.shape[1:3])]
    bank = [white(row, *(arrays[f"{name}/{part}"] for part in WHITENING)) for row in kept]
    return {**arrays, f"{name}/bank": np.stack(bank, axis=2).astype(np.float16)}


def _spread(features: np.ndarray) -> np.ndarray:
    """The standard deviation of each channel, the last axis, kept from zero: a filter may be
    silent in normals.
    """
    variances = features.reshape(-1, features.shape[-1]).astype(np.float32).var(axis=0)
    return np.sqrt(variances + FLOOR * variances.mean() + np.float32(1e-12))
