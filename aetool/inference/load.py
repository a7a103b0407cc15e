"""From a checkpoint file to a model ready to run."""

from dataclasses import dataclass, replace
from pathlib import Path

import keras

from aetool.errors import FormatError, UsageError
from aetool.models.build import build_model, encoder, set_weights, weightless
from aetool.models.specs import FAMILIES
from aetool.storage.checkpoint import Checkpoint, read_checkpoint


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checkpoint and its model, rebuilt by aetool's own builder.

    Args:
        model: the Keras model, or its encoder part.
        checkpoint: what the file says about it.
    """

    model: keras.Model
    checkpoint: Checkpoint

    @property
    def preprocessing(self) -> dict:
        return self.checkpoint.metadata["preprocessing"]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) that the network takes."""
        return tuple(self.model.input_shape[1:3])


def load_model(
    path: Path,
    *,
    encode: bool = False,
    layer: str | None = None,
    size: tuple[int, int] | None = None,
) -> LoadedModel:
    """Read, check and rebuild a checkpoint.

    Args:
        path: the checkpoint file.
        encode: only the part from the input to the family's latent layer.
        layer: with `encode`, another layer by name.
        size: (height, width) to rebuild a network at, if its weights fit any size.

    Raises:
        FormatError: for a file that is damaged, foreign, newer, or of a family unknown here.
        UsageError: for a layer that the model has not, or a size it cannot take.
    """
    return rebuild(read_checkpoint(path), encode=encode, layer=layer, size=size)


def rebuild(
    checkpoint: Checkpoint,
    *,
    encode: bool = False,
    layer: str | None = None,
    size: tuple[int, int] | None = None,
) -> LoadedModel:
    """As `load_model`, for a checkpoint already read."""
    spec = checkpoint.metadata["model"]
    if spec.get("name") not in FAMILIES:
        raise FormatError(
            f"the checkpoint's model family {spec.get('name')!r} is unknown to this version",
            "upgrade aetool",
        )
    family = FAMILIES[spec["name"]]
    if size is not None and tuple(size) != tuple(spec["size"]):
        if not family.grows:
            raise UsageError(f"a {family.name} model takes {spec['size']} pixels only")
        spec = {**spec, "size": tuple(size)}
    stored = [array for variables in checkpoint.weights.values() for array in variables.values()]
    try:
        with weightless(sum(array.size for array in stored)):
            model = build_model(spec)
    except UsageError as error:
        raise FormatError(f"the checkpoint's model cannot be built: {error.message}") from error
    set_weights(model, checkpoint.weights)
    # The arrays live in the model from here on; keeping them twice would double the memory.
    checkpoint = replace(checkpoint, weights={})
    if encode:
        model = encoder(model, layer or family.latent)
    return LoadedModel(model, checkpoint)
