"""Training by the real command: what it writes, refuses, resumes and shows."""

import json
import os
import shutil

import h5py
import numpy as np
import pytest
from interrupted import assert_same_training, train_in_pieces
from PIL import Image

from aetool.cli.app import run
from aetool.errors import TrainingError, UsageError
from aetool.images.source import open_source
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.plan import difference, make_plan, parse_arguments, parse_size, parse_skips
from aetool.tasks.train import running_path, split, train_model
from aetool.tasks.training_log import epoch_rows
from aetool.training.state import RunState, pack, unpack


def train(output, *options, source="sklearn:digits"):
    return run(["train", source, "-o", str(output), "--quiet", *options])


def tiny(**options):
    defaults = {"epochs": 2, "batch_size": 256, "precision": "float32"}
    return make_plan(model="conv-ae", arguments={"widths": (4, 2)}, **(defaults | options))


def weights(path):
    stored = read_checkpoint(path).weights
    return np.concatenate([a.ravel() for layer in stored.values() for a in layer.values()])


def test_training_learns_and_describes_itself(tmp_path, capsys):
    assert train(tmp_path / "m.h5", "--epochs", "3", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["parameters"] == 4385 and result["epochs"] == 3 and result["failed"] == []
    checkpoint = read_checkpoint(tmp_path / "m.h5")
    losses = checkpoint.arrays["history/loss"]
    assert losses.shape == (3,) and losses[2] < losses[0]
    assert result["metrics"]["loss"] == pytest.approx(losses[2])
    metadata = checkpoint.metadata
    assert metadata["model"]["name"] == "conv-ae" and metadata["task"] == "reconstruct"
    assert metadata["preprocessing"]["size"] == [8, 8]
    assert metadata["classes"] == [str(digit) for digit in range(10)]
    assert metadata["training"]["epochs_done"] == 3
    assert set(metadata["training"]["versions"]) == {
        "aetool", "keras", "backend", "tensorflow", "python",
    }  # fmt: skip


def test_held_out_normals_calibrate_the_model(tmp_path):
    train_model("sklearn:digits", tmp_path / "m.h5", tiny(validation="0.2"))
    checkpoint = read_checkpoint(tmp_path / "m.h5")
    scores = checkpoint.arrays["calibration/scores/combined"]
    assert len(scores) == round(0.2 * 1797) == checkpoint.metadata["calibration"]["count"]
    assert (np.diff(scores) >= 0).all()
    threshold = checkpoint.metadata["calibration"]["threshold"]
    assert np.mean(scores > threshold) <= 0.01


def test_the_loss_of_an_epoch_is_the_mean_over_all_its_pictures(tmp_path):
    # At a rate of nearly nothing every epoch's mean is the untrained model's, whatever the batches.
    losses = []
    for batch_size in (1617, 100):
        plan = tiny(epochs=1, batch_size=batch_size, learning_rate=1e-12, optimizer="sgd")
        result = train_model("sklearn:digits", tmp_path / f"{batch_size}.h5", plan)
        losses.append((result.metrics["loss"], result.metrics["val_loss"]))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_zero_epochs_write_an_untrained_model(tmp_path, capsys):
    options = ("--model", "unet", "--epochs", "0", "--json", "--set", "widths=4,8", "--set")
    assert train(tmp_path / "m.h5", *options, "middle=8") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["epochs"] == 0 and result["metrics"] == {}


def test_an_existing_model_is_not_replaced(tmp_path, capsys):
    output = tmp_path / "m.h5"
    train_model("sklearn:digits", output, tiny(epochs=0))
    before = output.read_bytes()
    assert train(output, "--epochs", "0") == 1
    assert "--overwrite" in capsys.readouterr().err
    assert output.read_bytes() == before
    assert train(output, "--epochs", "0", "--overwrite") == 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, precision):
    plan = tiny(epochs=3, augment=("shift", "brightness"), precision=precision)
    train_model("sklearn:digits", tmp_path / "whole.h5", plan)

    # Stop in the middle of the second epoch (7 steps each), as a signal would.
    from aetool.errors import Interrupted
    from aetool.training import loop

    steps = 0
    original = loop.run

    def stopping(learner, batches, validation, settings, state, hooks):
        def stop():
            nonlocal steps
            steps += 1
            return 15 if steps == 11 or steps == 12 else 0

        return original(
            learner, batches, validation, settings, state,
            loop.Hooks(step=hooks.step, epoch=hooks.epoch, save=hooks.save, stop=stop),
        )  # fmt: skip

    monkeypatch.setattr(loop, "run", stopping)
    with pytest.raises(Interrupted) as interrupted:
        train_model("sklearn:digits", tmp_path / "cut.h5", plan)
    assert interrupted.value.exit_status == 143
    assert not (tmp_path / "cut.h5").exists()
    state = json.loads(read_checkpoint(running_path(tmp_path / "cut.h5")).training["state"])
    assert state["epoch"] == 1 and 0 < state["step"] < 7

    monkeypatch.setattr(loop, "run", original)
    train_model("sklearn:digits", tmp_path / "cut.h5", plan, resume=True)
    np.testing.assert_array_equal(weights(tmp_path / "cut.h5"), weights(tmp_path / "whole.h5"))
    whole, cut = (read_checkpoint(tmp_path / f"{n}.h5").arrays for n in ("whole", "cut"))
    for name in ("history/loss", "history/val_loss"):
        np.testing.assert_array_equal(cut[name], whole[name])


