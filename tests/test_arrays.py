"""Arrays as a source: what is taken for pictures and labels, and what is refused."""

import gzip
import io
import os
import pickle
import re
import struct
import sys
import types
import zipfile

import h5py
import numpy as np
import pytest
from sklearn.datasets import load_digits

from aetool.errors import ImageError, SourceError
from aetool.images.source import open_source
from aetool.storage.container import write_container


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 4, 6), np.uint8)


def pictures(source):
    return np.stack([source.load(i).pixels for i in range(len(source))])


def names(source):
    return [source.name(i) for i in range(len(source))]


def labels(source):
    return [source.label(i) for i in range(len(source))]


def write_idx(path, values):
    data = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_npy_rows_are_grey_pictures(tmp_path, pixels):
    np.save(tmp_path / "a.npy", pixels)
    source = open_source(str(tmp_path / "a.npy"))
    assert names(source) == ["000000", "000001", "000002", "000003", "000004"]
    assert source.class_names == () and source.label(0) == -1 and source.path(0) is None
    assert source.root == str(tmp_path / "a.npy")
    assert source.load(3).format == "ARRAY"
    np.testing.assert_array_equal(pictures(source), pixels)


def test_npy_is_memory_mapped(tmp_path, pixels):
    np.save(tmp_path / "a.npy", pixels)
    source = open_source(str(tmp_path / "a.npy"))
    changed = np.lib.format.open_memmap(tmp_path / "a.npy", mode="r+")
    changed[2] = 7
    changed.flush()
    assert (source.load(2).pixels == 7).all()


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_splits_are_joined_unless_one_is_named(tmp_path, pixels, suffix):
    path = tmp_path / f"set.{suffix}"
    arrays = {
        "x_test": pixels[3:],
        "y_test": np.array([9, 3]),
        "x_train": pixels[:3],
        "y_train": np.array([[3], [10], [9]]),
    }
    if suffix == "npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                file[key] = array
    both = open_source(str(path))
    assert names(both) == [
        "x_train/000000",
        "x_train/000001",
        "x_train/000002",
        "x_test/000000",
        "x_test/000001",
    ]
    assert both.class_names == ("3", "9", "10")
    assert labels(both) == [0, 2, 1, 1, 0]
    np.testing.assert_array_equal(pictures(both), pixels)

    test = open_source(f"{path}/test")
    assert test.root == f"{path}/test"
    assert names(test) == ["x_test/000000", "x_test/000001"]
    assert test.class_names == ("3", "9") and labels(test) == [1, 0]
    np.testing.assert_array_equal(pictures(test), pixels[3:])
    np.testing.assert_array_equal(pictures(open_source(f"{path}/x_train")), pixels[:3])
    assert names(open_source(test.root)) == names(test)


@pytest.mark.parametrize(
    "keys",
    [
        ("x", "y"),
        ("images", "labels"),
        ("data", "target"),
        ("X", "Y"),
        ("val_images", "val_labels"),
    ],
)
def test_common_key_names_are_known(tmp_path, pixels, keys):
    np.savez(tmp_path / "a.npz", **{keys[0]: pixels, keys[1]: np.arange(5) % 2})
    source = open_source(str(tmp_path / "a.npz"))
    assert source.name(4) == f"{keys[0]}/000004"
    assert labels(source) == [0, 1, 0, 1, 0]


def test_the_only_array_of_picture_shape_is_taken(tmp_path, pixels):
    np.savez(tmp_path / "a.npz", faces=pixels, weights=np.ones(5))
    assert open_source(str(tmp_path / "a.npz")).name(0) == "faces/000000"


def test_text_labels_are_sorted_naturally(tmp_path, pixels):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/images"] = pixels
        file["group/labels"] = ["tile 10", "tile 9", "é", "tile 10", "tile 9"]
    source = open_source(str(tmp_path / "a.h5"))
    assert source.class_names == ("tile 9", "tile 10", "é")
    assert labels(source) == [1, 0, 2, 1, 0]
    assert source.name(0) == "group/images/000000"


def test_float_labels_that_are_whole_read_as_integers(tmp_path, pixels):
    np.savez(tmp_path / "a.npz", x=pixels, y=np.array([10.0, 2, 2, 10, 2]))
    assert open_source(str(tmp_path / "a.npz")).class_names == ("2", "10")


