"""SOURCE as folders, single pictures, lists and standard input."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aetool.errors import ImageError, SourceError
from aetool.images import listing
from aetool.images.listing import find_pictures, natural_sorted
from aetool.images.source import Files, Source, open_source


def write(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (3, 2), shade).save(path, format="PNG")
    return path


def names(source):
    return [source.name(i) for i in range(len(source))]


def labels(source):
    return [source.label(i) for i in range(len(source))]


def shades(source):
    return [int(source.load(i).pixels[0, 0]) for i in range(len(source))]


class Stdin:
    def __init__(self, data):
        self.buffer = io.BytesIO(data)


# Folders


def test_natural_order_counts_and_ignores_case():
    ordered = ["a", "a1.png", "A01.png", "a2.png", "a10.png", "a10b.png", "a-b/1.png", "b/9.png"]
    ordered += ["b/10.png", "b!/1.png", "B2/1.png", "9" * 5000]
    expected = natural_sorted(ordered)
    assert natural_sorted(reversed(ordered)) == expected
    for first, second in [("a2.png", "a10.png"), ("b/9.png", "b/10.png"), ("b/10.png", "b!/1.png")]:
        assert expected.index(first) < expected.index(second)
    assert abs(expected.index("a1.png") - expected.index("A01.png")) == 1


def test_a_folder_gives_pictures_in_natural_order_with_labels(tmp_path):
    for i, name in enumerate(["tile 10/1.png", "tile 9/img10.PNG", "tile 9/img2.jpg", "top.png"]):
        write(tmp_path / name, i)
    write(tmp_path / "tile 9/deep/er/3.png", 4)
    source = open_source(str(tmp_path))
    assert source.root == str(tmp_path)
    assert names(source) == [
        "tile 9/deep/er/3.png",
        "tile 9/img2.jpg",
        "tile 9/img10.PNG",
        "tile 10/1.png",
        "top.png",
    ]
    assert source.class_names == ("tile 9", "tile 10")
    assert labels(source) == [0, 0, 0, 1, -1]
    assert shades(source) == [4, 2, 1, 0, 3]
    assert source.path(4) == tmp_path / "top.png"
    assert source.load(4).format == "PNG"


def test_hidden_files_other_suffixes_and_pipes_are_left_out(tmp_path):
    for name in ("a.png", ".b.png", ".git/c.png", "sub/.d/e.png"):
        write(tmp_path / name)
    for name in ("notes.txt", "model.h5", "Makefile", "a.png.part"):
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.png")
    source = open_source(str(tmp_path))
    assert names(source) == ["a.png"] and source.class_names == () and source.label(0) == -1


def test_links_are_followed_but_loops_survived(tmp_path):
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    write(photos / "sub/a.png")
    write(elsewhere / "b.png")
    (photos / "sub/up").symlink_to(photos)
    (photos / "self").symlink_to("self")
    (photos / "other").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(photos)
    (photos / "gone.png").symlink_to("nowhere.png")
    (photos / "linked.png").symlink_to(elsewhere / "b.png")
    source = open_source(str(photos))
    assert names(source) == ["gone.png", "linked.png", "other/b.png", "sub/a.png"]
    with pytest.raises(ImageError):
        source.load(0)


def test_the_output_folder_is_no_input(tmp_path):
    write(tmp_path / "a.png")
    write(tmp_path / "out/a.png")
    write(tmp_path / "sub/out/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    source = open_source(str(tmp_path), exclude=tmp_path / "out")
    assert names(source) == ["a.png", "sub/out/a.png"]
    assert len(open_source(str(tmp_path), exclude=tmp_path / "new")) == 4
    with pytest.raises(SourceError, match="the output folder is the source itself"):
        open_source(str(tmp_path), exclude=tmp_path / "sub" / "..")


def test_a_sub_folder_without_permission_is_reported_in_its_place(tmp_path, monkeypatch):
    write(tmp_path / "a.png")
    write(tmp_path / "locked/b.png")
    scandir = os.scandir

    def refuse(path):  # root, who may read everything, runs tests too
        if str(path).rstrip("/").endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(listing.os, "scandir", refuse)
    source = open_source(str(tmp_path))
    assert names(source) == ["a.png", "locked"]
    assert source.class_names == ()
    with pytest.raises(ImageError):
        source.load(1)
    with pytest.raises(SourceError, match="permission denied"):
        find_pictures(tmp_path / "locked")


@pytest.mark.parametrize(
    "name",
    [b"new\nline.png", b"quo'te\"s.png", "ünïcode 日本.png".encode(), b"latin\xe9.png", b"-.png"],
)
def test_any_name_survives(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), b"sub", name)
    write(Path(os.fsdecode(path)), 9)
    listed = Path(tmp_path, "list")
    listed.write_bytes(path + b"\0")
    for text in (str(tmp_path), os.fsdecode(path), f"@{listed}"):
        source = open_source(text)
        assert os.fsencode(source.name(0)).endswith(name)
        assert shades(source) == [9]
        assert len(source.digest()) == 64


# One picture, standard input, pipes


def test_one_picture_whatever_its_suffix(tmp_path, monkeypatch):
    write(tmp_path / "scan", 5)
    monkeypatch.chdir(tmp_path)
    source = open_source("scan")
    assert (source.root, source.name(0), source.class_names) == (str(tmp_path), "scan", ())
    assert source.path(0) == tmp_path / "scan" and shades(source) == [5]


def test_a_picture_on_standard_input(tmp_path, monkeypatch):
    data = write(tmp_path / "a.png", 77).read_bytes()
    monkeypatch.setattr(sys, "stdin", Stdin(data))
    source = open_source("-")
    assert (len(source), source.root, source.name(0), source.path(0)) == (1, "-", "stdin", None)
    assert shades(source) == [77]
    monkeypatch.setattr(sys, "stdin", Stdin(b""))
    with pytest.raises(SourceError, match="nothing to read"):
        open_source("-")


def test_a_named_pipe_is_read_once(tmp_path):
    data = write(tmp_path / "a.png", 3).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(data))
    writer.start()
    source = open_source(str(pipe))
    writer.join()
    assert shades(source) == [3] == shades(source)


# Lists


def test_a_list_keeps_its_order_and_takes_labels_below_the_common_folder(tmp_path, monkeypatch):
    for i, name in enumerate(["photos/cat/1.png", "photos/dog/2.png", "photos/cat/#3.png"]):
        write(tmp_path / name, i)
    monkeypatch.chdir(tmp_path)
    absolute = tmp_path / "photos/cat/1.png"
    lines = f"photos/dog/2.png\r\n\n./photos/cat/../cat/#3.png\n{absolute}\nphotos/cat/gone.png"
    Path("list.txt").write_text(lines)
    source = open_source("@list.txt")
    assert source.root == str(tmp_path)
    assert names(source) == [
        "photos/dog/2.png",
        "photos/cat/#3.png",
        "photos/cat/1.png",
        "photos/cat/gone.png",
    ]
    assert source.class_names == ("cat", "dog") and labels(source) == [1, 0, 0, 0]
    assert shades(source.select([0, 1, 2])) == [1, 2, 0]
    with pytest.raises(ImageError):
        source.load(3)
    monkeypatch.setattr(sys, "stdin", Stdin(b"photos/cat/1.png\0photos/dog/2.png\0"))
    assert names(open_source("@-")) == ["photos/cat/1.png", "photos/dog/2.png"]


def test_listed_names_never_climb_out_of_their_folder(tmp_path, monkeypatch):
    write(tmp_path / "a.png", 1)
    write(tmp_path / "here/b.png", 2)
    monkeypatch.chdir(tmp_path / "here")
    Path("list").write_text("../a.png\nb.png\n")
    source = open_source("@list")
    assert source.root == "/"
    assert names(source) == [f"{tmp_path}/a.png"[1:], f"{tmp_path}/here/b.png"[1:]]
    assert source.class_names == ("here",) and labels(source) == [-1, 0]
    assert shades(source) == [1, 2]


def test_a_list_leaves_out_the_output_folder_too(tmp_path, monkeypatch):
    write(tmp_path / "a.png")
    write(tmp_path / "out/a.png")
    monkeypatch.chdir(tmp_path)
    Path("list").write_text("a.png\nout/a.png\n")
    assert names(open_source("@list", exclude=Path("out"))) == ["a.png"]
    Path("list").write_text("out/a.png\n")
    with pytest.raises(SourceError, match="output folder"):
        open_source("@list", exclude=Path("out"))


# Rows


def test_select_keeps_positions_and_composes(tmp_path):
    for i in range(6):
        write(tmp_path / f"{i % 2}/{i}.png", i)
    source = open_source(str(tmp_path))  # 0/0 0/2 0/4 1/1 1/3 1/5
    chosen = source.select([5, 0, 3, 3]).select([2, 0])
    assert names(chosen) == ["1/1.png", "1/5.png"] and shades(chosen) == [1, 5]
    assert [chosen.position(i) for i in range(2)] == [3, 5]
    assert labels(chosen) == [1, 1] and chosen.class_names == ("0", "1")
    assert len(source.select([])) == 0
    for bad in ([6], [-1]):
        with pytest.raises(IndexError):
            source.select(bad)
    for bad in (2, -1):
        with pytest.raises(IndexError):
            chosen.name(bad)


def test_digest_changes_with_names_sizes_labels_and_values_only(tmp_path):
    first, second = write(tmp_path / "one/x/a.png"), write(tmp_path / "one/b.png")
    digest = open_source(str(tmp_path / "one")).digest()
    os.utime(first, (1, 1))
    (tmp_path / "one").rename(tmp_path / "two")
    source = open_source(str(tmp_path / "two"))
    assert source.digest() == digest == source.select([0, 1]).digest()
    assert source.select([1, 0]).digest() != digest
    (tmp_path / "two" / second.name).write_bytes(b"longer than it was" * 99)
    assert open_source(str(tmp_path / "two")).digest() != digest

    x = np.zeros((2, 4, 4), np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=[0, 1])
    np.savez(tmp_path / "b.npz", x=x, y=[1, 0])
    np.savez(tmp_path / "c.npz", x=x + np.arange(2, dtype=np.uint8)[:, None, None], y=[0, 1])
    digests = {open_source(str(tmp_path / name)).digest() for name in ("a.npz", "b.npz", "c.npz")}
    assert len(digests) == 3


def test_a_million_names_stay_cheap():
    listed = [f"class {i % 10}/{i}.png" for i in range(1000)]
    class_names, class_labels = listing.folder_labels(listed)
    source = Source("/nowhere", Files("/nowhere", listed), class_names, class_labels)
    half = source.select(range(0, 1000, 2))
    assert half._pictures is source._pictures and half._labels is source._labels
    assert half.name(7) == "class 4/14.png" and half.class_names[half.label(7)] == "class 4"


# Errors


@pytest.mark.parametrize("text", ["", "nowhere", "nowhere/test", "@nowhere", "x.npz/train", "a/@b"])
def test_a_missing_path_is_one_clear_error(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="no such file or directory") as caught:
        open_source(text)
    assert caught.value.message.startswith(text or "an empty SOURCE")
    assert caught.value.hint


def test_empty_folders_and_lists_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(SourceError, match="no pictures in this folder") as caught:
        open_source(str(tmp_path))
    assert "suffix" in caught.value.hint
    with pytest.raises(SourceError, match="the list is empty"):
        open_source(f"@{tmp_path}/notes.txt")


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.png")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(SourceError, match="permission denied") as caught:
        open_source(str(path))
    assert caught.value.hint == "check its permissions"


def test_opening_files_and_arrays_loads_no_framework(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 4), np.uint8))
    program = (
        "import sys; from aetool.images.source import open_source;"
        f"open_source({str(tmp_path / 'a.npy')!r}).load(0);"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib', 'torch'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
