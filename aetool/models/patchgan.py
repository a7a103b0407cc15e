"""The conditional PatchGAN discriminator of pix2pix (Isola, Zhu, Zhou and Efros, 2017)."""

import keras
from keras import layers


def patch_kernels(patch: int) -> list[int]:
    """The kernels, 3 or 4, of the strided convolutions by which a verdict sees `patch` pixels.

    Two 4x4 convolutions of stride 1 at the end see 7 pixels of what they are given, and a
    convolution of stride 2 and kernel k before r pixels sees 2 r + k - 2. So n of kernel 4 see
    9 2^n - 2 pixels, the paper's 70 with three of them, and n of kernel 3 see 8 2^n - 1; the binary
    digits of the difference say which of them are 4, the first convolution's digit last.

    Raises:
        ValueError: for a patch that no choice of kernels gives.
    """
    strided = (patch + 1).bit_length() - 4
    if strided < 0 or patch > 9 * 2**strided - 2:
        raise ValueError(
            f"no patch of {patch} pixels: there are 7, 15 to 16, 31 to 34, 63 to 70, 127 to 142 ..."
        )
    return [3 + ((patch + 1) >> i & 1) for i in range(strided)]


def build(
    size: tuple[int, int] = (128, 128),
    channels_in: int = 1,
    channels_out: int = 3,
    patch: int = 70,
    width: int = 64,
) -> keras.Model:
    """One verdict a patch: is the target a real one for this source?

    Convolutions of `width` filters doubling up to 8 times as many, LeakyReLU 0.2, and batch
    normalisation on all but the first and the last.

    Args:
        size: (height, width) of both pictures, any.
        channels_in: of the source, the generator's input.
        channels_out: of the target, real or the generator's output.
        patch: the side in pixels of the square that a verdict sees: 7, 15 to 16, 31 to 34, 63 to
            70, 127 to 142, 255 to 286 ... The paper's is 70, of 4x4 kernels alone; 64 has two 3x3.
        width: filters of the first convolution.

    Returns:
        A model from [`source` (n, height, width, channels_in), `target` (n, height, width,
        channels_out)], float in [-1, 1], to `logits`, float32 (n, ceil(height / 2^k),
        ceil(width / 2^k), 1), positive for real, where 2^k is the power of two for which
        8 2^k - 1 <= patch <= 9 2^k - 2.

    Raises:
        ValueError: for a patch between those.
    """
    strides = [(kernel, 2) for kernel in patch_kernels(patch)]

    # layers
    source = layers.Input((*size, channels_in), name="source")
    target = layers.Input((*size, channels_out), name="target")
    x = layers.Concatenate(name="pair")([source, target])
    for i, (kernel, stride) in enumerate([*strides, (4, 1)], start=1):
        filters = width * min(8, 2 ** (i - 1))
        x = layers.Conv2D(filters, kernel, strides=stride, padding="same", name=f"conv{i}")(x)
        if i > 1:
            x = layers.BatchNormalization(name=f"norm{i}")(x)
        x = layers.LeakyReLU(0.2, name=f"relu{i}")(x)  # (n, h / stride, w / stride, filters)
    # The loss takes a logarithm of a sigmoid, so the verdicts are computed in float32.
    x = layers.Conv2D(1, 4, padding="same", dtype="float32", name="logits")(x)

    # model
    return keras.Model([source, target], x, name="patchgan")
