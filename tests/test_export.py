"""`aetool export`: other programs compute and read the same numbers."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from test_models import SMALL
from untrained import write_untrained

from aetool.inference.load import load_model
from aetool.models.specs import FAMILIES
from aetool.storage.container import writing
from aetool.storage.latents import LatentsWriter, open_latents
from aetool.tasks.export import export_file

FORMATS = ("npz", "csv", "parquet")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """models("unet"): the checkpoint of a small model of that family."""
    folder = tmp_path_factory.mktemp("models")

    def model(name: str) -> Path:
        path = folder / f"{name}.h5"
        if not path.exists():
            task = FAMILIES[name].tasks[0]
            write_untrained(path, {**SMALL[name], "size": (20, 24)}, task)
        return path

    return model


@pytest.fixture(params=["labelled", "unlabelled"])
def latents(request, tmp_path) -> Path:
    """Thirty rows of (1, 2, 4) float32, every third picture of a folder, with odd names."""
    labelled = request.param == "labelled"
    path = tmp_path / "latents.h5"
    features = np.random.default_rng(0).standard_normal((30, 1, 2, 4), dtype=np.float32)
    settings = {"class_names": ("b", "a", "10", "9", "none of these")} if labelled else {}
    with LatentsWriter(
        path,
        dimensions=8,
        feature_shape=(1, 2, 4),
        source="/pictures\udce9",
        precision="bfloat16",
        checkpoint_digest="ab" * 32,
        **settings,
    ) as writer:
        names = [f'a, "{n}"\n\udce9 日本.png' for n in range(30)]
        writer.append(features, np.arange(30) * 3, names, [n % 5 - 1 for n in range(30)])
    return path


def skip_without(suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")


def predictions(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Random pictures and what aetool's own model makes of them."""
    model = load_model(path).model
    pictures = np.random.default_rng(0).random((3, *model.input_shape[1:]), np.float32)
    return pictures, by_name(model, model(pictures, training=False))


def by_name(model: keras.Model, outputs) -> dict[str, np.ndarray]:
    outputs = outputs if isinstance(outputs, dict) else {model.output_names[0]: outputs}
    return {name: np.asarray(values) for name, values in outputs.items()}


def assert_agree(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].shape == values.shape
        np.testing.assert_allclose(found[name], values, atol=1e-4, rtol=0)


# --- models ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_onnxruntime_computes_the_same(aetool, models, tmp_path, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    done = aetool("export", models(name), tmp_path / "model.onnx", "--json")
    assert (done.status, done.stderr, done.json["format"]) == (0, "", "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    pictures, expected = predictions(models(name))
    (given,) = session.get_inputs()
    assert (given.name, given.shape) == ("image", ["n", *pictures.shape[1:]])
    outputs = [output.name for output in session.get_outputs()]
    found = dict(zip(outputs, session.run(None, {"image": pictures}), strict=True))
    assert_agree(found, expected)
    about = json.loads(session.get_modelmeta().custom_metadata_map["aetool"])
    assert about["preprocessing"]["size"] == [20, 24] and about["model"]["name"] == name


@pytest.mark.parametrize("name", FAMILIES)
def test_keras_opens_its_own_format(aetool, models, tmp_path, name):
    done = aetool("export", models(name), tmp_path / "model.keras", "-q")
    assert (done.status, done.stderr) == (0, "")
    pictures, expected = predictions(models(name))
    model = keras.models.load_model(tmp_path / "model.keras")
    assert_agree(by_name(model, model(pictures)), expected)


@pytest.mark.parametrize("name", ["conv-ae", "conv-vae", "pix2pix"])
def test_tensorflow_serves_the_saved_model(aetool, models, tmp_path, name):
    done = aetool("export", models(name), tmp_path / "saved", "--json")
    assert (done.status, done.stderr) == (0, "")
    assert done.json["bytes"] > (tmp_path / "saved" / "saved_model.pb").stat().st_size
    pictures, expected = predictions(models(name))
    signature = tf.saved_model.load(tmp_path / "saved").signatures["serving_default"]
    found = {name: np.asarray(y) for name, y in signature(image=tf.constant(pictures)).items()}
    assert_agree(found, expected)
    about = json.loads((tmp_path / "saved" / "assets.extra" / "aetool.json").read_text())
    assert about["model"]["name"] == name


def test_a_saved_model_replaces_a_saved_model_and_nothing_else(aetool, models, tmp_path):
    path = models("conv-ae")
    for _ in range(2):
        assert aetool("export", path, tmp_path / "saved", "-q").status == 0
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter 1").write_text("It was a dark and stormy night.")
    done = aetool("export", path, tmp_path / "thesis")
    assert done.status == 1 and "no part of a SavedModel" in done.stderr
    (tmp_path / "file").touch()
    assert aetool("export", path, tmp_path / "file").status == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "saved", "thesis"]
    assert [entry.name for entry in (tmp_path / "thesis").iterdir()] == ["chapter 1"]


