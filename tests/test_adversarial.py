"""The adversarial regime: who learns in which step, what the values are, and exact resume."""

import re

import keras
import numpy as np
import pytest
from interrupted import assert_same_training, train_in_pieces
from PIL import Image

from aetool.errors import SourceError, UsageError
from aetool.images.edges import edges
from aetool.images.source import open_source
from aetool.models import patchgan
from aetool.models.build import build_model
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.plan import make_plan
from aetool.tasks.train import Listeners, data_digest, running_path, train_model
from aetool.tasks.training_data import load_data, make_pair
from aetool.training.adversarial import Adversarial
from aetool.training.losses import mae
from aetool.training.settings import Settings

SIZE = (16, 16)
RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (4, *SIZE, 1)).astype(np.float32)
Y = RANDOM.uniform(-1, 1, (4, *SIZE, 3)).astype(np.float32)


def plan(**options):
    given = {"epochs": 2, "batch_size": 4, "precision": "float32", "size": (8, 8), "patch": 7}
    return make_plan(model="pix2pix", arguments={"width": 2}, **(given | options))


def regime(**weights):
    keras.utils.set_random_seed(0)
    discriminator = patchgan.build(SIZE, 1, 3, patch=16, width=2)
    weights = {"adversarial": 1.0, "reconstruction": 100.0} | weights
    settings = Settings(loss_weights=weights, learning_rate=0.01)
    model = build_model({"name": "pix2pix", "size": SIZE, "width": 2})
    return Adversarial(model, discriminator, settings, mae)


def values_of(model):
    return [keras.ops.convert_to_numpy(v.value).copy() for v in model.trainable_variables]


def changed(before, after):
    return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]


# What the step leaves alone: the biases that batch normalisation takes away.
IDLE = ("encoder[2-4]_conv", "decoder[1-3]_conv")
IDLE_JUDGE = ("conv[2-3]",)


def named(model, patterns):
    """Whether each trainable variable of a model is a bias of these layers."""
    return [
        bool(re.search(rf"({'|'.join(patterns)})/bias$", v.path)) for v in model.trainable_variables
    ]


def test_each_step_teaches_its_own_network():
    learner = regime()
    generator, judge = values_of(learner.model), values_of(learner.discriminator)
    nothing = np.zeros((4, 1, 1, 1), np.float32)
    learner._judge_step.train_on_batch([X, Y], {"real": nothing, "fake": nothing})
    assert not any(changed(generator, values_of(learner.model)))
    taught = values_of(learner.discriminator)
    assert changed(judge, taught) == [not idle for idle in named(learner.discriminator, IDLE_JUDGE)]
    learner._generator_step.train_on_batch(X, {"reconstruction": Y, "adversarial": nothing})
    assert not any(changed(taught, values_of(learner.discriminator)))
    assert changed(generator, values_of(learner.model)) == [
        not idle for idle in named(learner.model, IDLE)
    ]