def test_float_and_colour_rows(tmp_path):
    colour = np.random.default_rng(0).random((3, 4, 5, 3))
    colour[1, 0, 0, 0] = np.nan
    np.save(tmp_path / "a.npy", colour)
    np.save(tmp_path / "b.npy", colour[[0], ..., :1])
    source = open_source(str(tmp_path / "a.npy"))
    loaded = source.load(2).pixels
    assert loaded.dtype == np.float32 and loaded.shape == (4, 5, 3)
    np.testing.assert_allclose(loaded, colour[2], atol=1e-7)
    with pytest.raises(ImageError, match="nan"):
        source.load(1)
    assert open_source(str(tmp_path / "b.npy")).load(0).pixels.shape == (4, 5)


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.zeros((4, 64), np.uint8), r"\(n, h, w\)"),
        (np.zeros((8, 9, 3), np.uint8), r"x\[None\]"),
        (np.zeros((2, 3, 8, 8), np.uint8), "moveaxis"),
        (np.zeros((2, 8, 8), np.int64), "uint8"),
        (np.full((2, 8, 8), 200.0), "divide"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused_with_a_way_out(tmp_path, array, hint):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(SourceError) as caught:
        open_source(str(tmp_path / "a.npy"))
    assert re.search(hint, caught.value.hint)


def test_an_empty_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 8, 8), np.uint8))
    with pytest.raises(SourceError, match="no pictures"):
        open_source(str(tmp_path / "a.npy"))


