"""Files of format 1 as the program wrote them once: every later program reads and uses them."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DATA = Path(__file__).parent / "data"
CHECKPOINT = DATA / "checkpoint-1.h5"
LATENTS = DATA / "latents-1.h5"
# Of the ramp below, as the program that wrote the model computed it.
FEATURES = [[0.1485019, 0.0403125, 0.2215448, 0.1532522]]
MEAN = 0.4957557


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "ramp.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(path)
    return path


def test_info_of_a_model(aetool):
    info = aetool("info", CHECKPOINT, "--json").json
    assert (info["format"], info["task"], info["parameters"]) == (1, "reconstruct", 817)
    assert info["model"] == {"name": "conv-ae", "size": [8, 8], "channels": 1, "widths": [4, 4, 4]}
    assert info["classes"] == ["b", "ä"]
    assert info["calibration"]["threshold"] == 1.0
    assert info["history"]["loss"] == pytest.approx([0.692830, 0.691461], abs=1e-5)
    assert info["command"].startswith("aetool train pictures -o ")
    assert info["previews"] == 6
    assert [layer["name"] for layer in info["layers"]][6] == "latent"


def test_a_model_computes_what_it_computed(aetool, picture, tmp_path):
    out = ("-c", CHECKPOINT, "--precision", "float32", "-q", "-o")
    assert aetool("encode", picture, *out, tmp_path / "l.h5").status == 0
    exported = aetool("export", tmp_path / "l.h5", tmp_path / "l.npz")
    assert exported.status == 0, exported.stderr
    features = np.load(tmp_path / "l.npz")["features"]
    np.testing.assert_allclose(features, FEATURES, atol=1e-5)

    rebuilt = tmp_path / "rebuilt.npy"
    words = ("-c", CHECKPOINT, "--precision", "float32", "-q")
    assert aetool("reconstruct", picture, rebuilt, *words).status == 0
    assert np.load(rebuilt).mean() == pytest.approx(MEAN, abs=1e-5)

    scored = aetool("anomaly", picture, "-c", CHECKPOINT, "-q")
    assert scored.status == 0, scored.stderr
    assert scored.text.splitlines()[0].startswith("path,label,score,p_value,anomaly")
    assert scored.text.count("\n") == 2


@pytest.mark.parametrize("name", ["l.npz", "l.csv", "l.parquet"])
def test_latents_are_exported(aetool, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    done = aetool("export", LATENTS, tmp_path / name)
    assert done.status == 0, done.stderr
    assert (tmp_path / name).stat().st_size


def test_latents_are_understood(aetool):
    info = aetool("info", LATENTS, "--json").json
    assert (info["rows"], info["feature_shape"], info["classes"]) == (2, [2, 2], ["a", "b"])
    clustered = aetool("cluster", LATENTS, "-k", "2", "--method", "kmeans", "-q")
    assert clustered.status == 0, clustered.stderr
    rows = os.fsdecode(clustered.stdout).splitlines()[1:]
    assert [row.rsplit(",", 2)[1] for row in rows] == ["0", "1"]
    assert aetool("pca", LATENTS, "-q").status == 0
