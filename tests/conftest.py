"""Small pictures and models that many tests share, and the program as a function."""

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # The other workers have the other cores: threads that wait for each other by spinning, as
    # OpenMP's and OpenBLAS's do, would take them away. NumPy reads this when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from PIL import Image

from aetool.cli.app import run
from aetool.cli.silence import silence_tensorflow

silence_tensorflow()

# A shell's background job starts with interrupts ignored, and so would every program it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True, slots=True)
class Completed:
    """What one run of the program left behind."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout.decode()

    @property
    def json(self) -> dict:
        return json.loads(self.stdout)


@pytest.fixture(scope="session")
def aetool() -> Callable[..., Completed]:
    """aetool("info", path, stdin=b"...") runs the command line in this process."""

    def call(*arguments: object, stdin: bytes = b"") -> Completed:
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        stderr = io.StringIO()
        before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
        try:
            with redirect_stdout(stdout), redirect_stderr(stderr):
                status = run([str(argument) for argument in arguments])
        finally:
            sys.stdin = before
        return Completed(status, stdout.buffer.getvalue(), stderr.getvalue())

    return call


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve colour pictures, 64x48: six JPEGs labelled "sky", six PNGs "stripes"."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:48, 0:64] / 64
    for number in range(6):
        tint = random.uniform(0.5, 1.0, 3)
        sky = np.stack([rows, rows + columns, 1 - rows], axis=-1) / 2 * tint
        stripes = (np.sin(columns * (8 + 4 * number))[..., None] + 1) / 2 * tint
        for label, pixels, suffix in (("sky", sky, "jpg"), ("stripes", stripes, "png")):
            path = root / label / f"{label} {number}.{suffix}"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.uint8(np.clip(pixels, 0, 1) * 255)).save(path)
    return root


@pytest.fixture(scope="session")
def digits_model(
    aetool: Callable[..., Completed], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A conv-ae that has seen scikit-learn's digits for two epochs."""
    path = tmp_path_factory.mktemp("digits") / "digits.h5"
    options = ["--model", "conv-ae", "--epochs", "2", "--validation", "0.1", "--seed", "0", "-q"]
    trained = aetool("train", "sklearn:digits", "-o", path, *options)
    assert trained.status == 0, trained.stderr
    return path


@pytest.fixture(scope="session")
def digits_latents(aetool: Callable[..., Completed], digits_model: Path) -> Path:
    """The latents of all digits."""
    path = digits_model.with_name("digits-latents.h5")
    encoded = aetool("encode", "sklearn:digits", "-c", digits_model, "-o", path, "-q")
    assert encoded.status == 0, encoded.stderr
    return path
