"""A doubled picture and the convolution over it, computed as one at the small size.

Where nearest neighbours double a picture, some of a kernel's weights always meet copies of the same
pixel. Added up beforehand, a 3x3 kernel becomes four 2x2 ones, one for each of the four places that
a pixel turns into: 16 multiplications for 36, and nothing doubled in memory. A 5x5 kernel needs 36
for 100, a 7x7 kernel 64 for 196. What is learnt and stored stays the kernel itself; results differ
by rounding.
"""

from collections.abc import Callable, Iterator
from functools import partial

import keras
import numpy as np
from keras import layers, ops

from aetool.models.squares import apart
from aetool.models.twin import chains, pass_on, twin

# A training adds up its kernels in every step, which pays where they meet many pixels; and with few
# channels the gradients are no faster so.
_FEWEST_PLACES = 100
_FEWEST_CHANNELS = 16
# Activations that make of each number another.
_BY_VALUE = (keras.activations.linear, keras.activations.relu)


def doubling(model: keras.Model, *, frozen: bool = False) -> keras.Model:
    """The model, or its twin that computes the same with fewer multiplications.

    Args:
        model: a functional one, under any dtype policy.
        frozen: whether the weights stay as they are now, so that kernels are added up once.
    """
    return twin(model, doublings(model, frozen=frozen))


def doublings(model: keras.Model, *, frozen: bool = False) -> dict[layers.Layer, Callable]:
    """What `doubling` replaces, by layer, for `twin`."""
    replaced = {}
    for upsampling, convolution in _pairs(model, thorough=frozen):
        kernel = None
        if frozen:
            kernel = ops.convert_to_numpy(_summed(convolution.kernel.value))
        replaced[upsampling] = pass_on
        replaced[convolution] = partial(_convolve_doubled, convolution, kernel)
    return replaced


def _pairs(model: keras.Model, *, thorough: bool) -> Iterator[tuple[layers.Layer, layers.Layer]]:
    """Every (UpSampling2D, Conv2D) that can be computed as one."""
    for upsampling, convolution in chains(model):
        if (
            type(upsampling) is layers.UpSampling2D
            and upsampling.size == (2, 2)
            and upsampling.interpolation == "nearest"
            and type(convolution) is layers.Conv2D
            and _is_plain(convolution)
            and (thorough or _pays(upsampling.input.shape))
        ):
            yield upsampling, convolution


def _is_plain(convolution: layers.Conv2D) -> bool:
    return (
        convolution.strides == convolution.dilation_rate == (1, 1)
        and convolution.groups == 1
        and convolution.data_format == "channels_last"
        and all(side % 2 for side in convolution.kernel_size)
    )


def _pays(shape: tuple) -> bool:
    height, width, channels = shape[1:]
    return height * width >= _FEWEST_PLACES and channels >= _FEWEST_CHANNELS


def _convolve_doubled(convolution: layers.Conv2D, kernel: np.ndarray | None, x, training=None):
    """(n, h, w, c) to what the layer makes of (n, 2h, 2w, c).

    Args:
        kernel: the layer's, summed; None sums it now.
    """
    dtype = convolution.compute_dtype
    if kernel is None:
        kernel = _summed(convolution.kernel.value)  # in the weights' own precision
    reaches = [side // 2 for side in convolution.kernel_size]
    around = [((reach + 1) // 2,) * 2 for reach in reaches]
    x = ops.pad(ops.cast(x, dtype), ((0, 0), *around, (0, 0)))
    x = ops.conv(x, ops.cast(kernel, dtype), padding="valid")
    if convolution.use_bias:
        x = x + ops.tile(ops.cast(convolution.bias.value, dtype), 4)
    if convolution.activation in _BY_VALUE:
        x = convolution.activation(x)  # which costs nothing right behind the convolution
    x = apart(x)
    # Without padding the edge is missing that a kernel would reach beyond.
    edges = [reach % 2 + (reach if convolution.padding == "valid" else 0) for reach in reaches]
    (top, left), (height, width) = edges, x.shape[1:3]
    x = x[:, top : height - top, left : width - left]
    # A softmax is one over a place's own channels, and another may be one over places.
    return x if convolution.activation in _BY_VALUE else convolution.activation(x)


def _summed(kernel):
    """(2r + 1, 2s + 1, c, f) to (r + 1, s + 1, c, 4 f), the four places of a pixel in turn."""
    down, across = (ops.convert_to_tensor(_sums(side), kernel.dtype) for side in kernel.shape[:2])
    summed = ops.einsum("ayt,bxs,tscf->yxcabf", down, across, kernel)
    return ops.reshape(summed, (*summed.shape[:3], -1))


def _sums(side: int) -> np.ndarray:
    """Which of a kernel's weights meet the same pixel: 0 or 1, (place, pixel, weight).

    An odd reach touches one pixel more on the side that a place lies on. Both places then get the
    same window by being paired across pixels, second place first, which leaves an edge too much.
    """
    reach = side // 2
    sums = np.zeros((2, reach + 1, side), np.float32)
    for place in (0, 1):
        first = (place - reach) // 2
        for weight in range(side):
            sums[place, (place - reach + weight) // 2 - first, weight] = 1
    return sums[::-1] if reach % 2 else sums
