"""Optimizers by name, and what all of them can do to a step."""

import keras
import numpy as np
import pytest
from interrupted import assert_same_training, train_in_pieces

from aetool.errors import UsageError
from aetool.models.build import build_model
from aetool.tasks.plan import make_plan
from aetool.tasks.train import train_model
from aetool.training.losses import mse
from aetool.training.optimizers import make_optimizer
from aetool.training.reconstruction import Reconstruction
from aetool.training.settings import Settings

PICTURES = np.random.default_rng(0).random((8, 8, 8, 1), np.float32)


def test_arguments_reach_the_optimizer():
    optimizer = make_optimizer(Settings(optimizer="sgd:momentum=0.9", learning_rate=0.01))
    assert type(optimizer).__name__ == "SGD" and optimizer.momentum == 0.9
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize(
    "text",
    [
        "sdg",
        "sgd:momentum",
        "sgd:speed=1",
        "adam:beta_1=x",
        "adam:use_ema=1",
        "adam:learning_rate=0.1",
        "adam:gradient_accumulation_steps=2",
    ],
)
def test_wrong_words_are_one_usage_error(text):
    with pytest.raises(UsageError):
        make_optimizer(Settings(optimizer=text))


def learner(**settings) -> Reconstruction:
    keras.utils.set_random_seed(0)
    model = build_model({"name": "conv-ae", "size": (8, 8), "channels": 1, "widths": (4, 2)})
    return Reconstruction(model, Settings(**settings), mse)


def changes(regime: Reconstruction, *batches: np.ndarray) -> dict[str, np.ndarray]:
    """What learning from some batches adds to each weight."""
    before = regime.weights()
    for x in batches:
        regime.train_batch(x, x)
    return {name: array - before[name] for name, array in regime.weights().items()}


@pytest.mark.parametrize("optimizer", ["sgd:momentum=0.9", "adam"])
def test_accumulated_batches_equal_the_large_one(optimizer):
    options = {"optimizer": optimizer, "learning_rate": 0.01, "clip_norm": 0.02}
    large = changes(learner(**options), PICTURES, PICTURES[::-1])
    parts = [PICTURES[:4], PICTURES[4:], PICTURES[7:3:-1], PICTURES[3::-1]]
    waiting = learner(**options, accumulate=2)
    assert not any(change.any() for change in changes(waiting, parts[0]).values())
    small = changes(waiting, *parts[1:])
    for name, change in large.items():
        assert np.abs(change).max() > 0
        np.testing.assert_allclose(small[name], change, rtol=2e-3, atol=2e-6, err_msg=name)


def test_gradients_are_shortened_as_one_vector():
    free = changes(learner(optimizer="sgd", learning_rate=1.0), PICTURES)
    short = changes(learner(optimizer="sgd", learning_rate=1.0, clip_norm=1e-3), PICTURES)
    length = np.sqrt(sum((change**2).sum() for change in short.values()))
    assert length == pytest.approx(1e-3, rel=1e-3)
    ratios = [np.abs(short[name]).max() / np.abs(free[name]).max() for name in free]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-2)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weight_decay_shrinks_kernels_and_nothing_else(optimizer):
    options = {"optimizer": optimizer, "learning_rate": 0.1}
    plain, decayed = learner(**options), learner(**options, weight_decay=0.3)
    before = plain.weights()
    without, with_decay = changes(plain, PICTURES), changes(decayed, PICTURES)
    for name, change in with_decay.items():
        share = 0.03 if name.endswith("kernel") else 0
        np.testing.assert_allclose(change, without[name] - share * before[name], atol=1e-6)


def test_one_thing_is_asked_for_once():
    with pytest.raises(UsageError, match="weight_decay is an option of its own as well"):
        make_optimizer(Settings(optimizer="adamw:weight_decay=0.1", weight_decay=0.2))


FAMILIES = {
    "conv-vae": {"arguments": {"widths": (2,)}},
    "pix2pix": {"arguments": {"width": 2}, "edges": True, "size": (8, 8), "patch": 7},
    "stacked-ae": {"arguments": {"widths": (2, 3), "kernels": (3, 3)}, "stages": (1, 1)},
}


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=[pytest.mark.slow] * (f == "pix2pix")) for f in FAMILIES]
)
def test_a_step_half_accumulated_is_resumed_to_the_last_bit(tmp_path, family):
    """Three batches a step and seven an epoch: the stop falls between two steps."""
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "few.npz",
        x=random.integers(0, 256, (27, 8, 8, 3), np.uint8),
        y=np.arange(27) % 2,
    )
    plan = make_plan(
        model=family, epochs=2, batch_size=4, precision="float32", validation="0", accumulate=3,
        clip_norm=0.5, weight_decay=0.01, schedule="cosine", **FAMILIES[family],
    )  # fmt: skip
    train_model(str(tmp_path / "few.npz"), tmp_path / "whole.h5", plan)
    train_in_pieces(str(tmp_path / "few.npz"), tmp_path / "cut.h5", plan, 5)
    assert_same_training(tmp_path / "whole.h5", tmp_path / "cut.h5")