@pytest.mark.parametrize("out", ["model.onnx", "model.keras", "model"])
def test_an_export_that_fails_leaves_what_was_there(models, tmp_path, monkeypatch, out):
    if out == "model.onnx":
        pytest.importorskip("tf2onnx")
    export_file(str(models("conv-ae")), str(tmp_path / out))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail(*_: object) -> None:
        raise MemoryError

    for writer in ("write_onnx", "write_keras", "write_saved_model"):
        monkeypatch.setattr(f"aetool.inference.export.{writer}", fail)
    with pytest.raises(MemoryError):
        export_file(str(models("conv-ae")), str(tmp_path / out))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("module", "out", "extra"),
    [("tf2onnx", "model.onnx", "onnx"), ("pyarrow", "latents.parquet", "parquet")],
)
def test_a_missing_extra_is_named_with_what_installs_it(
    aetool, models, latents, tmp_path, monkeypatch, module, out, extra
):
    monkeypatch.setitem(sys.modules, module, None)
    file = models("conv-ae") if extra == "onnx" else latents
    done = aetool("export", file, tmp_path / out)
    assert done.status == 1 and not (tmp_path / out).exists()
    assert done.stderr == (
        f"aetool: error: writing {tmp_path / out} needs packages that are not installed\n"
        f"hint: pip install 'aetool[{extra}]'\n"
    )


# --- latents -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_latents_go_out_and_come_back(aetool, latents, tmp_path, suffix):
    skip_without(suffix)
    out = tmp_path / f"out.{suffix}"
    done = aetool("export", latents, out, "--json")
    assert (done.status, done.stderr) == (0, "")
    assert (done.json["rows"], done.json["dimensions"]) == (30, 8)
    assert done.json["bytes"] == out.stat().st_size
    with open_latents(latents) as before, open_latents(out) as after:
        assert np.array_equal(np.concatenate([*before.chunks()]), np.concatenate([*after.chunks()]))
        assert after.paths == before.paths
        names = [
            [None if latents.labels is None or code < 0 else latents.class_names[code]]
            for latents in (before, after)
            for code in (range(30) if latents.labels is None else latents.labels)
        ]
        assert names[:30] == names[30:]
        if suffix != "csv":
            assert after.class_names == before.class_names
            assert after.index.tolist() == before.index.tolist()
            for key in ("source", "feature_shape", "precision", "checkpoint"):
                assert getattr(after, key) == getattr(before, key)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_second_trip_changes_no_byte(aetool, latents, tmp_path, suffix):
    skip_without(suffix)
    assert aetool("export", latents, tmp_path / f"1.{suffix}", "-q").status == 0
    assert aetool("export", tmp_path / f"1.{suffix}", tmp_path / f"2.{suffix}", "-q").status == 0
    first, second = ((tmp_path / f"{n}.{suffix}").read_bytes() for n in (1, 2))
    assert first == second


def test_numpy_pandas_and_r_find_plain_columns(aetool, latents, tmp_path):
    """Each by the reader they have: np.load without pickles, a CSV header, Parquet's schema."""
    for suffix in ("npz", "csv"):
        assert aetool("export", latents, tmp_path / f"out.{suffix}", "-q").status == 0
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["features"].shape == (30, 8) and arrays["paths"].shape == (30,)
    header = (tmp_path / "out.csv").read_text(errors="replace").partition("\n")[0]
    assert header == "path,label,f0,f1,f2,f3,f4,f5,f6,f7"
    parquet = pytest.importorskip("pyarrow.parquet")
    assert aetool("export", latents, tmp_path / "out.parquet", "-q").status == 0
    schema = parquet.read_schema(tmp_path / "out.parquet")
    assert schema.names == ["path", "label", "index", "features"]
    assert str(schema.field("features").type) == "fixed_size_list<element: float>[8]"


def test_csv_to_standard_output(aetool, latents, tmp_path):
    assert aetool("export", latents, tmp_path / "out.csv", "-q").status == 0
    done = aetool("export", latents, "-")
    assert done.status == 0 and done.stdout == (tmp_path / "out.csv").read_bytes()
    refused = aetool("export", latents, "-", "--json")
    assert refused.status == 2 and "NAME.csv" in refused.stderr


@pytest.mark.parametrize("suffix", FORMATS)
def test_encode_writes_and_cluster_reads_every_format(aetool, photos, tmp_path, suffix):
    skip_without(suffix)
    tables = {}
    for form in ("h5", suffix):
        words = ["encode", photos, "--pixels", "--size", "4", "-o", tmp_path / f"latents.{form}"]
        assert aetool(*words, "-q").status == 0
        done = aetool("cluster", tmp_path / f"latents.{form}", "-k", "2")
        assert done.status == 0
        tables[form] = done.stdout
    assert tables["h5"] == tables[suffix] and tables["h5"].count(b"\n") == 13


