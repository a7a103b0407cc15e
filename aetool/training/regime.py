"""What every way of learning has in common: the interface that the loop drives."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import keras
import numpy as np

from aetool.models.build import layer_weights, set_weights

Variables = Iterator[tuple[str, keras.Variable]]


class Stepper(Protocol):
    """What takes the steps of a compiled model: itself, or several processes together."""

    def train_on_batch(self, x, y, *, return_dict: bool) -> dict: ...

    def test_on_batch(self, x, y, *, return_dict: bool) -> dict: ...


Sharing = Callable[[keras.Model], Stepper]


class Regime:
    """A model that learns, one step at a time.

    Attributes:
        model: what the checkpoint stores.
        optimizer: of the step in hand.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer

    def train_batch(self, x: np.ndarray, y) -> dict[str, float]:
        """One step; the batch's means by name, "loss" among them."""
        raise NotImplementedError

    def test_batch(self, x: np.ndarray, y) -> dict[str, float]:
        """The batch's means without learning from it."""
        raise NotImplementedError

    def share(self, stepper: Sharing) -> None:
        """Have what `stepper` makes of each compiled model take its steps from now on."""
        raise NotImplementedError

    def enter_stage(self, stage: int) -> None:
        """Told before every epoch: the greedy stage, from 1, or 0 for the whole model."""

    def set_rate(self, rate: float) -> None:
        self.optimizer.learning_rate.assign(rate)

    def start_from(self, weights: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Begin with these weights; FormatError where they are of another model."""
        set_weights(self.model, weights)

    def weights(self) -> dict[str, np.ndarray]:
        """{variable path: array} of everything a checkpoint stores."""
        return {
            path: array
            for layer in layer_weights(self.model).values()
            for path, array in layer.items()
        }

    def models(self) -> tuple[keras.Model, ...]:
        """All whose weights change."""
        return (self.model,)

    def finite(self) -> bool:
        """Whether every weight is a number."""
        return all(
            np.isfinite(array).all()
            for model in self.models()
            for layer in layer_weights(model).values()
            for array in layer.values()
        )

    def state(self) -> dict[str, np.ndarray]:
        """Everything but the saved weights that an exact resume needs."""
        return {
            name: keras.ops.convert_to_numpy(variable.value) for name, variable in self.variables()
        }

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Undo `state`; KeyError or ValueError when it belongs to another training."""
        for name, variable in self.variables():
            variable.assign(state[name])

    def draws(self) -> dict[str, np.ndarray]:
        """Where the random generators stand: the part of `state` that measuring changes too."""
        return {
            name: keras.ops.convert_to_numpy(variable.value)
            for name, variable in self.variables()
            if "seeds/" in name
        }

    def take_back(self, draws: dict[str, np.ndarray]) -> None:
        """Set the random generators back to where they stood."""
        for name, variable in self.variables():
            if name in draws:
                variable.assign(draws[name])

    def variables(self) -> Variables:
        """(name, variable) of each array in `state`: the optimizer's and the random seeds."""
        yield from numbered("optimizer", self.optimizer.variables)
        yield from numbered("seeds", seeds(self.model))


def seeds(model: keras.Model) -> list[keras.Variable]:
    """The states of the random generators in a model."""
    return [v for v in model.non_trainable_variables if "seed_generator" in v.path]


def numbered(name: str, variables: Iterable[keras.Variable]) -> Variables:
    """Pairs (name/0000, variable)."""
    for i, variable in enumerate(variables):
        yield f"{name}/{i:04d}", variable


def means(logs: dict[str, object]) -> dict[str, float]:
    """What Keras says of a batch, as plain numbers: the loss first, each term by its own name."""
    terms = {name.removesuffix("_loss"): float(value) for name, value in logs.items()}
    return {"loss": terms.pop("loss"), **terms}
