"""Input that is damaged, empty, alike or of another kind ends in one clear line."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from PIL import Image
from untrained import write_untrained

from aetool.images.source import open_source
from aetool.storage.tables import write_table

SPEC = {"name": "conv-ae", "size": (8, 8), "channels": 1, "widths": (2,)}


@pytest.fixture
def model(tmp_path):
    return write_untrained(tmp_path / "model.h5", SPEC, "reconstruct")


def test_closed_streams_end_in_one_line(tmp_path):
    def run(words, closed):
        command = f'exec "{sys.executable}" -m aetool {words} {closed}&-'
        return subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True)

    np.save(tmp_path / "l.npy", np.random.default_rng(0).random((20, 4), np.float32))
    for words in ("cluster - -k 2", "pca -", "export - x.npz", "encode @- --pixels -o x.h5"):
        done = run(words, "<")
        assert done.returncode == 1 and done.stderr.startswith("aetool: error: "), done.stderr
    for words in ("pca l.npy", "pca l.npy -o c.csv --json", "--help"):
        done = run(words, ">")
        assert done.returncode == 1
        assert done.stderr.startswith("aetool: error: standard output is closed\n")
    assert run("pca l.npy -o c.csv", ">").returncode == 0


def test_an_empty_argument_is_refused(aetool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("a.png")
    for words in (("colorize", "a.png", ""), ("info", ""), ("cluster", "")):
        done = aetool(*words)
        assert done.status == 2 and "an argument is empty" in done.stderr
    assert os.listdir() == ["a.png"]


def test_a_damaged_chunk_of_an_array_is_one_pictures_misfortune(aetool, tmp_path):
    path = tmp_path / "x.h5"
    rows = np.random.default_rng(0).integers(0, 255, (8, 16, 16), np.uint8)
    with h5py.File(path, "w") as file:
        chunk = file.create_dataset("x", data=rows, chunks=(1, 16, 16), compression="gzip")
        place = chunk.id.get_chunk_info(3)
    data = bytearray(path.read_bytes())
    for i in range(place.byte_offset, place.byte_offset + place.size):
        data[i] ^= 0xFF
    path.write_bytes(data)
    assert len({open_source(str(path)).digest() for _ in range(2)}) == 1
    done = aetool("train", path, "-o", tmp_path / "m.h5", "--epochs", "1", "--json")
    assert done.status == 1, done.stderr
    assert [failure["path"] for failure in done.json["failed"]] == ["x/000003"]


def test_large_rows_of_arrays_are_refused_before_they_are_read(aetool, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 16, 16), np.uint8))
    words = ("encode", tmp_path / "x.npy", "--pixels", "-o", tmp_path / "l.h5", "--json")
    done = aetool(*words, "--max-pixels", "10")
    assert done.status == 1 and "more than the limit" in done.stderr
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("x", (1, 60000, 60000, 3), "u1", chunks=(1, 500, 500, 3))
    done = aetool("encode", tmp_path / "huge.h5", "--pixels", "-o", tmp_path / "l.h5")
    assert done.status == 1 and "more than the limit" in done.stderr


def test_pictures_that_are_all_alike_calibrate_nothing(aetool, model, tmp_path):
    np.save(tmp_path / "x.npy", np.full((12, 8, 8), 90, np.uint8))
    done = aetool(
        "anomaly", "--calibrate", tmp_path / "x.npy", "-c", model, "-o", tmp_path / "c.h5"
    )
    assert done.status == 2 and "are all alike" in done.stderr


def test_a_mask_that_cannot_be_read_is_named(aetool, model, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "gt").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "p" / "a.png")
    (tmp_path / "gt" / "a_mask.png").write_text("x")
    words = ("-o", tmp_path / "s.csv", "--masks", tmp_path / "gt", "--json")
    done = aetool("anomaly", tmp_path / "p", "-c", model, *words)
    assert done.status == 1
    reason = done.json["failed"][0]["reason"]
    assert reason.startswith("its mask ") and reason.endswith("a_mask.png: not an image")


def test_few_rows_make_no_map(aetool, tmp_path):
    np.save(tmp_path / "n.npy", np.random.default_rng(3).random((4, 5)))
    words = ("-k", "2", "--method", "manifold", "-o", tmp_path / "c.csv")
    done = aetool("cluster", tmp_path / "n.npy", *words)
    assert done.status == 2 and "too few to draw a map" in done.stderr


@pytest.mark.parametrize("value", [np.inf, 1e39, -np.inf])
def test_json_lines_hold_json(tmp_path, value):
    write_table(tmp_path / "t.jsonl", ["a"], [[value]])
    expected = b'{"a": 1e+39}\n' if np.isfinite(value) else b'{"a": null}\n'
    assert (tmp_path / "t.jsonl").read_bytes() == expected


def test_splits_of_one_file_are_shown_together(aetool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    splits = {
        f"x_{name}": random.integers(0, 255, (6, 8, 8), np.uint8) for name in ("train", "test")
    }
    np.savez("a.npz", **splits)
    for name in ("train", "test"):
        assert aetool("encode", f"a.npz/{name}", "--pixels", "-o", f"{name}.h5", "-q").status == 0
    words = ("-k", "2", "--method", "kmeans", "-o", "c.csv", "--sheets", "sheets")
    done = aetool("cluster", "train.h5", "test.h5", *words)
    assert done.status == 0, done.stderr
    assert len(os.listdir("sheets")) == 2


@pytest.mark.parametrize("setting", ["widths=,", "widths=2,4", "stem_stride=0", "stem_stride=2"])
def test_arguments_that_build_no_model_are_refused(aetool, tmp_path, setting):
    family = "unet" if setting.startswith("stem") else "conv-vae"
    words = ("--model", family, "--set", setting, "--epochs", "0", "-o", tmp_path / "m.h5")
    done = aetool("train", "sklearn:digits", *words)
    if setting == "widths=2,4":
        assert done.status == 0
    else:
        assert done.status == 2 and "cannot be built" in done.stderr


def test_a_list_of_latents_may_begin_with_a_mark(aetool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("l.npy", np.random.default_rng(0).random((9, 4)))
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbfl.npy\n")
    assert aetool("pca", "@list", "-o", "c.csv").status == 0


def test_verbose_says_what_json_would(aetool, tmp_path):
    np.save(tmp_path / "l.npy", np.random.default_rng(0).random((9, 4)))
    done = aetool("pca", tmp_path / "l.npy", "-o", tmp_path / "c.csv", "--verbose")
    assert done.stderr.startswith("explained variance ratio: [")


def test_a_batch_that_fits_no_memory_is_refused(aetool, tmp_path):
    Image.new("L", (64, 64)).save(tmp_path / "a.png")
    words = ("--batch-size", "100000", "--render-size", "1024")
    done = aetool("colorize", tmp_path / "a.png", tmp_path / "b.png", *words)
    assert done.status == 2 and "does not fit in memory" in done.stderr
