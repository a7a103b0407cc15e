"""Training losses in keras.ops: each takes (n, h, w, c) truth and prediction, gives (n,).

A value a picture, so that a short last batch weighs what it holds.
"""

import difflib

import keras
import numpy as np
from keras import ops

from aetool.errors import UsageError
from aetool.images.color import AB_SCALE


def _per_picture(values):
    return ops.mean(values, axis=tuple(range(1, len(values.shape))))


def mse(truth, prediction):
    """Squared error, averaged over pixels and channels."""
    return _per_picture(ops.square(prediction - truth))


def mse_sum(truth, prediction):
    """Squared error, averaged over channels and summed over pixels."""
    return ops.sum(ops.mean(ops.square(prediction - truth), axis=-1), axis=(1, 2))


def mae(truth, prediction):
    """Absolute error, averaged over pixels and channels."""
    return _per_picture(ops.abs(prediction - truth))


def binary_crossentropy(truth, prediction):
    """Binary cross-entropy in nats, averaged over pixels and channels; both in [0, 1]."""
    prediction = ops.clip(prediction, 1e-7, 1 - 1e-7)
    values = truth * ops.log(prediction) + (1 - truth) * ops.log1p(-prediction)
    return -_per_picture(values)


def binary_crossentropy_sum(truth, prediction):
    """Binary cross-entropy in nats a picture, summed over pixels and channels; both in [0, 1]."""
    return binary_crossentropy(truth, prediction) * float(np.prod(prediction.shape[1:]))


def ab_huber(truth, prediction, delta: float = 10.0):
    """Huber's loss of the distance between two ab colours: squared up to `delta` Lab units.

    Args:
        truth, prediction: (n, h, w, 2) in units of AB_SCALE Lab units.
        delta: beyond it the loss grows with the distance, so that rare strong colours do not rule.
    """
    delta /= AB_SCALE
    squared = ops.sum(ops.square(prediction - truth), axis=-1)
    # sqrt has no gradient at 0, where the other branch is taken.
    distance = ops.sqrt(ops.maximum(squared, delta**2))
    return _per_picture(ops.where(squared < delta**2, squared / 2, delta * (distance - delta / 2)))


class AbCrossentropy:
    """Cross-entropy over ab bins with class rebalancing.

    Zhang, Isola and Efros, "Colorful Image Colorization" (2016): the truth is spread over the bins
    by a Gaussian of 5 Lab units, and each pixel weighs by how rare its colour is among the training
    pictures, so that the many near-grey pixels do not drown the colours.

    Args:
        bins: float32 (bins, 2), centres in Lab units.
        prior: float32 (bins,), how often each bin is the nearest one; None weighs all alike.
        mix: the share of the uniform distribution in the prior before it is inverted.
        power: of the inverted prior; 1 is the paper's, 0 weighs all alike. A network too small or
            too briefly trained to be sure of rare colours spills them with the paper's.
    """

    sigma = 5.0

    def __init__(
        self,
        bins: np.ndarray,
        prior: np.ndarray | None = None,
        mix: float = 0.5,
        power: float = 0.5,
    ):
        self.bins = bins.astype(np.float32)
        weights = np.ones(len(bins), np.float32)
        if prior is not None:
            weights = ((1 - mix) * prior + mix / len(bins)) ** -power
            weights = weights / np.sum(prior * weights)
        self.weights = weights.astype(np.float32)

    def __call__(self, truth, prediction):
        """(n, h, w, 2) ab values and (n, h, w, bins) probabilities to (n,)."""
        bins = ops.convert_to_tensor(self.bins)
        # |t - b|^2 without the t^2 term, which the softmax cancels.
        closeness = (ops.matmul(truth, ops.transpose(bins)) - 0.5 * ops.sum(bins**2, axis=-1)) / (
            self.sigma**2
        )
        target = ops.softmax(closeness, axis=-1)  # (n, h, w, bins)
        weight = ops.matmul(target, ops.convert_to_tensor(self.weights)[:, None])[..., 0]
        entropy = -ops.sum(target * ops.log(ops.maximum(prediction, 1e-9)), axis=-1)
        return _per_picture(weight * entropy)


LOSSES = {
    "mse": mse,
    "mse-sum": mse_sum,
    "mae": mae,
    "binary-crossentropy": binary_crossentropy,
    "binary-crossentropy-sum": binary_crossentropy_sum,
    "ab-crossentropy": AbCrossentropy,
    "ab-huber": ab_huber,
}


class PerPicture(keras.losses.Loss):
    """A function of this module as a Keras loss, averaged over the pictures of a batch."""

    def __init__(self, function):
        super().__init__(name="loss", dtype="float32")
        self.function = function

    def call(self, y_true, y_pred):
        return self.function(y_true, y_pred)


def loss_function(name: str):
    """The loss called `name`; UsageError with the nearest name otherwise."""
    if name not in LOSSES:
        near = difflib.get_close_matches(name, LOSSES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"no loss {name!r}", f"{hint}there are {', '.join(LOSSES)}")
    return LOSSES[name]
