"""On a Dask cluster: what one process writes, byte for byte, whatever happens to a worker."""

import os
import pickle
import shutil
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from untrained import RECONSTRUCTION, write_untrained

from aetool.errors import ImageError
from aetool.images.source import open_source
from aetool.tasks.encode import encode_images

distributed = pytest.importorskip("distributed")
workers = pytest.importorskip("aetool.inference.workers")


@pytest.fixture(scope="module")
def cluster():
    """Two processes of two threads."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An autoencoder of colour pictures."""
    spec = {"name": "unet", "size": (16, 16), "widths": (4,), "middle": 8, "outputs": 3}
    return write_untrained(tmp_path_factory.mktemp("unet") / "unet.h5", spec, "reconstruct")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Three hundred small pictures, enough for five blocks; two cannot be read."""
    folder = tmp_path_factory.mktemp("scans")
    random = np.random.default_rng(0)
    for number in range(300):
        pixels = random.integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    for number in (70, 299):
        (folder / f"{number}.png").write_bytes(b"no picture")
    return folder


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def both(aetool, cluster, *command):
    """The JSON of a command here and on the cluster; "@" in its words is where it writes to."""
    results = []
    for place, words in (("here", ()), ("there", ("--scheduler", cluster.scheduler_address))):
        command_here = [str(word).replace("@", place) for word in command]
        done = aetool(*command_here, *words, "--json", "--allow-failures", "9")
        assert done.status == 0, done.stderr
        timeless = {k: v for k, v in done.json.items() if not k.startswith("seconds")}
        results.append(timeless)
    return results


# Threads.


@pytest.mark.parametrize("threads, helpers", [(1, 8), (2, 4), (5, 0), (8, 0), (16, 0)])
def test_a_workers_blocks_share_eight_processors(monkeypatch, threads, helpers):
    monkeypatch.setattr(workers, "processors", lambda: 8)
    monkeypatch.setattr(os, "environ", {})
    bench = workers._Bench(work=None)
    bench.setup(SimpleNamespace(state=SimpleNamespace(nthreads=threads)))
    assert bench.helpers == helpers


# What travels.


@pytest.mark.parametrize(
    "found, precision",
    [
        (["bfloat16", "bfloat16"], "bfloat16"),
        (["bfloat16", "float32"], "float32"),
        (["float32", "float32"], "float32"),
    ],
)
def test_workers_that_differ_compute_in_float32(found, precision):
    """So that a picture's result does not depend on where it was made."""
    there = workers.Workers.__new__(workers.Workers)
    there._client = SimpleNamespace(run=lambda *_: dict(zip("ab", found, strict=True)))
    assert there.resolve("auto", None) == precision


def test_a_source_takes_its_own_pictures_along(scans, tmp_path):
    np.savez(
        tmp_path / "x.npz", x=np.arange(400, dtype=np.uint8).reshape(4, 10, 10), y=[3, 1, 1, 3]
    )
    for whole in (open_source(str(scans)), open_source(str(tmp_path / "x.npz"))):
        some = whole.select([3, 1])
        travelled = pickle.loads(pickle.dumps(some))
        assert len(travelled) == 2 and travelled.class_names == some.class_names
        for i in range(2):
            for what in ("name", "label", "position", "path"):
                assert getattr(travelled, what)(i) == getattr(some, what)(i)
            np.testing.assert_array_equal(travelled.load(i).pixels, some.load(i).pixels)
        again = pickle.loads(pickle.dumps(travelled.select([1])))
        assert (again.name(0), again.position(0)) == (whole.name(1), 1)
    assert len(pickle.dumps(open_source(str(scans)).select([0]))) < 1000


def test_a_picture_that_is_damaged_fails_where_it_is_loaded(tmp_path):
    values = np.zeros((2, 4, 4), np.float32)
    values[1] = np.nan
    np.save(tmp_path / "x.npy", values)
    travelled = pickle.loads(pickle.dumps(open_source(str(tmp_path / "x.npy"))))
    travelled.load(0)
    with pytest.raises(ImageError):
        travelled.load(1)


