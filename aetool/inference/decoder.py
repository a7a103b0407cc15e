"""From points in a latent space to pictures: the second half of an autoencoder."""

import keras
import numpy as np

from aetool.inference.engine import natural_batch_size
from aetool.inference.load import rebuild
from aetool.models.build import decoder
from aetool.models.doubling import doubling
from aetool.models.specs import FAMILIES
from aetool.storage.checkpoint import Checkpoint


class Decoder:
    """The part of a model from its family's latent layer to the picture, in float32.

    Args:
        checkpoint: of a model that makes its pictures from there alone, with its weights.

    Raises:
        UsageError: the model does not.
    """

    def __init__(self, checkpoint: Checkpoint):
        family = FAMILIES[checkpoint.metadata["model"]["name"]]
        self._model = doubling(decoder(rebuild(checkpoint).model, family.latent), frozen=True)
        self._batch_size = natural_batch_size(*self._model.output_shape[1:3])

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """The shape of a latent point as the network has it."""
        return tuple(self._model.input_shape[1:])

    def decode(self, points: np.ndarray) -> np.ndarray:
        """Pictures of latent points.

        Args:
            points: (n, d), n at least 1, d the product of `feature_shape`.

        Returns:
            float32 (n, height, width, channels) in the range of the family.
        """
        pictures = []
        for start in range(0, len(points), self._batch_size):
            batch = points[start : start + self._batch_size]
            padded = np.zeros((self._batch_size, points.shape[1]), np.float32)
            padded[: len(batch)] = batch
            # One batch shape: a picture must not depend on how many are asked for.
            shaped = padded.reshape(-1, *self.feature_shape)
            decoded = self._model(shaped, training=False)
            pictures.append(keras.ops.convert_to_numpy(decoded)[: len(batch)])
        return np.concatenate(pictures)