def test_the_values_are_those_of_the_two_networks():
    learner = regime(adversarial=2.0, reconstruction=10.0)
    values = learner.test_batch(X, Y)
    generated = np.asarray(learner.model(X, training=False))
    told, real = (
        np.asarray(learner.discriminator([X, target], training=False)) for target in (generated, Y)
    )
    assert values["reconstruction"] == pytest.approx(np.abs(generated - Y).mean(), rel=1e-4)
    assert values["adversarial"] == pytest.approx(np.logaddexp(0, -told).mean(), rel=1e-4)
    judged = (np.logaddexp(0, told).mean() + np.logaddexp(0, -real).mean()) / 2
    assert values["discriminator"] == pytest.approx(judged, rel=1e-4)
    expected = 2 * values["adversarial"] + 10 * values["reconstruction"]
    assert values["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_discriminator_learns_to_tell_and_the_generator_to_come_near():
    learner = regime()
    first = learner.test_batch(X, Y)
    for _ in range(60):
        learner.train_batch(X, Y)
    last = learner.test_batch(X, Y)
    assert last["reconstruction"] < first["reconstruction"]
    alone = regime()
    nothing = np.zeros((4, 1, 1, 1), np.float32)
    for _ in range(60):
        logs = alone._judge_step.train_on_batch(
            [X, Y], {"real": nothing, "fake": nothing}, return_dict=True
        )
    assert logs["loss"] < 0.3 < np.log(2)


def test_the_rate_is_both_networks(tmp_path):
    learner = regime()
    learner.set_rate(0.25)
    assert float(learner.optimizer.learning_rate.value) == 0.25
    assert float(learner._judge_optimizer.learning_rate.value) == 0.25


@pytest.fixture
def halves(tmp_path, photos):
    """Six pictures, each beside its negative on the right."""
    folder = tmp_path / "halves"
    folder.mkdir()
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        Image.fromarray(np.hstack([pixels, 255 - pixels])).save(folder / f"{number}.png")
    return folder


def test_a_translator_describes_itself(tmp_path, halves):
    learnt = plan(target="left", epochs=1)
    train_model(str(halves), tmp_path / "m.h5", learnt, preview=tmp_path / "preview")
    metadata = read_checkpoint(tmp_path / "m.h5").metadata
    assert metadata["task"] == "translate" and metadata["calibration"] is None
    assert metadata["preprocessing"]["range"] == [-1, 1]
    assert metadata["model"]["channels"] == metadata["model"]["outputs"] == 3
    assert metadata["output"] == [
        {"name": "reconstruction", "range": [-1, 1], "colour_space": "srgb", "decoding": "image"}
    ]
    assert {"loss", "adversarial", "reconstruction", "discriminator"} <= set(metadata["metrics"])
    with Image.open(tmp_path / "preview" / "epoch-0001.png") as sheet:
        assert np.asarray(sheet).std() > 0


def test_a_half_a_source_and_edges_give_the_pairs_they_name(tmp_path, halves):
    def pairs(source, learnt):
        others = {str(left): open_source(str(left))} if learnt.target == str(left) else {}
        data = load_data(open_source(str(source)), others, learnt, 10**9, Listeners())
        pair = make_pair(learnt, {"channels": data.channels})
        return pair(data.pictures.take(np.arange(len(data.pictures))))

    left, right = tmp_path / "left", tmp_path / "right"
    x, y = pairs(halves, plan(target="left", validation="0", size=(48, 64)))
    np.testing.assert_allclose(x, -y, atol=1e-6)  # the negative, and what it is the negative of
    for folder, columns in ((left, slice(64)), (right, slice(64, 128))):
        folder.mkdir()
        for path in sorted(halves.iterdir()):
            with Image.open(path) as image:
                half = Image.fromarray(np.asarray(image)[:, columns])
            half.save(folder / path.with_suffix(".bmp" if columns.start else ".png").name)
    beside = pairs(right, plan(target=str(left), validation="0", size=(48, 64)))
    np.testing.assert_array_equal(beside[0], x)
    np.testing.assert_array_equal(beside[1], y)
    x, y = pairs(left, plan(edges=True, validation="0", size=(48, 64)))
    assert x.shape[-1] == 1 and y.shape[-1] == 3
    picture = np.uint8(np.round((y[0] + 1) * 127.5))
    np.testing.assert_array_equal(x[0, ..., 0] > 0, edges(picture) > 0)


def test_a_picture_without_a_target_is_left_out(tmp_path, photos):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for name in ("stripes 0.png", "stripes 1.png", "lonely.png"):
        (inputs / name).write_bytes((photos / "stripes" / "stripes 0.png").read_bytes())
    learnt = plan(target=str(photos / "stripes"), epochs=0, validation="0")
    result = train_model(str(inputs), tmp_path / "m.h5", learnt)
    assert [failure.path for failure in result.failed] == ["lonely.png"]
    assert "no target" in result.failed[0].reason and result.read == 2
    with pytest.raises(SourceError, match="no picture has a target"):
        other = plan(target=str(photos / "sky"), epochs=0)
        train_model(str(inputs), tmp_path / "n.h5", other)


def test_interrupted_equals_uninterrupted(tmp_path, halves):
    learnt = plan(target="right", augment=("flip",), validation="0.2")
    train_model(str(halves), tmp_path / "whole.h5", learnt)
    train_in_pieces(str(halves), tmp_path / "cut.h5", learnt, 3)
    assert_same_training(tmp_path / "whole.h5", tmp_path / "cut.h5")
    whole, cut = (read_checkpoint(running_path(tmp_path / f"{n}.h5")) for n in ("whole", "cut"))
    judge = [name for name in whole.training if "discriminator/weights" in name]
    assert judge
    for name in judge:
        np.testing.assert_array_equal(cut.training[name], whole.training[name])


def test_the_targets_count_among_what_is_learnt_from(tmp_path):
    """A resumed training refuses other targets as it refuses other pictures."""
    target = tmp_path / "target.npy"
    source = open_source("sklearn:digits")
    digests = set()
    for value in (0, 0, 1):
        np.save(target, np.full((1797, 8, 8), value, np.uint8))
        digests.add(data_digest(source, [open_source(str(target))]))
    assert len(digests) == 2 and source.digest() not in digests
    assert data_digest(source, []) == source.digest()


def test_translate_needs_exactly_one_way_to_its_targets():
    with pytest.raises(UsageError, match="into what"):
        plan()
    with pytest.raises(UsageError, match="exclude each other"):
        plan(target="right", edges=True)
    with pytest.raises(UsageError, match="goes with --task translate"):
        make_plan(model="conv-ae", edges=True)
    overridden = make_plan(recipe="pix2pix-facades", edges=True)
    assert overridden.target is None and overridden.edges
