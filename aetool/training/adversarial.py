"""Learning against a discriminator: the conditional GAN of pix2pix.

Isola, Zhu, Zhou and Efros, "Image-to-Image Translation with Conditional Adversarial Networks"
(2017).
"""

import keras
import numpy as np
from keras import layers, ops

from aetool.models.training_twin import training_twin
from aetool.training.losses import PerPicture
from aetool.training.optimizers import make_optimizer
from aetool.training.regime import Regime, Sharing, Stepper, Variables, means, numbered, seeds
from aetool.training.settings import Settings


class StopGradient(layers.Layer):
    """The identity, through which nothing is learnt."""

    def call(self, inputs):
        return ops.stop_gradient(inputs)


class PartlyTrained(keras.Model):
    """A graph through several models that trains the variables of one.

    Keras's own switch, `layer.trainable`, would also turn batch normalisation to its moving
    averages, where a discriminator must judge both pictures by the statistics of their batch.
    """

    def learn(self, part: keras.Model) -> None:
        """Train the variables of `part`, a model within this one, and no others."""
        self._learnt = {id(variable) for variable in learnable(part)}

    @property
    def trainable_variables(self):
        return [v for v in self.variables if id(v) in self._learnt]

    @property
    def non_trainable_variables(self):
        return [v for v in self.variables if id(v) not in self._learnt]

    @property
    def trainable_weights(self):
        return [v for v in self.weights if id(v) in self._learnt]

    @property
    def non_trainable_weights(self):
        return [v for v in self.weights if id(v) not in self._learnt]


def learnable(model: keras.Model) -> list[keras.Variable]:
    """The trainable variables of a model, but for the biases that batch normalisation takes away.

    What follows a bias there subtracts the mean, so that its gradient is zero: computed, it is
    rounding, which an optimizer that divides by the size of the gradients makes whole steps of.
    """
    producers = {id(layer.output): layer for layer in model.layers}
    normalised = [
        producers[id(layer.input)]
        for layer in model.layers
        if isinstance(layer, layers.BatchNormalization)
    ]
    idle = {id(layer.bias) for layer in normalised}
    return [variable for variable in model.trainable_variables if id(variable) not in idle]


def real(truth, logits):
    """How far verdicts (n, h, w, 1) are from "real": cross-entropy in nats, mean, (n,)."""
    return ops.mean(ops.softplus(-logits), axis=(1, 2, 3))


def fake(truth, logits):
    """How far verdicts (n, h, w, 1) are from "fake": cross-entropy in nats, mean, (n,)."""
    return ops.mean(ops.softplus(logits), axis=(1, 2, 3))


class Adversarial(Regime):
    """A generator and the discriminator that tells its pictures from real ones.

    A step teaches the discriminator first, then the generator: to be taken for real, and to come
    near the target. As in the paper the discriminator learns half as fast: its loss is the mean
    over the real and the generated picture.

    Values: `loss`, of the generator, with its terms `adversarial` and `reconstruction`; and
    `discriminator`, its own loss, ln 2 = 0.693 where it cannot tell.

    Args:
        model: the generator, built under the dtype policy to train in.
        discriminator: a model of [source, target] to logits, built under the same.
        settings: optimizer, learning rate; `loss_weights` of "adversarial" and "reconstruction".
        loss: of the reconstruction.
    """

    def __init__(self, model: keras.Model, discriminator: keras.Model, settings: Settings, loss):
        self.model = model
        self.discriminator = discriminator
        self.optimizer = make_optimizer(settings)
        self._judge_optimizer = make_optimizer(settings)
        source, target = (layers.Input(x.shape[1:], name=x.name) for x in discriminator.inputs)
        generated, judge = training_twin(model)(source), training_twin(discriminator)

        self._generator_step = PartlyTrained(
            source,
            {"reconstruction": generated, "adversarial": judge([source, generated])},
            name="generator_step",
        )
        self._generator_step.learn(model)
        self._generator_step.compile(
            optimizer=self.optimizer,
            loss={"reconstruction": PerPicture(loss), "adversarial": PerPicture(real)},
            loss_weights=dict(settings.loss_weights),
        )
        self.optimizer.build(learnable(model))

        judged = StopGradient(name="generated")(generated)
        self._judge_step = PartlyTrained(
            [source, target],
            {"real": judge([source, target]), "fake": judge([source, judged])},
            name="discriminator_step",
        )
        self._judge_step.learn(discriminator)
        self._judge_step.compile(
            optimizer=self._judge_optimizer,
            loss={"real": PerPicture(real), "fake": PerPicture(fake)},
            loss_weights={"real": 0.5, "fake": 0.5},
        )
        self._judge_optimizer.build(learnable(discriminator))
        self._generator_steps: Stepper = self._generator_step
        self._judge_steps: Stepper = self._judge_step

    def share(self, stepper: Sharing) -> None:
        self._generator_steps = stepper(self._generator_step)
        self._judge_steps = stepper(self._judge_step)

    def set_rate(self, rate: float) -> None:
        self.optimizer.learning_rate.assign(rate)
        self._judge_optimizer.learning_rate.assign(rate)

    def train_batch(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        none = _nothing(x)
        judged = self._judge_steps.train_on_batch(
            [x, y], {"real": none, "fake": none}, return_dict=True
        )
        logs = self._generator_steps.train_on_batch(
            x, {"reconstruction": y, "adversarial": none}, return_dict=True
        )
        return means(logs) | {"discriminator": float(judged["loss"])}

    def test_batch(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        none = _nothing(x)
        judged = self._judge_steps.test_on_batch(
            [x, y], {"real": none, "fake": none}, return_dict=True
        )
        logs = self._generator_steps.test_on_batch(
            x, {"reconstruction": y, "adversarial": none}, return_dict=True
        )
        return means(logs) | {"discriminator": float(judged["loss"])}

    def models(self) -> tuple[keras.Model, ...]:
        return self.model, self.discriminator

    def variables(self) -> Variables:
        yield from super().variables()
        yield from numbered("discriminator/optimizer", self._judge_optimizer.variables)
        yield from numbered("discriminator/weights", self.discriminator.weights)
        yield from numbered("discriminator/seeds", seeds(self.discriminator))


def _nothing(x: np.ndarray) -> np.ndarray:
    """In place of the truth, for losses that know it."""
    return np.zeros((len(x), 1, 1, 1), np.float32)
