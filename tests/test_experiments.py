"""The Makefiles of the published experiments, and the scripts they call."""

import csv
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_docs import calls, check
from typer.exceptions import TyperException

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
STAND_INS = runpy.run_path(str(EXAMPLES / "one-class" / "stand_ins.py"))
MAKEFILES = sorted(EXAMPLES.glob("*/Makefile"))
RECIPES = sorted(path.stem for path in (ROOT / "aetool" / "recipes").glob("*.toml"))

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="no make")


def script(name, *arguments):
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout


def test_every_recipe_has_an_experiment():
    assert [path.parent.name for path in MAKEFILES] == RECIPES


def understood(makefile, *words):
    """The commands that Make says it would give, each read by the program's parser."""
    dry = ["make", "-n", "-C", makefile.parent, "AETOOL=aetool", *words]
    done = subprocess.run(dry, capture_output=True, text=True, check=True, env=os.environ)
    commands = done.stdout.replace("\\\n", " ").splitlines()
    found = [words for line in commands for words in calls(line)]
    for words in found:
        try:
            check(words)
        except TyperException as error:
            pytest.fail(f"{' '.join(words)}: {error.format_message()}")
    return found


@needs_make
@pytest.mark.parametrize("makefile", MAKEFILES, ids=lambda path: path.parent.name)
def test_an_experiment_is_made_of_commands_that_the_program_understands(makefile, tmp_path):
    data = tmp_path / "mnist.npz"
    data.touch()
    commands = understood(makefile, f"OUT={tmp_path / 'build'}", f"MNIST={data}")
    recipes = {words[words.index("--recipe") + 1] for words in commands if "--recipe" in words}
    compared_with = {"clusters": {"mnist-unet-small"}}.get(makefile.parent.name, set())
    assert recipes == {makefile.parent.name} | compared_with


@needs_make
def test_the_colorizer_is_compared_with_two_others(tmp_path):
    makefile = EXAMPLES / "colorizer" / "Makefile"
    commands = understood(makefile, "comparison", f"OUT={tmp_path / 'build'}")
    trained = [words for words in commands if "train" in words]
    assert len(trained) == 5  # the colorizer in three rounds
    assert sum("ab-huber" in words for words in trained) == 1
    assert sum("stl10-colorize" in words for words in trained) == 1
    assert sum("--evaluate" in words for words in commands) == 3


def test_no_experiment_names_a_value_that_its_recipe_holds():
    """Epochs that a Makefile repeats, so that they can be changed, are the recipe's own.

    One with other options than the recipe's has epochs to suit them, and names the recipe's beside.
    """
    for makefile in MAKEFILES:
        text = makefile.read_text("utf-8")
        epochs = re.search(r"^EPOCHS +\?= (\d+)$", text, re.M)
        recipe = tomllib.loads(
            (ROOT / "aetool" / "recipes" / f"{makefile.parent.name}.toml").read_text("utf-8")
        )
        if re.search(r"^OPTIONS +\?= -", text, re.M):
            assert f"make OPTIONS= EPOCHS={recipe['training']['epochs']}." in text, makefile
        elif epochs:
            assert int(epochs[1]) == recipe["training"]["epochs"], makefile


def test_the_table_shows_medians_and_every_value(tmp_path):
    for i, purity in enumerate((0.5, 0.75, 0.625)):
        (tmp_path / f"{i}.json").write_text(json.dumps({"purity": purity, "metrics": {"loss": i}}))
    (tmp_path / "other.json").write_text(json.dumps({"purity": None, "more": 7}))
    repeated = [f"ours={tmp_path / f'{i}.json'}" for i in range(3)]
    joined = f"both={tmp_path / '0.json'},{tmp_path / 'other.json'}"
    table = script("table.py", "purity,metrics.loss,more", *repeated, joined).splitlines()
    assert table == [
        "| | purity | metrics.loss | more |",
        "|---|---|---|---|",
        "| ours | 0.625 (0.5, 0.75, 0.625) | 1 (0, 1, 2) |  |",
        "| both |  | 0 | 7 |",
    ]


def test_each_class_has_its_auroc(tmp_path):
    path = tmp_path / "scores.csv"
    rows = [("7", 0.1), ("7", 0.3), ("1", 0.2), ("1", 0.4), ("9", 0.5), ("9", 0.6)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "score"))
        writer.writerows((f"{i}.png", label, score) for i, (label, score) in enumerate(rows))
    table = script("auroc.py", "7", path)
    assert "| 1 | 0.7500 |" in table and "| 9 | 1.0000 |" in table and "| mean | 0.8750 |" in table


