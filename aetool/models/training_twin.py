"""What a training on TensorFlow computes in other ways than Keras does, to the same result.

On a processor most of a step should be multiplications of convolutions. Keras's own batch
normalisation passes over its pictures some twenty times in float32, where one fused operation reads
them three times in their own precision; and oneDNN finds the weights' gradients of convolutions
over few places, of transposed ones, and of those of one place in float32, at a third of the speed
of the matrix products that they are. Other backends keep what Keras makes of them.
"""

from collections.abc import Callable, Iterator
from functools import partial

import keras
from keras import layers, ops

from aetool.models.doubling import doublings
from aetool.models.squares import makes_squares, transpose
from aetool.models.twin import twin

# Up to this many places of a picture, and from this many channels in and out, the gradient of a
# kernel comes faster from a matrix product for each of its weights.
_MOST_PLACES = 144
_FEWEST_CHANNELS = 256
# From this many channels in, that of a single weight does so in float32.
_FEWEST_OF_ONE = 64
_VECTOR = 16


def training_twin(model: keras.Model) -> keras.Model:
    """The model, or a twin on the same weights whose training steps are faster.

    Args:
        model: a functional one, under the dtype policy to train in.
    """
    replaced = doublings(model)
    if keras.backend.backend() == "tensorflow":
        for layer, instead in _replacements(model):
            replaced.setdefault(layer, instead)
    return twin(model, replaced)


def _replacements(model: keras.Model) -> Iterator[tuple[layers.Layer, Callable]]:
    for layer in model.layers:
        kind = type(layer)
        if kind is layers.BatchNormalization and _is_plain_normalization(layer):
            yield layer, partial(_normalize, layer)
        elif makes_squares(layer):
            yield layer, partial(transpose, layer)
        elif kind is layers.Conv2D and _multiplies(layer):
            yield layer, partial(_convolve, layer)


def _is_plain_normalization(layer: layers.BatchNormalization) -> bool:
    return (
        len(layer.input.shape) == 4
        and layer.axis in (-1, 3)
        and layer.center
        and layer.scale
        and not layer.renorm
    )


def _multiplies(layer: layers.Conv2D) -> bool:
    """Whether the gradient of its kernel comes faster from matrix products."""
    height, width, channels = layer.input.shape[1:]
    one = (
        layer.kernel_size == (1, 1)
        and layer.compute_dtype == "float32"
        and channels >= _FEWEST_OF_ONE
    )
    few = (
        layer.padding == "same"
        and None not in (height, width)
        and height * width <= _MOST_PLACES
        and min(channels, layer.filters) >= _FEWEST_CHANNELS
    )
    return (
        layer.strides == layer.dilation_rate == (1, 1)
        and layer.groups == 1
        and layer.data_format == "channels_last"
        and (one or few)
    )


def _normalize(layer: layers.BatchNormalization, x, training=None):
    # Several processes that train together have the layer look at all their pictures.
    if not (training and layer.trainable) or layer.synchronized:
        return layer(x, training=training)
    import tensorflow as tf

    # oneDNN has no fast way to normalise other numbers of channels in half precision.
    x = ops.cast(x, "float32" if x.shape[-1] % _VECTOR else layer.compute_dtype)
    y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        x, layer.gamma.value, layer.beta.value, epsilon=layer.epsilon, is_training=True
    )
    # The operation gives the variance of what the batch was drawn from, Keras keeps the batch's.
    count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    variance *= (count - 1) / count
    for kept, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        kept.assign(kept * layer.momentum + now * (1.0 - layer.momentum))
    return ops.cast(y, layer.compute_dtype)


def _convolve(layer: layers.Conv2D, x, training=None):
    import tensorflow as tf

    dtype = layer.compute_dtype
    x = _convolution(ops.cast(x, dtype), ops.cast(layer.kernel.value, dtype))
    if layer.use_bias:
        x = tf.nn.bias_add(x, ops.cast(layer.bias.value, dtype))
    return layer.activation(x)


def _convolution(x, kernel):
    """tf.nn.conv2d, stride 1 and padded, with another way to the kernel's gradient."""
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(x, kernel):
        def gradients(upstream):
            by_x = tf.nn.conv2d_transpose(upstream, kernel, tf.shape(x), 1, "SAME")
            return by_x, _by_kernel(x, kernel.shape[:2], upstream)

        return tf.nn.conv2d(x, kernel, 1, "SAME"), gradients

    return convolve(x, kernel)


def _by_kernel(x, sides: tuple[int, int], upstream):
    """The gradient of a kernel (rows, columns, c, f): each place of it meets a shifted picture."""
    import tensorflow as tf

    height, width, channels = x.shape[1:]
    around = [[(side - 1) // 2, side // 2] for side in sides]
    padded = tf.pad(x, [[0, 0], *around, [0, 0]])
    upstream = tf.reshape(upstream, (-1, upstream.shape[-1]))
    products = [
        tf.matmul(
            tf.reshape(padded[:, i : i + height, j : j + width], (-1, channels)),
            upstream,
            transpose_a=True,
        )
        for i in range(sides[0])
        for j in range(sides[1])
    ]
    return tf.reshape(tf.stack(products), (*sides, channels, upstream.shape[-1]))
