"""`aetool colorize` of 2,000 pictures of 128 pixels, the whole process with decoding and writing.

Beside it the engine's own rate for that network, aetool's rate after start-up (from the difference
between 2,000 pictures and 200), and a straightforward Keras script. Once with the colorizer that
ships, at 1.3 GFLOP a picture, and once with the U-Net of 31,054,275 parameters, at 24. Each run
writes to a folder of its own.
"""

import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

import numpy as np
from pictures import write_pictures
from timing import at_once, durations, rates, table

from aetool.inference.engine import Engine
from aetool.inference.load import rebuild
from aetool.inference.stream import AT_ONCE
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.colors import Decoder, shipped_checkpoint

COUNT, FEW = 2000, 200
_UNTRAINED = ("--recipe", "stl10-colorize", "--size", 128, "--epochs", 0, "--validation", 0, "-q")
_number = count()


def measure() -> str:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folders = write_pictures(root / "many", COUNT, 128), write_pictures(root / "few", FEW, 128)
        large = root / "unet.h5"
        _run("-m", "aetool", "train", folders[1], "-o", large, *_UNTRAINED)
        parts = []
        for title, checkpoint, rounds in (
            ("The colorizer that ships", shipped_checkpoint(), 3),
            ("The U-Net of 31,054,275 parameters", large, 1),
        ):
            parts.append(f"{title}:\n\n{_compare(root, *folders, checkpoint, rounds)}")
    return "\n\n".join(parts)


def _compare(root: Path, many: Path, few: Path, checkpoint: Path, rounds: int) -> str:
    def colorize(folder):
        out = root / f"out{next(_number)}"
        return _run("-m", "aetool", "colorize", folder, out, "-c", checkpoint, "-q")

    plain = Path(__file__).parent / "plain_colorize.py"
    seconds = durations(
        {
            "many": lambda: colorize(many),
            "few": lambda: colorize(few),
            "plain": lambda: _run(plain, checkpoint, many, root / f"out{next(_number)}"),
        },
        rounds=rounds,
    )
    stored = read_checkpoint(checkpoint)
    decoder = Decoder(checkpoint, stored)
    engine = Engine(decoder.prepare(rebuild(stored, size=decoder.size).model))
    x = np.random.default_rng(0).random((engine.batch_size, *engine.input_shape), np.float32)
    own = rates({"engine": at_once(engine.predict, x, AT_ONCE)})["engine"]
    steady = (COUNT - FEW) / (seconds["many"] - seconds["few"])
    rows = [
        ["the engine alone", own, 1.0],
        ["aetool, after start-up", steady, steady / own],
        [
            f"aetool, whole process, {COUNT} pictures",
            COUNT / seconds["many"],
            COUNT / seconds["many"] / own,
        ],
        [
            "plain Keras script, whole process",
            COUNT / seconds["plain"],
            COUNT / seconds["plain"] / own,
        ],
    ]
    ratio = seconds["plain"] / seconds["many"]
    return (
        table(["", "pictures/s", "of the engine"], rows)
        + f"\n\nWhole process against the plain script: {ratio:.2f} times as fast."
    )


def _run(*arguments: object) -> None:
    subprocess.run([sys.executable, *map(str, arguments)], check=True, capture_output=True)