def test_stopped_in_the_validation_of_an_epoch(tmp_path):
    plan = tiny(batch_size=32, validation="0.4", only=("3", "5"))  # 7 steps, and 5 to measure
    train_model("sklearn:digits", tmp_path / "whole.h5", plan)
    train_in_pieces("sklearn:digits", tmp_path / "cut.h5", plan, 7, measured=3)
    assert_same_training(tmp_path / "whole.h5", tmp_path / "cut.h5")


def test_resuming_at_the_short_batch_of_an_epoch_rounds_as_ever(tmp_path):
    """The graph that TensorFlow compiles must not depend on the size of the batch it meets first.

    Where it did, weights of this training differed by their last bit from its 22nd epoch on.
    """
    plan = make_plan(
        model="conv-vae", arguments={"widths": (2,)}, epochs=30, batch_size=64, only=("7",),
        augment=("shift",), precision="float32",
    )  # fmt: skip
    train_model("sklearn:digits", tmp_path / "whole.h5", plan)
    train_in_pieces("sklearn:digits", tmp_path / "cut.h5", plan, 5)
    assert_same_training(tmp_path / "whole.h5", tmp_path / "cut.h5")


def test_resume_starts_does_nothing_and_extends(tmp_path):
    output = tmp_path / "m.h5"
    assert train_model("sklearn:digits", output, tiny(), resume=True).epochs == 2
    stamp = output.stat().st_mtime_ns
    again = train_model("sklearn:digits", output, tiny(), resume=True)
    assert again.epochs == 2 and again.seconds == 0 and output.stat().st_mtime_ns == stamp
    assert train_model("sklearn:digits", output, tiny(epochs=4), resume=True).epochs == 4
    train_model("sklearn:digits", tmp_path / "whole.h5", tiny(epochs=4))
    np.testing.assert_array_equal(weights(output), weights(tmp_path / "whole.h5"))


def test_resume_refuses_other_options_and_other_pictures(tmp_path):
    output = tmp_path / "m.h5"
    train_model("sklearn:digits", output, tiny())
    with pytest.raises(TrainingError, match=r"learning_rate was 0\.001, now 0\.01"):
        train_model("sklearn:digits", output, tiny(epochs=3, learning_rate=0.01), resume=True)
    np.save(tmp_path / "other.npy", np.zeros((40, 8, 8), np.uint8))
    with pytest.raises(TrainingError, match="pictures are others"):
        train_model(str(tmp_path / "other.npy"), output, tiny(epochs=3), resume=True)


def test_a_training_of_an_older_version_goes_on():
    """One that knew neither the newer options nor how long its epochs took."""
    before = tiny().options()
    for name in ("accumulate", "clip_norm", "weight_decay", "keep", "label_smoothing"):
        del before[name]
    assert difference(before, tiny().options()) is None
    assert difference(before, tiny(accumulate=4).options()) == "accumulate was 1, now 4"
    assert difference(before, tiny(keep="best").options()) == "keep was None, now 'best'"
    packed = pack(RunState(epoch=2, history={"loss": [0.5, 0.25]}), {}, {})
    document = json.loads(packed["state"])
    del document["timeline"], document["elapsed"]
    state, _ = unpack({"state": json.dumps(document)})
    state.epoch, state.history["loss"] = 3, [0.5, 0.25, 0.125]
    state.timeline.append({"learning_rate": 0.1, "seconds": 2.0, "end": 3.0})
    assert list(epoch_rows(state, tiny().settings)) == [
        {"epoch": 1, "stage": 0, "loss": 0.5},
        {"epoch": 2, "stage": 0, "loss": 0.25},
        {"epoch": 3, "stage": 0, "learning_rate": 0.1, "seconds": 2.0, "end": 3.0, "loss": 0.125},
    ]


