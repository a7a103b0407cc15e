"""`aetool cluster` and `aetool pca` on 2,000,000 x 128 latents (1 GB), beside scikit-learn.

scikit-learn fits the array held in memory: k-means with one start and Lloyd's passes, PCA by the
covariance; its own reading of the file is left out. aetool's fit reads the file, and its whole
process checks the file before and writes a table of two million rows after. Memory is the peak of
that process.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from timing import peak_memory, table

from aetool.storage.latents import LatentsWriter

ROWS, DIMENSIONS, CLUSTERS = 2_000_000, 128, 10
BLOCK = 50_000
FIT = """
import sys, time, h5py, numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
with h5py.File(sys.argv[1]) as file:
    rows = file["features"][:]
fit = {
    "cluster": KMeans(int(sys.argv[3]), n_init=1, random_state=0),
    "pca": PCA(2, svd_solver="covariance_eigh"),
}[sys.argv[2]]
started = time.perf_counter()
fit.fit(rows)
print(time.perf_counter() - started)
"""
OURS = """
import sys, time
from aetool.analysis.clustering import kmeans
from aetool.analysis.projection import principal_components
from aetool.storage.latents import open_latents
with open_latents(sys.argv[1]) as latents:
    fit = {"cluster": lambda rows: kmeans(rows, int(sys.argv[3])),
           "pca": lambda rows: principal_components(rows, 2)}[sys.argv[2]]
    started = time.perf_counter()
    fit(latents.features)
print(time.perf_counter() - started)
"""


def measure() -> str:
    with tempfile.TemporaryDirectory() as name:
        latents, out = Path(name) / "latents.h5", Path(name) / "out.csv"
        _write(latents)
        rows = []
        for command, options in (
            ("cluster", ["--method", "kmeans", "-k", str(CLUSTERS)]),
            ("pca", []),
        ):
            whole = [sys.executable, "-m", "aetool", command, str(latents), *options]
            peak, seconds = peak_memory([*whole, "-o", str(out), "-q"])
            ours, theirs = (_seconds(script, latents, command) for script in (OURS, FIT))
            rows.append([command, theirs, ours, ours / theirs, seconds, peak / 2**30])
    header = [
        "",
        "scikit-learn's fit, s",
        "aetool's fit, s",
        "ratio",
        "whole process, s",
        "peak, GiB",
    ]
    return table(header, rows)


def _seconds(script: str, latents: Path, command: str) -> float:
    """The median of three runs."""
    words = [sys.executable, "-c", script, str(latents), command, str(CLUSTERS)]
    runs = (subprocess.run(words, check=True, capture_output=True, text=True) for _ in range(3))
    return statistics.median(float(run.stdout) for run in runs)


def _write(path: Path) -> None:
    """A mixture of Gaussians, a little overlapping."""
    random = np.random.default_rng(0)
    centres = random.normal(0, 1.0, (CLUSTERS, DIMENSIONS)).astype(np.float32)
    with LatentsWriter(
        path,
        dimensions=DIMENSIONS,
        feature_shape=(DIMENSIONS,),
        source="bench",
        class_names=(),
        precision="float32",
        checkpoint_digest="",
    ) as writer:
        for start in range(0, ROWS, BLOCK):
            group = random.integers(0, CLUSTERS, BLOCK)
            noise = random.standard_normal((BLOCK, DIMENSIONS), np.float32) * 1.5
            index = np.arange(start, start + BLOCK)
            writer.append(centres[group] + noise, index, [f"{i}" for i in index], None)
