"""Every example of the manual, of --help, of README and of examples/ is run, on small pictures.

Trainings run for no epoch. Not run here: the lines that set the program up, which the continuous
integration runs, what needs a program that is not there (R, systemd), and the experiments, which
test_experiments.py reads.
"""

import contextlib
import csv
import glob
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_docs import PAGES, PROGRAM, check, page_examples, readme_examples
from test_models import SMALL
from untrained import RECONSTRUCTION, write_untrained

from aetool.storage.checkpoint import read_checkpoint, write_checkpoint
from aetool.storage.latents import LatentsWriter, open_latents

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

# The lines that set the program up are run by the continuous integration.
SETS_UP = "python3 -m venv"
# Colorizing, classifying and translating take models of their own.
MODELS = {"colorize": "colorizer.h5", "classify": "classifier.h5", "translate": "facades.h5"}
JOINTS = {"|", "&&", "||", ";"}
FOLDERS = ("photos", "scans", "new", "today", "facades/test", "facades/train", "labels",
           "good-today", "new-good-parts", "camera", "album")  # fmt: skip


def lines() -> list:
    """Each line with a call of aetool once, under the first place that shows it."""
    sources = {page.name: page_examples(page) for page in PAGES if page.suffix == ".1"}
    for name, command in [("aetool", PROGRAM), *PROGRAM.commands.items()]:
        sources[f"{name} --help"] = command.epilog.splitlines()
    sources["README.md"] = readme_examples()
    found: dict[str, str] = {}
    for source, shown in sources.items():
        for line in shown:
            if re.search(r"(?<!\S)aetool(?=\s)|bin/aetool|bin/python", line):
                found.setdefault(" ".join(line.split()), source)
    return [pytest.param(line, id=f"{source}: {line}") for line, source in found.items()]


@pytest.fixture(scope="module")
def world(aetool, photos, digits_model, digits_latents, tmp_path_factory) -> Path:
    """A folder with all that the examples name."""
    root = tmp_path_factory.mktemp("world")
    for folder in FOLDERS:
        shutil.copytree(photos, root / folder)
    for folder in ("parts", "test"):
        shutil.copytree(photos / "sky", root / folder / "good")
        shutil.copytree(photos / "stripes", root / folder / "bad")
    (root / "ground_truth" / "bad").mkdir(parents=True)
    for picture in (root / "test" / "bad").iterdir():
        mask = np.zeros((48, 64), np.uint8)
        mask[10:20, 10:30] = 255
        Image.fromarray(mask).save(root / "ground_truth" / "bad" / f"{picture.stem}_mask.png")
    random = np.random.default_rng(0)
    digits = np.uint8(random.integers(0, 256, (40, 8, 8)))
    labels = np.arange(40) % 10
    np.savez(root / "mnist.npz", x_train=digits, y_train=labels, x_test=digits, y_test=labels)
    for name in ("grey.jpg", "three.png", "eight.png"):
        Image.fromarray(digits[0]).resize((24, 24)).save(root / name)
    (root / "stamp").touch()
    os.utime(root / "stamp", (0, 0))
    for name in ("model.h5", "good.h5", "good-parts.h5"):
        shutil.copy(digits_model, root / name)
    write_results(root, digits_model, digits_latents, aetool)
    vae = {**SMALL["conv-vae"], "size": (8, 8), "latent_dim": 2}
    write_untrained(root / "vae.h5", vae, "reconstruct")
    outputs = (RECONSTRUCTION, {"name": "probabilities", "range": [0, 1], "colour_space": None,
                                "decoding": "probabilities"})  # fmt: skip
    classifier = {**SMALL["vgg-classifier-ae"], "size": (8, 8), "channels": 3, "classes": 2}
    write_untrained(
        root / "classifier.h5", classifier, "classify", classes=("sky", "stripes"), output=outputs
    )
    colors = {**SMALL["unet"], "size": (16, 16), "channels": 1, "outputs": 3}
    output = {**RECONSTRUCTION, "decoding": "rgb"}
    write_untrained(root / "colorizer.h5", colors, "colorize", output=(output,))
    translator = {**SMALL["pix2pix"], "size": (16, 16), "channels": 1}
    about = {"range": [-1, 1]}
    for name in ("facades.h5", "faces.h5"):
        write_untrained(
            root / name,
            translator,
            "translate",
            output=({**RECONSTRUCTION, **about},),
            preprocessing=about,
        )
    return root


