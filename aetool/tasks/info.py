"""What a model or latents file holds, and which models and recipes there are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.errors import FormatError
from aetool.models.specs import FAMILIES
from aetool.storage.checkpoint import Checkpoint, read_checkpoint
from aetool.storage.container import container_kind, open_container
from aetool.storage.latents import open_latents
from aetool.tasks.layers import Layer, describe_layers
from aetool.tasks.recipes import read_recipe, recipe_names
from aetool.tasks.training_command import training_command

# What no optimizer changes: the running statistics of batch normalization.
NON_TRAINABLE = ("moving_mean", "moving_variance")
HISTORY = "history/"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What `train` can make.

    Args:
        models: name -> one line, of every model family.
        recipes: name -> one line, of every published experiment.
    """

    models: dict[str, str]
    recipes: dict[str, str]


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A checkpoint's own account of itself, with its weights counted.

    Args:
        format: version of the file format.
        model: family name and every builder argument.
        task: what it learned.
        parameters: all weights, trainable or not.
        non_trainable_parameters: those no optimizer changes.
        preprocessing: how pictures become the network's input.
        classes: class names, empty where training was unlabelled.
        training: recipe, options, seed, epochs, data digest, versions.
        metrics: measured at the end of training.
        fidelity: how near bfloat16 came to float32 when training ended, in dB; None unmeasured.
        calibration: thresholds for `anomaly`, and the precision they were measured in.
        command: what made it, ready for a shell; None where the file does not tell.
        history: what was measured each epoch, name -> values.
        layers: of the network, in its order.
        previews: how many pictures the file shows, inputs and outputs; 0 for none.
    """

    format: int
    model: dict
    task: str
    parameters: int
    non_trainable_parameters: int
    preprocessing: dict
    classes: list[str]
    training: dict
    metrics: dict
    fidelity: dict | None
    calibration: dict | None
    command: str | None
    history: dict[str, list[float]]
    layers: list[Layer]
    previews: int


@dataclass(frozen=True, slots=True)
class LatentsInfo:
    """The shape and origin of a latents file.

    Args:
        rows: images encoded.
        dimensions: numbers an image.
        feature_shape: the same numbers as the network has them, for example (5, 5, 128).
        classes: class names, empty where the source was unlabelled.
        checkpoint: digest of the model that encoded them, None for raw pixels.
    """

    rows: int
    dimensions: int
    feature_shape: tuple[int, ...]
    classes: list[str]
    checkpoint: str | None


USED_BY = {"clustering": "cluster", "projection": "pca"}


def list_models() -> Catalogue:
    """The model families and the recipes, each with one line."""
    return Catalogue(
        models={family.name: family.summary for family in FAMILIES.values()},
        recipes={name: read_recipe(name)["summary"] for name in recipe_names()},
    )


def describe_file(path: Path) -> CheckpointInfo | LatentsInfo:
    """Read what a file says about itself; no pixel and no network is touched.

    Raises:
        FormatError: the file is neither a checkpoint nor latents, or is damaged.
    """
    kind = container_kind(path)
    if kind is None:
        open_container(path, None).close()  # raises what is wrong with it
    if kind in USED_BY:
        raise FormatError(
            f"{path} is a {kind}, and info shows checkpoints and latents",
            f"it goes with aetool {USED_BY[kind]} --apply",
        )
    return _describe_latents(path) if kind == "latents" else _describe_checkpoint(path)


def _describe_checkpoint(path: Path) -> CheckpointInfo:
    checkpoint = read_checkpoint(path)
    sizes = [
        (name.rpartition("/")[2], array.size)
        for variables in checkpoint.weights.values()
        for name, array in variables.items()
    ]
    metadata, strip = checkpoint.metadata, stored_previews(checkpoint)
    return CheckpointInfo(
        format=metadata["format"],
        model=metadata["model"],
        task=metadata["task"],
        parameters=sum(size for _, size in sizes),
        non_trainable_parameters=sum(size for name, size in sizes if name in NON_TRAINABLE),
        preprocessing=metadata["preprocessing"],
        classes=list(metadata["classes"]),
        training=metadata["training"],
        metrics=metadata["metrics"],
        fidelity=metadata.get("fidelity"),
        calibration=metadata["calibration"],
        command=training_command(metadata["training"], str(path).removesuffix(".train")),
        history={
            name.removeprefix(HISTORY): array.ravel().tolist()
            for name, array in checkpoint.arrays.items()
            if name.startswith(HISTORY)
        },
        layers=describe_layers(checkpoint.keras_config, checkpoint.weights),
        previews=0 if strip is None else strip.shape[1],
    )


def stored_previews(checkpoint: Checkpoint) -> np.ndarray | None:
    """What `train --preview` left: uint8 (bands, n, h, w, 3), or None.

    The bands are inputs, outputs and, where they differ from the inputs, truths.
    """
    strip = checkpoint.arrays.get("previews")
    right = strip is not None and strip.dtype == np.uint8 and strip.ndim == 5
    return strip if right and strip.shape[-1] == 3 and strip.size else None


def layer_names(path: Path) -> list[str]:
    """The names of a checkpoint's layers, for completion.

    Raises:
        FormatError: it is no checkpoint, or damaged.
    """
    checkpoint = read_checkpoint(path, weights=False)
    return [layer.name for layer in describe_layers(checkpoint.keras_config, {})]


def _describe_latents(path: Path) -> LatentsInfo:
    with open_latents(path) as latents:
        return LatentsInfo(
            rows=len(latents),
            dimensions=latents.dimensions,
            feature_shape=tuple(latents.feature_shape),
            classes=list(latents.class_names),
            checkpoint=latents.checkpoint or None,
        )
