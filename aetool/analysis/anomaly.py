"""What an anomaly score means: thresholds that were earned, p-values, and how well it separates.

How high is too high follows from the scores of held-out normal pictures, the calibration scores: a
new picture's p-value is the share of normals that score at least as high (split conformal
prediction; Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005; Bates et
al., "Testing for outliers with conformal p-values", 2023), so flagging p <= 0.01 raises a false
alarm on at most 1 % of normal pictures, whatever the network.
"""

import numpy as np

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


def average_precision(values: np.ndarray, anomalous: np.ndarray) -> float | None:
    """Mean precision over the anomalies, each at the threshold that just finds it.

    Args:
        values: float (n,), higher is more anomalous.
        anomalous: bool (n,).

    Returns:
        A number in [0, 1], or None where only one class is present.
    """
    recall, precision = precision_recall(values, anomalous)
    if not len(recall):
        return None
    return float((np.diff(recall, prepend=0) * precision).sum())


def precision_recall(values: np.ndarray, anomalous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(recall, precision) at each score that occurs, the highest first; empty for one class."""
    false, found = roc(values, anomalous, counts=True)
    if not len(found):
        return found, found
    return found / found[-1], found / (found + false)


def roc(
    values: np.ndarray, anomalous: np.ndarray, *, counts: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(false-alarm rate, detection rate) at each score that occurs, the highest first.

    With `counts` numbers of pictures instead of shares; empty where only one class is present.
    """
    anomalous = np.asarray(anomalous, bool)
    if anomalous.all() or not anomalous.any():
        return np.array([]), np.array([])
    order = np.argsort(-np.asarray(values), kind="stable")
    descending = np.asarray(values)[order]
    last = np.append(np.flatnonzero(np.diff(descending)), len(order) - 1)
    found = np.cumsum(anomalous[order])[last]
    false = 1 + last - found
    if counts:
        return false.astype(float), found.astype(float)
    return false / false[-1], found / found[-1]