def test_pickles_are_refused_and_never_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    np.save(tmp_path / "a.npy", np.array([Payload()], object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", x=np.array([Payload()], object))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(SourceError) as caught:
            open_source(str(tmp_path / name))
        assert "pickled objects are refused" in caught.value.hint
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5"])
def test_damaged_files_are_one_clear_error(tmp_path, pixels, name):
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, pixels)
    elif name == "a.npz":
        np.savez_compressed(path, x=pixels)
    else:
        with h5py.File(path, "w") as file:
            file["x"] = pixels
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(SourceError, match="not a readable"):
            open_source(str(path))


def test_values_of_other_files_are_refused(tmp_path, pixels):
    """A forged file would show any that its user may read."""
    (tmp_path / "secret").write_bytes(bytes(80))
    np.save(tmp_path / "pixels.npy", pixels)
    layout = h5py.VirtualLayout(pixels.shape, "u1")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", pixels.shape)
    external = {"external": [(str(tmp_path / "secret"), 0, 80)], "dtype": "u1"}
    with h5py.File(tmp_path / "pixels.h5", "w") as file:
        file.create_dataset("outside", (1, 8, 10), **external)
        file.create_virtual_dataset("virtual", layout)
        file["x"] = pixels
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["x"] = pixels
        file.create_dataset("y", (len(pixels),), **external)
    for name in ("pixels.h5/outside", "pixels.h5/virtual", "labels.h5"):
        with pytest.raises(SourceError, match="from other files or arrays"):
            open_source(str(tmp_path / name))
    np.testing.assert_array_equal(pictures(open_source(str(tmp_path / "pixels.h5"))), pixels)


def test_shapes_that_fit_no_memory_are_one_clear_error(tmp_path):
    rows = 10**13
    header = io.BytesIO()
    claims = {"descr": "|u1", "fortran_order": False, "shape": (rows, 8, 8)}
    np.lib.format.write_array_header_1_0(header, claims)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", header.getvalue() + bytes(64))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (rows, 8, 8), "u1", chunks=(1024, 8, 8))
        file.create_dataset("y", (rows,), "i8", chunks=(1024,))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x_train", (rows, 8, 8), "u1", chunks=(1024, 8, 8))
        file["x_test"], file["y_test"] = np.zeros((2, 8, 8), np.uint8), [0, 1]
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_dataset("x", (1, 10**7, 10**7), "f4", chunks=(1, 500, 500))
    for name, why in (("a.npz", "not a readable NumPy array"), ("a.h5", "the labels in y"),
                      ("b.h5", "more labels"), ("c.h5", "too large for the memory")):  # fmt: skip
        with pytest.raises(SourceError, match=why):
            open_source(str(tmp_path / name))


def test_a_source_knows_the_files_it_is_read_from(tmp_path, pixels, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("mnist")
    for split in ("train", "t10k"):
        write_idx(tmp_path / "mnist" / f"{split}-images-idx3-ubyte", pixels)
    write_idx(tmp_path / "mnist" / "t10k-labels-idx1-ubyte", np.arange(5, dtype=np.uint8))
    with h5py.File("a.h5", "w") as file:
        file["cam/images"] = pixels
    tested = ["mnist/t10k-images-idx3-ubyte", "mnist/t10k-labels-idx1-ubyte"]
    for text, files in (
        ("mnist/test", tested),
        ("mnist", ["mnist/train-images-idx3-ubyte", *tested]),
        ("a.h5/cam/images", ["a.h5"]),
    ):
        source = open_source(text)
        for same in (source, source.select([1]).whole, pickle.loads(pickle.dumps(source))):
            assert same.files == tuple(tmp_path / file for file in files)


def test_several_candidates_need_a_name(tmp_path, pixels):
    np.savez(tmp_path / "a.npz", left=pixels, right=pixels[::-1])
    with pytest.raises(SourceError, match="several arrays of pictures; it holds left, right"):
        open_source(str(tmp_path / "a.npz"))
    source = open_source(str(tmp_path / "a.npz/right"))
    np.testing.assert_array_equal(pictures(source), pixels[::-1])
    with pytest.raises(SourceError, match="no pictures middle"):
        open_source(str(tmp_path / "a.npz/middle"))


def test_a_split_that_is_not_there_is_refused(tmp_path, pixels):
    np.savez(tmp_path / "a.npz", x=pixels)
    np.save(tmp_path / "a.npy", pixels)
    for text in ("a.npz/test", "a.npz/other", "a.npy/train"):
        with pytest.raises(SourceError, match="no pictures"):
            open_source(str(tmp_path / text))


@pytest.mark.parametrize("bad", [np.arange(4), np.eye(5)])
def test_labels_must_match_the_pictures(tmp_path, pixels, bad):
    np.savez(tmp_path / "a.npz", x=pixels, y=bad)
    with pytest.raises(SourceError, match="5 pictures but labels of shape"):
        open_source(str(tmp_path / "a.npz"))


@pytest.mark.parametrize("key", ["../x", "/x", "a//x"])
def test_an_array_name_cannot_lead_outputs_out_of_their_folder(tmp_path, pixels, key):
    np.savez(tmp_path / "a.npz", **{key: pixels})
    with pytest.raises(SourceError, match="may not be called"):
        open_source(str(tmp_path / "a.npz"))


def test_models_and_latents_are_told_apart_from_pictures(tmp_path, pixels):
    for kind in ("checkpoint", "latents"):
        write_container(tmp_path / f"{kind}.h5", kind, lambda file: file.update(x=pixels))
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        file.attrs["model_config"] = "{}"
        file["x"] = pixels
    with pytest.raises(SourceError, match="latents, not pictures") as caught:
        open_source(str(tmp_path / "latents.h5"))
    assert "aetool cluster" in caught.value.hint
    for name in ("checkpoint.h5", "keras.h5", "checkpoint.h5/test"):
        with pytest.raises(SourceError, match="a model, not pictures"):
            open_source(str(tmp_path / name))
    # The HDF5 library never sees a damaged one.
    damaged = tmp_path / "checkpoint.h5"
    damaged.write_bytes(damaged.read_bytes()[:600])
    with pytest.raises(SourceError, match="a model, not pictures"):
        open_source(str(damaged))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_alone_or_as_a_folder(tmp_path, pixels, suffix):
    write_idx(tmp_path / f"train-images-idx3-ubyte{suffix}", pixels[:3])
    write_idx(tmp_path / f"train-labels-idx1-ubyte{suffix}", np.array([5, 0, 5], np.uint8))
    write_idx(tmp_path / f"t10k-images-idx3-ubyte{suffix}", pixels[3:])
    write_idx(tmp_path / f"t10k-labels-idx1-ubyte{suffix}", np.array([4, 0], np.uint8))
    both = open_source(str(tmp_path))
    assert names(both)[2:4] == ["x_train/000002", "x_test/000000"]
    assert both.class_names == ("0", "4", "5") and labels(both) == [2, 0, 2, 1, 0]
    np.testing.assert_array_equal(pictures(both), pixels)
    np.testing.assert_array_equal(pictures(open_source(f"{tmp_path}/test")), pixels[3:])
    alone = open_source(str(tmp_path / f"train-images-idx3-ubyte{suffix}"))
    assert labels(alone) == [1, 0, 1]
    np.testing.assert_array_equal(pictures(alone), pixels[:3])
    with pytest.raises(SourceError, match="labels, not pictures"):
        open_source(str(tmp_path / f"train-labels-idx1-ubyte{suffix}"))
    with pytest.raises(SourceError, match="no part called valid"):
        open_source(f"{tmp_path}/valid")


def test_a_truncated_idx_file_is_refused(tmp_path, pixels):
    for suffix in ("", ".gz"):
        path = tmp_path / f"train-images-idx3-ubyte{suffix}"
        write_idx(path, pixels)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(SourceError, match="damaged idx file"):
            open_source(str(path))


def test_stl10_is_stored_column_by_column(tmp_path):
    upright = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
    upright.transpose(0, 3, 2, 1).tofile(tmp_path / "train_X.bin")
    np.array([10, 2], np.uint8).tofile(tmp_path / "train_y.bin")
    upright[:1].transpose(0, 3, 2, 1).tofile(tmp_path / "unlabeled_X.bin")
    for text in ("", "/train_X.bin", "/train"):
        source = open_source(f"{tmp_path}{text}")
        np.testing.assert_array_equal(pictures(source), upright)
        assert source.class_names == ("2", "10") and labels(source) == [1, 0]
    assert len(open_source(f"{tmp_path}/unlabeled")) == 1
    assert open_source(f"{tmp_path}/unlabeled_X.bin").class_names == ()
    (tmp_path / "train_X.bin").write_bytes(b"\0" * 1000)
    with pytest.raises(SourceError, match="not whole pictures"):
        open_source(f"{tmp_path}/train_X.bin")


def test_digits_come_with_scikit_learn():
    source = open_source("sklearn:digits")
    digits = load_digits()
    assert len(source) == 1797 and source.name(17) == "x/000017"
    assert source.root == "sklearn:digits"
    assert source.class_names == tuple("0123456789")
    assert labels(source) == digits.target.tolist()
    expected = {0: 0, 1: 16, 4: 64, 8: 128, 15: 239, 16: 255}
    for i in (0, 100, 1796):
        loaded = source.load(i).pixels
        assert loaded.dtype == np.uint8 and loaded.shape == (8, 8)
        for value, scaled in expected.items():
            assert (loaded[digits.images[i] == value] == scaled).all()
    with pytest.raises(SourceError, match="no part called train"):
        open_source("sklearn:digits/train")
    with pytest.raises(SourceError) as caught:
        open_source("keras:imagenet")
    assert "keras:cifar10" in caught.value.hint


def fake_keras(monkeypatch, load_data):
    """Stand in for keras.datasets: the real one needs the network."""
    keras = types.ModuleType("keras")
    keras.datasets = types.SimpleNamespace(cifar10=types.SimpleNamespace(load_data=load_data))
    monkeypatch.setitem(sys.modules, "keras", keras)


def test_keras_sets_have_two_splits_and_keep_standard_output_clean(monkeypatch, capsys):
    x = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    y = np.array([[1], [0], [1]])

    def load_data():
        print("Downloading data")
        return (x[:2], y[:2]), (x[2:], y[2:])

    fake_keras(monkeypatch, load_data)
    source = open_source("keras:cifar10")
    assert names(source) == ["x_train/000000", "x_train/000001", "x_test/000000"]
    assert labels(source) == [1, 0, 1]
    test = open_source("keras:cifar10/test")
    assert test.root == "keras:cifar10/test"
    np.testing.assert_array_equal(pictures(test), x[2:])
    captured = capsys.readouterr()
    assert captured.out == "" and "Downloading" in captured.err


def test_a_keras_set_out_of_reach_says_where_to_put_the_file(monkeypatch):
    def load_data():
        raise Exception("URL fetch failure")

    fake_keras(monkeypatch, load_data)
    monkeypatch.setenv("KERAS_HOME", "/cache")
    with pytest.raises(SourceError, match="URL fetch failure") as caught:
        open_source("keras:cifar10/train")
    # A part that there is not is told without the network.
    with pytest.raises(SourceError, match="no part called tst"):
        open_source("keras:cifar10/tst")
    assert "/cache/datasets/cifar-10" in caught.value.hint
