"""The greedy regime: stage after stage, then the whole, and a resume that knows which."""

import keras
import numpy as np
import pytest
from interrupted import assert_same_training, train_in_pieces

from aetool.errors import TrainingError, UsageError
from aetool.models import stacked_ae
from aetool.models.build import build_model
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.plan import make_plan
from aetool.tasks.train import running_path, train_model
from aetool.training.greedy import Greedy
from aetool.training.losses import binary_crossentropy
from aetool.training.settings import Phase, Settings

SMALL = {"widths": (4, 6), "kernels": (5, 3)}
X = np.random.default_rng(0).random((6, 8, 8, 1), np.float32)


def plan(**options):
    given = {"epochs": 2, "batch_size": 900, "precision": "float32", "stages": (1, 2)} | options
    return make_plan(model="stacked-ae", arguments=SMALL, **given)


def regime():
    arguments = {"size": (8, 8), "channels": 1, **SMALL}
    stages = [stacked_ae.stage(level, **arguments) for level in (1, 2)]
    model = build_model({"name": "stacked-ae", **arguments})
    return Greedy(model, stages, Settings(stages=(1, 1)), binary_crossentropy), stages


def test_epochs_belong_to_phases_with_their_own_rate():
    settings = Settings(epochs=4, stages=(2, 3), stage_rates=(0.1, 0.2), learning_rate=0.3)
    assert settings.total_epochs == 9
    assert settings.phase(0) == settings.phase(1) == Phase(1, 0, 2, 0.1)
    assert settings.phase(2) == settings.phase(4) == Phase(2, 2, 3, 0.2)
    assert settings.phase(5) == settings.phase(8) == Phase(0, 5, 4, 0.3)
    assert Settings(epochs=3).phase(2) == Phase(0, 0, 3, 1e-3)


def test_each_stage_learns_alone_and_is_copied_when_the_next_begins():
    learner, stages = regime()
    before = learner.weights()
    learner.enter_stage(1)
    learner.train_batch(X, X)
    unchanged = learner.weights()
    for name, array in before.items():
        np.testing.assert_array_equal(unchanged[name], array)
    learner.enter_stage(2)
    kernel = np.asarray(stages[0].get_layer("encoder1_conv").kernel)
    np.testing.assert_array_equal(learner.weights()["encoder1_conv/kernel"], kernel)
    second = learner.weights()["encoder2_conv/kernel"]
    np.testing.assert_array_equal(second, before["encoder2_conv/kernel"])
    learner.train_batch(X, X)
    learner.enter_stage(0)
    kernel = np.asarray(stages[1].get_layer("encoder2_conv").kernel)
    np.testing.assert_array_equal(learner.weights()["encoder2_conv/kernel"], kernel)


def test_the_second_stage_rebuilds_what_the_first_gives():
    learner, stages = regime()
    learner.enter_stage(1)
    learner.train_batch(X, X)
    learner.enter_stage(2)
    pooled = stages[0].get_layer("encoder1_pool").output
    features = np.asarray(keras.Model(stages[0].input, pooled)(X))
    rebuilt = np.asarray(stages[1](features))
    expected = ((rebuilt - features) ** 2).mean()
    assert learner.test_batch(X, X)["loss"] == pytest.approx(expected, rel=1e-4)


def test_a_stage_keeps_its_own_history(tmp_path):
    result = train_model("sklearn:digits", tmp_path / "m.h5", plan())
    assert result.epochs == 1 + 2 + 2
    arrays = read_checkpoint(tmp_path / "m.h5").arrays
    lengths = {n.removeprefix("history/"): len(v) for n, v in arrays.items() if "history" in n}
    assert lengths == {
        "stage1_loss": 1, "val_stage1_loss": 1, "stage2_loss": 2, "val_stage2_loss": 2,
        "loss": 2, "val_loss": 2,
    }  # fmt: skip
    assert result.metrics["loss"] == pytest.approx(arrays["history/loss"][-1])
    assert set(result.metrics) == {"loss", "val_loss"}


def test_the_whole_can_be_trained_at_once(tmp_path):
    result = train_model("sklearn:digits", tmp_path / "m.h5", plan(stages=(), epochs=1))
    assert result.epochs == 1
    assert not any("stage" in name for name in read_checkpoint(tmp_path / "m.h5").arrays)