@pytest.mark.parametrize(
    "table",
    [
        {"x": [1.5, 2.5], "y": [1, 2]},
        {"features": [[1.5, 1.0], [2.5, 2.0]]},
        {"path": ["a", "b"], "label": ["p", None], "x": [1.5, 2.5], "y": [1.0, 2.0]},
    ],
)
def test_another_programs_parquet_is_read(tmp_path, table):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(table), tmp_path / "t.parquet")
    with open_latents(tmp_path / "t.parquet") as latents:
        assert np.concatenate([*latents.chunks()]).tolist() == [[1.5, 1.0], [2.5, 2.0]]
        assert latents.paths == table.get("path", ["000000", "000001"])
        assert (latents.labels is None) == ("label" not in table)
        assert latents.labels is None or latents.labels.tolist() == [0, -1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": ["a"]}, "no column of numbers"),
        ({"features": [1.5]}, "not of lists"),
        ({"features": [[1.0], [1.0, 2.0]]}, "rows of 1, 2 numbers"),
        ({"features": [["a"], ["b"]]}, "a column features of"),
        ({"features": [[1.0], None]}, "lacks some"),
        ({"x": [1.0, None]}, "lacks some"),
        ({"x": [1.0], "index": ["a"]}, "no column of whole numbers"),
    ],
)
def test_a_parquet_that_is_no_matrix(aetool, tmp_path, table, message):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(table), tmp_path / "t.parquet")
    done = aetool("cluster", tmp_path / "t.parquet", "-k", "1")
    assert done.status == 1 and message in done.stderr


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("feature_shape", [3, 3]),
        ("feature_shape", ["8"]),
        ("source", 7),
        ("class_names", ["b"]),
        ("index", [1, 2]),
        ("paths", ["one"]),
        ("paths", [1.5] * 30),
    ],
)
def test_an_npz_that_contradicts_itself_is_refused(aetool, latents, tmp_path, key, value):
    if key == "class_names" and "labels" not in h5py.File(latents):
        pytest.skip("no labels")
    export_file(str(latents), str(tmp_path / "a.npz"))
    with np.load(tmp_path / "a.npz") as arrays:
        columns = dict(arrays) | {key: np.asarray(value)}
    np.savez(tmp_path / "a.npz", **columns)
    done = aetool("cluster", tmp_path / "a.npz", "-k", "1")
    assert done.status == 1 and len(done.stderr.splitlines()) <= 2


# --- manners -----------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["a.csv", "a.npz", "a.parquet", "-", "a.png", "a.h5"])
def test_a_model_goes_to_files_for_models(aetool, models, tmp_path, out):
    done = aetool("export", models("conv-ae"), out if out == "-" else tmp_path / out)
    assert done.status == 2 and ".onnx" in done.stderr


@pytest.mark.parametrize("out", ["a.onnx", "a.keras", "a", "a.h5"])
def test_latents_go_to_files_for_latents(aetool, latents, tmp_path, out):
    done = aetool("export", latents, tmp_path / out)
    assert done.status == 2 and ".parquet" in done.stderr


@pytest.mark.parametrize("out", ["a.onnx", "serving/1"])
@pytest.mark.parametrize("content", [None, b""])
def test_a_model_that_cannot_be_read_is_what_the_message_is_about(aetool, tmp_path, out, content):
    if content is not None:
        (tmp_path / "modle.h5").write_bytes(content)
    done = aetool("export", tmp_path / "modle.h5", tmp_path / out)
    assert done.status == 1
    assert ("does not exist" if content is None else "is empty") in done.stderr


def test_latents_load_no_tensorflow(latents, tmp_path):
    script = (
        "import sys; from aetool.cli.app import run\n"
        "assert run(sys.argv[1:]) == 0\n"
        "assert not {'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)"
    )
    words = ["export", latents, tmp_path / "out.npz", "-q"]
    subprocess.run([sys.executable, "-c", script, *map(str, words)], check=True)
    assert zipfile.is_zipfile(tmp_path / "out.npz")


def test_a_damaged_file_is_one_line(aetool, latents, tmp_path):
    latents.write_bytes(latents.read_bytes()[:-1])
    done = aetool("export", latents, tmp_path / "out.csv")
    assert done.status == 1 and "truncated" in done.stderr and not (tmp_path / "out.csv").exists()


def test_values_that_are_no_numbers_leave_no_file(aetool, tmp_path):
    with writing(tmp_path / "l.h5", "latents") as file:
        file["features"] = np.full((1, 2), np.nan, np.float32)
        file["index"] = np.zeros(1, np.int64)
        file["paths"] = ["a"]
        file.attrs.update({"source": "/", "precision": "", "checkpoint": ""})
        file.attrs["feature_shape"] = np.array([2])
    for suffix in ("npz", "csv"):
        done = aetool("export", tmp_path / "l.h5", tmp_path / f"out.{suffix}")
        assert done.status == 1 and "not a finite number" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["l.h5"]
