"""One graph that rebuilds a picture and gives the encoder's features of it at once."""

import keras
from keras import layers

from aetool.inference.engine import Engine
from aetool.inference.load import rebuild
from aetool.inference.precision import resolve_precision
from aetool.models.build import encoder
from aetool.models.specs import FAMILIES
from aetool.storage.checkpoint import Checkpoint

# Resolutions of the encoder that patch features are taken from, the finest first.
SCALES = 3
# Wider latents are averaged over positions.
LATENT_DIMENSIONS = 1024

_CONVOLUTIONS = (
    layers.Conv2D,
    layers.BatchNormalization,
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
)


def feature_engine(
    checkpoint: Checkpoint, *, precision: str = "auto", batch_size: int | None = None
) -> Engine:
    """The engine of `with_features` of a checkpoint's model."""
    model = rebuild(checkpoint).model
    precision = resolve_precision(precision, checkpoint.metadata)
    model = with_features(model, FAMILIES[checkpoint.metadata["model"]["name"]].latent)
    return Engine(model, precision=precision, batch_size=batch_size)


def with_features(model: keras.Model, latent: str) -> keras.Model:
    """A model with features for anomaly scores beside its own outputs.

    Args:
        model: one that rebuilds its input.
        latent: the name of its latent layer.

    Returns:
        A model of the same input whose outputs are `reconstruction`, of a variational model
        `z_mean` and `z_log_var`, and

        `latents`, (n, d): the latent layer's output, flattened, or averaged over positions where
        that would be more than LATENT_DIMENSIONS numbers;

        `patches`, (n, h, w, c): what the encoder's convolutions make of each place, at the three
        finest resolutions that it has. Each is averaged over 3x3 places, and then over as many as
        lie in one place of the coarsest (Roth et al., "Towards total recall in industrial anomaly
        detection", 2022).
    """
    part = encoder(model, latent)
    outputs = dict(zip(model.output_names, keras.tree.flatten(model.output), strict=True))
    kept = [x for name, x in outputs.items() if name in ("reconstruction", "z_mean", "z_log_var")]
    # An identity gives its name: a functional model calls an output by the layer that makes it.
    latents = layers.Identity(name="latents")(_flat(part.output))
    patches = layers.Identity(name="patches")(_patches(part))
    return keras.Model(model.input, [*kept, latents, patches], name="with_features")


def _flat(x):
    """(n, d)."""
    if len(x.shape) == 2:
        return x
    if x.shape[1] * x.shape[2] * x.shape[3] > LATENT_DIMENSIONS:
        return layers.GlobalAveragePooling2D()(x)
    return layers.Flatten()(x)


def _patches(part: keras.Model):
    """(n, h, w, c) of an encoder."""
    last = {}
    for layer in part.layers:
        if isinstance(layer, _CONVOLUTIONS) and len(layer.output.shape) == 4:
            last[tuple(layer.output.shape[1:3])] = layer.output
    finest_first = sorted(last.items(), key=lambda item: item[0], reverse=True)
    scales = [output for shape, output in finest_first if min(shape) > 1][:SCALES]
    scales = scales or [finest_first[0][1]]  # of pictures a pixel wide
    grid = tuple(scales[-1].shape[1:3])
    averaged = []
    for x in scales:
        x = layers.AveragePooling2D(3, strides=1, padding="same")(x)
        step = tuple(-(-side // places) for side, places in zip(x.shape[1:3], grid, strict=True))
        if step != (1, 1):
            x = layers.AveragePooling2D(step, padding="same")(x)
        if tuple(x.shape[1:3]) == grid:
            averaged.append(x)
    return layers.Concatenate()(averaged) if len(averaged) > 1 else averaged[0]
