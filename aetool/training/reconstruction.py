"""Learning one output from one input by one loss: autoencoding and colorization."""

import keras
import numpy as np

from aetool.models.build import layer_weights
from aetool.training.losses import PerPicture
from aetool.training.optimizers import make_optimizer
from aetool.training.settings import Settings


class Reconstruction:
    """A model, its optimizer and loss, one step at a time.

    Args:
        model: built under the dtype policy to train in.
        settings: optimizer, learning rate, loss.
        loss: the loss function itself where the name alone does not make it (ab-crossentropy).
    """

    def __init__(self, model: keras.Model, settings: Settings, loss):
        self.model = model
        self.optimizer = make_optimizer(settings.optimizer, settings.learning_rate)
        model.compile(optimizer=self.optimizer, loss=PerPicture(loss))
        self.optimizer.build(model.trainable_variables)

    def set_rate(self, rate: float) -> None:
        self.optimizer.learning_rate.assign(rate)

    def train_batch(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """One optimizer step; the batch's means."""
        logs = self.model.train_on_batch(x, y, return_dict=True)
        return {name: float(value) for name, value in logs.items()}

    def test_batch(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """The batch's means without learning from it."""
        logs = self.model.test_on_batch(x, y, return_dict=True)
        return {name: float(value) for name, value in logs.items()}

    def weights(self) -> dict[str, np.ndarray]:
        """{variable path: array} of everything a checkpoint stores."""
        return {
            path: array
            for layer in layer_weights(self.model).values()
            for path, array in layer.items()
        }

    def state(self) -> dict[str, np.ndarray]:
        """Everything but the saved weights that an exact resume needs: optimizer and seeds."""
        return {
            name: keras.ops.convert_to_numpy(variable.value) for name, variable in self._named()
        }

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Undo `state`; KeyError or ValueError when it belongs to another training."""
        for name, variable in self._named():
            variable.assign(state[name])

    def _named(self):
        for i, variable in enumerate(self.optimizer.variables):
            yield f"optimizer/{i:04d}", variable
        seeds = [v for v in self.model.non_trainable_variables if "seed_generator" in v.path]
        for i, variable in enumerate(seeds):
            yield f"seeds/{i:04d}", variable
