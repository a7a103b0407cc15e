"""A training that is stopped in the middle and resumed."""

from pathlib import Path

import numpy as np
import pytest

from aetool.errors import Interrupted
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.plan import Plan
from aetool.tasks.train import train_model
from aetool.training import loop


def train_in_pieces(source: str, output: Path, plan: Plan, *stops: int, **options) -> None:
    """Train, stopped after each number of steps in all as by a signal, and resumed each time."""
    original, wanted, done = loop.run, 0, 0

    def run(learner, batches, validation, settings, state, hooks):
        def stop():
            nonlocal done
            done += 1
            return 15 if done in (wanted, wanted + 1) else 0

        stopping = loop.Hooks(step=hooks.step, epoch=hooks.epoch, save=hooks.save, stop=stop)
        return original(learner, batches, validation, settings, state, stopping)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "run", run)
        for steps in stops:
            wanted, done = steps, 0
            with pytest.raises(Interrupted):
                train_model(source, output, plan, resume=True, **options)
    train_model(source, output, plan, resume=True, **options)


def assert_same_training(one: Path, other: Path) -> None:
    """Two checkpoints hold the same weights and the same history, to the last bit."""
    first, second = read_checkpoint(one), read_checkpoint(other)
    for layer, variables in first.weights.items():
        for name, array in variables.items():
            np.testing.assert_array_equal(second.weights[layer][name], array, err_msg=name)
    history = [name for name in first.arrays if name.startswith("history/")]
    assert history and history == [n for n in second.arrays if n.startswith("history/")]
    for name in history:
        np.testing.assert_array_equal(second.arrays[name], first.arrays[name], err_msg=name)
