"""Trainings asked for in ways that cannot be meant, or gone on with by other pictures."""

import os
import signal

import numpy as np
import pytest
from interrupted import assert_same_training
from PIL import Image

from aetool.errors import Interrupted, OutputError, TrainingError, UsageError
from aetool.images.source import open_source
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.plan import make_plan
from aetool.tasks.train import Listeners, split, train_model


def tiny(**options):
    given = {"epochs": 1, "batch_size": 64, "precision": "float32", "only": ("3", "5")}
    return make_plan(model="conv-ae", arguments={"widths": (2,)}, **(given | options))


def pictures(folder, count, *, side=8, seed=0, name="{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (count, side, side), np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / name.format(i))
    return folder


def test_a_training_that_patience_ended_is_not_gone_on_with(tmp_path):
    """Where only the model is missing, it is written as it would have been."""
    impatient = tiny(epochs=30, learning_rate=0.1, patience=1, loss="mse", seed=1)
    whole, output = tmp_path / "whole.h5", tmp_path / "m.h5"
    for path in (whole, output):
        epochs = train_model("sklearn:digits", path, impatient).epochs
    assert 1 < epochs < 30
    output.unlink()
    assert train_model("sklearn:digits", output, impatient, resume=True).epochs == epochs
    assert_same_training(whole, output)


def test_other_pictures_to_measure_on_are_other_pictures(tmp_path):
    measured = tmp_path / "measured.npy"
    np.save(measured, np.zeros((40, 8, 8), np.uint8))
    plan = {"validation": str(measured), "only": ()}
    train_model("sklearn:digits", tmp_path / "m.h5", tiny(**plan))
    np.save(measured, np.zeros((10, 8, 8), np.uint8))
    with pytest.raises(TrainingError, match="the pictures are others"):
        train_model("sklearn:digits", tmp_path / "m.h5", tiny(**plan, epochs=2), resume=True)


def test_a_picture_that_can_no_longer_be_read_is_noticed(tmp_path):
    """Without it the order of all others would be another."""
    folder = pictures(tmp_path / "photos", 12)
    pictures(folder, 4, side=20, name="large{}.png")
    plan = tiny(only=(), size=(8, 8), batch_size=2, validation="0", epochs=2)
    listeners = Listeners(step=lambda done, _: done == 6 and os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        train_model(str(folder), tmp_path / "m.h5", plan, listeners=listeners)
    with pytest.raises(TrainingError, match="other pictures can be read than before"):
        train_model(str(folder), tmp_path / "m.h5", plan, resume=True, max_pixels=100)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--resume", "--overwrite"), "exclude each other"),
        (("--log", "-"), "a table written anew after each epoch cannot go to standard output"),
        (("--plot", "photos/curves.png"), "--plot lies inside SOURCE"),
        (("--validation", "photos/b", "--plot", "photos/b/c.png"), "--plot lies inside SOURCE"),
        (("--validation", "other", "--plot", "other/c.png"), "--plot lies inside"),
        (("--init", "nowhere.h5"), "nowhere.h5"),
        (("--set", "channels=1.0"), "channels=1.0 is no whole number"),
        (("--task", "colorize", "--model", "unet", "--set", "channels=3"), "not to be set: grey"),
        (("--edges", "--model", "pix2pix", "--set", "channels=3"), "not to be set: edges"),
        (("--set", "width=3"), "takes no width"),
        (("--model", "vgg-classifier-ae", "--only", "a"), "leaves no second class"),
    ],
)
def test_a_mistake_is_one_line_and_decodes_nothing(aetool, tmp_path, monkeypatch, options, said):
    pictures(tmp_path / "photos" / "a", 2)
    pictures(tmp_path / "photos" / "b", 2)
    pictures(tmp_path / "other", 2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aetool.training.pictures.Pictures._decode_all", lambda *_: pytest.fail())
    done = aetool("train", "photos", "-o", "m.h5", "--epochs", 1, *options)
    assert done.status in (1, 2) and said in done.stderr
    assert done.stderr.count("\n") <= 2
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".h5"] == []