# Results.


def test_latents_are_the_same(aetool, cluster, model, scans, tmp_path):
    here, there = both(aetool, cluster, "encode", scans, "-c", model, "-o", tmp_path / "@.h5")
    assert here == there and here["rows"] == 298
    assert [failure["path"] for failure in there["failed"]] == ["70.png", "299.png"]
    assert (tmp_path / "here.h5").read_bytes() == (tmp_path / "there.h5").read_bytes()


def test_rows_of_arrays_are_the_same(aetool, cluster, tmp_path):
    words = ("encode", "sklearn:digits", "--pixels", "-o", tmp_path / "@.h5")
    here, there = both(aetool, cluster, *words)
    assert here == there and here["rows"] == 1797
    assert (tmp_path / "here.h5").read_bytes() == (tmp_path / "there.h5").read_bytes()


@pytest.mark.parametrize(("batch", "pictures"), [(28, 56), (64, 64), (100, 100)])
def test_workers_are_given_whole_batches(cluster, scans, batch, pictures):
    from aetool.inference.workers import Workers  # needs Dask

    with Workers(cluster.scheduler_address) as workers:
        assert workers._block_size(open_source(str(scans)), range(300), batch) == pictures


def test_shards_go_to_a_cluster_too(aetool, cluster, model, scans, tmp_path):
    words = ("encode", scans, "-c", model, "-o", tmp_path / "@.h5", "--shard", "2/3")
    here, there = both(aetool, cluster, *words)
    assert here == there and here["rows"] == 99
    assert (tmp_path / "here.h5").read_bytes() == (tmp_path / "there.h5").read_bytes()


