"""What anomaly scores keep of normal pictures: plain arrays of bounded size."""

from dataclasses import dataclass

import numpy as np
from sklearn.covariance import ledoit_wolf
from sklearn.mixture import GaussianMixture

from aetool.analysis.detectors import whiten
from aetool.analysis.mixture import fit_quietly

# Bounds on what is kept: it is stored with the model.
LATENT_AXES = 256
LATENT_ROWS = 2048
MIXTURE_AXES = 32
MIXTURE_GAUSSIANS = 5
PATCH_AXES = 32
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
        patches: float32 (m, h, w, c), of at most `bank_pictures` of them.
        textures: float32 (k, h, w, c), of at most TEXTURES of them.
    """

    latents: np.ndarray
    patches: np.ndarray
    textures: np.ndarray


def bank_pictures(height: int, width: int) -> int:
    """Of how many pictures with a grid of height x width places the features are kept."""
    return max(1, BANK_ROWS // (height * width))


def gaussians_for(latents: int) -> int:
    """How many Gaussians so many latents can carry."""
    return min(MIXTURE_GAUSSIANS, max(1, latents // 20))


def fit(normals: Normals, seed: int = 0, *, gaussians: int | None = None) -> dict[str, np.ndarray]:
    """What `Detector` needs of normal pictures.

    Args:
        normals: of at least one picture.
        gaussians: of the mixture; as many as there are latents for unless given.
        seed: of the mixture's start and of the rows that are kept where there are too many.

    Returns:
        {name: array}, float32, but float16 where they are large.
    """
    return {
        **_fit_latents(normals.latents, seed, gaussians),
        **_fit_patches(normals.patches),
        **_fit_places(normals.textures),
    }


def _fit_latents(latents: np.ndarray, seed: int, gaussians: int | None) -> dict[str, np.ndarray]:
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
    count = gaussians or gaussians_for(len(white))
    mixture = fit_quietly(
        GaussianMixture(count, reg_covar=FLOOR, random_state=seed), white[kept, :MIXTURE_AXES]
    )
    return {
        **arrays,
        "knn/bank": white[kept].astype(np.float16),
        "gmm/weights": np.float32(mixture.weights_),
        "gmm/means": np.float32(mixture.means_),
        "gmm/precisions": np.float32(mixture.precisions_cholesky_),
    }


def _fit_patches(patches: np.ndarray) -> dict[str, np.ndarray]:
    """Patches (m, h, w, c) on their principal axes, in units of their spread."""
    rows = patches.reshape(-1, patches.shape[-1]).astype(np.float32)
    mean, spread = rows.mean(axis=0), _spread(rows)
    rows = (rows - mean) / spread
    variances, axes = np.linalg.eigh(rows.T.astype(np.float64) @ rows / len(rows))
    variances, axes = variances[::-1][:PATCH_AXES], axes[:, ::-1][:, :PATCH_AXES]
    axes = np.float32(axes / np.sqrt(np.maximum(variances, 0) + FLOOR)) / spread[:, None]
    bank = (patches[: bank_pictures(*patches.shape[1:3])] - mean) @ axes
    return {
        "patch/mean": mean,
        "patch/axes": axes,
        "patch/bank": np.ascontiguousarray(bank.transpose(1, 2, 0, 3)).astype(np.float16),
    }


def _fit_places(textures: np.ndarray) -> dict[str, np.ndarray]:
    """A Gaussian for the texture at each place."""
    spread = _spread(textures.reshape(-1, textures.shape[-1]))
    mean = textures.mean(axis=0)  # (h, w, c)
    offsets = np.moveaxis((textures - mean) / spread, 0, 2).astype(np.float64)  # (h, w, k, c)
    covariance = np.swapaxes(offsets, 2, 3) @ offsets / offsets.shape[2]
    covariance += PLACE_FLOOR * np.eye(len(spread))
    whiten_places = np.linalg.cholesky(np.linalg.inv(covariance)) / spread[:, None]
    scale = np.abs(whiten_places).max()
    return {
        "texture/mean": np.float32(mean),
        "texture/scale": np.float32([scale]),
        "texture/axes": (whiten_places / scale).astype(np.float16),
    }


def _spread(rows: np.ndarray) -> np.ndarray:
    """The standard deviation of each column, kept from zero: a filter may be silent in normals."""
    variances = rows.var(axis=0)
    return np.sqrt(variances + FLOOR * variances.mean() + np.float32(1e-12))
