"""Colour spaces: luma, CIE Lab, and the quantised ab plane that the colorizer predicts over."""

import numpy as np

LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)

# sRGB primaries and the D65 white point (IEC 61966-2-1).
_RGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ],
    np.float32,
)
_XYZ_TO_RGB = np.linalg.inv(_RGB_TO_XYZ.astype(np.float64)).astype(np.float32)
_WHITE = _RGB_TO_XYZ.sum(axis=1)
# Lab units to one of a network that gives ab values themselves: its outputs stay near 1.
AB_SCALE = 100.0

_EPSILON = np.float32((6 / 29) ** 3)
_KAPPA = np.float32((29 / 3) ** 3)


def luma(rgb: np.ndarray) -> np.ndarray:
    """The grey of a colour picture, 0.299 R + 0.587 G + 0.114 B on gamma-encoded values.

    Args:
        rgb: float (..., 3), any range.

    Returns:
        float32 (...), the same range.
    """
    return np.asarray(rgb, np.float32) @ LUMA_WEIGHTS


def rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB values.

    Args:
        rgb: float (..., 3) in [0, 1], gamma-encoded sRGB.

    Returns:
        float32 (..., 3): L in [0, 100], a and b in about [-110, 110].
    """
    f = _lab_curve(_linear(np.asarray(rgb, np.float32)) @ _RGB_TO_XYZ.T / _WHITE)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def lab_to_rgb(lab: np.ndarray) -> np.ndarray:
    """sRGB values of CIE L*a*b* (D65), not clipped: a value outside [0, 1] is out of gamut.

    Args:
        lab: float (..., 3), L in [0, 100].

    Returns:
        float32 (..., 3), gamma-encoded; the encoding is continued as an odd function below 0.
    """
    lab = np.asarray(lab, np.float32)
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    cubed = f**3
    xyz = np.where(cubed > _EPSILON, cubed, (116 * f - 16) / _KAPPA) * _WHITE
    linear = xyz @ _XYZ_TO_RGB.T
    size = np.abs(linear)
    encoded = np.where(size <= 0.0031308, 12.92 * size, 1.055 * size ** (1 / 2.4) - 0.055)
    return (np.sign(linear) * encoded).astype(np.float32)


def luma_to_lightness(grey: np.ndarray) -> np.ndarray:
    """L* in [0, 100] of a neutral pixel whose luma is `grey` in [0, 1]; any shape, float32."""
    linear = _linear(np.asarray(grey, np.float32))
    return 116 * _lab_curve(linear) - 16


def _linear(encoded: np.ndarray) -> np.ndarray:
    """The light of gamma-encoded sRGB values in [0, 1]; float32."""
    return np.where(
        encoded <= 0.04045, encoded / 12.92, ((np.maximum(encoded, 0) + 0.055) / 1.055) ** 2.4
    ).astype(np.float32)


def _lab_curve(light: np.ndarray) -> np.ndarray:
    """CIE's f of light relative to white; float32."""
    return np.where(light > _EPSILON, np.cbrt(light), (_KAPPA * light + 16) / 116)


def ab_bins(spacing: float = 10.0) -> np.ndarray:
    """Centres of the ab plane's grid cells that some lightness brings into the sRGB gamut.

    The quantisation of Zhang, Isola and Efros, "Colorful Image Colorization" (2016).

    Args:
        spacing: the grid's step in Lab units.

    Returns:
        float32 (bins, 2), sorted by a, then b.
    """
    axis = np.arange(-12, 13, dtype=np.float32) * np.float32(spacing)
    axis = axis[np.abs(axis) <= 120]
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    lightness = np.arange(1, 100, dtype=np.float32)
    lab = np.concatenate(
        [
            np.broadcast_to(lightness[:, None, None], (len(lightness), len(grid), 1)),
            np.broadcast_to(grid, (len(lightness), len(grid), 2)),
        ],
        axis=-1,
    )
    rgb = lab_to_rgb(lab)
    inside = ((rgb >= 0) & (rgb <= 1)).all(axis=-1).any(axis=0)
    return grid[inside]


def annealed_mean(
    probabilities: np.ndarray,
    bins: np.ndarray,
    temperature: float,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """The ab value between the mean (temperature 1) and the mode (towards 0) of a distribution.

    Zhang, Isola and Efros (2016), equation 5: probabilities are raised to 1 / temperature and
    renormalised before the mean is taken. Probabilities learnt under a loss that weighs colours
    name the heavy ones too often; dividing by the weights takes that back.

    Args:
        probabilities: float (..., bins), each row summing to 1.
        bins: float32 (bins, 2), the bins' centres in Lab units.
        temperature: in (0, 1].
        weights: (bins,), positive, to divide the probabilities by; None leaves them as they are.

    Returns:
        float32 (..., 2).
    """
    logits = np.maximum(probabilities, np.float32(1e-12), dtype=np.float32)
    np.log(logits, out=logits)
    if weights is not None:
        logits -= np.log(weights, dtype=np.float32)
    logits *= np.float32(1 / temperature)
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    # A column of ones beside the bins: the sum comes with the product.
    sums = logits @ np.column_stack([bins, np.ones(len(bins), np.float32)])
    return sums[..., :2] / sums[..., 2:]