def test_pictures_are_the_same(aetool, cluster, model, scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the workers stand elsewhere
    words = ("reconstruct", scans, "@", "-c", model, "--grid", "@.png")
    here, there = both(aetool, cluster, *words)
    assert here == there and here["written"] == 298
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()
    again = both(aetool, cluster, *words)[1]
    assert again["written"] == 0 and again["skipped"] == 298


def test_an_array_is_the_same(aetool, cluster, model, scans, tmp_path):
    words = ("reconstruct", scans, tmp_path / "@.npy", "-c", model)
    here, there = both(aetool, cluster, *words)
    assert here == there
    assert (tmp_path / "here.npy").read_bytes() == (tmp_path / "there.npy").read_bytes()


def test_coloured_pictures_are_the_same(aetool, cluster, photos, tmp_path):
    spec = {"name": "unet", "size": (16, 16), "channels": 1, "widths": (4,), "middle": 8}
    output = {**RECONSTRUCTION, "decoding": "rgb"}
    model = write_untrained(tmp_path / "c.h5", {**spec, "outputs": 3}, "colorize", output=(output,))
    words = ("colorize", photos, tmp_path / "@", "-c", model, "--evaluate")
    here, there = both(aetool, cluster, *words)
    assert here == there and here["psnr"]
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_translated_pictures_are_the_same(aetool, cluster, photos, tmp_path):
    spec = {"name": "pix2pix", "size": (16, 16), "width": 4, "channels": 1, "outputs": 3}
    output = {**RECONSTRUCTION, "range": [-1, 1]}
    preprocessing = {"range": [-1, 1]}
    model = write_untrained(
        tmp_path / "t.h5", spec, "translate", output=(output,), preprocessing=preprocessing
    )
    words = ("translate", photos, tmp_path / "@", "-c", model, "--edges", "--evaluate")
    here, there = both(aetool, cluster, *words, "--grid", tmp_path / "@.png")
    assert here == there and here["l1"]
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()


def test_scores_are_the_same(aetool, cluster, model, scans, tmp_path):
    words = ("anomaly", scans, "-c", model, "--threshold", "0.1", "-o", tmp_path / "@.csv")
    here, there = both(aetool, cluster, *words, "--heatmaps", tmp_path / "@")
    assert here == there
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_labels_are_the_same(aetool, cluster, photos, tmp_path):
    spec = {"name": "vgg-classifier-ae", "size": (16, 16), "channels": 3, "widths": (4,)}
    spec |= {"convolutions": (1,), "rates": (0.3,), "dense": 8, "classes": 2}
    output = (RECONSTRUCTION, {"name": "probabilities", "decoding": "probabilities"})
    model = write_untrained(
        tmp_path / "c.h5", spec, "classify", classes=("stripes", "sky"), output=output
    )
    here, there = both(aetool, cluster, "classify", photos, "-c", model, "-o", tmp_path / "@.csv")
    assert here == there and here["accuracy"] is not None
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()


# Trouble.


def test_a_killed_worker_changes_nothing(aetool, cluster, model, scans, tmp_path):
    many = tmp_path / "many"
    for copy in range(4):
        shutil.copytree(scans, many / str(copy))
    here, there = tmp_path / "here.h5", tmp_path / "there.h5"
    encode_images(str(many), here, model)
    victim = cluster.workers[0].process.process.pid
    killed_at = []

    def kill(done, total):
        if done >= total // 4 and not killed_at:
            os.kill(victim, signal.SIGKILL)
            killed_at.append(done / total)

    scheduler = cluster.scheduler_address
    result = encode_images(str(many), there, model, scheduler=scheduler, progress=kill)
    assert killed_at[0] < 0.5
    assert result.rows == 4 * 298 and len(result.failed) == 8
    assert here.read_bytes() == there.read_bytes()


def test_an_error_of_the_task_is_its_own(aetool, cluster, model, scans, tmp_path):
    """Two layers of a network cannot take a batch that no memory holds: the worker says so."""
    words = ("reconstruct", scans, tmp_path / "out", "-c", model, "--batch-size", 10**12)
    here = aetool(*words)
    there = aetool(*words, "--scheduler", cluster.scheduler_address)
    assert here.status == there.status == 2
    assert here.stderr == there.stderr and "does not fit in memory" in there.stderr


def test_standard_output_is_not_there(aetool, cluster, model, scans):
    words = ("reconstruct", scans / "1.png", "-", "-c", model)
    done = aetool(*words, "--scheduler", cluster.scheduler_address)
    assert done.status == 2 and not done.stdout


def test_a_cluster_that_does_not_answer_is_one_line(aetool, model, scans, tmp_path, monkeypatch):
    monkeypatch.setattr("aetool.inference.workers._WAIT_SECONDS", 1)
    words = ("encode", scans, "-c", model, "-o", tmp_path / "l.h5", "--scheduler")
    done = aetool(*words, "tcp://127.0.0.1:9")
    assert done.status == 1
    assert done.stderr.startswith("aetool: error: no Dask scheduler answers at tcp://127.0.0.1:9")
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as empty:
        done = aetool(*words, empty.scheduler_address)
    assert done.status == 1 and "has no workers" in done.stderr


def test_workers_with_another_aetool_are_refused(aetool, cluster, scans, tmp_path, monkeypatch):
    monkeypatch.setattr("aetool.__version__", "99")
    words = ("encode", scans, "--pixels", "-o", tmp_path / "l.h5", "--scheduler")
    done = aetool(*words, cluster.scheduler_address)
    assert done.status == 1
    assert "has aetool" in done.stderr and "this is aetool 99" in done.stderr


def test_without_dask_a_line_says_what_to_install(aetool, model, scans, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "aetool.inference.workers", raising=False)
    words = ("encode", scans, "-c", model, "-o", tmp_path / "l.h5", "--scheduler", "tcp://h:1")
    done = aetool(*words)
    assert done.status == 2
    assert "pip install 'aetool[distributed]'" in done.stderr
