"""Learning to classify and to reconstruct at once."""

import keras
import numpy as np
from keras import ops

from aetool.models.training_twin import training_twin
from aetool.training.losses import PerPicture
from aetool.training.optimizers import make_optimizer
from aetool.training.regime import Regime, Sharing, Stepper, means
from aetool.training.settings import Settings


def categorical_crossentropy(truth, probabilities):
    """Cross-entropy in nats: one-hot and predicted (n, classes) to (n,)."""
    return -ops.sum(truth * ops.log(ops.clip(probabilities, 1e-7, 1.0)), axis=-1)


def smoothed(truth: np.ndarray, share: float) -> np.ndarray:
    """One-hot (n, classes), a share of it spread evenly over all classes.

    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016): nothing is
    gained by being surer than that, so the classifier need not learn its pictures by heart.
    """
    return truth * np.float32(1 - share) + np.float32(share / truth.shape[1])


class Joint(Regime):
    """A weighted sum of the losses of two outputs, `probabilities` and `reconstruction`.

    Besides the terms it measures `accuracy`, the share of pictures whose class is right, and for
    colour pictures `channel_accuracy`, the share of pixels whose largest channel is right: what
    Keras's own accuracy makes of a reconstruction, and what the article reports.

    Args:
        model: built under the dtype policy to train in.
        settings: optimizer, learning rate; `loss_weights` of "classification" and "reconstruction";
            `label_smoothing` of what is learnt, never of what is measured.
        loss: of the reconstruction.
    """

    def __init__(self, model: keras.Model, settings: Settings, loss):
        self.model = model
        self._smoothing = settings.label_smoothing or 0.0
        self.optimizer = make_optimizer(settings)
        metrics = {"probabilities": [keras.metrics.CategoricalAccuracy(name="accuracy")]}
        if model.input_shape[-1] == 3:
            agreement = keras.metrics.CategoricalAccuracy(name="accuracy")
            metrics["reconstruction"] = [agreement]
        self._learning = training_twin(model)
        self._learning.compile(
            optimizer=self.optimizer,
            loss={
                "reconstruction": PerPicture(loss),
                "probabilities": PerPicture(categorical_crossentropy),
            },
            loss_weights={
                "reconstruction": settings.loss_weights["reconstruction"],
                "probabilities": settings.loss_weights["classification"],
            },
            metrics=metrics,
        )
        self.optimizer.build(model.trainable_variables)
        self._steps: Stepper = self._learning

    def share(self, stepper: Sharing) -> None:
        self._steps = stepper(self._learning)

    def train_batch(self, x: np.ndarray, y: dict[str, np.ndarray]) -> dict[str, float]:
        if self._smoothing:
            y = y | {"probabilities": smoothed(y["probabilities"], self._smoothing)}
        return _named(self._steps.train_on_batch(x, y, return_dict=True))

    def test_batch(self, x: np.ndarray, y: dict[str, np.ndarray]) -> dict[str, float]:
        return _named(self._steps.test_on_batch(x, y, return_dict=True))


_NAMES = {
    "probabilities": "classification",
    "probabilities_accuracy": "accuracy",
    "reconstruction_accuracy": "channel_accuracy",
}


def _named(logs: dict[str, object]) -> dict[str, float]:
    return {_NAMES.get(name, name): value for name, value in means(logs).items()}