def write_results(root: Path, model: Path, latents: Path, aetool) -> None:
    """What earlier commands of the examples left: latents of few rows, and what follows of them."""
    with open_latents(latents) as whole:
        for name, rows in (("latents.h5", slice(0, 80)), ("new.h5", slice(80, 110))):
            about = {
                "dimensions": whole.dimensions,
                "feature_shape": whole.feature_shape,
                "source": whole.source,
                "class_names": whole.class_names,
                "precision": whole.precision,
                "checkpoint_digest": whole.checkpoint,
            }
            with LatentsWriter(root / name, **about) as writer:
                writer.append(
                    whole.features[rows], whole.index[rows], whole.paths[rows], whole.labels[rows]
                )
    commands = [
        ("cluster", "latents.h5", "-k", "10", "--save", "clusters.h5", "-o", "c.csv"),
        ("pca", "latents.h5", "--save", "axes.h5", "-o", "p.csv"),
        ("anomaly", "--calibrate", "good-today", "-c", "model.h5", "-o", "today.h5"),
    ]
    for part in ("1", "2"):
        shard = ("-c", "model.h5", "--shard", f"{part}/2", "-o")
        commands.append(("encode", "scans", *shard, f"part{part}.h5"))
        commands.append(("anomaly", "scans", *shard, f"scores-{part}.csv"))
    shown = read_checkpoint(model)
    shown.arrays["previews"] = np.zeros((2, 4, 8, 8, 3), np.uint8)
    write_checkpoint(root / "model.h5", shown)
    with contextlib.chdir(root):
        for words in commands:
            done = aetool(*words, "-q")
            assert done.status == 0, (words, done.stderr)
        for part in ("1", "2"):
            shutil.copy(f"part{part}.h5", f"latents-{part}.h5")
        Path("files.txt").write_text("latents.h5\nnew.h5\n")


