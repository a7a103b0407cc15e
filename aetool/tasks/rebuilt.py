"""What a network's output called reconstruction means, as pictures."""

import numpy as np

from aetool.storage.checkpoint import Checkpoint

RECONSTRUCTION = "reconstruction"


def output_range(checkpoint: Checkpoint) -> tuple[float, float] | None:
    """(low, high) of the output called reconstruction, None where there is none."""
    ranges = {about["name"]: about.get("range") for about in checkpoint.metadata["output"]}
    return ranges.get(RECONSTRUCTION)


def to_unit(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Values of a network's range (low, high) as float in [0, 1]."""
    low, high = limits
    return np.clip((values - low) / (high - low), 0, 1)


def to_pixels(values: np.ndarray) -> np.ndarray:
    """Float (h, w, c) in [0, 1] as uint8 (h, w, 3), or (h, w) where grey."""
    pixels = np.round(values * 255).astype(np.uint8)
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels
