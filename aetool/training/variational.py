"""Learning a distribution over pictures: the variational autoencoder.

Kingma and Welling, "Auto-Encoding Variational Bayes" (2014).
"""

import keras
import numpy as np
from keras import layers, ops

from aetool.models import conv_vae
from aetool.models.training_twin import training_twin
from aetool.training.losses import PerPicture
from aetool.training.optimizers import make_optimizer
from aetool.training.regime import Regime, Sharing, Stepper, Variables, means, numbered, seeds
from aetool.training.settings import Settings


class Sampling(layers.Layer):
    """A draw from each Gaussian: mean + exp(log_var / 2) * epsilon, in validation too.

    The evidence lower bound is an expectation over such draws; at the mean alone it would come out
    too high. Float32 whatever the policy.

    Args:
        seed: of the draws.
    """

    def __init__(self, seed: int):
        super().__init__(dtype="float32", name="sampling")
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        mean, log_var = inputs
        epsilon = keras.random.normal(ops.shape(mean), dtype="float32", seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_var) * epsilon


def divergence(truth, gaussians):
    """Kullback-Leibler divergence in nats from the standard Gaussian, summed over dimensions.

    Args:
        truth: ignored.
        gaussians: (n, 2 d), means then logarithms of variances.

    Returns:
        (n,).
    """
    mean, log_var = ops.split(gaussians, 2, axis=-1)
    return 0.5 * ops.sum(ops.exp(log_var) + ops.square(mean) - 1 - log_var, axis=-1)


class Variational(Regime):
    """The negative evidence lower bound of a conv-vae.

    The saved graph decodes the mean; here a draw stands between its two halves.

    Args:
        model: built under the dtype policy to train in.
        settings: optimizer, learning rate, seed; `loss_weights["divergence"]` is 1 for the bound.
        loss: of the reconstruction, in nats a picture.
    """

    def __init__(self, model: keras.Model, settings: Settings, loss):
        self.model = model
        self.optimizer = make_optimizer(settings)
        gaussians = training_twin(conv_vae.encoder(model))(model.input)
        point = Sampling(settings.seed)(gaussians)  # (n, latent_dim)
        outputs = {
            "reconstruction": training_twin(conv_vae.decoder(model))(point),
            "divergence": layers.Concatenate(dtype="float32", name="gaussians")(gaussians),
        }
        self._sampled = keras.Model(model.input, outputs, name="sampled")
        self._sampled.compile(
            optimizer=self.optimizer,
            loss={"reconstruction": PerPicture(loss), "divergence": PerPicture(divergence)},
            loss_weights={"reconstruction": 1.0, **settings.loss_weights},
        )
        self.optimizer.build(self._sampled.trainable_variables)
        self._steps: Stepper = self._sampled

    def share(self, stepper: Sharing) -> None:
        self._steps = stepper(self._sampled)

    def train_batch(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        return means(self._steps.train_on_batch(x, _targets(y), return_dict=True))

    def test_batch(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        return means(self._steps.test_on_batch(x, _targets(y), return_dict=True))

    def variables(self) -> Variables:
        yield from numbered("optimizer", self.optimizer.variables)
        yield from numbered("seeds", seeds(self._sampled))


def _targets(y: np.ndarray) -> dict[str, np.ndarray]:
    return {"reconstruction": y, "divergence": np.zeros((len(y), 1), np.float32)}
