"""The variational autoencoder of Kingma and Welling (2014) on the Keras blog's convolutions."""

from math import prod

import keras
from keras import layers


def build(
    size: tuple[int, int] = (28, 28),
    channels: int = 1,
    widths: tuple[int, ...] = (16, 8, 8),
    latent_dim: int = 2,
) -> keras.Model:
    """The encoder of conv-ae down to a Gaussian in `latent_dim` dimensions, its decoder back.

    The saved graph decodes the mean, so that it gives the same picture every time. A training
    samples between `encoder(model)` and `decoder(model)`, which share its weights.

    Args:
        size: (height, width) of the pictures, any.
        channels: of the pictures, in and out.
        widths: filters of each encoder convolution, the finest first.
        latent_dim: dimensions of the Gaussian.

    Returns:
        A model from float (n, height, width, channels) in [0, 1] to a dict of `reconstruction`, of
        the same shape and in [0, 1], and of `z_mean` and `z_log_var`, each (n, latent_dim), the
        mean and the logarithm of the variance of the approximate posterior.
    """
    if latent_dim < 1:
        raise ValueError(f"latent dimension {latent_dim} is not at least 1")
    depth = len(widths)
    grid = tuple(-(-side // 2**depth) for side in size)
    # As in conv-ae, the published decoder reaches 28 from 4x4 by one convolution without padding.
    valid = all(2 * (2 ** (depth - 1) * n - 2) == side for n, side in zip(grid, size, strict=True))

    # layers
    x = image = layers.Input((*size, channels), name="image")
    for level, filters in enumerate(widths, start=1):
        x = layers.Conv2D(
            filters, 3, padding="same", activation="relu", name=f"encoder{level}_conv"
        )(x)
        x = layers.MaxPooling2D(2, padding="same", name=f"encoder{level}_pool")(x)  # (n, h/2, w/2)
    x = layers.Flatten(name="encoder_flatten")(x)
    # The latents are computed in float32: exp(z_log_var) and the KL term need it.
    z_mean = layers.Dense(latent_dim, dtype="float32", name="z_mean")(x)
    z_log_var = layers.Dense(latent_dim, dtype="float32", name="z_log_var")(x)
    features = (*grid, widths[-1])
    x = layers.Dense(prod(features), activation="relu", name="decoder_dense")(z_mean)
    x = layers.Reshape(features, name="decoder_reshape")(x)  # (n, h / 2^depth, w / 2^depth, f)
    for level in range(depth, 0, -1):
        padding = "valid" if valid and level == 1 else "same"
        x = layers.Conv2D(
            widths[level - 1], 3, padding=padding, activation="relu", name=f"decoder{level}_conv"
        )(x)
        x = layers.UpSampling2D(2, name=f"decoder{level}_upsample")(x)  # (n, 2h, 2w, f)
    excess = (x.shape[1] - size[0], x.shape[2] - size[1])
    if any(excess):
        x = layers.Cropping2D(((0, excess[0]), (0, excess[1])), name="crop")(x)
    # A sigmoid saturates in bfloat16, so the output is computed in float32.
    x = layers.Conv2D(
        channels, 3, padding="same", activation="sigmoid", dtype="float32", name="reconstruction"
    )(x)

    # model
    outputs = {"reconstruction": x, "z_mean": z_mean, "z_log_var": z_log_var}
    return keras.Model(image, outputs, name="conv_vae")


def encoder(model: keras.Model) -> keras.Model:
    """The model's part from the picture to [z_mean, z_log_var], each (n, latent_dim)."""
    ends = [model.get_layer(name).output for name in ("z_mean", "z_log_var")]
    return keras.Model(model.input, ends, name="encoder")


def decoder(model: keras.Model) -> keras.Model:
    """The model's part from a latent point (n, latent_dim) to the picture, in [0, 1]."""
    ends = [model.get_layer(name).output for name in ("z_mean", "reconstruction")]
    return keras.Model(*ends, name="decoder")
