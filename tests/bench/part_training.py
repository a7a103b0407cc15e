"""Training steps: pictures a second of the 31M U-Net against Keras and PyTorch, and every family.

Mean squared error and Adam for the U-Net everywhere; PyTorch's bfloat16 is autocast with channels
last. The families learn by their own regimes and losses, in the batches named. Last, the whole
`aetool train`, three epochs in each precision: grey to colour on crops of scikit-learn's two
photographs, validated on columns of them that are not trained on.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import torch
from pictures import write_crops
from timing import rates, table
from torch_unet import UNet

from aetool.models.build import build_model, complete
from aetool.models.specs import FAMILIES
from aetool.training.losses import loss_function
from aetool.training.pairs import ClassifyPair, TranslatePair, colorize_pair, reconstruct_pair
from aetool.training.regimes import make_regime
from aetool.training.settings import Settings

BATCH, SIDE = 16, 96
LEARNT, VALIDATED = 512, 128
# (height, width), channels in and out, pictures a batch.
FAMILY = {
    "conv-ae": ((28, 28), 1, None, 128),
    "conv-vae": ((28, 28), 1, None, 128),
    "unet-small": ((28, 28), 1, None, 128),
    "unet": ((96, 96), 1, 3, 16),
    "vgg-classifier-ae": ((32, 32), 3, None, 64),
    "pix2pix": ((128, 128), 1, 3, 5),
    "stacked-ae": ((80, 80), 3, None, 64),
}


def measure() -> str:
    return f"{_unet()}\n\n{_families()}\n\n{_validation()}"


def _validation() -> str:
    """The U-Net's validation loss after three epochs."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        crops = write_crops(root / "learnt", LEARNT, SIDE, 0, slice(0, 480))
        others = write_crops(root / "validated", VALIDATED, SIDE, 1, slice(480, None))
        for precision in ("float32", "bfloat16"):
            options = ["--model", "unet", "--task", "colorize", "--size", f"{SIDE}x{SIDE}"]
            options += ["--epochs", "3", "--batch-size", str(BATCH), "--learning-rate", "0.0003"]
            options += ["--schedule", "cosine", "--loss", "mse", "--precision", precision]
            command = [sys.executable, "-m", "aetool", "train", str(crops), *options]
            command += ["--validation", str(others), "-o", str(root / "model.h5"), "--overwrite"]
            done = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True)
            loss = json.loads(done.stdout)["metrics"]["val_loss"]
            rows.append([precision, loss, loss / (rows[0][1] if rows else loss)])
    return table(["precision", "validation loss after 3 epochs", "of float32's"], rows)


def _families() -> str:
    rows = []
    for name in FAMILIES:
        rows.append(_family(name))
        keras.backend.clear_session()
    header = ["family", "batch", "aetool float32, pictures/s", "aetool bfloat16", "ratio"]
    return table(header, rows)


def _family(name: str) -> list[object]:
    size, channels, outputs, batch = FAMILY[name]
    spec = {"name": name, "size": size, "channels": channels}
    spec |= {"outputs": outputs} if outputs else {}
    spec |= {"classes": 10} if name == "vgg-classifier-ae" else {}
    spec = complete(spec)
    pair = {"unet": colorize_pair, "pix2pix": TranslatePair(1)}.get(name, reconstruct_pair)
    pair = ClassifyPair(10) if "classes" in spec else pair
    stored = {"unet": 3, "pix2pix": 4}.get(name, channels)
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (batch, *size, stored), np.uint8)
    x, y = pair(pictures, random.integers(0, 10, batch))
    loss = next(iter(FAMILIES[name].loss.values()))
    measured = rates(
        {p: _aetool(spec, p, x, y, loss) for p in ("float32", "bfloat16")}, rounds=3, seconds=4
    )
    slow, fast = measured.values()
    return [name, batch, slow, fast, fast / slow]


def _unet() -> str:
    random = np.random.default_rng(0)
    x = random.random((BATCH, SIDE, SIDE, 1), np.float32)
    y = random.random((BATCH, SIDE, SIDE, 3), np.float32)
    spec = complete({"name": "unet", "size": (SIDE, SIDE), "channels": 1, "outputs": 3})
    contenders = {
        "Keras float32": _keras(spec, "float32", x, y),
        "aetool float32": _aetool(spec, "float32", x, y),
        "aetool bfloat16": _aetool(spec, "bfloat16", x, y),
        "PyTorch float32, channels last": _torch(False, x, y),
        "PyTorch bfloat16 autocast, channels last": _torch(True, x, y),
    }
    measured = rates(contenders, rounds=3, seconds=6)
    base = measured["PyTorch bfloat16 autocast, channels last"]
    rows = [
        [name, value, value / measured["Keras float32"], value / base]
        for name, value in measured.items()
    ]
    return table(["", "pictures/s", "of Keras float32", "of PyTorch bfloat16"], rows)


def _keras(spec, dtype, x, y):
    model = build_model(spec, dtype=dtype)
    model.compile("adam", "mse")
    return lambda: model.train_on_batch(x, y) is not None and len(x)


def _aetool(spec, precision, x, y, loss="mse"):
    dtype = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    settings = Settings(batch_size=len(x), precision=precision, loss=loss)
    settings = replace(settings, loss_weights=FAMILIES[spec["name"]].loss_weights)
    model = build_model(spec, dtype=dtype)
    learner = make_regime(model, spec, settings, loss_function(loss))
    return lambda: learner.train_batch(x, y) is not None and len(x)


def _torch(bfloat16, x, y):
    network = UNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters())
    planes, truth = (
        torch.from_numpy(array.transpose(0, 3, 1, 2).copy()).to(memory_format=torch.channels_last)
        for array in (x, y)
    )

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            out = network(planes)
        torch.nn.functional.mse_loss(out.float(), truth).backward()
        optimizer.step()
        return len(x)

    return step