def test_previews_need_a_folder(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in ("file", "file/below"):
        with pytest.raises(OutputError, match="cannot write"):
            train_model("sklearn:digits", tmp_path / "m.h5", tiny(), preview=tmp_path / place)


def test_why_nothing_can_be_learnt_from_is_said(tmp_path):
    folder = tmp_path / "photos"
    for name in "ab":
        pictures(folder / name, 3)
    plan = make_plan(
        model="vgg-classifier-ae", epochs=0, size=(8, 8),
        validation=str(pictures(tmp_path / "unlabelled", 2)),
    )  # fmt: skip
    with pytest.raises(TrainingError, match="can be read") as caught:
        train_model(str(folder), tmp_path / "m.h5", plan)
    assert caught.value.hint == "0.png: no label"


def test_one_class_with_targets_and_pictures_to_measure_on(tmp_path):
    """Each set of pictures has its own way to the targets, whatever is left out of it."""
    for place in ("in", "out", "measured"):
        for name in "ab":
            pictures(tmp_path / place / name, 4, side=16, seed=ord(name))
    plan = make_plan(
        model="pix2pix", target=str(tmp_path / "out"), validation=str(tmp_path / "measured"),
        only=("b",), size=(16, 16), arguments={"width": 2}, patch=7, epochs=1, batch_size=2,
    )  # fmt: skip
    result = train_model(str(tmp_path / "in"), tmp_path / "m.h5", plan)
    assert (result.read, result.failed) == (8, ())


def test_rows_to_measure_on_are_not_paired_with_the_targets_of_others(tmp_path):
    for name in ("in", "out", "measured"):
        np.save(tmp_path / f"{name}.npy", np.zeros((6, 16, 16), np.uint8))
    plan = make_plan(
        model="pix2pix", target=str(tmp_path / "out.npy"), epochs=0, size=(16, 16),
        validation=str(tmp_path / "measured.npy"), arguments={"width": 2},
    )  # fmt: skip
    with pytest.raises(UsageError, match="other pictures have other targets"):
        train_model(str(tmp_path / "in.npy"), tmp_path / "m.h5", plan)


def test_pictures_held_out_that_cannot_be_read_stop_no_training(tmp_path):
    folder = pictures(tmp_path / "photos", 10)
    (held_out,) = [split(open_source(str(folder)), 0.1, (), 0)[1].name(0)]
    (folder / held_out).write_bytes(b"damaged")
    notes = []
    result = train_model(
        str(folder), tmp_path / "m.h5", tiny(only=()), listeners=Listeners(note=notes.append)
    )
    assert result.read == 9 and [failure.path for failure in result.failed] == [held_out]
    assert "val_loss" not in result.metrics
    assert notes == ["none of the pictures held out can be read: there is no validation"]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "1 picture has several pages or frames; the first was taken: pages0.tif"),
        (7, "7 pictures have several pages or frames; the first was taken: "
            "pages0.tif, pages1.tif, pages2.tif, pages3.tif, pages4.tif, 2 more"),
    ],
)  # fmt: skip
def test_pages_beyond_the_first_are_told_of(tmp_path, count, said):
    folder = pictures(tmp_path / "scans", 3)
    page = Image.fromarray(np.zeros((8, 8), np.uint8))
    for number in range(count):
        name = folder / f"pages{number}.tif"
        page.save(name, save_all=True, append_images=[page, page])
    notes = []
    listeners = Listeners(note=notes.append)
    plan = tiny(only=(), epochs=0, validation="0")
    train_model(str(folder), tmp_path / "m.h5", plan, listeners=listeners)
    assert notes == [said]


def test_a_finished_training_is_drawn_again(tmp_path):
    output, plot, log = (tmp_path / name for name in ("m.h5", "curves.png", "log.csv"))
    train_model("sklearn:digits", output, tiny(epochs=2), log=log)
    before = log.read_bytes()
    log.unlink()
    train_model("sklearn:digits", output, tiny(epochs=2), log=log, plot=plot, resume=True)
    assert log.read_bytes() == before
    with Image.open(plot) as curves:
        assert np.asarray(curves.convert("L")).std() > 0


def test_the_precision_of_the_beginning_is_that_of_the_end(tmp_path, monkeypatch):
    output = tmp_path / "m.h5"
    for epochs, native in ((1, True), (2, False)):
        monkeypatch.setattr("aetool.inference.precision.has_bfloat16", lambda native=native: native)
        plan = tiny(precision="auto", epochs=epochs)
        train_model("sklearn:digits", output, plan, resume=True)
    assert read_checkpoint(output).metadata["training"]["options"]["precision"] == "bfloat16"


def test_a_signal_between_epochs_names_the_one_that_is_done(tmp_path):
    listeners = Listeners(epoch=lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="stopped after epoch 1 of 3"):
        train_model("sklearn:digits", tmp_path / "m.h5", tiny(epochs=3), listeners=listeners)


def test_what_goes_on_after_an_interruption_is_a_command_that_does(tmp_path):
    listeners = Listeners(epoch=lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    for overwrite, said in ((False, "with --resume goes"), (True, "in place of --overwrite goes")):
        with pytest.raises(Interrupted) as caught:
            train_model(
                "sklearn:digits", tmp_path / "m.h5", tiny(epochs=3), overwrite=overwrite,
                listeners=listeners,
            )  # fmt: skip
        assert said in caught.value.hint
