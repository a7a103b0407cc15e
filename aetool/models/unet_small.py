"""A small U-Net whose latents are compared by clustering, with or without skips and bottleneck."""

from math import prod

import keras
from keras import layers

from aetool.models.unet import apply_block


def build(
    size: tuple[int, int] = (28, 28),
    channels: int = 1,
    widths: tuple[int, ...] = (4, 8),
    middle: int = 16,
    skips: tuple[int, ...] | None = (),
    bottleneck: int = 0,
) -> keras.Model:
    """Ronneberger, Fischer and Brox's U-Net (2015) with batch normalisation and a tanh latent.

    Args:
        size: (height, width) of the pictures, any: they are padded and cropped inside.
        channels: of the pictures, in and out.
        widths: filters of each level, level 1 (the finest) first.
        middle: filters of the level below the last pooling.
        skips: the levels whose skip connection is kept, counted from 1; None keeps all.
        bottleneck: units of a dense tanh layer below the middle, with a dense ReLU layer back to
            the middle's shape; 0 leaves both out.

    Returns:
        A model from float (n, height, width, channels) in [0, 1] to `reconstruction` of the same
        shape, in [0, 1]. The layer `latent`, in [-1, 1], is (n, bottleneck), or without one
        (n, ceil(height / 2^k), ceil(width / 2^k), middle) with k = len(widths).
    """
    depth = len(widths)
    skips = tuple(range(1, depth + 1)) if skips is None else skips
    if not set(skips) <= set(range(1, depth + 1)):
        raise ValueError(f"skips {skips} name levels outside 1 to {depth}")
    if bottleneck < 0:
        raise ValueError(f"bottleneck {bottleneck} is negative")
    padding = [(-side) % 2**depth for side in size]

    # layers
    x = image = layers.Input((*size, channels), name="image")
    if any(padding):
        x = layers.ZeroPadding2D(((0, padding[0]), (0, padding[1])), name="pad")(x)
    kept = {}
    for level, filters in enumerate(widths, start=1):
        x = kept[level] = apply_block(x, filters, f"level{level}")
        x = layers.MaxPooling2D(2, name=f"level{level}_pool")(x)  # (n, h / 2, w / 2, filters)
    # As apply_block, but that tanh takes the place of the last ReLU where the latent is.
    x = layers.Conv2D(middle, 3, padding="same", name="middle_conv1")(x)
    x = layers.BatchNormalization(name="middle_norm1")(x)
    x = layers.ReLU(name="middle_relu1")(x)
    x = layers.Conv2D(middle, 3, padding="same", name="middle_conv2")(x)
    x = layers.BatchNormalization(name="middle_norm2")(x)
    # tanh saturates in bfloat16, so the latents are computed in float32.
    if bottleneck:
        x = layers.ReLU(name="middle_relu2")(x)
        features = x.shape[1:]
        x = layers.Flatten(name="middle_flatten")(x)
        x = layers.Dense(bottleneck, activation="tanh", dtype="float32", name="latent")(x)
        x = layers.Dense(prod(features), activation="relu", name="middle_dense")(x)
        x = layers.Reshape(features, name="middle_reshape")(x)  # (n, h, w, middle)
    else:
        x = layers.Activation("tanh", dtype="float32", name="latent")(x)
    for level in range(depth, 0, -1):
        filters = widths[level - 1]
        x = layers.Conv2DTranspose(filters, 2, strides=2, name=f"up{level}_transpose")(x)
        if level in skips:
            x = layers.Concatenate(name=f"up{level}_skip")([kept[level], x])  # (n, 2h, 2w, 2f)
        x = apply_block(x, filters, f"up{level}")
    if any(padding):
        x = layers.Cropping2D(((0, padding[0]), (0, padding[1])), name="crop")(x)
    # A sigmoid saturates in bfloat16, so the output is computed in float32.
    x = layers.Conv2D(channels, 1, activation="sigmoid", dtype="float32", name="reconstruction")(x)

    # model
    return keras.Model(image, x, name="unet_small")
