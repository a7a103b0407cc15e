"""Results that would be in the way of something, and results that are not skipped by mistake."""

import os
import time

import h5py
import numpy as np
import pytest
from PIL import Image
from untrained import write_untrained

from aetool.inference.prepare import frames, restore
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.reconstruct import _Rebuilding


def untrained(path):
    """A network of 8x8 grey pixels."""
    spec = {"name": "conv-ae", "size": (8, 8), "channels": 1, "widths": (2,)}
    return write_untrained(path, spec, "reconstruct")


def draw(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (value, value, value)).save(path)
    return path


def pixel(path):
    with Image.open(path) as image:
        return image.convert("L").getpixel((3, 3))


@pytest.mark.parametrize("how", ["pipe", "file"])
def test_one_picture_is_always_coloured(aetool, tmp_path, how):
    """What stands in its place may be another's."""
    out = tmp_path / "out.png"
    for value in (40, 200):
        given = draw(tmp_path / f"{value}.png", value)
        words, stdin = (given, b"") if how == "file" else ("-", given.read_bytes())
        assert aetool("colorize", words, out, "-q", stdin=stdin).status == 0
        assert abs(pixel(out) - value) <= 3


def test_a_picture_from_a_pipe_is_done_again_in_a_folder_too(aetool, tmp_path):
    for value in (40, 200):
        data = draw(tmp_path / "given.png", value).read_bytes()
        assert aetool("colorize", "-", tmp_path / "out", "-q", stdin=data).status == 0
        (result,) = (tmp_path / "out").iterdir()
        assert abs(pixel(result) - value) <= 3


def test_a_folder_of_idx_files_that_changed_is_done_again(aetool, tmp_path):
    folder, name = tmp_path / "set", "t10k-images-idx3-ubyte"
    folder.mkdir()
    model = untrained(tmp_path / "m.h5")
    for count in (2, 3):
        header = np.array([0x803, count, 8, 8], ">i4").tobytes()
        (folder / name).write_bytes(header + bytes(count * 64))
        done = aetool("reconstruct", folder, tmp_path / "out", "-c", model, "--json")
        assert done.status == 0, done.stderr
        assert done.json["written"] == count


def test_an_array_below_a_group_that_changed_is_done_again(aetool, tmp_path):
    model, data = untrained(tmp_path / "m.h5"), tmp_path / "data.h5"
    words = ("reconstruct", data / "cam" / "images", tmp_path / "out", "-c", model, "--json")
    for written in (2, 0, 2):
        if written:
            with h5py.File(data, "w") as file:
                file["cam/images"] = np.zeros((2, 8, 8), np.uint8)
        done = aetool(*words)
        assert done.status == 0, done.stderr
        assert done.json["written"] == written


def test_what_does_not_hold_a_result_is_no_folder_either(aetool, tmp_path):
    given = draw(tmp_path / "a.png", 40)
    done = aetool("colorize", given, tmp_path / "out.gif", "-q")
    assert done.status == 2 and "call it out.png" in done.stderr
    assert not (tmp_path / "out.gif").exists()


def test_no_picture_goes_to_a_terminal(aetool, tmp_path, monkeypatch):
    given = draw(tmp_path / "a.png", 40)
    monkeypatch.setattr("aetool.tasks.outputs._to_terminal", lambda: True)
    done = aetool("colorize", given, "-", "-q")
    assert done.status == 2 and "a terminal shows no picture" in done.stderr


@pytest.mark.parametrize("option", ["--grid", "--compare"])
def test_drawings_in_the_source_are_refused_at_once(aetool, tmp_path, option):
    draw(tmp_path / "in" / "a.png", 40)
    words = ("colorize", tmp_path / "in", tmp_path / "out", "-q")
    done = aetool(*words, option, tmp_path / "in" / "sheet.png")
    assert done.status == 2 and f"{option} lies inside SOURCE" in done.stderr
    assert not (tmp_path / "out").exists()


def test_strips_of_one_picture_may_lie_beside_it(aetool, tmp_path):
    given = draw(tmp_path / "a.png", 40)
    words = ("colorize", given, tmp_path / "b.png", "--compare", tmp_path / "strips", "-q")
    assert aetool(*words).status == 0
    assert [path.name for path in (tmp_path / "strips").iterdir()] == ["a.png"]


