"""The U-Net of Ronneberger, Fischer and Brox (2015), with batch normalisation."""

import keras
from keras import layers


def apply_block(x, filters: int, name: str):
    """Two times 3x3 convolution, batch normalisation, ReLU: (n, h, w, c) -> (n, h, w, filters)."""
    for i in (1, 2):
        x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv{i}")(x)
        x = layers.BatchNormalization(name=f"{name}_norm{i}")(x)
        x = layers.ReLU(name=f"{name}_relu{i}")(x)
    return x


def build(
    size: tuple[int, int] = (96, 96),
    channels: int = 3,
    outputs: int = 3,
    widths: tuple[int, ...] = (64, 128, 256, 512),
    middle: int = 1024,
    skips: tuple[int, ...] | None = None,
    stem_stride: int = 1,
    output_stride: int = 1,
    activation: str = "sigmoid",
) -> keras.Model:
    """The U-Net, at full resolution or with a strided stem and a coarser output.

    Args:
        size: (height, width) of the pictures, any: they are padded and cropped inside.
        channels: of the input.
        outputs: channels of the output.
        widths: filters of each level, level 1 (the finest) first.
        middle: filters of the level below the last pooling.
        skips: the levels whose skip connection is kept, counted from 1; None keeps all.
        stem_stride: the stride of a first 3x3 convolution put before level 1; 1 leaves it out.
        output_stride: how many times smaller the output is than the input; a power of two times
            `stem_stride`. The decoder's levels above that resolution are left out.
        activation: of the output: "sigmoid" in [0, 1], "softmax" over `outputs` classes, "linear".

    Returns:
        A model from float (n, height, width, channels) in [0, 1] to
        (n, ceil(height / output_stride), ceil(width / output_stride), outputs), named
        `reconstruction`, for a softmax `ab_probabilities`, for linear ones `ab`.
    """
    depth = len(widths)
    skips = tuple(range(1, depth + 1)) if skips is None else skips
    top = (output_stride // max(1, stem_stride)).bit_length()  # the decoder's last level
    if not set(skips) <= set(range(1, depth + 1)):
        raise ValueError(f"skips {skips} name levels outside 1 to {depth}")
    if not 1 <= top <= depth + 1 or stem_stride * 2 ** (top - 1) != output_stride:
        raise ValueError(
            f"output_stride {output_stride} is not stem_stride {stem_stride} times 1, 2, 4 and so "
            f"on up to {2**depth}"
        )
    unit = stem_stride * 2**depth
    padding = [(-side) % unit for side in size]

    # layers
    x = image = layers.Input((*size, channels), name="image")
    if any(padding):
        x = layers.ZeroPadding2D(((0, padding[0]), (0, padding[1])), name="pad")(x)
    if stem_stride > 1:
        x = layers.Conv2D(
            widths[0], 3, strides=stem_stride, padding="same", activation="relu", name="stem"
        )(x)  # (n, h / stem_stride, w / stem_stride, widths[0])
    kept = {}
    for level, filters in enumerate(widths, start=1):
        x = kept[level] = apply_block(x, filters, f"level{level}")
        x = layers.MaxPooling2D(2, name=f"level{level}_pool")(x)  # (n, h / 2, w / 2, filters)
    x = apply_block(x, middle, "middle")
    for level in range(depth, top - 1, -1):
        filters = widths[level - 1]
        x = layers.Conv2DTranspose(filters, 2, strides=2, name=f"up{level}_transpose")(x)
        if level in skips:
            x = layers.Concatenate(name=f"up{level}_skip")([kept[level], x])  # (n, 2h, 2w, 2f)
        x = apply_block(x, filters, f"up{level}")
    # Softmax and sigmoid saturate in bfloat16, so the output is computed in float32.
    name = {"softmax": "ab_probabilities", "linear": "ab"}.get(activation, "reconstruction")
    goal = [-(-side // output_stride) for side in size]
    excess = (x.shape[1] - goal[0], x.shape[2] - goal[1])
    if any(excess):
        x = layers.Cropping2D(((0, excess[0]), (0, excess[1])), name="crop")(x)
    x = layers.Conv2D(outputs, 1, activation=activation, dtype="float32", name=name)(x)

    # model
    return keras.Model(image, x, name="unet")
