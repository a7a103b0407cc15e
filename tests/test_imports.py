"""What a command imports, each proved in a fresh interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aetool.storage.latents import LatentsWriter

ROOT = Path(__file__).parents[1]
COMMANDS = [
    "train",
    "encode",
    "reconstruct",
    "colorize",
    "cluster",
    "pca",
    "anomaly",
    "classify",
    "translate",
    "generate",
    "info",
    "export",
    "merge",
]
HEAVY = {
    "tensorflow",
    "keras",
    "numpy",
    "sklearn",
    "scipy",
    "h5py",
    "matplotlib",
    "PIL",
    "tifffile",
}

RUN = """
import json, os, sys
from aetool.cli.app import run
from aetool.cli.silence import silence_tensorflow
silence_tensorflow()
status = run(sys.argv[1:])
sys.stderr.write(json.dumps([status, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def modules_after(*arguments: object) -> set[str]:
    """The top-level modules in memory after a command has run."""
    words = [sys.executable, "-c", RUN, *map(str, arguments)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stderr.splitlines()[-1])
    assert status == 0, done.stderr
    return set(modules)


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    """Thirty rows in three clusters."""
    path = tmp_path_factory.mktemp("latents") / "latents.h5"
    labels = np.repeat([0, 1, 2], 10)
    features = np.float32(labels[:, None] * 10 + np.random.default_rng(0).normal(size=(30, 4)))
    settings = {"source": "/pictures", "class_names": tuple("abc")}
    with LatentsWriter(path, dimensions=4, feature_shape=(4,), **settings) as writer:
        writer.append(features, np.arange(30), [f"{n}.png" for n in range(30)], labels)
    return path


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([c, "--help"] for c in COMMANDS)])
def test_help_imports_nothing_heavy(words):
    assert not modules_after(*words) & HEAVY


def test_info_imports_no_network_library(latents):
    assert not modules_after("info", latents) & {"tensorflow", "keras", "sklearn", "matplotlib"}


def test_listing_the_models_imports_no_network_library():
    assert not modules_after("info") & {"tensorflow", "keras", "sklearn", "matplotlib"}


def test_cluster_imports_no_network_library(latents, tmp_path):
    loaded = modules_after("cluster", latents, "-k", 3, "-o", tmp_path / "clusters.csv", "-q")
    assert not loaded & {"tensorflow", "keras", "matplotlib"}


def test_pca_imports_no_network_library(latents, tmp_path):
    loaded = modules_after("pca", latents, "-o", tmp_path / "coordinates.csv", "-q")
    assert not loaded & {"tensorflow", "keras", "matplotlib"}


def test_pca_imports_matplotlib_for_a_plot_only(latents, tmp_path):
    words = ["-o", tmp_path / "coordinates.csv", "--plot", tmp_path / "pca.png", "-q"]
    loaded = modules_after("pca", latents, *words)
    assert "matplotlib" in loaded
    assert not loaded & {"tensorflow", "keras"}


def test_a_model_learns_and_is_used_without_what_only_draws(photos, tmp_path):
    model = tmp_path / "m.h5"
    words = ["--model", "conv-ae", "--size", 16, "--epochs", 1, "--quiet"]
    assert "matplotlib" not in modules_after("train", photos, *words, "-o", model)
    loaded = modules_after("encode", photos, "-c", model, "-o", tmp_path / "l.h5", "-q")
    assert "tensorflow" in loaded
    assert not loaded & {"matplotlib", "sklearn", "pandas"}


def test_each_module_can_be_imported_first():
    """One process, aetool's modules forgotten in between: an import cycle shows in some order."""
    script = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [module for module in sys.modules if module.partition(".")[0] == "aetool"]:
        del sys.modules[loaded]
    importlib.import_module(name)
"""
    paths = sorted((ROOT / "aetool").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    words = [name for name in names if not name.endswith(("__main__", "__init__"))]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