def test_two_strips_of_one_name_are_one_failure(aetool, tmp_path):
    for name in ("a.gif", "a.gif.png"):
        draw(tmp_path / "in" / name, 40)
    words = ("colorize", tmp_path / "in", "--evaluate", "--compare", tmp_path / "strips")
    done = aetool(*words, "--json")
    assert done.status == 1
    assert (done.json["read"], len(done.json["failed"])) == (1, 1)


def test_targets_are_not_replaced(aetool, tmp_path):
    model = tmp_path / "m.h5"
    draw(tmp_path / "in" / "x.png", 40)
    words = ("--model", "pix2pix", "--edges", "--size", 16, "--patch", 7, "--set", "width=2")
    assert aetool("train", tmp_path / "in", *words, "--epochs", 0, "-o", model).status == 0
    truth = draw(tmp_path / "truth" / "x.png", 200)
    before = truth.read_bytes()
    words = ("translate", tmp_path / "in", tmp_path / "truth", "-c", model, "--evaluate")
    done = aetool(*words, "--target", tmp_path / "truth", "-q")
    assert done.status == 2 and "OUT lies inside the targets" in done.stderr
    assert truth.read_bytes() == before


def test_a_walk_replaces_neither_of_its_ends(aetool, tmp_path):
    model = tmp_path / "m.h5"
    words = ("train", "sklearn:digits", "--model", "conv-vae", "--epochs", 0, "-q", "-o", model)
    assert aetool(*words).status == 0
    first = draw(tmp_path / "first.gif", 40)
    before = first.read_bytes()
    words = ("generate", "-c", model, "-o", first, "--walk", first, draw(tmp_path / "b.png", 9))
    done = aetool(*words, "-q")
    assert done.status == 2 and "its result would replace it" in done.stderr
    assert first.read_bytes() == before


@pytest.mark.parametrize("picture", [(1, 1), (1, 400), (400, 1)])
def test_very_narrow_pictures_have_a_part_that_is_seen(picture):
    seen, _ = frames(picture, (64, 8), "crop")
    assert seen[2] > seen[0] and seen[3] > seen[1]
    assert restore(np.zeros((64, 8), np.uint8), picture, "crop").size > 0


def test_pixels_do_not_stay_with_a_result(tmp_path):
    """A view, however small, keeps the whole picture in memory."""
    from aetool.images.source import open_source

    model = untrained(tmp_path / "m.h5")
    pictures = open_source(str(draw(tmp_path / "a.png", 40)))
    work = _Rebuilding(pictures, read_checkpoint(model), "float32", None, 10**6, frozenset(), None)
    _, like = work.load(0).payload
    assert like.pixels.size == 0 and like.pixels.base is None


def test_suffixes_mean_the_same_in_capitals(aetool, tmp_path):
    draw(tmp_path / "in" / "a.png", 40)
    words = ("encode", tmp_path / "in", "--pixels", "-o", tmp_path / "l.CSV", "-q")
    assert aetool(*words).status == 0
    assert (tmp_path / "l.CSV").read_text().startswith("path,")


def test_a_part_that_merge_could_not_read_is_refused(aetool, tmp_path):
    model = untrained(tmp_path / "m.h5")
    draw(tmp_path / "in" / "a.png", 40)
    words = ("anomaly", tmp_path / "in", "-c", model, "-o", tmp_path / "s.jsonl")
    done = aetool(*words, "--shard", "1/2")
    assert done.status == 2 and "name it .csv" in done.stderr


def test_no_model_becomes_a_table(aetool, tmp_path):
    model = untrained(tmp_path / "m.h5")
    other = untrained(tmp_path / "other.h5")
    before = other.read_bytes()
    np.save(tmp_path / "l.npy", np.eye(4, dtype=np.float32))
    draw(tmp_path / "in" / "a.png", 40)
    for words in (
        ("pca", tmp_path / "l.npy"),
        ("cluster", tmp_path / "l.npy", "-k", 2),
        ("encode", tmp_path / "in", "-c", model),
        ("anomaly", tmp_path / "in", "-c", model),
    ):
        done = aetool(*words, "-o", other)
        assert done.status == 2 and f"{other} is a model" in done.stderr
    assert other.read_bytes() == before


