"""The generator of Isola, Zhu, Zhou and Efros, "Image-to-Image Translation" (2017)."""

import keras
from keras import layers


def build(
    size: tuple[int, int] = (128, 128),
    channels: int = 1,
    outputs: int = 3,
    width: int = 64,
    skips: tuple[int, ...] | None = None,
    dropout: tuple[int, ...] | None = None,
    rate: float = 0.5,
) -> keras.Model:
    """Strided convolutions down to a single pixel, upsampling and convolutions back.

    Level k is 2^k times smaller than the picture. With 2^n the power of two that holds the longer
    side (at least 4), the picture is padded with zeros, its mid grey, to 2^n x 2^n, so that level n
    is one pixel, and the output is cropped.

    Args:
        size: (height, width) of the pictures, any.
        channels: of the input.
        outputs: channels of the output.
        width: filters of level 1; they double a level, up to 8 times as many.
        skips: the levels, of 1 to n - 1, whose encoder output is concatenated; None keeps all.
        dropout: the levels of the decoder that have dropout; None is the lowest three.
        rate: of dropout.

    Returns:
        A model from float (n, height, width, channels) in [-1, 1] to `reconstruction`
        (n, height, width, outputs), in [-1, 1]. The layer `latent` is (n, 1, 1, 8 width) where the
        longer side is over 8. In training a batch of one picture says nothing there, since batch
        normalisation makes a single pixel 0.
    """
    depth = max((max(size) - 1).bit_length(), 2)
    levels = tuple(range(1, depth))
    skips = levels if skips is None else skips
    dropout = levels[-3:] if dropout is None else dropout
    for word, named in (("skips", skips), ("dropout", dropout)):
        if not set(named) <= set(levels):
            raise ValueError(f"{word} {named} name levels outside 1 to {depth - 1}")
    padding = [2**depth - side for side in size]

    # layers
    x = image = layers.Input((*size, channels), name="image")
    if any(padding):
        x = layers.ZeroPadding2D(((0, padding[0]), (0, padding[1])), name="pad")(x)
    kept = {}
    for level in range(1, depth + 1):
        filters = width * min(8, 2 ** (level - 1))
        if level > 1:
            x = layers.LeakyReLU(0.2, name=f"encoder{level}_relu")(x)
        x = layers.Conv2D(filters, 3, strides=2, padding="same", name=f"encoder{level}_conv")(x)
        if level > 1:
            name = "latent" if level == depth else f"encoder{level}_norm"
            x = layers.BatchNormalization(name=name)(x)
        kept[level] = x  # (n, 2^(depth - level), 2^(depth - level), filters)
    for level in reversed(levels):
        filters = width * min(8, 2 ** max(level - 2, 0))
        x = layers.ReLU(name=f"decoder{level}_relu")(x)
        x = layers.UpSampling2D(2, name=f"decoder{level}_upsample")(x)  # (n, 2h, 2w, f)
        x = layers.Conv2D(filters, 3, padding="same", name=f"decoder{level}_conv")(x)
        x = layers.BatchNormalization(name=f"decoder{level}_norm")(x)
        if level in dropout:
            x = layers.Dropout(rate, name=f"decoder{level}_dropout")(x)
        if level in skips:
            x = layers.Concatenate(name=f"decoder{level}_skip")([x, kept[level]])
    x = layers.ReLU(name="output_relu")(x)
    x = layers.UpSampling2D(2, name="output_upsample")(x)  # (n, 2^depth, 2^depth, f)
    if any(padding):
        x = layers.Cropping2D(((0, padding[0]), (0, padding[1])), name="crop")(x)
    # tanh saturates in bfloat16, so the output is computed in float32.
    x = layers.Conv2D(
        outputs, 3, padding="same", activation="tanh", dtype="float32", name="reconstruction"
    )(x)

    # model
    return keras.Model(image, x, name="pix2pix")