def test_the_same_seed_gives_the_same_weights(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train_model("sklearn:digits", tmp_path / f"{name}.h5", tiny(seed=seed))
    a, b, c = (weights(tmp_path / f"{name}.h5") for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_only_trains_on_one_class(tmp_path):
    source = open_source("sklearn:digits")
    learnt, held_out = split(source, 0.25, ("7",), 0)
    assert {source.class_names[learnt.label(i)] for i in range(len(learnt))} == {"7"}
    both = {learnt.position(i) for i in range(len(learnt))} | {
        held_out.position(i) for i in range(len(held_out))
    }
    assert len(both) == len(learnt) + len(held_out) == 179
    with pytest.raises(TrainingError, match="no class 'seven'"):
        split(source, 0.1, ("seven",), 0)


def test_early_stopping_keeps_the_best_epoch(tmp_path):
    plan = tiny(epochs=30, patience=1, learning_rate=0.5, validation="0.3")
    result = train_model("sklearn:digits", tmp_path / "m.h5", plan)
    checkpoint = read_checkpoint(tmp_path / "m.h5")
    losses = checkpoint.arrays["history/val_loss"]
    assert result.epochs == len(losses) < 30
    assert result.metrics["val_loss"] == pytest.approx(losses.min())
    assert checkpoint.metadata["training"]["best_epoch"] == losses.argmin() + 1


def test_the_best_epoch_or_the_last_is_kept(tmp_path):
    """At this rate the validation loss soon rises."""
    plan = {"epochs": 6, "learning_rate": 0.5, "validation": "0.3"}
    kept = {}
    for name, options in {
        "plain": {},
        "best": {"keep": "best"},
        "stopped": {"keep": "last", "patience": 1},
    }.items():
        result = train_model("sklearn:digits", tmp_path / f"{name}.h5", tiny(**plan, **options))
        checkpoint = read_checkpoint(tmp_path / f"{name}.h5")
        losses = checkpoint.arrays["history/val_loss"]
        kept[name] = checkpoint.metadata["training"]["best_epoch"]
        assert result.metrics["val_loss"] == losses[(kept[name] or len(losses)) - 1]
        if name == "best":
            best = losses.argmin() + 1
    assert kept == {"plain": None, "best": best, "stopped": None} and best < 6
    train_model("sklearn:digits", tmp_path / "short.h5", tiny(**(plan | {"epochs": int(best)})))
    np.testing.assert_array_equal(weights(tmp_path / "best.h5"), weights(tmp_path / "short.h5"))
    assert len(losses) == best + 1


def test_a_loss_that_is_not_a_number_stops_with_the_last_state(tmp_path):
    plan = make_plan(model="conv-ae", loss="mse", epochs=4, learning_rate=1e30, optimizer="sgd",
                     precision="float32")  # fmt: skip
    with pytest.raises(TrainingError, match="the loss is"):
        train_model("sklearn:digits", tmp_path / "m.h5", plan)
    assert not (tmp_path / "m.h5").exists()


def test_init_takes_the_weights_of_another_model(tmp_path):
    train_model("sklearn:digits", tmp_path / "a.h5", tiny(epochs=1))
    train_model("sklearn:digits", tmp_path / "b.h5", tiny(epochs=0), init=tmp_path / "a.h5")
    np.testing.assert_array_equal(weights(tmp_path / "a.h5"), weights(tmp_path / "b.h5"))


def test_previews_and_curves_are_drawn(tmp_path):
    preview, plot = tmp_path / "preview", tmp_path / "curves.png"
    train_model("sklearn:digits", tmp_path / "m.h5", tiny(), preview=preview, plot=plot)
    names = sorted(path.name for path in preview.iterdir())
    assert names == ["epoch-0000.png", "epoch-0001.png", "epoch-0002.png", "preview.gif"]
    with Image.open(preview / "preview.gif") as animation:
        assert animation.n_frames == 3
    inputs, outputs = read_checkpoint(tmp_path / "m.h5").arrays["previews"]
    assert inputs.shape == outputs.shape == (8, 8, 8, 3) and inputs.std() > outputs.std() > 0
    with Image.open(plot) as curves:
        assert np.asarray(curves.convert("L")).std() > 0


def test_previews_are_those_of_this_training(tmp_path):
    """An earlier one in the same folder was longer, or drew sheets of another size."""
    preview = tmp_path / "preview"
    preview.mkdir()
    for epoch, size in ((0, 9), (1, 9), (7, 30)):
        Image.new("RGB", (size, size)).save(preview / f"epoch-{epoch:04d}.png")
    (preview / "epoch-mine.png").touch()
    train_model("sklearn:digits", tmp_path / "m.h5", tiny(epochs=1), preview=preview)
    names = sorted(path.name for path in preview.iterdir())
    assert names == ["epoch-0000.png", "epoch-0001.png", "epoch-mine.png", "preview.gif"]
    with Image.open(preview / "preview.gif") as animation:
        assert animation.n_frames == 2


@pytest.mark.parametrize("left", [10, 200])
def test_a_damaged_sheet_is_left_out_of_the_animation(tmp_path, left):
    preview, model = tmp_path / "preview", tmp_path / "m.h5"
    train_model("sklearn:digits", model, tiny(epochs=1), preview=preview)
    os.truncate(preview / "epoch-0000.png", left)
    plan = tiny(epochs=2)
    train_model("sklearn:digits", model, plan, resume=True, preview=preview)
    with Image.open(preview / "preview.gif") as animation:
        assert animation.n_frames == 2


def test_an_untrained_model_has_no_curves(tmp_path):
    train_model("sklearn:digits", tmp_path / "m.h5", tiny(epochs=0), plot=tmp_path / "c.png")
    assert (tmp_path / "m.h5").exists() and not (tmp_path / "c.png").exists()


def test_unreadable_pictures_are_left_out_and_named(tmp_path, photos):
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "broken.png").write_text("no picture")
    result = train_model(str(folder), tmp_path / "m.h5", tiny(size=(16, 16), validation="0"))
    assert [failure.path for failure in result.failed] == ["broken.png"]


@pytest.mark.parametrize("loss", ["mse-sum", "ab-crossentropy", "ab-huber"])
def test_colorizers_learn_chroma(tmp_path, photos, loss):
    small = {"widths": (4, 4), "middle": 4}
    if loss != "mse-sum":
        small |= {"stem_stride": 2, "output_stride": 4}
    plan = make_plan(model="unet", task="colorize", loss=loss, arguments=small, epochs=1,
                     size=(32, 32), batch_size=4, augment=("crop", "flip"))  # fmt: skip
    train_model(str(photos), tmp_path / "m.h5", plan, preview=tmp_path / "preview")
    checkpoint = read_checkpoint(tmp_path / "m.h5")
    output = checkpoint.metadata["output"][0]
    assert checkpoint.metadata["preprocessing"]["channels"] == 1
    if loss == "ab-crossentropy":
        assert output["decoding"] == "ab-bins" and output["temperature"] == 0.38
        assert checkpoint.arrays["ab_bins"].shape == (checkpoint.metadata["model"]["outputs"], 2)
        assert checkpoint.arrays["ab_prior"].sum() == pytest.approx(1, abs=1e-3)
    elif loss == "ab-huber":
        assert (output["name"], output["decoding"], output["scale"]) == ("ab", "ab", 100)
        assert checkpoint.metadata["model"]["outputs"] == 2
    else:
        assert output["decoding"] == "rgb" and checkpoint.metadata["model"]["outputs"] == 3


def test_a_finished_model_holds_no_training_state(tmp_path):
    train_model("sklearn:digits", tmp_path / "m.h5", tiny())
    with h5py.File(tmp_path / "m.h5") as file:
        assert "training" not in file


def test_options_are_checked_before_anything_is_read():
    with pytest.raises(UsageError, match="no augmentation 'flp'"):
        make_plan(model="conv-ae", augment=("flp",))
    with pytest.raises(UsageError, match="does not learn to colorize"):
        make_plan(model="conv-ae", task="colorize")
    for loss in ("ab-crossentropy", "ab-huber"):
        with pytest.raises(UsageError, match="needs --task colorize"):
            make_plan(model="unet", loss=loss)
    with pytest.raises(UsageError, match="no schedule 'cosin'"):
        make_plan(model="conv-ae", schedule="cosin")
    with pytest.raises(UsageError, match="between 0 and 1"):
        make_plan(model="conv-ae", validation="1.5")
    with pytest.raises(UsageError, match="no recipe 'colorzer'"):
        make_plan(recipe="colorzer")
    assert make_plan(recipe="colorizer", epochs=3).settings.epochs == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--optimizer", "adm"), "no optimizer 'adm'"),
        (("--loss", "mes"), "did you mean mse?"),
        (("--plot", "curves.foo"), "curves.foo"),
        (("--set", "widths=a"), "a value of another kind than it takes"),
    ],
)
def test_wrong_names_are_said_before_training(tmp_path, capsys, options, message):
    assert train(tmp_path / "m.h5", *options) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_model_is_no_folder_and_replaces_nothing_of_its_own_run(tmp_path, capsys):
    for folder in (tmp_path, "/", "."):
        assert train(folder) == 1
        assert "it is a folder" in capsys.readouterr().err
    output = tmp_path / "m.h5"
    assert train(output, "--log", str(output)) == 2
    assert "is given for two outputs" in capsys.readouterr().err
    pictures = tmp_path / "x.npy"
    np.save(pictures, np.zeros((9, 8, 8), np.uint8))
    before = pictures.read_bytes()
    assert train(pictures, "--overwrite", source=str(pictures)) == 2
    assert "its result would replace it" in capsys.readouterr().err
    assert pictures.read_bytes() == before


