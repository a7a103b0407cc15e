"""Mutated files: one clear line, no traceback, no hang, nothing executed, no memory for a claim."""

import json
import select
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aetool.storage.checkpoint import read_checkpoint, write_checkpoint
from aetool.storage.latents import LatentsWriter, open_latents
from aetool.tasks.export import export_file

SECONDS = 600.0  # for one file, or for the child to start, on a machine however busy
FORMATS = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "TIFF": "tif", "WEBP": "webp", "BMP": "bmp",
           "TGA": "tga", "JPEG2000": "jp2", "ICO": "ico", "PPM": "ppm", "PCX": "pcx",
           "SGI": "sgi", "AVIF": "avif"}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(digits_model, digits_latents, tmp_path_factory) -> Path:
    """Whole files of every kind, small: a mutation should hit what matters."""
    folder = tmp_path_factory.mktemp("corpus")
    for what in ("checkpoint", "latents", "image"):
        (folder / what).mkdir()
    random = np.random.default_rng(0)
    pixels = np.uint8(random.integers(0, 256, (16, 24, 3)) // 2 + np.arange(24)[:, None] * 4)
    Image.fromarray(pixels[..., 0]).save(folder / "picture.png")

    finished = read_checkpoint(digits_model)
    write_checkpoint(folder / "checkpoint" / "checkpoint-0.h5", finished)
    finished.arrays["previews"] = np.zeros((2, 3, 8, 8, 3), np.uint8)
    finished.training = {"epoch": np.array(2), "state": "{}", "momenta/0": np.ones((3, 3))}
    write_checkpoint(folder / "checkpoint" / "checkpoint-1.h5", finished, half=True)

    latents = folder / "latents" / "latents.h5"
    with open_latents(digits_latents) as whole:
        about = {"class_names": whole.class_names, "checkpoint_digest": whole.checkpoint}
        shape = {"dimensions": whole.dimensions, "feature_shape": whole.feature_shape}
        with LatentsWriter(latents, source=whole.source, **shape, **about) as writer:
            first = slice(0, 40)
            writer.append(
                whole.features[first], whole.index[first], whole.paths[first], whole.labels[first]
            )
    for suffix in (".npz", ".csv"):
        export_file(str(latents), str(latents.with_suffix(suffix)))
    np.save(latents.with_suffix(".npy"), random.random((40, 3)))

    for name, suffix in FORMATS.items():
        Image.fromarray(pixels).save(folder / "image" / f"image.{suffix}", name)
    grey = Image.fromarray(pixels[..., 0])
    grey.quantize(16).save(folder / "image" / "palette.png")
    grey.save(folder / "image" / "packed.tif", compression="tiff_lzw")
    grey.convert("I;16").save(folder / "image" / "deep.png")
    Image.fromarray(pixels).convert("CMYK").save(folder / "image" / "print.jpg")
    return folder


def fuzz(what: str, corpus: Path, count: int) -> Counter:
    """Run `count` mutations in child processes; fail on a complaint; count what became of them.

    A child that dies is replaced. HDF5 may crash or loop over contents forged behind a right digest
    (aetool-checkpoint(5) says so): that is counted. Nothing else may.
    """
    outcomes, wrong, number = Counter(), [], 0
    while number < count:
        words = [sys.executable, Path(__file__).with_name("fuzzing.py"), what, corpus, "0"]
        with tempfile.TemporaryFile() as trace:
            child = subprocess.Popen(
                [*map(str, words), str(number), str(count)],
                stdout=subprocess.PIPE,
                stderr=trace,
                bufsize=0,
            )
            under_way = None
            for told in map(json.loads, iter(partial(read_line, child), b"")):
                if under_way is None:
                    under_way = told
                    continue
                outcomes[under_way["kind"], "refused" if told["status"] else "taken"] += 1
                if told["wrong"]:
                    wrong.append(f"{under_way}: {told['wrong']}")
                number, under_way = told["number"] + 1, None
            child.kill()
            status = child.wait()
            trace.seek(0)
            frames = [line for line in trace.read().decode().splitlines() if "File " in line]
        if under_way is None:
            assert number == count, f"the child could not start: status {status}, {frames}"
            continue
        if under_way["kind"] == "resealed" and frames and "/h5py/" in frames[0]:
            ended = "looped" if status == -signal.SIGPROF else "crashed"
            outcomes["resealed", f"HDF5 {ended}"] += 1
        else:
            wrong.append(f"{under_way}: ended with status {status} in {frames[:3]}")
        number = under_way["number"] + 1
    print(what, dict(outcomes))
    assert not wrong, "\n".join(wrong[:20])
    assert sum(outcomes.values()) == count
    return outcomes


def read_line(child: subprocess.Popen) -> bytes:
    """The next line that a child prints; nothing when it has ended, or sleeps for too long."""
    ready, _, _ = select.select([child.stdout], [], [], SECONDS)
    return child.stdout.readline() if ready else b""


@pytest.mark.parametrize("what", ["checkpoint", "latents", "image"])
def test_a_hundred_mutated_files(corpus, what):
    outcomes = fuzz(what, corpus, 100)
    # A change of bytes is seen by the digest: only what carries none can be read in spite of it.
    assert not outcomes["raw", "taken"] or what != "checkpoint"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "count"), [("checkpoint", 5000), ("latents", 5000), ("image", 1000)]
)
def test_thousands_of_mutated_files(corpus, what, count):
    fuzz(what, corpus, count)