def words_of(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def simple_commands(line: str) -> list[tuple[str, list[str]]]:
    """The commands of a line of shell, each behind what joins it to the one before."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for word in words_of(line):
        if word in JOINTS:
            found.append((word, []))
        else:
            found[-1][1].append(word)
    return found


def adapt(words: list[str]) -> list[str]:
    """The words behind `aetool`, with the model its command takes, and no time spent training."""
    if words[0] in MODELS:
        words = [MODELS[words[0]] if word == "model.h5" else word for word in words]
    if words[0] == "train":
        words = [*words, "--epochs", "0"]
    return words


def ctrl_c() -> None:
    raise KeyboardInterrupt


def run_line(line: str, aetool) -> None:
    """Run a line as a shell would, aetool in this process; every status must be 0."""
    line = line.replace("$@", "made.h5").replace("$<", "model.h5").removesuffix("&")
    status, piped = 0, b""
    for joint, words in simple_commands(line):
        if (joint == "||" and status == 0) or (joint == "&&" and status):
            continue
        stdin = piped if joint == "|" else b""
        out = None
        for arrow in ("<", ">"):
            if arrow in words:
                at = words.index(arrow)
                name = words[at + 1]
                words = words[:at] + words[at + 2 :]
                if arrow == "<":
                    stdin = Path(name).read_bytes()
                else:
                    out = Path(name)
        words = [name for word in words for name in (sorted(glob.glob(word)) or [word])]
        if words[0] == "aetool":
            done = aetool(*adapt(words[1:]), stdin=stdin)
            status, piped, said = done.status, done.stdout, done.stderr
        elif shutil.which(words[0]):
            done = subprocess.run(words, input=stdin, capture_output=True)
            status, piped, said = done.returncode, done.stdout, done.stderr
        else:
            pytest.skip(f"{words[0]} is not installed")
        ends_otherwise = {"--fail-on-anomaly", "--watch"} & set(words)
        assert status == 0 or ends_otherwise, said
        if out is not None:
            out.write_bytes(piped)


@pytest.mark.parametrize("line", lines())
def test_an_example_runs(line, aetool, world, tmp_path, monkeypatch):
    if SETS_UP in line:
        assert line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
        return
    shutil.copytree(world, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    if "--watch" in line:
        looks = iter(range(2))
        monkeypatch.setattr(
            "aetool.tasks.colorize_watch.sleep", lambda _: next(looks, None) is None and ctrl_c()
        )
    if " train " in line:
        for name in ("model.h5", "good.h5", "good-parts.h5", "facades.h5", "colorizer.h5"):
            if f"-o {name}" in line:
                Path(name).unlink()
    if "--init" in line:
        words = line.split()
        start = words[words.index("--init") + 1]
        shutil.copy(ROOT / "aetool" / "weights" / "colorizer.h5", start)
    line = re.sub(r"\bmail-(the-)?foreman\b", "true", line)
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    run_line(line, aetool)
    after = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    if re.search(r" -o (?!-|/dev)| > (?!/dev)|--grid|coloured/$", line):
        assert before != after, "it wrote nothing"


def test_the_crontab_runs(world, tmp_path):
    """By the shell, as cron does, with the day's pictures where the table says they are."""
    home = tmp_path / "home"
    shutil.copytree(world / "scans", home / "scans")
    shutil.copytree(world / "parts", home / "line")
    shutil.copy(world / "good.h5", home / "line.h5")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, body in (
        ("aetool", f'PYTHONPATH={ROOT} exec {sys.executable} -m aetool "$@"'),
        ("mail", f"echo $3 > {tmp_path}/to; cat > {tmp_path}/mail"),
        ("logger", f"cat >> {tmp_path}/log"),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    # No more than what cron gives a job, and its programs where the table's PATH has them.
    env = {"HOME": str(home), "LOGNAME": "foreman", "SHELL": "/bin/sh"}
    ran = 0
    for line in (EXAMPLES / "crontab").read_text(encoding="utf-8").splitlines():
        if setting := re.match(r"PATH=(/.*/bin):/usr/bin:/bin$", line):
            env["PATH"] = line.removeprefix("PATH=").replace(setting[1], str(tools))
        entry = re.match(r"(?:[\d*/,-]+\s+){5}(.*)", line)
        if not entry:
            continue
        done = subprocess.run(["/bin/sh", "-c", entry[1]], env=env, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), line
        ran += 1
    assert ran >= 2
    assert len(list((home / "scans-in-colour").rglob("*.*"))) >= 12
    assert (home / "anomalies.csv").read_text().count("\n") == 13
    assert "12 pictures coloured" in (tmp_path / "log").read_text()
    with open(home / "anomalies.csv", newline="") as table:
        found = [row["anomaly"] == "1" for row in csv.DictReader(table)]
    assert any(found), "nothing to mail about"
    mailed = json.loads((tmp_path / "mail").read_text())
    assert len(mailed["anomalous"]) == mailed["anomalies"] == sum(found)
    assert (tmp_path / "to").read_text() == "foreman\n"


@pytest.mark.slow
def test_the_makefile_builds_the_chain_once(tmp_path):
    """An epoch of training instead of many; a second make has nothing to do."""
    words = ["make", "-C", EXAMPLES, f"AETOOL={sys.executable} -m aetool", "EPOCHS=1",
             f"OUT={tmp_path}/build"]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(words, env=env, check=True, capture_output=True)
    made = {path.name for path in (tmp_path / "build").iterdir()}
    assert {"model.h5", "clusters.csv", "coords.csv", "scores.csv", "rebuilt.png"} <= made
    again = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
    assert "aetool" not in again.stdout


@pytest.mark.parametrize("name", ["aetool-colorize", "aetool-watch"])
def test_a_service_is_one_that_systemd_and_aetool_understand(name):
    folder = EXAMPLES / "systemd"
    service = (folder / f"{name}.service").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=(.*)", service, re.M)
    words = command.replace("%%", "%").split()
    assert words[0].startswith("%h/") and words[0].endswith("/bin/aetool")
    check(words[1:])
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd")
    service = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", service, flags=re.M)
    with tempfile.TemporaryDirectory() as unit:
        Path(unit, f"{name}.service").write_text(service)
        shutil.copy(folder / "aetool-colorize.timer", unit)
        timed = name == "aetool-colorize"
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", f"{name}.{'timer' if timed else 'service'}"],
            env=os.environ | {"SYSTEMD_UNIT_PATH": f"{unit}:"},
            capture_output=True,
            text=True,
        )
    assert name not in done.stderr


def test_the_library_is_used_as_shown(world):
    words = [sys.executable, EXAMPLES / "library.py", world / "photos", world / "model.h5"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("12 rows of 8") and "clusters of" in done.stdout


def test_numpy_and_pandas_read_latents_as_shown(aetool, world, tmp_path):
    words = [sys.executable, EXAMPLES / "latents.py", world / "latents.h5"]
    if importlib.util.find_spec("pandas") and importlib.util.find_spec("pyarrow"):
        words.append(tmp_path / "latents.parquet")
        assert aetool("export", world / "latents.h5", words[-1]).status == 0
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "(80, 8)" in done.stdout
    assert len(words) == 3 or "Name: features" in done.stdout


def test_r_reads_latents_as_shown(aetool, world, tmp_path):
    if not shutil.which("Rscript"):
        pytest.skip("R is not installed")
    assert aetool("export", world / "latents.h5", tmp_path / "latents.csv").status == 0
    words = ["Rscript", EXAMPLES / "latents.R", tmp_path / "latents.csv"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "PC1" in done.stdout and "000000" in done.stdout