def test_pictures_a_pixel_wide_have_patches_too(tmp_path):
    train_model("sklearn:digits", tmp_path / "m.h5", tiny(epochs=1, size=(4, 1)))
    assert read_checkpoint(tmp_path / "m.h5").metadata["calibration"]["count"] > 100


def test_a_model_cannot_go_to_standard_output(capsys):
    assert run(["train", "sklearn:digits", "-o", "-", "-q"]) == 2
    assert "-o MODEL.h5" in capsys.readouterr().err


def test_an_untrained_model_can_be_trained_on(tmp_path):
    output = tmp_path / "m.h5"
    train_model("sklearn:digits", output, tiny(epochs=0))
    assert train_model("sklearn:digits", output, tiny(epochs=1), resume=True).epochs == 1


@pytest.mark.parametrize("place", ["photos", "measured"])
def test_previews_inside_a_source_are_no_pictures(tmp_path, photos, place):
    for name in ("photos", "measured"):
        shutil.copytree(photos, tmp_path / name)
    plan = tiny(epochs=1, size=(16, 16), validation=str(tmp_path / "measured"))
    preview = tmp_path / place / "preview"
    for _ in range(2):
        train_model(str(tmp_path / "photos"), tmp_path / "m.h5", plan, resume=True, preview=preview)


