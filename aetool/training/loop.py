"""The epochs: steps, validation, early stopping, and a state that can be put away at any step."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np

from aetool.errors import TrainingError
from aetool.training.batches import Batches
from aetool.training.optimizers import scheduled_rate
from aetool.training.settings import Settings


@dataclass(slots=True)
class RunState:
    """Where a run stands.

    Args:
        epoch: epochs done.
        step: steps done of the epoch in hand.
        history: a value an epoch for each metric.
        best: the lowest validation (or training) loss so far, with early stopping.
        best_epoch: the epoch it was reached in, counted from 1.
        best_weights: {variable path: array} of that epoch.
        stopped_early: whether patience ran out.
    """

    epoch: int = 0
    step: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    best: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, np.ndarray] | None = None
    stopped_early: bool = False

    def finished(self, settings: Settings) -> bool:
        return self.epoch >= settings.epochs or self.stopped_early


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a run calls out to.

    Args:
        step: (epoch from 0, steps done, steps an epoch, the epoch's means so far).
        epoch: (state), after each epoch's validation.
        save: (state), when the state is worth keeping.
        stop: gives a signal's number when the run should end after this step, else 0.
    """

    step: Callable[[int, int, int, dict[str, float]], None] = lambda *_: None
    epoch: Callable[[RunState], None] = lambda _: None
    save: Callable[[RunState], None] = lambda _: None
    stop: Callable[[], int] = lambda: 0


def run(
    learner,
    batches: Batches,
    validation: Batches | None,
    settings: Settings,
    state: RunState,
    hooks: Hooks,
) -> int:
    """Train until the epochs are done, patience runs out or a signal comes.

    Args:
        learner: `start_epoch`, `set_rate`, `train_batch`, `test_batch`, `model`.
        state: changed in place.

    Returns:
        0 when finished, or the signal's number after the state was saved.

    Raises:
        TrainingError: when the loss is not a number; the last saved state stays as it was.
    """
    steps = len(batches)
    while not state.finished(settings):
        if state.step == 0:
            learner.start_epoch()
        logs = {}
        for x, y in batches.epoch(state.epoch, state.step):
            done = state.epoch * steps + state.step
            learner.set_rate(
                scheduled_rate(
                    settings.schedule, settings.learning_rate, done, settings.epochs * steps
                )
            )
            logs = learner.train_batch(x, y)
            if not math.isfinite(logs["loss"]):
                raise TrainingError(
                    f"the loss is {logs['loss']} in epoch {state.epoch + 1}, step {state.step + 1}",
                    "a lower --learning-rate or --precision float32 may help",
                )
            state.step += 1
            hooks.step(state.epoch, state.step, steps, logs)
            if state.step < steps and hooks.stop():
                hooks.save(state)
                return hooks.stop()
        if validation is not None:
            learner.start_epoch()
            held_out = {}
            for x, y in validation.epoch(0):
                held_out = learner.test_batch(x, y)
            logs |= {f"val_{name}": value for name, value in held_out.items()}
        for name, value in logs.items():
            state.history.setdefault(name, []).append(value)
        state.epoch += 1
        state.step = 0
        if settings.patience is not None:
            _watch(learner, settings, state)
        hooks.epoch(state)
        hooks.save(state)
        if hooks.stop() and not state.finished(settings):
            return hooks.stop()
    return 0


def _watch(learner, settings: Settings, state: RunState) -> None:
    """Early stopping: keep the weights of the best epoch, give up after `patience` worse ones."""
    watched = state.history.get("val_loss", state.history["loss"])[-1]
    if watched < state.best:
        state.best, state.best_epoch = watched, state.epoch
        state.best_weights = {
            v.path: keras.ops.convert_to_numpy(v.value) for v in learner.model.variables
        }
    elif state.epoch - state.best_epoch >= settings.patience:
        state.stopped_early = True
