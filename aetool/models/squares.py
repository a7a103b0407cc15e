"""Every place of a picture becomes a square of two by two: pictures of twice the size.

The four places are computed side by side as channels and taken apart then (Shi et al., "Real-Time
Single Image and Video Super-Resolution", 2016).
"""

from keras import layers, ops


def apart(x):
    """(n, h, w, 4 f), the four places of a square in turn, to (n, 2h, 2w, f)."""
    height, width, channels = x.shape[1:]
    # What depth_to_space does, in up to half its time: it moves single channels.
    x = ops.reshape(x, (-1, width, 2, channels // 2))
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, 2 * height, 2 * width, channels // 4))


def makes_squares(layer: layers.Layer) -> bool:
    """Whether it is a transposed convolution whose kernels touch without overlapping."""
    return (
        type(layer) is layers.Conv2DTranspose
        and layer.kernel_size == layer.strides == (2, 2)
        and layer.dilation_rate == (1, 1)
        and layer.output_padding is None
        and layer.data_format == "channels_last"
    )


def transpose(layer: layers.Conv2DTranspose, x, training=None):
    """What such a layer gives, by one matrix product."""
    dtype = layer.compute_dtype
    kernel = ops.cast(layer.kernel.value, dtype)  # (2, 2, filters, channels)
    filters, channels = kernel.shape[2:]
    kernel = ops.reshape(ops.transpose(kernel, (3, 0, 1, 2)), (channels, 4 * filters))
    height, width = x.shape[1:3]
    x = ops.matmul(ops.reshape(ops.cast(x, dtype), (-1, channels)), kernel)
    if layer.use_bias:
        x = x + ops.tile(ops.cast(layer.bias.value, dtype), 4)
    return layer.activation(apart(ops.reshape(x, (-1, height, width, 4 * filters))))
