"""How probable a variational autoencoder finds pictures: importance-weighted estimates.

Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (2016).
"""

import numpy as np
import tensorflow as tf

from aetool.inference.engine import mixed_precision
from aetool.inference.load import rebuild
from aetool.models.conv_vae import decoder
from aetool.models.doubling import doubling
from aetool.storage.checkpoint import Checkpoint

# Samples decoded at once. One shape, so that a picture's estimate never depends on how many.
_BLOCK = 128
# The probabilities that training clips at, so that a certain error costs 16 nats and not infinity.
_SMALLEST = 1e-7


class Likelihood:
    """Bounds on the log-likelihood of pictures under a conv-vae, in nats a picture.

    A pixel is a Bernoulli variable, as in the loss that the model was trained by: the figures are
    comparable with published ones where pixels are 0 or 1.

    Args:
        checkpoint: of a conv-vae, with its weights.
        samples: latent points drawn for each picture from its approximate posterior.
        seed: of the draws; those of a picture depend on it and the picture's number alone.
    """

    def __init__(self, checkpoint: Checkpoint, samples: int, *, seed: int = 0):
        self._decoder = doubling(decoder(rebuild(checkpoint).model), frozen=True)
        self._samples = samples
        self._seed = seed

        @tf.function
        def log_weights(picture, mean, log_variance, noise):
            return self._log_weights(picture, mean, log_variance, noise)

        self._compiled = log_weights

    def estimate(
        self, number: int, picture: np.ndarray, mean: np.ndarray, log_variance: np.ndarray
    ) -> tuple[float, float]:
        """The evidence lower bound, and the tighter bound by importance weighting.

        Args:
            number: of the picture, for the draws.
            picture: float32 (h, w, c) in [0, 1].
            mean, log_variance: float32 (latent_dim,), of its approximate posterior.

        Returns:
            The mean of the log importance weights, and the logarithm of their mean.
        """
        rng = np.random.default_rng((self._seed, number))
        noise = rng.standard_normal((self._samples, len(mean)), np.float32)
        blocks = []
        for start in range(0, self._samples, _BLOCK):
            block = noise[start : start + _BLOCK]
            padded = np.zeros((_BLOCK, len(mean)), np.float32)
            padded[: len(block)] = block
            with mixed_precision(False):
                found = self._compiled(picture, mean, log_variance, padded).numpy()
            blocks.append(found[: len(block)])
        weights = np.concatenate(blocks).astype(np.float64)
        largest = weights.max()
        return float(weights.mean()), float(largest + np.log(np.exp(weights - largest).mean()))

    def _log_weights(self, picture, mean, log_variance, noise):
        """log p(x | z) + log p(z) - log q(z | x) of points (n, latent_dim): (n,)."""
        points = mean + tf.exp(0.5 * log_variance) * noise
        p = tf.clip_by_value(self._decoder(points, training=False), _SMALLEST, 1 - _SMALLEST)
        given_point = tf.reduce_sum(
            picture * tf.math.log(p) + (1 - picture) * tf.math.log1p(-p), axis=(1, 2, 3)
        )
        # The constants of the two Gaussians cancel.
        prior = -0.5 * tf.reduce_sum(points**2, axis=-1)
        posterior = -0.5 * tf.reduce_sum(noise**2 + log_variance, axis=-1)
        return given_point + prior - posterior