def test_digits_are_binarised_once(tmp_path):
    source = tmp_path / "mnist.npz"
    grey = np.full((50, 28, 28), 64, np.uint8)
    labels = np.arange(50, dtype=np.uint8) % 10
    np.savez(source, x_train=grey, y_train=labels, x_test=grey[:20], y_test=labels[:20])
    for name in ("a.npz", "b.npz"):
        script("digits.py", source, tmp_path / name, "--binarize", "--first", 30)
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert a["x_train"].shape == (30, 28, 28) and a["x_test"].shape == (20, 28, 28)
        assert (a["y_train"] == labels[:30]).all()
        assert set(np.unique(a["x_train"])) == {0, 255}
        assert a["x_train"].mean() == pytest.approx(64, rel=0.05)
        for part in a.files:
            assert (a[part] == b[part]).all()


def test_several_trainings_are_drawn_in_one_plot(aetool, tmp_path):
    model = tmp_path / "model.h5"
    train = ("train", "sklearn:digits", "--model", "conv-ae", "--epochs", "2", "-o", model)
    assert aetool(*train, "--batch-size", "256").status == 0
    script("curves.py", tmp_path / "curves.png", "val_loss", f"one={model}", f"two={model}")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 600 and len(picture.getcolors(2**20)) > 10


