"""From points in a latent space to pictures: the second half of a variational autoencoder."""

import keras
import numpy as np

from aetool.inference.engine import natural_batch_size
from aetool.inference.load import rebuild
from aetool.models.conv_vae import decoder
from aetool.storage.checkpoint import Checkpoint


class Decoder:
    """The decoder of a conv-vae, in float32.

    Args:
        checkpoint: of a conv-vae, with its weights.
    """

    def __init__(self, checkpoint: Checkpoint):
        self._model = decoder(rebuild(checkpoint).model)
        self._batch_size = natural_batch_size(*self._model.output_shape[1:3])

    def decode(self, points: np.ndarray) -> np.ndarray:
        """Pictures of latent points.

        Args:
            points: (n, latent_dim), n at least 1.

        Returns:
            float32 (n, height, width, channels) in [0, 1].
        """
        pictures = []
        for start in range(0, len(points), self._batch_size):
            batch = points[start : start + self._batch_size]
            padded = np.zeros((self._batch_size, points.shape[1]), np.float32)
            padded[: len(batch)] = batch
            # One batch shape: a picture must not depend on how many are asked for.
            decoded = self._model(padded, training=False)
            pictures.append(keras.ops.convert_to_numpy(decoded)[: len(batch)])
        return np.concatenate(pictures)
