"""A classifier that also rebuilds its picture from one of its layers."""

from math import prod

import keras
from keras import layers

# Filters of the widest convolution of the reconstruction head.
_HEAD_WIDTH = 128


def apply_head(x, size: tuple[int, int], channels: int, widths: tuple[int, ...]):
    """Climb from a layer of the body back to the picture, in [0, 1].

    A layer m poolings deep is upsampled m times. If m > 1, a 3x3 ReLU convolution goes before each
    upsampling, of as many filters as the next finer block of the body has, at most 128; a layer one
    pooling deep goes straight to the 3x3 sigmoid convolution at the end. A layer without height and
    width is first put back on the last pooling's grid by a dense ReLU layer.

    Args:
        x: (n, ceil(height / 2^m), ceil(width / 2^m), c) or (n, c).
        size: (height, width) of the picture.
        channels: of the picture.
        widths: filters of each block of the body, the finest first.
    """
    grids = [tuple(-(-side // 2**m) for side in size) for m in range(len(widths) + 1)]
    if len(x.shape) == 2:
        features = (*grids[-1], min(widths[-1], _HEAD_WIDTH))
        x = layers.Dense(prod(features), activation="relu", name="head_dense")(x)
        x = layers.Reshape(features, name="head_reshape")(x)
    depth = grids.index(x.shape[1:3])  # the fewest upsamplings that reach the picture's size
    for level in range(depth, 0, -1):
        if depth > 1:
            filters = min(widths[level - 1], _HEAD_WIDTH)
            x = layers.Conv2D(
                filters, 3, padding="same", activation="relu", name=f"head{level}_conv"
            )(x)
        x = layers.UpSampling2D(2, name=f"head{level}_upsample")(x)  # (n, 2h, 2w, c)
    excess = (x.shape[1] - size[0], x.shape[2] - size[1])
    if any(excess):
        x = layers.Cropping2D(((0, excess[0]), (0, excess[1])), name="crop")(x)
    # Sigmoid and softmax saturate in bfloat16, so the outputs are computed in float32.
    return layers.Conv2D(
        channels, 3, padding="same", activation="sigmoid", dtype="float32", name="reconstruction"
    )(x)


def build(
    size: tuple[int, int] = (32, 32),
    channels: int = 3,
    classes: int = 10,
    widths: tuple[int, ...] = (64, 128, 256, 512, 512),
    convolutions: tuple[int, ...] = (2, 2, 3, 3, 3),
    dense: int = 512,
    dropout: tuple[int, ...] | None = None,
    rates: tuple[float, ...] = (0.3, 0.4, 0.4, 0.4, 0.4),
    dense_rate: float = 0.5,
    tap: str = "block1_pool",
) -> keras.Model:
    """The VGG16 body of Simonyan and Zisserman (2015), batch-normalised, with two heads.

    Dropout follows both convolutions of block 1, of each later block every convolution but the
    last, and the last pooling.

    Args:
        size: (height, width) of the pictures, any.
        channels: of the pictures, in and out.
        classes: to tell apart.
        widths: filters of each block's convolutions, block 1 (the finest) first.
        convolutions: how many each block has.
        dense: units of the layer between the body and the classes.
        dropout: the blocks that have dropout, counted from 1; None is all.
        rates: the dropout rate of each block; the last pooling has its block's.
        dense_rate: the dropout rate before the classes.
        tap: the layer that the picture is rebuilt from, by name: any of the image, the body
            (`block4_dropout2` is the published deep one), and the classifier.

    Returns:
        A model from float (n, height, width, channels) in [0, 1] to a dict of `reconstruction`, of
        the same shape and in [0, 1], and `probabilities` (n, classes), which sum to 1. The layer
        `latent` is (n, dense).
    """
    depth = len(widths)
    dropout = tuple(range(1, depth + 1)) if dropout is None else dropout
    if not len(convolutions) == len(rates) == depth:
        raise ValueError(
            f"{depth} widths, {len(convolutions)} convolutions and {len(rates)} rates: "
            "each block has one of each"
        )
    if not set(dropout) <= set(range(1, depth + 1)):
        raise ValueError(f"dropout {dropout} names blocks outside 1 to {depth}")

    # layers
    x = image = layers.Input((*size, channels), name="image")
    for block, (filters, count) in enumerate(zip(widths, convolutions, strict=True), start=1):
        name, rate = f"block{block}", rates[block - 1]
        for i in range(1, count + 1):
            x = layers.Conv2D(
                filters, 3, padding="same", activation="relu", name=f"{name}_conv{i}"
            )(x)
            x = layers.BatchNormalization(name=f"{name}_norm{i}")(x)
            if block in dropout and (block == 1 or i < count):
                x = layers.Dropout(rate, name=f"{name}_dropout{i}")(x)
        x = layers.MaxPooling2D(2, padding="same", name=f"{name}_pool")(x)  # (n, h / 2, w / 2, f)
    if depth in dropout:
        x = layers.Dropout(rates[-1], name="body_dropout")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense, activation="relu", name="dense")(x)
    x = layers.BatchNormalization(name="latent")(x)
    x = layers.Dropout(dense_rate, name="latent_dropout")(x)
    probabilities = layers.Dense(
        classes, activation="softmax", dtype="float32", name="probabilities"
    )(x)
    tapped = keras.Model(image, probabilities).get_layer(tap).output
    reconstruction = apply_head(tapped, size, channels, widths)

    # model
    outputs = {"reconstruction": reconstruction, "probabilities": probabilities}
    return keras.Model(image, outputs, name="vgg_classifier_ae")
