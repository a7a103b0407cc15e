"""A training that is stopped in the middle and resumed."""

from pathlib import Path

import numpy as np
import pytest

from aetool.errors import Interrupted
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.plan import Plan
from aetool.tasks.train import train_model
from aetool.training import loop


def train_in_pieces(
    source: str, output: Path, plan: Plan, *stops: int, measured: int = 0, **options
) -> None:
    """Train, stopped after each number of steps in all as by a signal, and resumed each time.

    With `measured` a stop comes that many validation batches later.
    """
    original, wanted, done, batches_measured = loop.run, 0, 0, 0

    def run(learner, batches, validation, settings, state, hooks):
        def step(*place):
            nonlocal done, batches_measured
            done, batches_measured = done + 1, 0
            hooks.step(*place)

        def stop():
            return 15 if done == wanted and batches_measured >= measured else 0

        def test_batch(x, y):
            nonlocal batches_measured
            batches_measured += 1
            return test(x, y)

        test, learner.test_batch = learner.test_batch, test_batch
        stopping = loop.Hooks(step=step, epoch=hooks.epoch, save=hooks.save, stop=stop)
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
