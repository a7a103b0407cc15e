"""The stacked convolutional autoencoder after Masci et al. (2011), and the stages it grows by."""

from collections.abc import Iterable

import keras
from keras import layers


def apply_encoder(x, level: int, filters: int, kernel: int, pool: str, **options):
    """Convolution, ReLU, 2x2 pooling: (n, h, w, c) -> (n, ceil(h / 2), ceil(w / 2), filters)."""
    x = layers.Conv2D(
        filters, kernel, padding="same", activation="relu", name=f"encoder{level}_conv", **options
    )(x)
    return layers.MaxPooling2D(2, padding="same", name=pool)(x)


def apply_decoder(x, level: int, goal: tuple[int, int], filters: int, kernel: int, **options):
    """Upsampling, crop, convolution: (n, h, w, c) -> (n, *goal, filters)."""
    x = layers.UpSampling2D(2, name=f"decoder{level}_upsample")(x)
    excess = (x.shape[1] - goal[0], x.shape[2] - goal[1])
    if any(excess):
        x = layers.Cropping2D(((0, excess[0]), (0, excess[1])), name=f"decoder{level}_crop")(x)
    return layers.Conv2D(filters, kernel, padding="same", **options)(x)


def build(
    size: tuple[int, int] = (80, 80),
    channels: int = 3,
    widths: tuple[int, ...] = (16, 32, 64, 128),
    kernels: tuple[int, ...] = (7, 5, 3, 3),
    l2: float = 0.0005,
) -> keras.Model:
    """Levels of convolution and 2x2 max-pooling, and their mirror of upsampling and convolution.

    Args:
        size: (height, width) of the pictures, any.
        channels: of the pictures, in and out.
        widths: filters of each encoder convolution, level 1 (the finest) first.
        kernels: the side of each level's kernels, in the encoder and in its mirror.
        l2: the weight of the sum of squares of every kernel in the loss; 0 for none.

    Returns:
        A model from float (n, height, width, channels) in [0, 1] to `reconstruction` of the same
        shape, in [0, 1]. The latent is (n, ceil(height / 2^k), ceil(width / 2^k), widths[-1]) with
        k = len(widths).
    """
    _check(widths, kernels)
    depth = len(widths)
    options = {
        "kernel_initializer": "glorot_normal",
        "kernel_regularizer": keras.regularizers.L2(l2) if l2 else None,
    }

    # layers
    x = image = layers.Input((*size, channels), name="image")
    for level in range(1, depth + 1):
        pool = "latent" if level == depth else f"encoder{level}_pool"
        x = apply_encoder(x, level, widths[level - 1], kernels[level - 1], pool, **options)
    for level in range(depth, 1, -1):
        x = apply_decoder(
            x, level, _grid(size, level), widths[level - 2], kernels[level - 1],
            activation="relu", name=f"decoder{level}_conv", **options,
        )  # fmt: skip
    # A sigmoid saturates in bfloat16, so the output is computed in float32.
    x = apply_decoder(
        x, 1, size, channels, kernels[0],
        activation="sigmoid", dtype="float32", name="reconstruction", **options,
    )  # fmt: skip

    # model
    return keras.Model(image, x, name="stacked_ae")


def stage(
    level: int,
    size: tuple[int, int] = (80, 80),
    channels: int = 3,
    widths: tuple[int, ...] = (16, 32, 64, 128),
    kernels: tuple[int, ...] = (7, 5, 3, 3),
) -> keras.Model:
    """One level and its mirror alone, for greedy training (Bengio et al., 2007).

    Its layers have the names that they have in the whole model. No L2, Glorot uniform.

    Args:
        level: from 1, the finest, to len(widths).
        size, channels, widths, kernels: of the whole model.

    Returns:
        A model that rebuilds what the level is given: float (n, ceil(height / 2^(level - 1)),
        ceil(width / 2^(level - 1)), c) to the same shape. For level 1 that is the picture, through
        a sigmoid; later what the encoder before gives, c = widths[level - 2], in any range.
    """
    _check(widths, kernels)
    if not 1 <= level <= len(widths):
        raise ValueError(f"stage {level} is outside 1 to {len(widths)}")
    first = level == 1
    grid = _grid(size, level)
    filters = channels if first else widths[level - 2]
    kernel = kernels[level - 1]

    # layers
    x = given = layers.Input((*grid, filters), name="image" if first else "features")
    pool = "latent" if level == len(widths) else f"encoder{level}_pool"
    x = apply_encoder(x, level, widths[level - 1], kernel, pool)
    x = apply_decoder(
        x, level, grid, filters, kernel, activation="sigmoid" if first else "linear",
        dtype="float32", name="reconstruction" if first else f"decoder{level}_conv",
    )  # fmt: skip

    # model
    return keras.Model(given, x, name=f"stacked_ae_stage{level}")


def copy_stages(model: keras.Model, stages: Iterable[keras.Model]) -> None:
    """Give the whole model the weights of its stages, layer by layer, by name."""
    for part in stages:
        for layer in part.layers:
            if layer.weights:
                model.get_layer(layer.name).set_weights(layer.get_weights())


def spread(model: keras.Model, stage: keras.Model) -> None:
    """Give a stage the weights that the whole model has in the layers of the same names."""
    for layer in stage.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())


def _grid(size: tuple[int, int], level: int) -> tuple[int, int]:
    """(height, width) of what `level` is given."""
    return tuple(-(-side // 2 ** (level - 1)) for side in size)


def _check(widths: tuple[int, ...], kernels: tuple[int, ...]) -> None:
    if len(widths) != len(kernels):
        raise ValueError(f"{len(widths)} widths and {len(kernels)} kernels: a level has one each")
