"""The epochs: steps, validation, early stopping, and a state that can be put away at any step."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from aetool.errors import TrainingError
from aetool.training.batches import Batches
from aetool.training.regime import Regime
from aetool.training.schedules import scheduled_rate
from aetool.training.settings import Phase, Settings
from aetool.training.state import Means, RunState


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a run calls out to.

    Args:
        step: (epoch from 0, steps done, steps an epoch).
        save: (state), when the state is worth keeping.
        epoch: (state, the epoch's means), after each epoch's validation and save.
        stop: gives a signal's number when the run should end after this step, else 0. A run that
            ends in the validation of an epoch begins that anew.
    """

    step: Callable[[int, int, int], None] = lambda *_: None
    save: Callable[[RunState], None] = lambda _: None
    epoch: Callable[[RunState, dict[str, float]], None] = lambda *_: None
    stop: Callable[[], int] = lambda: 0


def run(
    learner: Regime,
    batches: Batches,
    validation: Batches | None,
    settings: Settings,
    state: RunState,
    hooks: Hooks,
) -> int:
    """Train until the epochs are done, patience runs out or a signal comes.

    Args:
        learner: what learns.
        batches: to learn from.
        validation: to measure after every epoch, or None.
        settings: how long, how fast.
        state: where to go on; changed in place.
        hooks: told and asked on the way.

    Returns:
        0 when finished, or the signal's number after the state was saved.

    Raises:
        TrainingError: when the loss is not a number; the last saved state stays as it was.
    """
    steps = len(batches)
    while not state.finished(settings):
        phase = settings.phase(state.epoch)
        learner.enter_stage(phase.stage)
        started = time.monotonic() - state.elapsed
        for x, y in batches.epoch(state.epoch, state.step):
            learner.set_rate(learning_rate(settings, phase, steps, state.epoch, state.step))
            values = learner.train_batch(x, y)
            where = f"epoch {state.epoch + 1}, step {state.step + 1}"
            _check_values(values, where)
            state.means.add(values, len(x))
            state.step += 1
            hooks.step(state.epoch, state.step, steps)
            if hooks.stop():
                _check_weights(learner, where)
                return _put_away(state, started, hooks)
        _check_weights(learner, f"epoch {state.epoch + 1}")
        prefix = f"stage{phase.stage}_" if phase.stage else ""
        means = {f"{prefix}{name}": value for name, value in state.means.values().items()}
        if validation is not None:
            held_out, draws = Means(), learner.draws()
            for x, y in validation.epoch(0):
                held_out.add(learner.test_batch(x, y), len(x))
                if hooks.stop():
                    # The whole validation is done again then, by the same draws.
                    learner.take_back(draws)
                    return _put_away(state, started, hooks)
            _check_values(held_out.values(), f"the validation of epoch {state.epoch + 1}")
            means |= {f"val_{prefix}{name}": value for name, value in held_out.values().items()}
        for name, value in means.items():
            state.history.setdefault(name, []).append(value)
        seconds = time.monotonic() - started
        rate = learning_rate(settings, phase, steps, state.epoch, steps - 1)
        state.timeline.append({"learning_rate": rate, "seconds": seconds, "end": time.time()})
        state.epoch, state.step, state.means, state.elapsed = state.epoch + 1, 0, Means(), 0.0
        if not phase.stage and (settings.keeps_best or settings.patience is not None):
            _watch(learner, settings, state)
        hooks.save(state)
        hooks.epoch(state, means)
        if hooks.stop() and not state.finished(settings):
            return hooks.stop()
    return 0


def _put_away(state: RunState, started: float, hooks: Hooks) -> int:
    """Save an epoch in hand; the signal's number."""
    state.elapsed = time.monotonic() - started
    hooks.save(state)
    return hooks.stop()


def learning_rate(settings: Settings, phase: Phase, batches: int, epoch: int, batch: int) -> float:
    """That of one batch of one epoch, both counted from 0.

    Args:
        settings: the schedule, and how many batches a step has.
        phase: that the epoch belongs to.
        batches: an epoch.
        epoch: counted over all phases.
        batch: of the epoch.
    """
    done = (epoch - phase.first) * batches + batch
    return scheduled_rate(
        settings.schedule,
        phase.learning_rate,
        done // settings.accumulate,
        max(1, phase.epochs * batches // settings.accumulate),
    )


def _check_values(values: dict[str, float], where: str) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            term = "loss" if name == "loss" else f"term {name} of the loss"
            raise TrainingError(f"the {term} is {value} in {where}")


def _check_weights(learner: Regime, where: str) -> None:
    """The last step may have spoilt them, which only the next one's loss would show."""
    if not learner.finite():
        raise TrainingError(f"weights are no longer numbers after {where}")


def _watch(learner: Regime, settings: Settings, state: RunState) -> None:
    """Keep the weights of the best epoch where asked to; give up after `patience` worse ones."""
    watched = state.history.get("val_loss", state.history["loss"])[-1]
    if watched < state.best:
        state.best, state.best_epoch = watched, state.epoch
        state.best_weights = learner.weights() if settings.keeps_best else None
    elif settings.patience is not None and state.epoch - state.best_epoch >= settings.patience:
        state.stopped_early = True
