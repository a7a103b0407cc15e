"""The convolutional autoencoder of the Keras blog ("Building Autoencoders in Keras", 2016)."""

import keras
from keras import layers


def build(
    size: tuple[int, int] = (28, 28),
    channels: int = 1,
    widths: tuple[int, ...] = (16, 8, 8),
) -> keras.Model:
    """3x3 convolutions with 2x2 max-pooling down, the mirror with upsampling back.

    Args:
        size: (height, width) of the pictures, any.
        channels: of the pictures, in and out.
        widths: filters of each encoder convolution, the finest first.

    Returns:
        A model from float (n, height, width, channels) in [0, 1] to `reconstruction` of the same
        shape, in [0, 1]. The latent is (n, ceil(height / 2^k), ceil(width / 2^k), widths[-1])
        with k = len(widths).
    """
    height, width = size
    depth = len(widths)
    latent = tuple(-(-side // 2**depth) for side in size)
    # The published decoder reaches 28 from 4x4 by one convolution without padding (16 -> 14).
    valid = all(
        2 * (2 ** (depth - 1) * n - 2) == side for n, side in zip(latent, size, strict=True)
    )

    # layers
    x = image = layers.Input((height, width, channels), name="image")
    for level, filters in enumerate(widths, start=1):
        x = layers.Conv2D(
            filters, 3, padding="same", activation="relu", name=f"encoder{level}_conv"
        )(x)
        last = level == depth
        name = "latent" if last else f"encoder{level}_pool"
        x = layers.MaxPooling2D(2, padding="same", name=name)(x)  # (n, ceil(h / 2), ceil(w / 2), f)
    for level in range(depth, 0, -1):
        padding = "valid" if valid and level == 1 else "same"
        x = layers.Conv2D(
            widths[level - 1], 3, padding=padding, activation="relu", name=f"decoder{level}_conv"
        )(x)
        x = layers.UpSampling2D(2, name=f"decoder{level}_upsample")(x)  # (n, 2h, 2w, f)
    excess = (x.shape[1] - height, x.shape[2] - width)
    if any(excess):
        x = layers.Cropping2D(((0, excess[0]), (0, excess[1])), name="crop")(x)
    # A sigmoid saturates in bfloat16, so the output is computed in float32.
    x = layers.Conv2D(
        channels, 3, padding="same", activation="sigmoid", dtype="float32", name="reconstruction"
    )(x)

    # model
    return keras.Model(image, x, name="conv_ae")