def test_a_missing_part_is_said_to_be_missing(aetool, tmp_path):
    draw(tmp_path / "in" / "a.png", 40)
    part = tmp_path / "1.h5"
    assert aetool("encode", tmp_path / "in", "--pixels", "-o", part, "-q").status == 0
    done = aetool("merge", part, tmp_path / "2.h5", "-o", tmp_path / "all.h5")
    assert done.status == 1 and "2.h5: no such file" in done.stderr


def test_the_calibration_takes_no_option_of_scoring(aetool, tmp_path):
    model = untrained(tmp_path / "m.h5")
    words = ("anomaly", "--calibrate", tmp_path, "-c", model, "-o", tmp_path / "n.h5")
    for option in (("--threshold", 0), ("--shard", "1/2")):
        done = aetool(*words, *option)
        assert done.status == 2 and "--calibrate scores nothing" in done.stderr


def test_a_result_without_a_place_stops_no_other(aetool, tmp_path):
    for name in ("a.png", "b.png", "sub/c.png", "d.png"):
        draw(tmp_path / "in" / name, 90)
    draw(tmp_path / "out" / "b.png" / "kept.png", 10)
    (tmp_path / "out" / "sub").write_text("kept")
    done = aetool("colorize", tmp_path / "in", tmp_path / "out", "--json")
    assert done.status == 1
    assert done.json["written"] == 2
    assert [failure["path"] for failure in done.json["failed"]] == ["b.png", "sub/c.png"]
    assert all("cannot write" in failure["reason"] for failure in done.json["failed"])
    assert pixel(tmp_path / "out" / "b.png" / "kept.png") == 10
    assert (tmp_path / "out" / "sub").read_text() == "kept"
    assert not list((tmp_path / "out").rglob("*.aetool-part*"))


@pytest.mark.parametrize("replaced", ["picture", "model"])
def test_what_is_replaced_while_a_run_is_under_way_is_done_again(
    aetool, tmp_path, monkeypatch, replaced
):
    """The picture has been read and the model too when the engine is made."""
    given, model = draw(tmp_path / "in" / "a.png", 40), untrained(tmp_path / "m.h5")
    draw(tmp_path / "in" / "b.png", 80)
    words = ("reconstruct", tmp_path / "in", tmp_path / "out", "-c", model, "--json")
    make = _Rebuilding.make_engine

    def replace_and_make(work):
        time.sleep(0.02)  # longer than the steps of the file system's clock
        other = draw(tmp_path / "new.png", 200) if replaced == "picture" else model
        os.replace(other, given) if replaced == "picture" else os.utime(model)
        return make(work)

    with monkeypatch.context() as patch:
        patch.setattr(_Rebuilding, "make_engine", replace_and_make)
        assert aetool(*words).json["written"] == 2
    assert aetool(*words).json["written"] == (1 if replaced == "picture" else 2)
    assert aetool(*words).json["skipped"] == 2


def test_a_side_that_a_format_does_not_hold_stops_no_other(aetool, tmp_path):
    Image.new("L", (16_500, 1)).save(tmp_path / "in.jpg")
    os.makedirs(tmp_path / "in")
    os.rename(tmp_path / "in.jpg", tmp_path / "in" / "a.webp")
    for name in ("b.png", "c.png"):
        draw(tmp_path / "in" / name, 90)
    strips = tmp_path / "strips"
    done = aetool("colorize", tmp_path / "in", tmp_path / "out", "--compare", strips, "--json")
    assert done.status == 1 and done.json["written"] == 2
    (failure,) = done.json["failed"]
    assert failure["path"] == "a.webp" and "16383 pixels a side" in failure["reason"]


def test_a_path_that_is_too_long_stops_no_other(aetool, tmp_path):
    """Below OUT, whose own path is longer, a picture deep down has no place."""
    deep = "/".join(["d" * 200] * 18)
    os.makedirs(tmp_path / "in")
    draw(tmp_path / "in" / "a.png", 90)
    here = os.getcwd()
    try:  # no path of that length can be made at once
        os.chdir(tmp_path / "in")
        for name in deep.split("/"):
            os.mkdir(name)
            os.chdir(name)
        Image.new("L", (8, 8)).save("b.png")
    finally:
        os.chdir(here)
    out = tmp_path.joinpath(*["o" * 200] * 3)
    done = aetool("colorize", tmp_path / "in", out, "--json")
    assert done.status == 1 and done.json["written"] == 1
    (failure,) = done.json["failed"]
    assert failure["path"].endswith("b.png") and "too long" in failure["reason"]