def test_early_stopping_watches_the_whole_alone(tmp_path):
    impatient = plan(epochs=20, patience=1, learning_rate=0.5, stages=(2, 2))
    result = train_model("sklearn:digits", tmp_path / "m.h5", impatient)
    checkpoint = read_checkpoint(tmp_path / "m.h5")
    losses = checkpoint.arrays["history/val_loss"]
    assert result.epochs == 4 + len(losses) < 24
    assert result.metrics["val_loss"] == pytest.approx(losses.min())


def test_stages_begin_with_the_weights_that_are_given(tmp_path):
    given, output = tmp_path / "given.h5", tmp_path / "m.h5"
    train_model("sklearn:digits", given, plan(epochs=0, seed=7))
    train_model("sklearn:digits", output, plan(learning_rate=1e-9), init=given)
    for layer, variables in read_checkpoint(given).weights.items():
        for name, array in variables.items():
            learnt = read_checkpoint(output).weights[layer][name]
            np.testing.assert_allclose(learnt, array, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("stops", [(1,), (3,), (5, 2), (9,)])
def test_interrupted_in_any_stage_equals_uninterrupted(tmp_path, stops, whole):
    output = tmp_path / "cut.h5"
    train_in_pieces("sklearn:digits", output, plan(), *stops)
    assert_same_training(whole, output)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("greedy") / "whole.h5"
    train_model("sklearn:digits", path, plan())
    return path


def test_stages_that_had_not_begun_when_it_was_interrupted_begin_with_what_was_given(tmp_path):
    given, uncut, cut = (tmp_path / f"{name}.h5" for name in ("given", "uncut", "cut"))
    train_model("sklearn:digits", given, plan(epochs=0, seed=7))
    train_model("sklearn:digits", uncut, plan(), init=given)
    train_in_pieces("sklearn:digits", cut, plan(), 1, init=given)
    assert_same_training(uncut, cut)


def test_more_epochs_are_the_whole_models(tmp_path, whole):
    for file in (whole, running_path(whole)):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    result = train_model("sklearn:digits", tmp_path / whole.name, plan(epochs=3), resume=True)
    assert result.epochs == 6
    again = train_model("sklearn:digits", tmp_path / whole.name, plan(epochs=3), resume=True)
    assert again.seconds == 0


def test_stages_that_follow_from_the_epochs_do_not_grow_with_them(tmp_path):
    output = tmp_path / "m.h5"
    train_model("sklearn:digits", output, plan(epochs=1, stages=None))
    for epochs in (2, 2, 3):
        longer = plan(epochs=epochs, stages=None)
        result = train_model("sklearn:digits", output, longer, resume=True)
        assert result.epochs == 1 + 1 + epochs
    with pytest.raises(TrainingError, match="stages"):
        train_model("sklearn:digits", output, plan(epochs=4, stages=(3,)), resume=True)


def test_stages_are_checked_and_filled_in():
    assert make_plan(model="stacked-ae").settings.stages == (20,) * 4
    assert make_plan(model="stacked-ae", stages=(5,)).settings.stages == (5,) * 4
    assert make_plan(recipe="stacked-ae").settings.stages == (100,) * 4
    assert make_plan(recipe="stacked-ae", epochs=0).settings.total_epochs == 0
    with pytest.raises(UsageError, match="does not suit a model of 4 levels"):
        make_plan(model="stacked-ae", stages=(5, 5))
    with pytest.raises(UsageError, match="does not learn in stages"):
        make_plan(model="conv-ae", stages=(5,))
    for model, stages in (("conv-ae", None), ("stacked-ae", ())):
        with pytest.raises(UsageError, match="--stage-rates belong to stages"):
            make_plan(model=model, stages=stages, stage_rates=(0.1,))
    assert make_plan(recipe="stacked-ae", stages=()).settings.stage_rates == ()
    assert make_plan(recipe="stacked-ae", epochs=0).settings.stage_rates == ()
    with pytest.raises(UsageError, match="stage-rates"):
        make_plan(model="stacked-ae", stage_rates=(0.1,))
