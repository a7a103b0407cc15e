"""Learning layer by layer, then as a whole: the stacked autoencoder.

Bengio, Lamblin, Popovici and Larochelle, "Greedy Layer-Wise Training of Deep Networks" (2007).
"""

from collections.abc import Sequence

import keras
import numpy as np

from aetool.models.stacked_ae import copy_stages, spread
from aetool.training.losses import mse
from aetool.training.reconstruction import Reconstruction
from aetool.training.regime import Regime, Sharing, Variables, numbered
from aetool.training.settings import Settings


class Greedy(Regime):
    """Stage k learns to rebuild what the levels before it give; then the whole model learns.

    A stage's weights go into the whole model when the next one begins, whose input they make from
    then on.

    Args:
        model: the whole, built under the dtype policy to train in.
        stages: each level and its mirror, the finest first, built under the same; empty to train
            the whole at once.
        settings: optimizer, learning rate.
        loss: of whatever rebuilds the picture, which is stage 1 and the whole. Later stages rebuild
            features of any range, by squared error.
    """

    def __init__(self, model: keras.Model, stages: Sequence[keras.Model], settings: Settings, loss):
        self.model = model
        self._whole = Reconstruction(model, settings, loss)
        self._stages = [
            Reconstruction(stage, settings, mse if level else loss)
            for level, stage in enumerate(stages)
        ]
        self._features = [
            keras.Model(model.input, model.get_layer(f"encoder{level}_pool").output)
            for level in range(1, len(stages))
        ]
        self._stage = 0

    def share(self, stepper: Sharing) -> None:
        for learner in (self._whole, *self._stages):
            learner.share(stepper)

    @property
    def _learner(self) -> Reconstruction:
        return self._stages[self._stage - 1] if self._stage else self._whole

    @property
    def optimizer(self) -> keras.optimizers.Optimizer:
        return self._learner.optimizer

    def start_from(self, weights) -> None:
        super().start_from(weights)
        # A stage begins with what the whole has of it, or its own beginning would replace that.
        for learner in self._stages:
            spread(self.model, learner.model)

    def enter_stage(self, stage: int) -> None:
        if self._stage and stage != self._stage:
            copy_stages(self.model, [self._learner.model])
        self._stage = stage

    def train_batch(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        return self._learner.train_batch(*self._given(x, y))

    def test_batch(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        return self._learner.test_batch(*self._given(x, y))

    def _given(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(input, target) of the stage in hand."""
        if not self._stage or self._stage == 1:
            return x, y
        features = self._features[self._stage - 2].predict_on_batch(x)
        features = np.asarray(features, np.float32)
        return features, features

    def models(self) -> tuple[keras.Model, ...]:
        return (self.model, self._learner.model)

    def state(self) -> dict[str, np.ndarray]:
        return {"stage": np.array(self._stage), **super().state()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        self._stage = int(state["stage"])
        super().load_state(state)

    def variables(self) -> Variables:
        yield from self._learner.variables()
        if self._stage:
            yield from numbered("weights", self._learner.model.weights)
