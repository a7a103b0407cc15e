"""How near the engine's bfloat16 comes to float32 with a model's own weights."""

import numpy as np

from aetool.inference.engine import Engine, natural_batch_size
from aetool.inference.load import rebuild
from aetool.storage.checkpoint import Checkpoint

PICTURES = 16


def measure_fidelity(checkpoint: Checkpoint, images: np.ndarray) -> dict:
    """Run a model in both precisions.

    Args:
        checkpoint: with its weights.
        images: float32 (n, h, w, c), as the network takes them.

    Returns:
        `bfloat16`, the peak signal-to-noise ratio in dB of what bfloat16 gives, the worst of the
        model's outputs, where the peak is that output's range in float32; `pictures`, n.
    """
    exact, near = (_predict(checkpoint, images, name) for name in ("float32", "bfloat16"))
    worst = min(_psnr(exact[name], near[name]) for name in exact)
    return {"bfloat16": worst, "pictures": len(images)}


def _predict(checkpoint: Checkpoint, images: np.ndarray, precision: str) -> dict[str, np.ndarray]:
    """Every output of all images, in batches as large as the program itself would choose."""
    size = min(len(images), natural_batch_size(*images.shape[1:3]))
    engine = Engine(rebuild(checkpoint).model, precision=precision, batch_size=size)
    parts = [engine.predict(images[i : i + size]) for i in range(0, len(images), size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _psnr(exact: np.ndarray, near: np.ndarray) -> float:
    """In dB, at most 120: nothing in float32 is nearer."""
    peak = np.ptp(exact.astype(np.float64))
    error = np.mean((exact.astype(np.float64) - near) ** 2)
    if not peak:
        return 120.0 if not error else 0.0
    return float(min(120.0, 10 * np.log10(peak**2 / max(error, 1e-30))))
