"""Classification by the real command, its table read again."""

import csv
import io

import keras
import numpy as np
import pytest
from PIL import Image
from untrained import RECONSTRUCTION, write_untrained

from aetool.images.decode import fit
from aetool.images.source import open_source
from aetool.storage.tables import read_table

SIZE = (12, 10)
PROBABILITIES = {"name": "probabilities", "decoding": "probabilities"}
SPEC = {
    "name": "vgg-classifier-ae",
    "size": SIZE,
    "channels": 3,
    "classes": 3,
    "widths": (4, 6),
    "convolutions": (2, 2),
    "rates": (0.3, 0.4),
    "dense": 8,
}


def write_classifier(path, classes, **changes):
    output = (RECONSTRUCTION, PROBABILITIES)
    return write_untrained(path, {**SPEC, **changes}, "classify", classes=classes, output=output)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Knows the photos' two classes in another order, and a third."""
    path = tmp_path_factory.mktemp("classifier") / "classifier.h5"
    return write_classifier(path, ("stripes", "moon", "sky"))


@pytest.fixture(scope="module")
def expected(model, photos):
    """What Keras says of the photos: float (12, 3)."""
    source = open_source(str(photos))
    pictures = [fit(source.load(i, reduce_to=SIZE).pixels, SIZE, 3) for i in range(len(source))]
    return keras.models.load_model(model).predict(np.stack(pictures), verbose=0)["probabilities"]


def rows_of(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_holds_what_keras_predicts(aetool, model, photos, expected, tmp_path):
    table = tmp_path / "labels.csv"
    done = aetool("classify", photos, "-c", model, "-o", table, "--precision=float32", "--json")
    assert done.status == 0, done.stderr
    header, cells = read_table(table)
    assert header == ["path", "label", "predicted", "probability"]
    source = open_source(str(photos))
    assert [row[0] for row in cells] == [source.name(i) for i in range(12)]
    assert [row[1] for row in cells] == ["sky"] * 6 + ["stripes"] * 6
    names = ("stripes", "moon", "sky")
    assert [row[2] for row in cells] == [names[best] for best in expected.argmax(axis=1)]
    np.testing.assert_allclose([float(row[3]) for row in cells], expected.max(axis=1), rtol=1e-4)
    right = np.mean([row[1] == row[2] for row in cells])
    keys = ["read", "written", "skipped", "failed", "seconds", "accuracy"]
    assert list(done.json) == keys
    assert done.json["accuracy"] == pytest.approx(right)
    assert (done.json["read"], done.json["written"], done.json["skipped"]) == (12, 12, 0)


def test_mirror_images_are_looked_at_too(aetool, model, photos, tmp_path):
    source = open_source(str(photos))
    pictures = [fit(source.load(i, reduce_to=SIZE).pixels, SIZE, 3) for i in range(len(source))]
    keras_model = keras.models.load_model(model)
    both = [np.stack(pictures), np.stack(pictures)[:, :, ::-1]]
    given, mirrored = (keras_model.predict(x, verbose=0)["probabilities"] for x in both)
    words = ("classify", photos, "-c", model, "--probabilities", "--precision=float32")
    rows = rows_of(aetool(*words, "--mirror", "--batch-size", 5).text)
    found = [
        [float(row[f"probability_{name}"]) for name in ("stripes", "moon", "sky")] for row in rows
    ]
    np.testing.assert_allclose(found, (given + mirrored) / 2, rtol=1e-4)
    assert np.abs(given - mirrored).max() > 1e-3


def test_a_column_a_class(aetool, model, photos, expected):
    done = aetool("classify", photos, "-c", model, "--probabilities", "--precision=float32")
    rows = rows_of(done.text)
    names = [f"probability_{name}" for name in ("stripes", "moon", "sky")]
    assert list(rows[0])[4:] == names
    found = [[float(row[name]) for name in names] for row in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(np.sum(found, axis=1), 1, atol=1e-5)


def test_accuracy_is_of_the_classes_that_the_model_knows(aetool, photos, tmp_path):
    model = write_classifier(tmp_path / "m.h5", ("moon", "sky", "sun"))
    done = aetool("classify", photos, "-c", model, "-o", tmp_path / "t.csv", "--json")
    _, cells = read_table(tmp_path / "t.csv")
    assert [row[1] for row in cells[6:]] == ["stripes"] * 6
    assert done.json["accuracy"] == np.mean([row[2] == "sky" for row in cells[:6]])
    assert "not counted: stripes (6 pictures)" in done.stderr
    strange = write_classifier(tmp_path / "n.h5", ("a", "b", "c"))
    assert (
        aetool("classify", photos, "-c", strange, "-o", "/dev/null", "--json").json["accuracy"]
        is None
    )


def test_without_labels_there_is_no_accuracy(aetool, model, photos):
    picture = photos / "sky" / "sky 0.jpg"
    done = aetool("classify", picture, "-c", model)
    (row,) = rows_of(done.text)
    assert (row["path"], row["label"]) == ("sky 0.jpg", "")
    assert "1 image classified" in done.stderr and "accuracy" not in done.stderr
    piped = aetool("classify", "-", "-c", model, stdin=picture.read_bytes())
    assert rows_of(piped.text)[0]["probability"] == row["probability"]


def test_a_picture_that_cannot_be_read_has_no_row(aetool, model, photos, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("a.png", "c.png"):
        Image.new("RGB", (9, 9), (200, 90, 10)).save(pictures / name)
    table = tmp_path / "labels.csv"
    done = aetool("classify", pictures, "-c", model, "-o", table, "--json")
    assert done.status == 1
    assert [failure["path"] for failure in done.json["failed"]] == ["b.png"]
    assert [row[0] for row in read_table(table)[1]] == ["a.png", "c.png"]
    words = ("classify", pictures, "-c", model, "-o", table, "-q", "--allow-failures", "1")
    assert aetool(*words).status == 0


def test_other_models_are_refused(aetool, model, photos, tmp_path):
    other = write_untrained(tmp_path / "other.h5", {"name": "conv-ae"}, "reconstruct")
    done = aetool("classify", photos, "-c", other, "-o", tmp_path / "t.csv")
    assert (done.status, "not to classify" in done.stderr) == (1, True)
    assert not (tmp_path / "t.csv").exists()
    wrong = write_classifier(tmp_path / "wrong.h5", ("sky", "stripes"))
    assert "2 classes" in aetool("classify", photos, "-c", wrong).stderr
    assert aetool("classify", photos, "-c", model, "--json").status == 2