def test_option_texts():
    assert parse_size("96") == (96, 96) and parse_size("64x48") == (48, 64)
    assert parse_skips("all") is None and parse_skips("none") == () and parse_skips("3,1") == (1, 3)
    assert parse_arguments(["widths=4,8", "middle=16"]) == {"widths": (4, 8), "middle": 16}
    for bad in ("0", "4x", "x"):
        with pytest.raises(UsageError):
            parse_size(bad)


def test_pictures_that_are_cropped_in_training_calibrate_too(aetool, photos, tmp_path):
    """They are kept larger than the network's input."""
    words = ("train", photos, "--model", "conv-ae", "--augment", "crop", "--epochs", "1")
    done = aetool(*words, "--size", "24", "--validation", "0.4", "-o", tmp_path / "m.h5")
    assert done.status == 0, done.stderr
    assert read_checkpoint(tmp_path / "m.h5").metadata["calibration"]["count"] > 0


@pytest.mark.parametrize("option", ["--validation", "--target"])
def test_a_list_of_other_pictures_may_come_through_a_pipe(
    aetool, photos, tmp_path, monkeypatch, option
):
    """It can be read but once."""
    monkeypatch.chdir(photos)
    names = "".join(f"{path.relative_to(photos)}\n" for path in sorted(photos.rglob("*.*")))
    task = ("--model", "pix2pix", "--task", "translate") if option == "--target" else ()
    words = ("train", photos, "-o", tmp_path / "m.h5", "--size", 16, "--epochs", 0, *task)
    done = aetool(*words, option, "@-", stdin=names.encode())
    assert done.status == 0, done.stderr
