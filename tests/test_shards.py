"""A run in shards: the parts joined are what one run writes, byte for byte."""

import shutil
import threading

import numpy as np
import pytest
from PIL import Image
from untrained import RECONSTRUCTION, write_untrained

from aetool.errors import FormatError, OutputError, UsageError
from aetool.storage.atomic import locked
from aetool.storage.latents import LatentsWriter, open_latents
from aetool.storage.shards import Part, Shard
from aetool.storage.tables import read_table, write_table
from aetool.tasks.merge import merge_parts
from aetool.tasks.shards import COLUMN

PROBABILITIES = {"name": "probabilities", "decoding": "probabilities"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An autoencoder of colour pictures."""
    spec = {"name": "unet", "size": (16, 16), "widths": (4,), "middle": 8, "outputs": 3}
    return write_untrained(tmp_path_factory.mktemp("unet") / "unet.h5", spec, "reconstruct")


@pytest.fixture(scope="module")
def scans(photos, tmp_path_factory):
    """The twelve photographs; the third and the fourth, of two shards, cannot be read."""
    folder = tmp_path_factory.mktemp("scans") / "scans"
    shutil.copytree(photos, folder)
    for number in (2, 3):
        (folder / "sky" / f"sky {number}.jpg").write_bytes(b"no picture")
    return folder


def run_shards(aetool, count, command, folder, suffix, *words):
    """The parts that a command writes, and what it said of each."""
    parts, results = [], []
    for number in range(1, count + 1):
        path = folder / f"part-{number}{suffix}"
        shard = ("--shard", f"{number}/{count}")
        done = aetool(*command, "-o", path, *words, *shard, "--json", "--allow-failures", "9")
        assert done.status == 0, done.stderr
        parts.append(path)
        results.append(done.json)
    return parts, results


# What a shard is.


def test_shards_share_out_every_picture_once():
    for count in (1, 3, 5, 12):
        rows = [Shard(number, count).rows(10) for number in range(1, count + 1)]
        assert sorted(row for shard in rows for row in shard) == list(range(10))
        assert all(row % count == number for number, shard in enumerate(rows) for row in shard)


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "1/4/2", "a/b", "-1/4", "1.0/4"])
def test_what_is_no_shard_is_refused(text, aetool, tmp_path):
    with pytest.raises(UsageError, match="not I/N"):
        Shard.parse(text)
    words = ("encode", "sklearn:digits", "--pixels", "-o", tmp_path / "l.h5", f"--shard={text}")
    assert aetool(*words).status == 2


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_a_part_that_could_not_say_so_is_refused(aetool, tmp_path, suffix):
    path = tmp_path / f"part{suffix}"
    done = aetool("encode", "sklearn:digits", "--pixels", "--shard", "1/2", "-o", path)
    assert done.status == 2 and "which shard it is" in done.stderr
    assert not path.exists()


def test_a_part_reads_what_it_wrote():
    part = Part(Shard(2, 8), 5000, "0123456789abcdef")
    assert Part.parse(str(part)) == part
    for text in ("", "2/8 of 5000", str(part)[:-1], str(part).replace("2/8", "9/8")):
        assert Part.parse(text) is None


# Runs.


@pytest.mark.parametrize("count", [2, 5, 13])
def test_latents_in_shards_are_those_of_one_run(aetool, model, scans, tmp_path, count):
    whole, merged = tmp_path / "whole.h5", tmp_path / "merged.h5"
    one = aetool("encode", scans, "-c", model, "-o", whole, "--json", "--allow-failures", "2").json
    parts, results = run_shards(aetool, count, ("encode", scans, "-c", model), tmp_path, ".h5")
    assert sum(result["rows"] for result in results) == 10
    failed = [failure for result in results for failure in result["failed"]]
    assert sorted(f["path"] for f in failed) == sorted(f["path"] for f in one["failed"])
    done = aetool("merge", *reversed(parts), "-o", merged, "--json")
    assert done.json | {"seconds": 0} == {
        "kind": "latents", "parts": count, "rows": 10, "missing": 2, "seconds": 0,
    }  # fmt: skip
    assert merged.read_bytes() == whole.read_bytes()


def test_a_shard_without_a_readable_picture_has_a_part_too(aetool, model, tmp_path):
    folder = tmp_path / "two"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"no picture")
    Image.new("RGB", (9, 9), "teal").save(folder / "b.png")
    for how in (("-c", model), ("--pixels", "--size", "4", "--pool", "mean")):
        command = ("encode", folder, *how)
        parts, _ = run_shards(aetool, 2, command, tmp_path, ".h5")
        with open_latents(parts[0]) as empty, open_latents(parts[1]) as full:
            assert (len(empty), len(full)) == (0, 1)
            assert empty.feature_shape == full.feature_shape
        merge_parts(parts, tmp_path / "merged.h5")
        aetool(*command, "-o", tmp_path / "whole.h5", "-q")
        assert (tmp_path / "merged.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_pixels_take_their_size_from_the_whole(aetool, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number, side in enumerate((6, 8, 10)):
        Image.new("RGB", (side, side), "teal").save(folder / f"{number}.png")
    parts, results = run_shards(aetool, 3, ("encode", folder, "--pixels"), tmp_path, ".h5")
    assert [result["dimensions"] for result in results] == [6 * 6 * 3] * 3
    merge_parts(parts, tmp_path / "merged.h5")
    assert aetool("encode", folder, "--pixels", "-o", tmp_path / "whole.h5", "-q").status == 0
    assert (tmp_path / "merged.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_scores_in_shards_are_those_of_one_run(aetool, model, scans, tmp_path):
    command = ("anomaly", scans, "-c", model, "--threshold", "0.1")
    words = ("-o", tmp_path / "whole.csv", "--heatmaps", tmp_path / "whole", "-q")
    assert aetool(*command, *words, "--allow-failures", "2").status == 0
    parts, _ = run_shards(aetool, 3, command, tmp_path, ".csv", "--heatmaps", tmp_path / "heatmaps")
    assert aetool("merge", *parts, "-o", tmp_path / "merged.csv").status == 0
    assert (tmp_path / "merged.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert contents(tmp_path / "heatmaps") == contents(tmp_path / "whole")
    merged = aetool("merge", *parts, "-o", "-")
    assert merged.stdout == (tmp_path / "whole.csv").read_bytes()


def test_labels_in_shards_are_those_of_one_run(aetool, scans, tmp_path):
    spec = {"name": "vgg-classifier-ae", "size": (16, 16), "channels": 3, "widths": (4,)}
    spec |= {"convolutions": (1,), "rates": (0.3,), "dense": 8, "classes": 2}
    output = (RECONSTRUCTION, PROBABILITIES)
    model = write_untrained(
        tmp_path / "c.h5", spec, "classify", classes=("a, b", "sky"), output=output
    )
    command = ("classify", scans, "-c", model, "--probabilities")
    whole = tmp_path / "whole.csv"
    assert aetool(*command, "-o", whole, "-q", "--allow-failures", "2").status == 0
    parts, _ = run_shards(aetool, 5, command, tmp_path, ".csv")
    merge_parts(parts, tmp_path / "merged.csv")
    assert (tmp_path / "merged.csv").read_bytes() == whole.read_bytes()


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_pictures_in_shards_are_those_of_one_run(aetool, model, scans, tmp_path):
    clashing = tmp_path / "clashing"
    shutil.copytree(scans, clashing)
    shutil.copy(clashing / "stripes" / "stripes 0.png", clashing / "a.gif.png")
    Image.new("L", (9, 9)).save(clashing / "a.gif")  # its result would be a.gif.png, of the other
    command = ("reconstruct", clashing)
    words = ("-c", model, "--json", "--allow-failures", "9")
    one = aetool(*command, tmp_path / "whole", *words).json
    every = [
        aetool(*command, tmp_path / "shards", *words, "--shard", f"{n}/3").json for n in (1, 2, 3)
    ]
    assert contents(tmp_path / "shards") == contents(tmp_path / "whole")
    assert sum(result["written"] for result in every) == one["written"] == 11
    failed = [failure["path"] for result in every for failure in result["failed"]]
    assert sorted(failed) == sorted(failure["path"] for failure in one["failed"])
    assert "a.gif" in failed
    again = aetool(*command, tmp_path / "shards", *words, "--shard", "1/3").json
    assert again["written"] == 0 and again["skipped"] == every[0]["written"]


def test_rows_of_an_array_have_no_shard(aetool, model, scans, tmp_path):
    words = ("reconstruct", scans, tmp_path / "all.npy", "-c", model, "--shard", "1/2")
    done = aetool(*words)
    assert done.status == 2 and "--shard writes pictures" in done.stderr


# Locks.


def test_shards_hold_a_folder_together_and_alone_each(tmp_path):
    folder = tmp_path / "out"
    with locked(folder, part="1/2"), locked(folder, part="2/2"):
        for part in ("", "1/2"):
            with pytest.raises(OutputError, match="another run"), locked(folder, part=part):
                pass
    another_run = pytest.raises(OutputError, match="another run")
    with locked(folder), another_run, locked(folder, part="1/2"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_last_shard_to_leave_removes_the_lock(tmp_path):
    folder = tmp_path / "out"
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with locked(folder, part="1/2"):
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with locked(folder, part="2/2"):
        pass
    with pytest.raises(OutputError, match="another run"), locked(folder):
        pass
    leave.set()
    thread.join()
    assert list(tmp_path.iterdir()) == []


# What merge refuses.

RUN = "0123456789abcdef"


def write_part(path, number, count=2, *, pictures=5, run=RUN, index=None, **changes):
    """A part of latents of the numbers 0 to 4."""
    index = list(Shard(number, count).rows(pictures)) if index is None else index
    settings = {"dimensions": 2, "feature_shape": (2,), "source": "/s", "checkpoint_digest": "c"}
    part = Part(Shard(number, count), pictures, run)
    with LatentsWriter(path, **{**settings, "part": part, **changes}) as writer:
        if len(index):
            names = [f"{i}.png" for i in index]
            writer.append(np.float32([[i, -i] for i in index]), index, names)
    return path


def test_parts_that_belong_together_are_joined_in_order(tmp_path):
    parts = [write_part(tmp_path / f"{n}.h5", n, index=rows) for n, rows in ((1, [0, 4]), (2, [3]))]
    result = merge_parts(parts, tmp_path / "whole.h5")
    assert (result.rows, result.missing) == (3, 2)
    with open_latents(tmp_path / "whole.h5") as whole:
        assert list(whole.index) == [0, 3, 4] and whole.part is None
        assert whole.paths == ["0.png", "3.png", "4.png"]
        np.testing.assert_array_equal(whole.features[:], [[0, 0], [3, -3], [4, -4]])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"number": 1}, "shard 1/2 is given twice"),
        ({"number": 2, "count": 3}, "is shard 2/3, but"),
        ({"number": 2, "run": "f" * 16}, "come from different runs"),
        ({"number": 2, "pictures": 6}, "come from different runs"),
        ({"number": 2, "checkpoint_digest": "d"}, "another checkpoint"),
        ({"number": 2, "source": "/t"}, "another source"),
        ({"number": 2, "precision": "bfloat16"}, "another precision"),
        ({"number": 2, "dimensions": 2, "feature_shape": (1, 2)}, "another feature shape"),
        ({"number": 2, "class_names": ("a",)}, "another class names"),
        ({"number": 2, "part": None}, "is no part"),
        ({"number": 2, "index": [2]}, "not those of shard 2/2"),
        ({"number": 2, "index": [3, 1]}, "not those of shard 2/2"),
        ({"number": 2, "index": [7]}, "not those of shard 2/2"),
    ],
)
def test_latents_that_do_not_belong_together_are_refused(tmp_path, second, message):
    parts = [write_part(tmp_path / "a.h5", 1), write_part(tmp_path / "b.h5", **second)]
    with pytest.raises(FormatError, match=message):
        merge_parts(parts, tmp_path / "whole.h5")
    assert not (tmp_path / "whole.h5").exists()


def test_missing_shards_are_named(aetool, tmp_path):
    parts = [write_part(tmp_path / f"{n}.h5", n, 9) for n in (2, 8)]
    done = aetool("merge", *parts, "-o", tmp_path / "whole.h5")
    assert done.status == 1
    assert "missing: shard 1/9, 3/9, 4/9, 5/9, 6/9 and 2 more" in done.stderr


def test_nothing_but_empty_parts_is_no_whole(tmp_path):
    parts = [write_part(tmp_path / f"{n}.h5", n, index=[]) for n in (1, 2)]
    with pytest.raises(FormatError, match="hold no row"):
        merge_parts(parts, tmp_path / "whole.h5")
    assert not (tmp_path / "whole.h5").exists()


def table(path, part, rows, header=("path", "score")):
    write_table(path, [f"{COLUMN}{part}", *header], rows)
    return path


@pytest.mark.parametrize(
    ("part", "rows", "header", "message"),
    [
        (Part(Shard(2, 2), 5, RUN), [(1, "b", 0)], ("path", "label"), "other columns"),
        (Part(Shard(2, 2), 5, "f" * 16), [(1, "b", 0)], ("path", "score"), "different runs"),
        (Part(Shard(2, 2), 5, RUN), [(2, "b", 0)], ("path", "score"), "not those of shard 2/2"),
        (Part(Shard(2, 2), 5, RUN), [(3, "b", 0), (1, "a", 0)], ("path", "score"), "not ascend"),
        (Part(Shard(2, 2), 5, RUN), [("x", "b", 0)], ("path", "score"), "'x' is no position"),
        ("", [(1, "b", 0)], ("path", "score"), "is no part"),
    ],
)
def test_tables_that_do_not_belong_together_are_refused(tmp_path, part, rows, header, message):
    first = table(tmp_path / "a.csv", Part(Shard(1, 2), 5, RUN), [(0, "a", 1), (4, "e", 1)])
    second = table(tmp_path / "b.csv", part, rows, header)
    with pytest.raises(FormatError, match=message):
        merge_parts([first, second], tmp_path / "whole.csv")
    assert not (tmp_path / "whole.csv").exists()


def test_tables_and_latents_do_not_mix(aetool, tmp_path):
    first = table(tmp_path / "a.csv", Part(Shard(1, 2), 5, RUN), [(0, "a", 1)])
    done = aetool("merge", first, write_part(tmp_path / "b.h5", 2), "-o", tmp_path / "whole.csv")
    assert done.status == 2 and "holds latents" in done.stderr


def test_a_whole_does_not_replace_its_part_and_a_model_is_no_part(aetool, model, tmp_path):
    parts = [
        table(tmp_path / f"{n}.csv", Part(Shard(n, 2), 2, RUN), [(n - 1, "a", 1)]) for n in (1, 2)
    ]
    done = aetool("merge", *parts, "-o", parts[0])
    assert done.status == 2 and "its result would replace it" in done.stderr
    assert aetool("merge", *parts, "-o", tmp_path / "whole.csv").status == 0
    done = aetool("merge", model, parts[0], "-o", tmp_path / "other.csv")
    assert done.status == 1 and "is a checkpoint" in done.stderr


def test_cells_keep_their_text(tmp_path):
    odd = ['a "b", c.png', "line\nend.png", "0.10", ""]
    first = table(tmp_path / "a.csv", Part(Shard(1, 2), 4, RUN), [(0, odd[0], 1), (2, odd[2], 2)])
    second = table(tmp_path / "b.csv", Part(Shard(2, 2), 4, RUN), [(1, odd[1], 3), (3, odd[3], 4)])
    merge_parts([second, first], tmp_path / "whole.csv")
    _, rows = read_table(tmp_path / "whole.csv")
    assert [row[0] for row in rows] == odd
