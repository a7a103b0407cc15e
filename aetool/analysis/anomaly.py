"""Reconstruction error as an anomaly score: thresholds that were earned, p-values, AUROC.

An autoencoder that has only seen normal pictures rebuilds others badly. How badly is too badly
follows from the scores of held-out normal pictures, the calibration scores: a new picture's p-value
is the share of normals at least as badly rebuilt (split conformal prediction; Vovk, Gammerman and
Shafer, "Algorithmic Learning in a Random World", 2005; Bates et al., "Testing for outliers with
conformal p-values", 2023), so flagging p <= 0.01 raises a false alarm on at most 1 % of normal
pictures, whatever the network.
"""

import numpy as np

SCORE = "mse"
FALSE_ALARMS = 0.01


def error_maps(inputs: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Squared error a pixel, the mean over channels.

    Args:
        inputs, reconstructions: float (..., h, w, c) in the network's own range.

    Returns:
        float64 (..., h, w), 0 and up, in squared units of that range.
    """
    difference = inputs.astype(np.float64) - reconstructions
    return np.mean(difference * difference, axis=-1)


def scores(inputs: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """The anomaly score "mse": the mean of `error_maps` over pixels, float64 (n,) or ()."""
    return error_maps(inputs, reconstructions).mean(axis=(-2, -1))


def threshold(calibration_scores: np.ndarray, false_alarms: float = FALSE_ALARMS) -> float:
    """The score above which the p-value is at most `false_alarms`.

    Args:
        calibration_scores: float (n,), of held-out normal pictures, in any order.
        false_alarms: the share of normal pictures that may be flagged, 0 to 1.

    Returns:
        One of the calibration scores; the highest where `false_alarms` is below `smallest_rate(n)`.
    """
    descending = np.sort(calibration_scores)[::-1]
    n = len(descending)
    if n == 0:
        raise ValueError("no calibration scores")
    # p <= false_alarms wherever at most this many calibration scores are as high. The tiny term
    # keeps 0.07 * 100 = 7.000000000000001 and 0.29 * 100 = 28.999999999999996 both honest.
    may_exceed = int(np.floor(false_alarms * (n + 1) + 1e-9)) - 1
    return float(descending[min(max(may_exceed, 0), n - 1)])


def smallest_rate(n: int) -> float:
    """The lowest rate of false alarms that n calibration scores can promise."""
    return 1 / (n + 1)


def calibrate(calibration_scores: np.ndarray, false_alarms: float = FALSE_ALARMS) -> dict:
    """What a checkpoint says about its calibration; the precision is the caller's to add.

    Returns:
        {"score", "quantile", "threshold", "count"}.
    """
    return {
        "score": SCORE,
        "quantile": 1 - false_alarms,
        "threshold": threshold(calibration_scores, false_alarms),
        "count": len(calibration_scores),
    }


def p_values(values: np.ndarray, calibration_scores: np.ndarray) -> np.ndarray:
    """Conformal p-values: (1 + how many calibration scores are as high) / (n + 1).

    Args:
        values: float (m,), scores of new pictures.
        calibration_scores: float (n,), of held-out normal pictures, in any order.

    Returns:
        float64 (m,) in [1 / (n + 1), 1].
    """
    ascending = np.sort(calibration_scores)
    as_high = len(ascending) - np.searchsorted(ascending, values, side="left")
    return (1 + as_high) / (len(ascending) + 1)


def auroc(values: np.ndarray, anomalous: np.ndarray) -> float | None:
    """Area under the ROC curve: the chance that an anomaly outscores a normal, ties counting half.

    Args:
        values: float (n,), higher is more anomalous.
        anomalous: bool (n,).

    Returns:
        A number in [0, 1], or None where only one class is present.
    """
    anomalous = np.asarray(anomalous, bool)
    normal = np.sort(values[~anomalous])
    odd = values[anomalous]
    if len(normal) == 0 or len(odd) == 0:
        return None
    below = np.searchsorted(normal, odd, side="left")
    not_above = np.searchsorted(normal, odd, side="right")
    return float((below + not_above).mean() / (2 * len(normal)))
