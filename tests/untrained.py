"""Small models as they are before training, in checkpoints as training writes them."""

from pathlib import Path

import keras
import numpy as np

from aetool.models.build import build_model, complete, keras_config, layer_weights, parameter_counts
from aetool.storage.checkpoint import Checkpoint, write_checkpoint

RECONSTRUCTION = {
    "name": "reconstruction",
    "range": [0, 1],
    "colour_space": "srgb",
    "decoding": "image",
}


def write_untrained(
    path: Path,
    spec: dict,
    task: str,
    *,
    classes: tuple[str, ...] = (),
    output: tuple[dict, ...] = (RECONSTRUCTION,),
    preprocessing: dict | None = None,
) -> Path:
    """A checkpoint of a model with random weights and biases, always the same; returns `path`.

    Args:
        spec: the family's name and its builder's arguments.
        preprocessing: what differs from pictures in [0, 1], stretched to the model's size.
    """
    spec = complete(spec)
    keras.utils.set_random_seed(0)
    model = build_model(spec)
    random = np.random.default_rng(0)
    weights = {
        layer: {
            name: array + np.float32(random.uniform(-0.2, 0.2, array.shape))
            for name, array in variables.items()
        }
        for layer, variables in layer_weights(model).items()
    }
    parameters, fixed = parameter_counts(model)
    metadata = {
        "model": {k: list(v) if isinstance(v, tuple) else v for k, v in spec.items()},
        "task": task,
        "parameters": parameters,
        "non_trainable_parameters": fixed,
        "preprocessing": {
            "size": list(spec["size"]),
            "channels": spec["channels"],
            "colour_space": "luma" if spec["channels"] == 1 else "srgb",
            "range": [0, 1],
            "fit": "stretch",
            "filter": "antialias",
            "background": 1.0,
            **(preprocessing or {}),
        },
        "output": list(output),
        "classes": list(classes),
        "training": {"only": [], "epochs_done": 0},
        "metrics": {},
        "calibration": None,
    }
    write_checkpoint(path, Checkpoint(metadata, keras_config(spec), weights))
    return path
