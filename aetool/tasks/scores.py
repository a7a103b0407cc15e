"""Which anomaly scores a checkpoint can give, and those of one picture."""

from collections.abc import Mapping

import numpy as np

from aetool.analysis.detectors import COMBINED, PLAIN, Detector
from aetool.storage.checkpoint import Checkpoint

PREFIX = "calibration/"
SCORES = "calibration/scores"
# The labels that mean normal where training had none.
NORMAL = ("good", "normal")


def calibration_scores(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Scores of held-out normal pictures by the score's name, as far as a checkpoint has any.

    The combined score is computed from its parts. A file of a training before there were several
    scores has those of the pixel error alone.
    """
    arrays = checkpoint.arrays
    stored = {
        name.removeprefix(f"{SCORES}/"): array
        for name, array in arrays.items()
        if name.startswith(f"{SCORES}/")
    }
    if SCORES in arrays and len(arrays[SCORES]):
        stored["mse"] = arrays[SCORES]
    return stored


def fitted_arrays(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """What `fit` gave, empty where a checkpoint has none."""
    return {
        name.removeprefix(PREFIX): array
        for name, array in checkpoint.arrays.items()
        if name.startswith(PREFIX) and not name.startswith(SCORES)
    }


def available(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The scores that need no normal pictures and that this model's outputs have."""
    outputs = {about["name"] for about in checkpoint.metadata["output"]}
    return tuple(name for name in PLAIN if name != "elbo" or "z_log_var" in outputs)


def default_score(checkpoint: Checkpoint) -> str:
    """Combined where it was calibrated, else the pixel error."""
    return COMBINED if COMBINED in calibration_scores(checkpoint) else "mse"


def measure(
    detector: Detector, inputs: np.ndarray, outputs: Mapping[str, np.ndarray]
) -> tuple[dict[str, float], list[dict[str, np.ndarray]]]:
    """The scores of one picture, the highest of its tiles, and the maps of each tile."""
    scores, maps = [], []
    for n in range(len(inputs)):
        of_tile = detector.measure(inputs[n], {name: rows[n] for name, rows in outputs.items()})
        scores.append(of_tile[0])
        maps.append(of_tile[1])
    return {name: max(each[name] for each in scores) for name in scores[0]}, maps
