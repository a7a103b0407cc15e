"""What a trained model computes in other ways than Keras does, to the same result.

Once trained, a batch normalisation is a factor and an offset, and as such part of the convolution
before it: the kernel is scaled, the bias moved, and a ReLU behind is computed together with them.
Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (2018), section 3.2.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
from keras import layers, ops

from aetool.models.doubling import doublings
from aetool.models.squares import makes_squares, transpose
from aetool.models.twin import chains, pass_on, twin

Weights = list[tuple[keras.Variable, np.ndarray]]
# Where a kernel's filters lie.
_FILTERS = {layers.Conv2D: -1, layers.Conv2DTranspose: -2}


def inference_twin(model: keras.Model, *, bfloat16: bool) -> tuple[keras.Model, Weights]:
    """A faster twin of a model as its weights are now, and the weights it has to be given.

    Args:
        model: a functional one under a float32 policy, which stays as it is.
        bfloat16: whether what computes it will go over to that precision where it sees fit.

    Returns:
        The twin, and every variable of the model with the value that it has in the twin.
    """
    weights = {id(v): ops.convert_to_numpy(v.value) for v in model.variables}
    replaced = _foldings(model, weights)
    values = [(v, weights[id(v)]) for v in model.variables]
    with keras.StatelessScope(state_mapping=values):
        replaced |= doublings(model, frozen=True)
    for layer in model.layers:
        if makes_squares(layer):
            replaced.setdefault(layer, partial(transpose, layer))
        elif bfloat16 and _narrows(layer):
            replaced[layer] = partial(_in_full, layer)
    return twin(model, replaced), values


def _foldings(model: keras.Model, weights: dict[int, np.ndarray]) -> dict[layers.Layer, Callable]:
    """What replaces the normalisations that can be folded; the weights of convolutions change.

    Args:
        weights: by the identity of the variable.
    """
    replaced = {}
    owners = Counter(id(v) for layer in model.layers for v in layer.variables)
    for convolution, normalization in chains(model):
        if not (
            type(convolution) in _FILTERS
            and all(owners[id(v)] == 1 for v in convolution.variables)
            and convolution.data_format == "channels_last"
            and type(normalization) is layers.BatchNormalization
            and normalization.axis in (-1, 3)
        ):
            continue
        scale, offset = _affine(normalization, weights)
        linear = convolution.activation is keras.activations.linear
        # A ReLU lets a factor through that is not negative, but no offset.
        if not linear and (convolution.activation is not keras.activations.relu or min(scale) < 0):
            continue
        along = [1] * convolution.kernel.ndim
        along[_FILTERS[type(convolution)]] = -1
        weights[id(convolution.kernel)] = weights[id(convolution.kernel)] * scale.reshape(along)
        if convolution.use_bias:
            weights[id(convolution.bias)] = weights[id(convolution.bias)] * scale
        if linear and convolution.use_bias:
            weights[id(convolution.bias)] += offset
            replaced[normalization] = pass_on
        else:
            replaced[normalization] = partial(_shift, offset)
    return replaced


def _affine(
    normalization: layers.BatchNormalization, weights: dict[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Factor and offset of each channel, float32 (c,)."""
    mean = weights[id(normalization.moving_mean)].astype(np.float64)
    variance = weights[id(normalization.moving_variance)].astype(np.float64)
    scale = 1 / np.sqrt(variance + normalization.epsilon)
    if normalization.scale:
        scale = scale * weights[id(normalization.gamma)]
    offset = -mean * scale
    if normalization.center:
        offset = offset + weights[id(normalization.beta)]
    return scale.astype(np.float32), offset.astype(np.float32)


def _shift(offset: np.ndarray, x, training=None):
    return x + ops.cast(offset, x.dtype)


def _narrows(layer: layers.Layer) -> bool:
    """Whether it is a Dense layer from a picture's numbers to fewer, as before a latent."""
    return (
        type(layer) is layers.Dense
        and len(layer.input.shape) == 2
        and layer.kernel.shape[1] < layer.kernel.shape[0]
    )


def _in_full(dense: layers.Dense, x, training=None):
    """What a Dense layer gives, in float64, which oneDNN's bfloat16 leaves alone.

    It would leave eight bits to each of the few numbers of a latent: stripes in a plot of them.
    """
    x = ops.matmul(ops.cast(x, "float64"), ops.cast(dense.kernel.value, "float64"))
    if dense.use_bias:
        x = x + ops.cast(dense.bias.value, "float64")
    return dense.activation(ops.cast(x, "float32"))
