"""Which anomaly scores a checkpoint can give, and those of one picture."""

from collections.abc import Mapping

import numpy as np

from aetool.analysis.detectors import COMBINED, FITTED, PLAIN, Detector
from aetool.analysis.texture import CHANNELS, PER_SCALE
from aetool.errors import FormatError
from aetool.storage.checkpoint import Checkpoint

PREFIX = "calibration/"
SCORES = "calibration/scores"
RECALIBRATE = "calibrate it with: aetool anomaly --calibrate NORMALS -c OLD.h5 -o NEW.h5"
# What `fit` gives, a letter an axis: latents of length d on k axes (j with what is beyond them), a
# mixture of g Gaussians on e; patches of c channels on p axes, at h x w places of m pictures;
# textures of t channels at y x x places.
_AXES = {
    "latent/mean": "d",
    "latent/axes": "dk",
    "latent/rest": "1",
    "knn/bank": "nj",
    "gmm/weights": "g",
    "gmm/means": "ge",
    "gmm/precisions": "gee",
    "patch/mean": "c",
    "patch/axes": "cp",
    "patch/bank": "hwmp",
    "texture/mean": "yxt",
    "texture/axes": "yxtt",
    "texture/scale": "1",
}
# What the combined score of a file that does not say is made of.
_FIRST_PARTS = ("texture", "patch", "mahalanobis")
# The labels that mean normal where training had none.
NORMAL = ("good", "normal")


def calibration_scores(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Scores of held-out normal pictures by the score's name, as far as a checkpoint has any.

    A file of a training before there were several scores has those of the pixel error alone.
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
    """What `fit` gave, empty where a checkpoint has none.

    Raises:
        FormatError: some of it is missing, or does not fit the rest.
    """
    arrays = {
        name.removeprefix(PREFIX): array
        for name, array in checkpoint.arrays.items()
        if name.startswith(PREFIX) and not name.startswith(SCORES)
    }
    lengths: dict[str, int] = {"1": 1}
    for name, axes in _AXES.items() if arrays else ():
        shape = arrays[name].shape if name in arrays else ()
        known = [lengths.setdefault(*pair) for pair in zip(axes, shape, strict=False)]
        if len(shape) != len(axes) or tuple(known) != shape or 0 in shape:
            raise FormatError(f"the calibration's {name} has shape {shape}", RECALIBRATE)
    if arrays and lengths["t"] not in range(PER_SCALE, CHANNELS + 1, PER_SCALE):
        raise FormatError("the calibration's texture/mean is of other filters", RECALIBRATE)
    if arrays and lengths["j"] - lengths["k"] not in (0, 1):
        raise FormatError("the calibration's knn/bank does not fit its latents", RECALIBRATE)
    return arrays


def available(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The scores that need no normal pictures and that this model's outputs have."""
    outputs = {about["name"] for about in checkpoint.metadata["output"]}
    return tuple(name for name in PLAIN if name != "elbo" or "z_log_var" in outputs)


def default_score(checkpoint: Checkpoint) -> str:
    """Combined where it was calibrated, else the pixel error."""
    return COMBINED if COMBINED in calibration_scores(checkpoint) else "mse"


def combined_from(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The scores that the combined one is made of.

    Raises:
        FormatError: they are none that this model can give.
    """
    about = checkpoint.metadata.get("calibration") or {}
    parts = tuple(about.get("parts", _FIRST_PARTS))
    if not parts or not set(parts) <= {*available(checkpoint), *FITTED}:
        raise FormatError(f"no score is combined from {', '.join(parts) or 'none'}", RECALIBRATE)
    return parts


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
