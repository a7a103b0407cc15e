"""No output takes the place of a picture that the run reads, nor of another output."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from untrained import write_untrained

SPEC = {"name": "conv-ae", "size": (8, 8), "channels": 1, "widths": (2,)}


@pytest.fixture
def model(tmp_path):
    return write_untrained(tmp_path / "model.h5", SPEC, "reconstruct")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to stand in, and pictures drawn there."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def draw(*names):
    for number, name in enumerate(names):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        Image.new("RGB", (16, 16), (40 * number, 90, 9)).save(name)
        os.utime(name, (1e9, 1e9))


def contents(*names):
    return [open(name, "rb").read() for name in names]


def test_heatmaps_leave_the_pictures(aetool, model, place):
    draw("p/a.png", "p/b.png")
    before = contents("p/a.png")
    done = aetool("anomaly", "p/a.png", "-c", model, "--heatmaps", "p", "-o", "s.csv", "--json")
    assert done.status == 1 and contents("p/a.png") == before
    assert "would replace a picture" in done.json["failed"][0]["reason"]


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("out", [(), ("out",)])
def test_strips_leave_the_pictures(aetool, place, listed, out):
    draw("p/a.png")
    (place / "list").write_text("p/a.png\n")
    before = contents("p/a.png")
    words = ("@list", *out, "--compare", ".") if listed else ("p/a.png", *out, "--compare", "p")
    done = aetool("colorize", *words, "--json")
    assert done.status == 1 and contents("p/a.png") == before
    assert done.json["failed"][0]["reason"] == "its strip would replace a picture that is read"


def test_results_leave_other_pictures(aetool, place):
    """SOURCE lies in OUT, or a link of OUT leads to SOURCE."""
    draw("q/x/a.png", "q/x/x/a.png", "s/a.png", "s/b.png")
    os.mkdir("o")
    os.symlink("../s/b.png", "o/a.png")
    before = contents("q/x/a.png", "q/x/x/a.png", "s/a.png", "s/b.png")
    for source, out in (("q/x", "q"), ("s", "o")):
        done = aetool("colorize", source, out, "--json", "--overwrite")
        assert done.status == 1 and len(done.json["failed"]) == 1
        assert "would replace a picture that is read" in done.json["failed"][0]["reason"]
    assert contents("q/x/a.png", "q/x/x/a.png", "s/a.png", "s/b.png") == before
    assert os.path.isfile("q/a.png") and os.path.isfile("o/b.png")


@pytest.mark.parametrize(
    "words",
    [
        ("colorize", "s/a.png", "out/a.png", "--compare", "out"),
        ("colorize", "s", "o", "--compare", "o/sub"),
        ("colorize", "s", "o", "--grid", "o/a.png"),
        ("colorize", "s/a.png", "a.png", "--grid", "a.png"),
        ("colorize", "s", "--compare", "strips", "--grid", "strips/a.png"),
        ("reconstruct", "s", "o", "-c", "MODEL", "--grid", "o/sub/a.png"),
    ],
)
def test_outputs_do_not_replace_each_other(aetool, model, place, words):
    draw("s/a.png", "s/sub/a.png")
    done = aetool(*(model if word == "MODEL" else word for word in words))
    assert done.status == 2 and "would both write" in done.stderr
    assert sorted(os.listdir(".")) == ["s"]


def test_targets_stay(aetool, place):
    draw("in/a.png", "tg/a.png")
    spec = {"name": "pix2pix", "size": (32, 32), "channels": 3, "outputs": 3, "width": 2}
    model = write_untrained(place / "m.h5", spec, "translate")
    (place / "list").write_text("tg/a.png\n")
    before = contents("tg/a.png")
    for target in ("tg/a.png", "@list"):
        words = ("translate", "in/a.png", "tg", "-c", model, "--evaluate", "--target", target)
        assert aetool(*words).status
        assert contents("tg/a.png") == before


@pytest.mark.parametrize("option", ["--plot", "--log"])
def test_training_leaves_what_it_learns_from(aetool, place, option):
    draw(*(f"p/{n}.png" for n in range(4)), "v/a.png", "v/b.png")
    (place / "list").write_text("".join(f"p/{n}.png\n" for n in range(4)))
    (place / "others").write_text("v/a.png\nv/b.png\n")
    before = contents("p/3.png", "v/a.png")
    for path in ("p/3.png", "v/a.png"):
        words = ("train", "@list", "-o", "m.h5", "--validation", "@others", "--epochs", "1")
        done = aetool(*words, option, path)
        assert done.status == 2 and "is read: its result would replace it" in done.stderr
    assert contents("p/3.png", "v/a.png") == before
    assert not os.path.exists("m.h5")


@pytest.mark.parametrize(
    "words",
    [
        ("cluster", "l.h5", "-k", "2", "-o", "c.csv", "--plot", "p/0.png", "--thumbnails"),
        ("cluster", "l.h5", "-k", "2", "-o", "p/1.png", "--html", "h.html"),
        ("pca", "l.h5", "-o", "c.csv", "--scree", "p/2.png", "--html", "h.html"),
        ("info", "l.h5", "--preview", "p/3.png"),
    ],
)
def test_pictures_that_are_shown_stay(aetool, place, words):
    names = [f"p/{n}.png" for n in range(4)]
    draw(*names)
    assert aetool("encode", "p", "--pixels", "-o", "l.h5", "-q").status == 0
    before = contents(*names)
    done = aetool(*words)
    assert done.status == 2 and "is read: its result would replace it" in done.stderr
    assert contents(*names) == before


def test_a_report_is_no_picture_of_the_next_run(aetool, model, place):
    draw("p/a.png", "p/b.png")
    done = aetool("anomaly", "p", "-c", model, "-o", "s.csv", "--report", "p/r.png")
    assert done.status == 2 and "--report lies inside SOURCE" in done.stderr


def test_a_folder_with_more_than_a_saved_model_is_not_replaced(aetool, model, place):
    os.makedirs("sm/variables")
    for name in ("saved_model.pb", "notes"):
        (place / "sm" / name).write_text("kept")
    done = aetool("export", model, "sm")
    assert done.status == 1 and "no part of a SavedModel" in done.stderr
    assert sorted(os.listdir("sm")) == ["notes", "saved_model.pb", "variables"]


def test_sheets_leave_pictures_that_are_called_as_they_are(aetool, place):
    draw("p/cluster-00.png", "p/b.png", "p/c.png")
    assert aetool("encode", "p", "--pixels", "-o", "l.h5", "-q").status == 0
    before = contents("p/cluster-00.png")
    done = aetool("cluster", "l.h5", "-k", "2", "-o", "c.csv", "--sheets", "p")
    assert done.status == 2 and "a sheet would replace it" in done.stderr
    assert contents("p/cluster-00.png") == before


def test_arrays_are_inputs_too(aetool, place):
    np.save("x.npy", np.zeros((4, 8, 8), np.uint8))
    before = contents("x.npy")
    done = aetool("encode", "x.npy", "--pixels", "-o", "x.npy")
    assert done.status == 2 and contents("x.npy") == before


def test_arrays_below_a_group_are_inputs_too(aetool, place):
    with h5py.File("data.h5", "w") as file:
        file["cam/images"] = np.zeros((4, 8, 8), np.uint8)
    before = contents("data.h5")
    done = aetool("encode", "data.h5/cam/images", "--pixels", "-o", "data.h5")
    assert done.status == 2 and "is read" in done.stderr
    assert contents("data.h5") == before


def test_the_files_of_a_data_set_are_inputs_and_so_are_those_of_its_labels(aetool, place):
    os.mkdir("mnist")
    files = ["mnist/train-images-idx3-ubyte", "mnist/train-labels-idx1-ubyte"]
    for file, shape in zip(files, ((2, 4, 4), (2,)), strict=True):
        header = np.array([0x800 + len(shape), *shape], ">i4").tobytes()
        Path(file).write_bytes(header + bytes(np.prod(shape)))
    before = contents(*files)
    for source in ("mnist", "mnist/train", files[0]):
        for output in files:
            done = aetool("encode", source, "--pixels", "-o", output)
            assert done.status == 2 and "is read" in done.stderr
    assert contents(*files) == before