def pictures(folder, count, size, halves=1):
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("airplane", "automobile", "frog"):
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (size, halves * size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{i}.png")
    return folder


def measured(rng, finds):
    """As stand_ins.py writes it: a score that finds defects so well, no kinds, and one of noise."""

    def trial(by):
        return {
            which: {"good": list(rng.normal(d, 1, 300)), "noise": list(rng.normal(0, 1, 300))}
            for which, d in (("clean", 0), ("odd", by))
        }

    return {
        "defects": {name: trial(finds) for name in STAND_INS["DEFECTS"]},
        "kinds": {"0": trial(0)},
    }


def test_a_rule_is_chosen_by_what_stands_in_for_anomalies(tmp_path):
    rng = np.random.default_rng(0)
    for name, finds in (("one", 1), ("two", 3)):
        (tmp_path / name).mkdir()
        for training in range(3):
            found = json.dumps(measured(rng, finds))
            (tmp_path / name / f"stand-ins-{training}.json").write_text(found)
    table = script(
        "one-class/stand_ins.py", "rules", *(f"{n}={tmp_path / n}" for n in ("one", "two"))
    ).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    behind = "behind the first (standard error)"
    assert rows[0] == ["rank", "rule", "mean", "one", "two", behind]
    assert [row[1] for row in rows[2:]] == [
        "alone: good", "highest: good, noise", "mean: good, noise", "alone: noise",
    ]  # fmt: skip
    # A shift by d deviations is found with the chance that a normal number is below d / sqrt 2;
    # the kinds, found by chance, count as much as all defects together.
    assert float(rows[2][3]) == pytest.approx((0.760 + 0.5) / 2, abs=0.03)
    assert float(rows[2][4]) == pytest.approx((0.983 + 0.5) / 2, abs=0.03)
    assert float(rows[5][2]) == pytest.approx(0.5, abs=0.03)
    assert rows[2][5] == "0.0000 (0.0000)"
    gap, error = rows[5][5].rstrip(")").split(" (")
    assert float(gap) == pytest.approx(float(rows[2][2]) - float(rows[5][2]), abs=2e-4)
    assert 0 < float(error) < 0.02


def test_how_far_a_rule_leads_is_of_the_same_trainings_and_of_sets_that_count_alike():
    first, other = [[0.9, 0.8, 0.7], [0.5]], [[0.8, 0.8, 0.6], [0.4]]
    gap, error = STAND_INS["lead"](first, other)
    assert gap == pytest.approx((0.2 / 3 + 0.1) / 2)
    # Differences 0.1, 0, 0.1: variance 0.01 / 3, of their mean a third of it, halved by two sets.
    assert error == pytest.approx((0.01 / 9) ** 0.5 / 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", STAND_INS["DEFECTS"])
def test_a_picture_differs_where_it_was_painted(kind, channels):
    rng = np.random.default_rng(0)
    picture, other = rng.random((2, 20, 30, channels))
    changed = 0
    for _ in range(20):
        found = STAND_INS["DEFECTS"][kind](rng, picture, other)
        assert found.shape == picture.shape
        assert found.min() >= 0 and found.max() <= 1
        changed += np.any(np.abs(found - picture) > 0.1, axis=-1).mean() / 20
    least, most = {
        "scratch": (0.01, 0.1), "spot": (0.001, 0.05), "pasted": (0.02, 0.2),
        "missing": (0.02, 0.2),
    }[kind]  # fmt: skip
    assert least < changed < most


class TwoKinds:
    """A model of flat pictures, dark and bright, whose features are their brightness."""

    def __init__(self, rng):
        levels = np.concatenate([rng.normal(0.2, 0.01, 90), rng.normal(0.8, 0.01, 30)])
        pictures = [np.full((4, 4, 1), level, np.float32) for level in rng.permutation(levels)]
        self.held_out, self.learnt = pictures[:20], pictures[20:]

    def outputs(self, rows):
        for x in rows:
            yield {"latents": x[0, 0], "patches": x[:2, :2]}

    def unit(self, inputs):
        return inputs

    def detector(self, arrays):
        return arrays["latent/mean"]

    def scores(self, mean, rows, outputs):
        return {"far": [float(abs(of["latents"] - mean)[0]) for of in outputs]}


def test_each_kind_is_the_odd_one_once(monkeypatch):
    odd_kinds = STAND_INS["odd_kinds"]
    monkeypatch.setitem(odd_kinds.__globals__, "KINDS", 2)
    trials = odd_kinds(TwoKinds(np.random.default_rng(0))).values()
    assert {len(trial.odd["far"]) for trial in trials} == {90, 30}
    # Half of the 120 are scored, those of the odd kind not among them.
    assert sum(len(trial.clean["far"]) for trial in trials) == 60
    for trial in trials:
        assert max(trial.clean["far"]) < 0.1 < 0.5 < min(trial.odd["far"])
        assert trial.worth(("far",), np.max) == 1


SMALL = {
    "cifar10-classifier-ae": {"size": 32},
    "colorizer": {"size": 128},
    "pix2pix-edges": {"size": 128},
    "pix2pix-facades": {"size": 128, "halves": 2},
    "stacked-ae": {"size": 80},
    "stl10-colorize": {"size": 96},
    "stl10-unet": {"size": 96},
}


@needs_make
@pytest.mark.slow
@pytest.mark.parametrize("makefile", MAKEFILES, ids=lambda path: path.parent.name)
def test_an_experiment_runs_from_data_to_table(makefile, tmp_path):
    """On a handful of random pictures and one epoch: the figures mean nothing, the files do."""
    data = tmp_path / "mnist.npz"
    random = np.random.default_rng(0)
    digits = random.integers(0, 256, (400, 28, 28), dtype=np.uint8)
    labels = np.arange(400, dtype=np.uint8) % 10
    np.savez(data, x_train=digits, y_train=labels, x_test=digits, y_test=labels)
    folder = pictures(tmp_path / "pictures", 4, **SMALL.get(makefile.parent.name, {"size": 8}))
    variables = {
        "AETOOL": f"{sys.executable} -m aetool",
        "PYTHON": sys.executable,
        "OUT": tmp_path / "build",
        "MNIST": data,
        "DATA": data,
        "PHOTOS": folder / "train",
        "TEST": folder / "test",
        "OTHERS": folder / "test",
        **dict.fromkeys(("CIFAR", "FACADES", "FACES"), folder),
        **dict.fromkeys(
            (
                "EPOCHS",
                "EPOCHS_AE",
                "EPOCHS_NETWORKS",
                "EPOCHS_SEVENS",
                "EPOCHS_WIDE",
                "STAGE",
                "SAMPLES",
            ),
            1,
        ),
        "SEEDS": "0 1",
        "NORMAL": "0 1",
        "NETWORKS": "bottleneck",
    }
    goals = ["all", "stand-ins", "rule"] if makefile.parent.name == "one-class" else []
    variables["STAND_INS"] = f"digits={tmp_path / 'build'}"
    make = ["make", "-C", makefile.parent, *goals, *(f"{k}={v}" for k, v in variables.items())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(make, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "build").glob("*.md"))
    again = subprocess.run(
        [*make, "-n"], capture_output=True, text=True, env=environment, check=True
    )
    assert " -m aetool " not in again.stdout
