"""Learning one output from one input by one loss: autoencoding and colorization."""

import keras
import numpy as np

from aetool.models.training_twin import training_twin
from aetool.training.losses import PerPicture
from aetool.training.optimizers import make_optimizer
from aetool.training.regime import Regime, Sharing, Stepper, means
from aetool.training.settings import Settings


class Reconstruction(Regime):
    """A model, its optimizer and loss.

    Args:
        model: built under the dtype policy to train in.
        settings: optimizer, learning rate.
        loss: a function of training.losses.
    """

    def __init__(self, model: keras.Model, settings: Settings, loss):
        self.model = model
        self.optimizer = make_optimizer(settings)
        self._learning = training_twin(model)
        self._learning.compile(optimizer=self.optimizer, loss=PerPicture(loss))
        self.optimizer.build(model.trainable_variables)
        self._steps: Stepper = self._learning

    def share(self, stepper: Sharing) -> None:
        self._steps = stepper(self._learning)

    def train_batch(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        return means(self._steps.train_on_batch(x, y, return_dict=True))

    def test_batch(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        return means(self._steps.test_on_batch(x, y, return_dict=True))
